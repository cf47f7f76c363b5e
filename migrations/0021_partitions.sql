-- Which partition of Redis a channel is in is keyed, so that nobody can choose channels that share one.
ALTER POLICY feed ON platform_secrets USING (name IN ('position_key', 'ticket_keys', 'partition_key'));
