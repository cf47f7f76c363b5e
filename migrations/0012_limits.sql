-- The limit `delivery` of the plans that ship, and how near each app is to its limits.

UPDATE plans SET limits = limits || '{"delivery": {"max": 200, "burst": 200}}'
    WHERE name = 'free' AND NOT limits ? 'delivery';
UPDATE plans SET limits = limits || '{"delivery": {"max": 1000, "burst": 1000}}'
    WHERE name = 'pro' AND NOT limits ? 'delivery';

-- What each node last told of an app: by limit what is used now, the peaks, and what was refused. Written over every few
-- seconds, so without a version and without the change feed.
CREATE TABLE limit_use (
    tenant_id object_id NOT NULL,
    app_id object_id NOT NULL,
    -- One process, from its start to its end.
    node text NOT NULL CHECK (char_length(node) BETWEEN 1 AND 100),
    told_at timestamptz NOT NULL,
    used jsonb NOT NULL CHECK (jsonb_typeof(used) = 'object'),
    PRIMARY KEY (app_id, node),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);
CREATE INDEX limit_use_by_time ON limit_use (told_at);

ALTER TABLE limit_use ENABLE ROW LEVEL SECURITY;
ALTER TABLE limit_use FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON limit_use TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON limit_use FOR SELECT TO fanfare_app USING (tenant_id = scope_tenant());
GRANT SELECT ON limit_use TO fanfare_app;

-- The feed writes no table: what a node tells goes through here. Apps that are gone meanwhile are passed over, and rows of
-- nodes that have long been silent go.
CREATE FUNCTION feed_tell_limit_use(told_by text, now timestamptz, ids bytea[], words jsonb[]) RETURNS void LANGUAGE sql
    SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    DELETE FROM limit_use WHERE told_at < now - interval '2 days';
    INSERT INTO limit_use (tenant_id, app_id, node, told_at, used)
        SELECT apps.tenant_id, apps.id, told_by, now, told.used
        FROM UNNEST(ids, words) AS told (app_id, used) JOIN apps ON apps.id = told.app_id
        ON CONFLICT (app_id, node) DO UPDATE SET told_at = excluded.told_at, used = excluded.used;
$$;
GRANT EXECUTE ON FUNCTION feed_tell_limit_use(text, timestamptz, bytea[], jsonb[]) TO fanfare_feed;
