-- Kept figures: what each app did, in spans of ten seconds for an hour, of a minute for thirty days, of an hour for two
-- years.
--
-- A row belongs to one span of one app as one process measured it, so no two processes ever write the same row, and
-- whatever is told twice is told to the same row. A span that goes on is written again with a greater revision; the same
-- or an older revision changes nothing. That makes rows a ledger: delivered at least once, counted once. Sums over
-- processes and over time are made when somebody reads: counters are added, histograms merged, percentiles computed.

CREATE TABLE statistics (
    tenant_id object_id NOT NULL,
    app_id object_id NOT NULL,
    -- How long the span is, in seconds.
    span integer NOT NULL CHECK (span IN (10, 60, 3600)),
    start_at timestamptz NOT NULL,
    -- The process that measured it, new at each start.
    node_id object_id NOT NULL,
    revision bigint NOT NULL,
    -- The most that were read in the span.
    connections bigint NOT NULL,
    subscriptions bigint NOT NULL,
    channels bigint NOT NULL,
    connects bigint NOT NULL,
    messages_in bigint NOT NULL,
    bytes_in bigint NOT NULL,
    messages_out bigint NOT NULL,
    bytes_out bigint NOT NULL,
    resumed bigint NOT NULL,
    not_resumed bigint NOT NULL,
    recovered bigint NOT NULL,
    not_recovered bigint NOT NULL,
    -- Counts by word, as `Counts` in core.
    disconnects jsonb NOT NULL CHECK (jsonb_typeof(disconnects) = 'object'),
    errors jsonb NOT NULL CHECK (jsonb_typeof(errors) = 'object'),
    rejections jsonb NOT NULL CHECK (jsonb_typeof(rejections) = 'object'),
    -- The histogram of each stage in the compact form of core's `Histogram`, in base64.
    latency jsonb NOT NULL CHECK (jsonb_typeof(latency) = 'object'),
    PRIMARY KEY (app_id, span, start_at, node_id),
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);
CREATE INDEX statistics_by_age ON statistics (span, start_at);

ALTER TABLE statistics ENABLE ROW LEVEL SECURITY;
ALTER TABLE statistics FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON statistics TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON statistics FOR SELECT TO fanfare_app USING (tenant_id = scope_tenant());
GRANT SELECT ON statistics TO fanfare_app;

-- Spans in which anything was measured at all, on any node. An app that is in none of a span's rows was idle when the
-- span is here, and is not known of when it is not: a gap is not a zero.
CREATE TABLE measured_spans (
    span integer NOT NULL CHECK (span IN (10, 60, 3600)),
    start_at timestamptz NOT NULL,
    PRIMARY KEY (span, start_at)
);

ALTER TABLE measured_spans ENABLE ROW LEVEL SECURITY;
ALTER TABLE measured_spans FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON measured_spans TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY everybody ON measured_spans FOR SELECT TO fanfare_app USING (true);
GRANT SELECT ON measured_spans TO fanfare_app;

-- Takes in what a process measured, and tells the time of this clock. Rows of apps that are gone are passed over.
CREATE FUNCTION feed_keep_statistics(node bytea, spans jsonb, rows jsonb) RETURNS timestamptz
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    INSERT INTO measured_spans (span, start_at)
        SELECT told.span, to_timestamp(told.start_s)
        FROM jsonb_to_recordset(spans) AS told (span integer, start_s bigint)
        ON CONFLICT DO NOTHING;
    INSERT INTO statistics (
        tenant_id, app_id, span, start_at, node_id, revision, connections, subscriptions, channels, connects,
        messages_in, bytes_in, messages_out, bytes_out, resumed, not_resumed, recovered, not_recovered, disconnects,
        errors, rejections, latency
    )
        SELECT apps.tenant_id, apps.id, told.span, to_timestamp(told.start_s), node, told.revision, told.connections,
            told.subscriptions, told.channels, told.connects, told.messages_in, told.bytes_in, told.messages_out,
            told.bytes_out, told.resumed, told.not_resumed, told.recovered, told.not_recovered, told.disconnects, told.errors, told.rejections,
            told.latency
        FROM jsonb_to_recordset(rows) AS told (
            app text, span integer, start_s bigint, revision bigint, connections bigint, subscriptions bigint,
            channels bigint, connects bigint, messages_in bigint, bytes_in bigint, messages_out bigint,
            bytes_out bigint, resumed bigint, not_resumed bigint, recovered bigint, not_recovered bigint, disconnects jsonb, errors jsonb,
            rejections jsonb, latency jsonb
        )
        JOIN apps ON apps.id = decode(told.app, 'hex')
        ON CONFLICT ON CONSTRAINT statistics_pkey DO UPDATE SET
            revision = excluded.revision, connections = excluded.connections, subscriptions = excluded.subscriptions,
            channels = excluded.channels, connects = excluded.connects, messages_in = excluded.messages_in,
            bytes_in = excluded.bytes_in, messages_out = excluded.messages_out, bytes_out = excluded.bytes_out,
            resumed = excluded.resumed, not_resumed = excluded.not_resumed, recovered = excluded.recovered, not_recovered = excluded.not_recovered,
            disconnects = excluded.disconnects, errors = excluded.errors, rejections = excluded.rejections,
            latency = excluded.latency
            WHERE statistics.revision < excluded.revision;
    SELECT clock_timestamp();
$$;

-- Lets go what is older than it is kept, a bounded part a call. Ten seconds' spans stay a little longer than the hour
-- that is shown. Processes that do so at once do not wait for each other.
CREATE FUNCTION feed_trim_statistics(now timestamptz, rows_max integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = fanfare, pg_temp AS $$
    DELETE FROM statistics USING (
        SELECT kept.app_id, kept.span, kept.start_at, kept.node_id
        FROM (VALUES (10, interval '70 minutes'), (60, interval '30 days'), (3600, interval '2 years')) AS rule (span, age)
        JOIN statistics kept ON kept.span = rule.span AND kept.start_at < now - rule.age
        LIMIT rows_max FOR UPDATE OF kept SKIP LOCKED
    ) AS old
    WHERE statistics.app_id = old.app_id AND statistics.span = old.span AND statistics.start_at = old.start_at
        AND statistics.node_id = old.node_id;
    DELETE FROM measured_spans USING (
        SELECT kept.span, kept.start_at
        FROM (VALUES (10, interval '70 minutes'), (60, interval '30 days'), (3600, interval '2 years')) AS rule (span, age)
        JOIN measured_spans kept ON kept.span = rule.span AND kept.start_at < now - rule.age
        LIMIT rows_max FOR UPDATE OF kept SKIP LOCKED
    ) AS old
    WHERE measured_spans.span = old.span AND measured_spans.start_at = old.start_at;
$$;

GRANT EXECUTE ON FUNCTION
    feed_keep_statistics(bytea, jsonb, jsonb),
    feed_trim_statistics(timestamptz, integer)
TO fanfare_feed;
