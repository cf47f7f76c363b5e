-- Revocations of tokens: what an app's backends refuse before its time. Part of the app's snapshot.
--
-- A row is needed no longer than the tokens it covers can live; expired ones are cleared away as new ones come.

CREATE TABLE revocations (
    tenant_id object_id NOT NULL,
    app_id object_id NOT NULL,
    id object_id NOT NULL,
    kind text NOT NULL CHECK (kind IN ('token', 'user', 'label', 'key', 'all')),
    -- The `jti`, the `sub`, the label or the printed id of the key.
    value text NOT NULL CHECK (octet_length(value) <= 255),
    issued_until timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    created_by_key object_id NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (app_id, id),
    -- One for each thing that is revoked: the later takes the place of the earlier.
    CONSTRAINT revocations_once_key UNIQUE (app_id, kind, value),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);
CREATE INDEX revocations_by_end ON revocations (app_id, expires_at);

ALTER TABLE revocations ENABLE ROW LEVEL SECURITY;
ALTER TABLE revocations FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON revocations TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON revocations TO fanfare_app
    USING (tenant_id = scope_tenant()) WITH CHECK (tenant_id = scope_tenant());
CREATE POLICY feed ON revocations FOR SELECT TO fanfare_feed USING (true);
GRANT SELECT, INSERT, DELETE ON revocations TO fanfare_app;
GRANT UPDATE (id, issued_until, expires_at, created_by_key, created_at) ON revocations TO fanfare_app;
GRANT SELECT (app_id, id, kind, value, issued_until, expires_at) ON revocations TO fanfare_feed;

CREATE CONSTRAINT TRIGGER feed AFTER INSERT OR UPDATE OR DELETE ON revocations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION part_of_app_changed();
