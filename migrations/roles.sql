-- The roles and the schema, before any migration. Run each time, because roles belong to the cluster and not to the
-- database: a dump restored elsewhere finds its migrations applied and its roles missing.
--
--   fanfare_owner  owns every table and function; used for migrations only
--   fanfare_app    requests of members; sees the rows of the tenant or user its transaction names, else none
--   fanfare_auth   no rights on tables at all; calls the functions of 0004_auth.sql
--   fanfare_feed   reads what snapshots of apps are made of, and nothing else
--
-- Nothing here changes a role that exists: other databases of the cluster use it too, and may be doing this same thing
-- at this moment. The server looks at the roles when it starts and refuses what they must not be.
DO $$
DECLARE
    wanted text;
    is_member text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['fanfare_owner', 'fanfare_app', 'fanfare_auth', 'fanfare_feed'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        IF NOT pg_has_role(current_user, wanted, is_member) THEN
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
            EXCEPTION WHEN unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    BEGIN
        CREATE SCHEMA IF NOT EXISTS fanfare AUTHORIZATION fanfare_owner;
    EXCEPTION WHEN unique_violation THEN
        NULL;
    END;
END
$$;
