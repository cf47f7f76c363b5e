-- Before anybody is known: accounts, sessions, welcome codes. fanfare_auth has no right on any table; it calls these
-- functions, each of which gives out one thing to somebody who already holds the key to it.

CREATE TABLE sessions (
    id object_id PRIMARY KEY,
    user_id object_id NOT NULL REFERENCES users (id),
    token_hash sha256_digest NOT NULL UNIQUE,
    ip text CHECK (char_length(ip) <= 100),
    user_agent text CHECK (char_length(user_agent) <= 200),
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);

-- A tenant made at a server's first start waits here for its owner.
CREATE TABLE welcome_codes (
    tenant_id object_id PRIMARY KEY REFERENCES tenants (id),
    code_hash sha256_digest NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    used_at timestamptz
);

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON sessions TO fanfare_owner USING (true) WITH CHECK (true);

ALTER TABLE welcome_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE welcome_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON welcome_codes TO fanfare_owner USING (true) WITH CHECK (true);

CREATE FUNCTION auth_credentials(email text) RETURNS TABLE (user_id bytea, password_hash text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    SELECT id, users.password_hash FROM users WHERE lower(users.email) = lower(auth_credentials.email)
$$;

CREATE FUNCTION auth_replace_password_hash(user_id bytea, old text, new text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    WITH replaced AS (
        UPDATE users SET password_hash = new WHERE id = user_id AND password_hash = old RETURNING 1
    )
    SELECT EXISTS (SELECT FROM replaced)
$$;

CREATE FUNCTION auth_create_tenant(id bytea, name text, now timestamptz) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    INSERT INTO tenants (id, name, created_at) VALUES (id, name, now)
$$;

CREATE FUNCTION auth_create_owner(tenant_id bytea, user_id bytea, email text, password_hash text, now timestamptz)
    RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    INSERT INTO users (id, email, password_hash, created_at) VALUES (user_id, email, password_hash, now);
    INSERT INTO memberships (tenant_id, user_id, role, created_at) VALUES (tenant_id, user_id, 'owner', now);
$$;

-- Limits that hold for a new account until an operator lifts them.
CREATE FUNCTION auth_hold_app(app_id bytea, held jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    UPDATE app_limits SET overridden = held, overridden_why = 'the address was not verified'
        WHERE app_limits.app_id = auth_hold_app.app_id
$$;

-- Signing in. Nobody has use for more than 20 sessions, so the oldest go, and with them those that are over.
CREATE FUNCTION auth_open_session(
    id bytea, user_id bytea, token_hash bytea, ip text, user_agent text, now timestamptz, expires_at timestamptz
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    DELETE FROM sessions WHERE sessions.user_id = auth_open_session.user_id AND (
        sessions.expires_at <= now
        OR sessions.id IN (
            SELECT kept.id FROM sessions kept WHERE kept.user_id = auth_open_session.user_id
            ORDER BY created_at DESC OFFSET 19
        )
    );
    INSERT INTO sessions (id, user_id, token_hash, ip, user_agent, created_at, seen_at, expires_at)
        VALUES (id, user_id, token_hash, ip, user_agent, now, now, expires_at);
$$;

-- The live session with this token. That it was used is written at most once a minute.
CREATE FUNCTION auth_session(token bytea, now timestamptz, idle_since timestamptz)
    RETURNS TABLE (id bytea, user_id bytea, expires_at timestamptz)
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    UPDATE sessions SET seen_at = now
        WHERE token_hash = token AND sessions.expires_at > now AND seen_at > idle_since
            AND seen_at <= now - interval '1 minute';
    SELECT sessions.id, sessions.user_id, sessions.expires_at FROM sessions
        WHERE token_hash = token AND sessions.expires_at > now AND seen_at > idle_since;
$$;

CREATE FUNCTION auth_close_session(token bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    DELETE FROM sessions WHERE token_hash = token
$$;

CREATE FUNCTION auth_key(key_id bytea) RETURNS TABLE (tenant_id bytea, app_id bytea, secret_hash bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    SELECT keys.tenant_id, keys.app_id, keys.secret_hash FROM keys
        WHERE id = key_id AND kind = 'api' AND revoked_at IS NULL
$$;

-- Whether there is any tenant, and the one that waits for its owner. Servers that start at once take turns.
CREATE FUNCTION auth_welcome_state() RETURNS TABLE (has_tenants boolean, unclaimed bytea)
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('fanfare welcome_codes', 0));
    SELECT EXISTS (SELECT FROM tenants), (SELECT tenant_id FROM welcome_codes WHERE used_at IS NULL LIMIT 1);
$$;

CREATE FUNCTION auth_set_welcome(tenant_id bytea, code_hash bytea, now timestamptz) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    INSERT INTO welcome_codes (tenant_id, code_hash, created_at) VALUES (tenant_id, code_hash, now)
        ON CONFLICT ON CONSTRAINT welcome_codes_pkey
        DO UPDATE SET code_hash = excluded.code_hash, created_at = excluded.created_at
            WHERE welcome_codes.used_at IS NULL
$$;

-- Uses up a code and names the tenant it was for. An empty name leaves the tenant's as it is.
CREATE FUNCTION auth_claim_welcome(code bytea, name text, now timestamptz) RETURNS bytea
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    WITH claimed AS (
        UPDATE welcome_codes SET used_at = now WHERE code_hash = code AND used_at IS NULL RETURNING tenant_id
    ), renamed AS (
        UPDATE tenants SET name = auth_claim_welcome.name FROM claimed
            WHERE id = tenant_id AND auth_claim_welcome.name <> ''
    )
    SELECT tenant_id FROM claimed
$$;

GRANT EXECUTE ON FUNCTION
    auth_credentials(text),
    auth_replace_password_hash(bytea, text, text),
    auth_create_tenant(bytea, text, timestamptz),
    auth_create_owner(bytea, bytea, text, text, timestamptz),
    auth_hold_app(bytea, jsonb),
    auth_open_session(bytea, bytea, bytea, text, text, timestamptz, timestamptz),
    auth_session(bytea, timestamptz, timestamptz),
    auth_close_session(bytea),
    auth_key(bytea),
    auth_welcome_state(),
    auth_set_welcome(bytea, bytea, timestamptz),
    auth_claim_welcome(bytea, text, timestamptz)
TO fanfare_auth;
