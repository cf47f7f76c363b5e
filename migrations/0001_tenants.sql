-- Tenants, people, who belongs where; and how row-level security knows who asks.
--
-- Every table has row-level security enabled and forced, and a policy `owner` that lets migrations see all rows: without
-- it a migration that fills a new column would quietly change nothing. What the others see stands with each table.

-- Functions can be called by those who are named, not by everybody.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

GRANT USAGE ON SCHEMA fanfare TO fanfare_app, fanfare_auth, fanfare_feed;
GRANT SELECT ON _sqlx_migrations TO fanfare_app, fanfare_auth, fanfare_feed;

-- The 128 bits of an id, in the order that sorts by time.
CREATE DOMAIN object_id AS bytea CHECK (octet_length(VALUE) = 16);
CREATE DOMAIN sha256_digest AS bytea CHECK (octet_length(VALUE) = 32);

-- Whose rows this transaction may see. Unset, or emptied by the end of an earlier transaction, is nobody.
CREATE FUNCTION scope_tenant() RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT decode(nullif(current_setting('app.tenant', true), ''), 'hex') $$;
CREATE FUNCTION scope_user() RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT decode(nullif(current_setting('app.user', true), ''), 'hex') $$;
GRANT EXECUTE ON FUNCTION scope_tenant(), scope_user() TO fanfare_app;

-- Limits by name, as `Limits` in core prints them. What a plan does not name is bounded only for the server's safety.
CREATE TABLE plans (
    name text PRIMARY KEY CHECK (char_length(name) BETWEEN 1 AND 100),
    limits jsonb NOT NULL CHECK (jsonb_typeof(limits) = 'object')
);
INSERT INTO plans (name, limits) VALUES
('unlimited', '{}'),
('free', '{
    "connections": {"max": 1000},
    "connect_rate": {"max": 100, "burst": 100},
    "message_bytes": {"max": 65536},
    "publish_channel": {"max": 100, "burst": 300},
    "publish_connection": {"max": 50, "burst": 50},
    "publish_app": {"max": 1000, "burst": 1000},
    "subscriptions": {"max": 500},
    "history_age": {"max": 600000},
    "history_messages": {"max": 10000},
    "history_bytes": {"max": 16777216},
    "history_bytes_app": {"max": 268435456},
    "batch_channels": {"max": 100},
    "batch_messages": {"max": 1000},
    "batch_bytes": {"max": 4194304},
    "rest_requests": {"max": 100, "burst": 100}
}'),
('pro', '{
    "connections": {"max": 50000},
    "connect_rate": {"max": 1000, "burst": 1000},
    "message_bytes": {"max": 262144},
    "publish_channel": {"max": 1000, "burst": 3000},
    "publish_connection": {"max": 200, "burst": 200},
    "publish_app": {"max": 20000, "burst": 20000},
    "subscriptions": {"max": 2000},
    "history_age": {"max": 2592000000},
    "history_bytes": {"max": 67108864},
    "history_bytes_app": {"max": 17179869184},
    "batch_channels": {"max": 100},
    "batch_messages": {"max": 1000},
    "batch_bytes": {"max": 4194304},
    "rest_requests": {"max": 2000, "burst": 2000}
}');

CREATE TABLE tenants (
    id object_id PRIMARY KEY,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    status text NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'publish_blocked', 'connect_blocked', 'all_blocked', 'deleted')),
    plan text NOT NULL DEFAULT 'unlimited' REFERENCES plans (name),
    created_at timestamptz NOT NULL
);

CREATE TABLE users (
    id object_id PRIMARY KEY,
    email text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    -- A PHC string.
    password_hash text NOT NULL CHECK (password_hash LIKE '$%' AND char_length(password_hash) <= 500),
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

CREATE TABLE memberships (
    tenant_id object_id NOT NULL REFERENCES tenants (id),
    user_id object_id NOT NULL REFERENCES users (id),
    role text NOT NULL CHECK (role IN ('viewer', 'developer', 'admin', 'owner')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id);

ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
ALTER TABLE plans FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON plans TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY everyone ON plans FOR SELECT TO fanfare_app, fanfare_feed USING (true);
GRANT SELECT ON plans TO fanfare_app, fanfare_feed;

ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON memberships TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON memberships FOR SELECT TO fanfare_app USING (tenant_id = scope_tenant());
CREATE POLICY member ON memberships FOR SELECT TO fanfare_app USING (user_id = scope_user());
GRANT SELECT ON memberships TO fanfare_app;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON tenants TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tenants FOR SELECT TO fanfare_app USING (id = scope_tenant());
CREATE POLICY member ON tenants FOR SELECT TO fanfare_app
    USING (id IN (SELECT tenant_id FROM memberships WHERE user_id = scope_user()));
CREATE POLICY feed ON tenants FOR SELECT TO fanfare_feed USING (true);
GRANT SELECT ON tenants TO fanfare_app;
GRANT SELECT (id, status, plan) ON tenants TO fanfare_feed;

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON users TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY self ON users FOR SELECT TO fanfare_app USING (id = scope_user());
CREATE POLICY tenant ON users FOR SELECT TO fanfare_app
    USING (id IN (SELECT user_id FROM memberships WHERE tenant_id = scope_tenant()));
-- Password hashes are for fanfare_auth alone.
GRANT SELECT (id, email, created_at) ON users TO fanfare_app;
