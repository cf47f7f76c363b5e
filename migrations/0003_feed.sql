-- The change feed: every change of what an app's snapshot is made of gives the app a new version and tells listeners.
--
-- Versions come from one sequence, so that one number says how far a node has read. A number drawn early may be committed
-- late, and a reader that has passed it would never see it; therefore versions are drawn at the very end of a transaction
-- (the triggers are deferred to its commit) and under a lock that is held until the commit is visible: versions become
-- visible in their order. That lock is always the last one taken, and the rows written under it are written nowhere
-- else, so it cannot be part of a deadlock.

CREATE SEQUENCE version_numbers;

CREATE TABLE app_versions (
    tenant_id object_id NOT NULL,
    app_id object_id PRIMARY KEY,
    version bigint NOT NULL,
    FOREIGN KEY (tenant_id, app_id) REFERENCES apps (tenant_id, id)
);
CREATE INDEX app_versions_by_version ON app_versions (version);

ALTER TABLE app_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE app_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON app_versions TO fanfare_owner USING (true) WITH CHECK (true);
CREATE POLICY feed ON app_versions FOR SELECT TO fanfare_feed USING (true);
GRANT SELECT (app_id, version) ON app_versions TO fanfare_feed;

CREATE FUNCTION publish_version(changed bytea) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = fanfare, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fanfare version_numbers', 0));
    INSERT INTO app_versions (tenant_id, app_id, version)
        SELECT tenant_id, id, nextval('version_numbers') FROM apps WHERE id = changed
        ON CONFLICT (app_id) DO UPDATE SET version = excluded.version;
    PERFORM pg_notify('fanfare_apps', encode(changed, 'hex'));
END
$$;

CREATE FUNCTION app_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = fanfare, pg_temp AS $$
BEGIN
    PERFORM publish_version(NEW.id);
    RETURN NULL;
END
$$;

CREATE FUNCTION part_of_app_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = fanfare, pg_temp AS $$
BEGIN
    PERFORM publish_version(coalesce(NEW.app_id, OLD.app_id));
    RETURN NULL;
END
$$;

CREATE FUNCTION tenant_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = fanfare, pg_temp AS $$
BEGIN
    PERFORM publish_version(id) FROM apps WHERE tenant_id = NEW.id;
    RETURN NULL;
END
$$;

CREATE FUNCTION plan_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = fanfare, pg_temp AS $$
BEGIN
    PERFORM publish_version(apps.id) FROM apps JOIN tenants ON tenants.id = tenant_id WHERE plan = NEW.name;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER feed_new AFTER INSERT ON apps
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app_changed();
-- No node knows names.
CREATE CONSTRAINT TRIGGER feed AFTER UPDATE ON apps
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.origins IS DISTINCT FROM NEW.origins OR OLD.heartbeat_ms <> NEW.heartbeat_ms)
    EXECUTE FUNCTION app_changed();
-- Sealing a secret anew changes nothing that a node holds.
CREATE CONSTRAINT TRIGGER feed AFTER INSERT OR DELETE OR UPDATE OF name, capabilities, secret_hash, expires_at, revoked_at
    ON keys DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION part_of_app_changed();
CREATE CONSTRAINT TRIGGER feed AFTER INSERT OR UPDATE OR DELETE ON acls
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION part_of_app_changed();
CREATE CONSTRAINT TRIGGER feed AFTER INSERT OR UPDATE OR DELETE ON channel_settings
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION part_of_app_changed();
CREATE CONSTRAINT TRIGGER feed AFTER INSERT OR UPDATE OR DELETE ON app_limits
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION part_of_app_changed();
CREATE CONSTRAINT TRIGGER feed AFTER UPDATE OF status, plan ON tenants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tenant_changed();
CREATE CONSTRAINT TRIGGER feed AFTER UPDATE OF limits ON plans
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION plan_changed();

-- An override that ends changes the snapshot without anybody changing a row, so whoever polls the feed ends it.
CREATE FUNCTION feed_end_overrides(now timestamptz) RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = fanfare, pg_temp AS $$
    UPDATE app_limits SET overridden = '{}', overridden_until = NULL, overridden_why = NULL
        WHERE overridden_until <= now
$$;
GRANT EXECUTE ON FUNCTION feed_end_overrides(timestamptz) TO fanfare_feed;
