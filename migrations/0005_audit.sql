-- The audit log: one row for every change, in the same transaction, never changed afterwards.
--
-- Each tenant's rows form a chain: a row's hash covers the row and the hash of the one before. The head remembers how
-- long the chain is, so that rows cut off its end are missed too. `audit.rs` in the store computes the same hashes
-- apart from here and compares.

CREATE TABLE audit_heads (
    tenant_id object_id PRIMARY KEY REFERENCES tenants (id),
    number bigint NOT NULL,
    hash sha256_digest NOT NULL
);

CREATE TABLE audit_log (
    tenant_id object_id NOT NULL REFERENCES tenants (id),
    number bigint NOT NULL,
    id object_id NOT NULL UNIQUE,
    at timestamptz NOT NULL,
    -- NULL: the platform itself.
    actor object_id REFERENCES users (id),
    ip text CHECK (char_length(ip) <= 100),
    action text NOT NULL CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
    target text NOT NULL CHECK (char_length(target) <= 100),
    app_id object_id,
    before jsonb,
    after jsonb,
    hash sha256_digest NOT NULL,
    PRIMARY KEY (tenant_id, number),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);

-- A field with its length, so that no two rows read the same; NULL has the length -1.
CREATE FUNCTION audit_field(value bytea) RETURNS bytea LANGUAGE sql IMMUTABLE
    AS $$ SELECT coalesce(int4send(octet_length(value)) || value, int4send(-1)) $$;

CREATE FUNCTION audit_append() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = fanfare, pg_temp AS $$
DECLARE
    head audit_heads;
BEGIN
    INSERT INTO audit_heads (tenant_id, number, hash)
        VALUES (NEW.tenant_id, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
    -- Writers of one tenant take turns here until they commit.
    SELECT * INTO head FROM audit_heads WHERE tenant_id = NEW.tenant_id FOR UPDATE;
    NEW.number := head.number + 1;
    NEW.at := clock_timestamp();
    NEW.hash := sha256(
        head.hash
        || audit_field(NEW.tenant_id)
        || audit_field(int8send(NEW.number))
        || audit_field(NEW.id)
        || audit_field(int8send((extract(epoch FROM NEW.at) * 1000000)::bigint))
        || audit_field(NEW.actor)
        || audit_field(convert_to(NEW.ip, 'UTF8'))
        || audit_field(convert_to(NEW.action, 'UTF8'))
        || audit_field(convert_to(NEW.target, 'UTF8'))
        || audit_field(NEW.app_id)
        || audit_field(convert_to(NEW.before::text, 'UTF8'))
        || audit_field(convert_to(NEW.after::text, 'UTF8'))
    );
    UPDATE audit_heads SET number = NEW.number, hash = NEW.hash WHERE tenant_id = NEW.tenant_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER append BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_append();

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only ever appended to' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

ALTER TABLE audit_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_heads FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON audit_heads TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON audit_heads FOR SELECT TO fanfare_app USING (tenant_id = scope_tenant());
GRANT SELECT ON audit_heads TO fanfare_app;

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON audit_log TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON audit_log TO fanfare_app USING (tenant_id = scope_tenant()) WITH CHECK (tenant_id = scope_tenant());
GRANT SELECT, INSERT (tenant_id, id, actor, ip, action, target, app_id, before, after) ON audit_log TO fanfare_app;
