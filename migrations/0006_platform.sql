-- What the platform keeps for itself: answers to repeated requests, its own secrets, and the rotation of the master key.

-- An answer is kept for a request with an Idempotency-Key; until there is one, whoever reserved the key works on it.
CREATE TABLE idempotency_keys (
    -- The tenant or the user within whose requests the key is unique.
    scope object_id NOT NULL,
    key text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    request_hash sha256_digest NOT NULL,
    -- Tells this reservation from a later one of the same key.
    reservation object_id NOT NULL,
    reserved_until timestamptz NOT NULL,
    status smallint CHECK (status BETWEEN 100 AND 599),
    -- The answer's body under the master key: it may hold a secret that is shown once.
    sealed bytea CHECK (octet_length(sealed) <= 70000),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (scope, key),
    CHECK ((status IS NULL) = (sealed IS NULL))
);
CREATE INDEX idempotency_keys_by_end ON idempotency_keys (scope, expires_at);

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON idempotency_keys TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON idempotency_keys TO fanfare_app
    USING (scope = scope_tenant()) WITH CHECK (scope = scope_tenant());
CREATE POLICY self ON idempotency_keys TO fanfare_app USING (scope = scope_user()) WITH CHECK (scope = scope_user());
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO fanfare_app;

-- Keys of the platform itself, made once and never derived from the master key, whose rotation must move nothing.
CREATE TABLE platform_secrets (
    name text PRIMARY KEY CHECK (char_length(name) BETWEEN 1 AND 100),
    sealed bytea NOT NULL CHECK (octet_length(sealed) <= 1000),
    created_at timestamptz NOT NULL
);

ALTER TABLE platform_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE platform_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON platform_secrets TO fanfare_owner USING (true) WITH CHECK (true);
-- Nodes tag positions; what goes into password hashes is none of theirs.
CREATE POLICY feed ON platform_secrets FOR SELECT TO fanfare_feed USING (name = 'position_key');
GRANT SELECT (name, sealed) ON platform_secrets TO fanfare_feed;

-- The first server to start decides; the others find what it made.
CREATE FUNCTION auth_offer_secret(name text, sealed bytea, now timestamptz) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    INSERT INTO platform_secrets (name, sealed, created_at) VALUES (name, sealed, now) ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION auth_secret(wanted text) RETURNS bytea
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    SELECT sealed FROM platform_secrets WHERE name = wanted
$$;

-- Everything sealed, by what it is bound to: the table and the row's id as the store spells them.
CREATE VIEW sealed_values AS
    SELECT 'keys' AS kind, id::bytea AS id, sealed FROM keys WHERE sealed IS NOT NULL
    UNION ALL
    SELECT 'platform_secrets', convert_to(name, 'UTF8'), sealed FROM platform_secrets
    UNION ALL
    SELECT 'idempotency_keys', scope || convert_to(key, 'UTF8'), sealed FROM idempotency_keys WHERE sealed IS NOT NULL;

CREATE FUNCTION auth_sealed_values(after_kind text, after_id bytea)
    RETURNS TABLE (kind text, id bytea, sealed bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    SELECT kind, id, sealed FROM sealed_values WHERE (kind, id) > (after_kind, after_id) ORDER BY kind, id LIMIT 100
$$;

-- Replaces a sealed value unless it was replaced meanwhile.
CREATE FUNCTION auth_reseal(of_kind text, of_id bytea, old bytea, new bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    UPDATE keys SET sealed = new WHERE of_kind = 'keys' AND id = of_id AND sealed = old;
    UPDATE platform_secrets SET sealed = new
        WHERE of_kind = 'platform_secrets' AND convert_to(name, 'UTF8') = of_id AND sealed = old;
    UPDATE idempotency_keys SET sealed = new
        WHERE of_kind = 'idempotency_keys' AND scope || convert_to(key, 'UTF8') = of_id AND sealed = old;
$$;

GRANT EXECUTE ON FUNCTION
    auth_offer_secret(text, bytea, timestamptz),
    auth_secret(text),
    auth_sealed_values(text, bytea),
    auth_reseal(text, bytea, bytea, bytea)
TO fanfare_auth;
