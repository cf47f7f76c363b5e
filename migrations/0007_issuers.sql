-- Issuers: public keys, or URLs of them, whose tokens an app trusts. No secret is in here.

CREATE TABLE issuers (
    id object_id PRIMARY KEY,
    tenant_id object_id NOT NULL,
    app_id object_id NOT NULL,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    iss text NOT NULL CHECK (octet_length(iss) BETWEEN 1 AND 500),
    aud text CHECK (octet_length(aud) BETWEEN 1 AND 500),
    -- One key as a JWK, or a URL with the algorithms that are taken from it. Never changed: another key is another issuer.
    source jsonb NOT NULL CHECK (jsonb_typeof(source) = 'object'),
    -- json and not jsonb: people find their patterns in the order in which they wrote them.
    ceiling json NOT NULL,
    claims jsonb NOT NULL CHECK (jsonb_typeof(claims) = 'object'),
    enabled boolean NOT NULL DEFAULT true,
    created_by object_id REFERENCES users (id),
    created_at timestamptz NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id),
    UNIQUE (tenant_id, app_id, id)
);
CREATE INDEX issuers_by_app ON issuers (app_id, id);

-- How the last fetch of an issuer's keys went, as some node tells it.
CREATE TABLE issuer_fetches (
    tenant_id object_id NOT NULL,
    app_id object_id NOT NULL,
    issuer_id object_id PRIMARY KEY,
    attempted_at timestamptz NOT NULL,
    -- The last time it went well, and what was found then: kid and algorithm of each key.
    fetched_at timestamptz,
    keys jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(keys) = 'array' AND jsonb_array_length(keys) <= 100),
    -- What went wrong the last time; NULL when nothing did.
    error text CHECK (char_length(error) <= 300),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id),
    FOREIGN KEY (tenant_id, app_id, issuer_id) REFERENCES issuers (tenant_id, app_id, id) ON DELETE CASCADE
);

ALTER TABLE issuers ENABLE ROW LEVEL SECURITY;
ALTER TABLE issuers FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON issuers TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON issuers TO fanfare_app
    USING (tenant_id = scope_tenant()) WITH CHECK (tenant_id = scope_tenant());
CREATE POLICY feed ON issuers FOR SELECT TO fanfare_feed USING (true);
GRANT SELECT, INSERT, DELETE ON issuers TO fanfare_app;
GRANT UPDATE (name, aud, ceiling, claims, enabled, revision) ON issuers TO fanfare_app;
GRANT SELECT (id, app_id, name, iss, aud, source, ceiling, claims, enabled) ON issuers TO fanfare_feed;

ALTER TABLE issuer_fetches ENABLE ROW LEVEL SECURITY;
ALTER TABLE issuer_fetches FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON issuer_fetches TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON issuer_fetches FOR SELECT TO fanfare_app USING (tenant_id = scope_tenant());
GRANT SELECT ON issuer_fetches TO fanfare_app;

CREATE CONSTRAINT TRIGGER feed AFTER INSERT OR UPDATE OR DELETE ON issuers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION part_of_app_changed();

-- Nodes tell through the feed's role, which writes nothing else. What they tell changes no snapshot.
CREATE FUNCTION feed_issuer_fetched(issuer bytea, attempted timestamptz, found jsonb, failure text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    INSERT INTO issuer_fetches (tenant_id, app_id, issuer_id, attempted_at, fetched_at, keys, error)
        SELECT tenant_id, app_id, id, attempted, CASE WHEN failure IS NULL THEN attempted END, coalesce(found, '[]'), failure
        FROM issuers WHERE id = issuer
        ON CONFLICT (issuer_id) DO UPDATE SET
            attempted_at = excluded.attempted_at,
            fetched_at = coalesce(excluded.fetched_at, issuer_fetches.fetched_at),
            keys = CASE WHEN excluded.error IS NULL THEN excluded.keys ELSE issuer_fetches.keys END,
            error = excluded.error
$$;
GRANT EXECUTE ON FUNCTION feed_issuer_fetched(bytea, timestamptz, jsonb, text) TO fanfare_feed;
