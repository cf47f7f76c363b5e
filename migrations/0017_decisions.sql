-- What the rules of each app answered to clients, by the hour and for a day: a change of the rules is tried on it.
--
-- A row belongs to one hour of one app as one process saw it, so no two processes ever write the same row, and whatever is
-- told twice is told to the same row. Its count only grows. A process keeps at most 500 rows of an app and hour; what
-- found no room is counted in `decisions_left_out`. A decision (`Decision` in core) names a user, roles, a channel and
-- what was asked for, and nothing that was said.

CREATE TABLE decisions (
    tenant_id object_id NOT NULL,
    app_id object_id NOT NULL,
    hour timestamptz NOT NULL,
    -- The process that saw it, new at each start.
    node_id object_id NOT NULL,
    -- SHA-256 of the decision, by which rows of several hours and processes are put together.
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    decision jsonb NOT NULL CHECK (jsonb_typeof(decision) = 'object'),
    count bigint NOT NULL CHECK (count > 0),
    last_at timestamptz NOT NULL,
    PRIMARY KEY (app_id, hour, node_id, digest),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);
CREATE INDEX decisions_by_age ON decisions (hour);

ALTER TABLE decisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE decisions FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON decisions TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON decisions FOR SELECT TO fanfare_app USING (tenant_id = scope_tenant());
GRANT SELECT ON decisions TO fanfare_app;

CREATE TABLE decisions_left_out (
    tenant_id object_id NOT NULL,
    app_id object_id NOT NULL,
    hour timestamptz NOT NULL,
    node_id object_id NOT NULL,
    count bigint NOT NULL CHECK (count > 0),
    PRIMARY KEY (app_id, hour, node_id),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);
CREATE INDEX decisions_left_out_by_age ON decisions_left_out (hour);

ALTER TABLE decisions_left_out ENABLE ROW LEVEL SECURITY;
ALTER TABLE decisions_left_out FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON decisions_left_out TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON decisions_left_out FOR SELECT TO fanfare_app USING (tenant_id = scope_tenant());
GRANT SELECT ON decisions_left_out TO fanfare_app;

-- Takes in what a process saw. Rows of apps that are gone are passed over.
CREATE FUNCTION feed_keep_decisions(node bytea, rows jsonb, left_out jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    INSERT INTO decisions (tenant_id, app_id, hour, node_id, digest, decision, count, last_at)
        SELECT apps.tenant_id, apps.id, to_timestamp(told.hour_s), node, sha256(convert_to(told.decision::text, 'UTF8')),
            told.decision, told.count, to_timestamp(told.last_s)
        FROM jsonb_to_recordset(rows) AS told (app text, hour_s bigint, decision jsonb, count bigint, last_s bigint)
        JOIN apps ON apps.id = decode(told.app, 'hex')
        ON CONFLICT ON CONSTRAINT decisions_pkey DO UPDATE SET
            count = greatest(decisions.count, excluded.count), last_at = greatest(decisions.last_at, excluded.last_at);
    INSERT INTO decisions_left_out (tenant_id, app_id, hour, node_id, count)
        SELECT apps.tenant_id, apps.id, to_timestamp(told.hour_s), node, told.count
        FROM jsonb_to_recordset(left_out) AS told (app text, hour_s bigint, count bigint)
        JOIN apps ON apps.id = decode(told.app, 'hex')
        ON CONFLICT ON CONSTRAINT decisions_left_out_pkey DO UPDATE SET
            count = greatest(decisions_left_out.count, excluded.count);
$$;

-- Lets go what is older than a day and the hour that began it, a bounded part a call.
CREATE FUNCTION feed_trim_decisions(now timestamptz, rows_max integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    DELETE FROM decisions USING (
        SELECT app_id, hour, node_id, digest FROM decisions
        WHERE hour < now - interval '25 hours' LIMIT rows_max FOR UPDATE SKIP LOCKED
    ) AS old
    WHERE decisions.app_id = old.app_id AND decisions.hour = old.hour AND decisions.node_id = old.node_id
        AND decisions.digest = old.digest;
    DELETE FROM decisions_left_out USING (
        SELECT app_id, hour, node_id FROM decisions_left_out
        WHERE hour < now - interval '25 hours' LIMIT rows_max FOR UPDATE SKIP LOCKED
    ) AS old
    WHERE decisions_left_out.app_id = old.app_id AND decisions_left_out.hour = old.hour
        AND decisions_left_out.node_id = old.node_id;
$$;

GRANT EXECUTE ON FUNCTION
    feed_keep_decisions(bytea, jsonb, jsonb),
    feed_trim_decisions(timestamptz, integer)
TO fanfare_feed;
