-- Nodes seal resume tickets with keys of the platform's own, beside the one that tags positions.
ALTER POLICY feed ON platform_secrets USING (name IN ('position_key', 'ticket_keys'));
