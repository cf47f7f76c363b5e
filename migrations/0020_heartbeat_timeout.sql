-- How long a probe of a silent link may stay unanswered, as a setting of its own; and how many members of a channel the
-- plans that ship list.

-- NULL: as long as the link may be silent before it is probed.
ALTER TABLE apps ADD COLUMN heartbeat_timeout_ms integer CHECK (heartbeat_timeout_ms BETWEEN 1000 AND 300000);
GRANT UPDATE (heartbeat_timeout_ms) ON apps TO fanfare_app;
GRANT SELECT (heartbeat_timeout_ms) ON apps TO fanfare_feed;

DROP TRIGGER feed ON apps;
-- No node knows names.
CREATE CONSTRAINT TRIGGER feed AFTER UPDATE ON apps
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (
        OLD.origins IS DISTINCT FROM NEW.origins
        OR OLD.heartbeat_ms <> NEW.heartbeat_ms
        OR OLD.heartbeat_timeout_ms IS DISTINCT FROM NEW.heartbeat_timeout_ms
    )
    EXECUTE FUNCTION app_changed();

UPDATE plans SET limits = limits || '{"presence_members": {"max": 1000}}'
    WHERE name = 'free' AND NOT limits ? 'presence_members';
UPDATE plans SET limits = limits || '{"presence_members": {"max": 20000}}'
    WHERE name = 'pro' AND NOT limits ? 'presence_members';
