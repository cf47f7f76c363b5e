-- Apps and what belongs to one: keys, ACL, channel settings, limits.
--
-- `revision` grows with every edit of a row or document and is its ETag. The version of an app's snapshot is another
-- number, kept in 0003_feed.sql. What an app owns carries the tenant too and refers to both at once, so that a row can
-- never belong to one tenant and to an app of another.

CREATE TABLE apps (
    id object_id PRIMARY KEY,
    tenant_id object_id NOT NULL REFERENCES tenants (id),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    origins text[] NOT NULL DEFAULT '{}' CHECK (cardinality(origins) <= 100),
    heartbeat_ms integer NOT NULL DEFAULT 25000 CHECK (heartbeat_ms BETWEEN 5000 AND 300000),
    revision bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    UNIQUE (tenant_id, id),
    CONSTRAINT apps_name_key UNIQUE (tenant_id, name)
);

CREATE TABLE keys (
    id object_id PRIMARY KEY,
    tenant_id object_id NOT NULL,
    app_id object_id NOT NULL,
    -- `platform`: the hidden key with which the control plane signs tokens for the dashboard's live pages.
    kind text NOT NULL DEFAULT 'api' CHECK (kind IN ('api', 'platform')),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    -- json and not jsonb: people find their patterns in the order in which they wrote them.
    capabilities json NOT NULL,
    last_four text NOT NULL CHECK (char_length(last_four) = 4),
    secret_hash sha256_digest NOT NULL,
    -- The printed secret under the master key, only where the key may sign: verifying a signature needs it.
    sealed bytea CHECK (octet_length(sealed) <= 1000),
    expires_at timestamptz,
    revoked_at timestamptz,
    created_by object_id REFERENCES users (id),
    created_at timestamptz NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);
CREATE INDEX keys_by_app ON keys (app_id, id);
CREATE UNIQUE INDEX keys_platform_key ON keys (app_id) WHERE kind = 'platform';

-- One row for each revision of an app's ACL; the one with the greatest revision is in force.
CREATE TABLE acls (
    tenant_id object_id NOT NULL,
    app_id object_id NOT NULL,
    revision bigint NOT NULL,
    rules jsonb NOT NULL CHECK (jsonb_typeof(rules) = 'array' AND jsonb_array_length(rules) <= 1000),
    created_by object_id REFERENCES users (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (app_id, revision),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);

CREATE TABLE channel_settings (
    tenant_id object_id NOT NULL,
    app_id object_id PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    settings jsonb NOT NULL DEFAULT '[]'
        CHECK (jsonb_typeof(settings) = 'array' AND jsonb_array_length(settings) <= 100),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);

-- What differs from the plan: the operator's override, which may raise and may end, and what the tenant lowered.
CREATE TABLE app_limits (
    tenant_id object_id NOT NULL,
    app_id object_id PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    lowered jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(lowered) = 'object'),
    overridden jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(overridden) = 'object'),
    overridden_until timestamptz,
    overridden_why text CHECK (char_length(overridden_why) <= 500),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);
CREATE INDEX app_limits_by_end ON app_limits (overridden_until) WHERE overridden_until IS NOT NULL;

ALTER TABLE apps ENABLE ROW LEVEL SECURITY;
ALTER TABLE apps FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON apps TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON apps TO fanfare_app USING (tenant_id = scope_tenant()) WITH CHECK (tenant_id = scope_tenant());
CREATE POLICY member ON apps FOR SELECT TO fanfare_app
    USING (tenant_id IN (SELECT tenant_id FROM memberships WHERE user_id = scope_user()));
CREATE POLICY feed ON apps FOR SELECT TO fanfare_feed USING (true);
GRANT SELECT, INSERT ON apps TO fanfare_app;
GRANT UPDATE (name, origins, heartbeat_ms, revision) ON apps TO fanfare_app;
GRANT SELECT (id, tenant_id, origins, heartbeat_ms) ON apps TO fanfare_feed;

ALTER TABLE keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE keys FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON keys TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON keys TO fanfare_app USING (tenant_id = scope_tenant()) WITH CHECK (tenant_id = scope_tenant());
CREATE POLICY feed ON keys FOR SELECT TO fanfare_feed USING (true);
-- The hash of a secret is checked by nodes and by fanfare_auth's functions, never here.
GRANT SELECT (
    id, tenant_id, app_id, kind, name, capabilities, last_four, sealed, expires_at, revoked_at, created_by, created_at,
    revision
) ON keys TO fanfare_app;
GRANT INSERT, UPDATE (name, revoked_at, revision) ON keys TO fanfare_app;
GRANT SELECT (id, app_id, name, capabilities, secret_hash, sealed, expires_at, revoked_at) ON keys TO fanfare_feed;

ALTER TABLE acls ENABLE ROW LEVEL SECURITY;
ALTER TABLE acls FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON acls TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON acls TO fanfare_app USING (tenant_id = scope_tenant()) WITH CHECK (tenant_id = scope_tenant());
CREATE POLICY feed ON acls FOR SELECT TO fanfare_feed USING (true);
-- Old revisions beyond those that are kept are deleted, never changed.
GRANT SELECT, INSERT, DELETE ON acls TO fanfare_app;
GRANT SELECT (app_id, revision, rules) ON acls TO fanfare_feed;

ALTER TABLE channel_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE channel_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON channel_settings TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON channel_settings TO fanfare_app
    USING (tenant_id = scope_tenant()) WITH CHECK (tenant_id = scope_tenant());
CREATE POLICY feed ON channel_settings FOR SELECT TO fanfare_feed USING (true);
GRANT SELECT, INSERT ON channel_settings TO fanfare_app;
GRANT UPDATE (settings, revision) ON channel_settings TO fanfare_app;
GRANT SELECT (app_id, settings) ON channel_settings TO fanfare_feed;

ALTER TABLE app_limits ENABLE ROW LEVEL SECURITY;
ALTER TABLE app_limits FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON app_limits TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON app_limits TO fanfare_app
    USING (tenant_id = scope_tenant()) WITH CHECK (tenant_id = scope_tenant());
CREATE POLICY feed ON app_limits FOR SELECT TO fanfare_feed USING (true);
-- Tenants lower; only the operator overrides.
GRANT SELECT ON app_limits TO fanfare_app;
GRANT INSERT (tenant_id, app_id), UPDATE (lowered, revision) ON app_limits TO fanfare_app;
GRANT SELECT (app_id, lowered, overridden, overridden_until) ON app_limits TO fanfare_feed;
