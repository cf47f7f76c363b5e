//! Row-level security: what Postgres itself lets each role see, whatever a statement forgets.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use fanfare_core::id::{KeyId, NodeId};
use fanfare_core::issuer::ClaimMap;
use fanfare_core::measures::Measures;
use fanfare_core::{Asked, Capabilities, Decision, KeySource, Limit, Limits, PublicKey, Revoked};
use fanfare_store::{KeptDecision, KeptSpan, LeftOut, MasterKey, NewIssuer, Span, Store, StoreOptions, Used};
use harness::store::{Home, MASTER_KEY, Tenant, home, options};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

/// Tables without anything of a tenant's or a user's: what may stand in a list of them.
const PUBLIC: [&str; 2] = ["measured_spans", "plans"];
/// Rounds of the test for pooled connections; `FANFARE_TEST_ROUNDS=10000` is the long form.
const ROUNDS: usize = 200;

/// Two tenants with a row in every table each.
async fn furnished(home: &Home) -> Result<(Tenant, Tenant)> {
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    for tenant in [&ann, &bob] {
        tenant.tenant.idempotency().begin("one", [1; 32]).await?;
        tenant.member.idempotency().begin("two", [2; 32]).await?;
        tenant.app.lower_limits(1, Limits::default()).await?;
        let backend = home.store.backend(tenant.tenant.id(), tenant.app.id(), KeyId::new(1, 1));
        backend.revoke(Revoked::All, 1_800_000_000_000).await?;
        let (span, measures) = (Span::Hour, Measures { connections: 1, ..Measures::default() });
        let kept = KeptSpan { app: tenant.app.id(), span, start_s: 0, revision: 1, measures: &measures };
        home.store.feed().keep(NodeId::new(1, 1), &[(span, 0)], &[kept]).await?;
        let decision = Decision {
            sub: None,
            roles: Vec::new(),
            claims: BTreeMap::new(),
            has_cap: false,
            asked: Asked::Connect,
            allowed: true,
        };
        let kept = KeptDecision { app: tenant.app.id(), hour_s: 0, decision: &decision, count: 1, last_s: 0 };
        let left_out = LeftOut { app: tenant.app.id(), hour_s: 0, count: 1 };
        home.store.feed().keep_decisions(NodeId::new(1, 1), &[kept], &[left_out]).await?;
        let key = PublicKey::parse(include_str!("../../server/core/src/public_key/fixtures/ec.pem"))?;
        let issuer = NewIssuer {
            name: "id".to_owned(),
            iss: "https://id.example/".to_owned(),
            aud: None,
            source: KeySource::Key(key),
            ceiling: Capabilities::default(),
            claims: ClaimMap::default(),
        };
        let issuer = tenant.app.create_issuer(issuer, None).await?;
        home.store.feed().issuer_fetched(issuer.issuer.id, Err("away")).await?;
    }
    let told = [&ann, &bob].map(|tenant| (tenant.app.id(), BTreeMap::from([(Limit::Connections, Used::default())])));
    home.store.feed().put_limit_use("a node", told.into()).await?;
    let code = "INSERT INTO welcome_codes (tenant_id, code_hash, created_at) SELECT id, sha256(id), now() FROM tenants";
    sqlx::query(code).execute(&home.behind().await?).await?;
    Ok((ann, bob))
}

/// Every table of ours but the list of migrations.
async fn tables(pool: &PgPool) -> Result<Vec<String>> {
    let names = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'fanfare'::regnamespace AND relkind IN ('r', 'p') AND relname <> '_sqlx_migrations'
         ORDER BY relname",
    );
    let names: Vec<String> = names.fetch_all(pool).await?;
    ensure!(names.len() >= 15, "the tables are found: {names:?}");
    Ok(names)
}

async fn enter(connection: &mut PgConnection, setting: &'static str, id: [u8; 16]) -> Result<()> {
    let hex = format!("{:032x}", u128::from_be_bytes(id));
    sqlx::query("SELECT set_config($1, $2, true)").bind(setting).bind(hex).execute(connection).await?;
    Ok(())
}

/// How many rows of a table a role sees that the condition names; `None` when it may not read the table at all.
async fn seen(connection: &mut PgConnection, table: &str, condition: &str) -> Result<Option<i64>> {
    let readable: bool = sqlx::query_scalar("SELECT has_any_column_privilege($1, 'SELECT')")
        .bind(format!("fanfare.{table}"))
        .fetch_one(&mut *connection)
        .await?;
    if !readable {
        return Ok(None);
    }
    let count = AssertSqlSafe(format!("SELECT count(*) FROM fanfare.{table} WHERE {condition}"));
    Ok(Some(sqlx::query_scalar(count).fetch_one(connection).await?))
}

/// The column that says whose a row is.
fn owner_column(table: &str) -> &'static str {
    match table {
        "tenants" | "users" => "id",
        "sessions" => "user_id",
        "idempotency_keys" => "scope",
        _ => "tenant_id",
    }
}

#[tokio::test]
async fn every_table_enforces_row_level_security_even_on_its_owner() -> Result<()> {
    let home = home().await?;
    let loose: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'fanfare'::regnamespace AND relkind IN ('r', 'p') AND relname <> '_sqlx_migrations'
            AND NOT (relrowsecurity AND relforcerowsecurity)",
    )
    .fetch_all(&home.behind().await?)
    .await?;
    assert!(loose.is_empty(), "{loose:?}");
    Ok(())
}

#[tokio::test]
async fn what_an_app_owns_names_its_tenant_in_the_same_foreign_key() -> Result<()> {
    let home = home().await?;
    let single: Vec<String> = sqlx::query_scalar(
        "SELECT conrelid::regclass::text FROM pg_constraint
         WHERE contype = 'f' AND confrelid = 'fanfare.apps'::regclass AND cardinality(conkey) <> 2",
    )
    .fetch_all(&home.behind().await?)
    .await?;
    assert!(single.is_empty(), "{single:?}");
    let loose: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'app_id'
         WHERE relnamespace = 'fanfare'::regnamespace AND relkind = 'r' AND NOT EXISTS (
            SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'f'
                AND confrelid = 'fanfare.apps'::regclass
         )",
    )
    .fetch_all(&home.behind().await?)
    .await?;
    assert!(loose.is_empty(), "{loose:?}");
    Ok(())
}

#[tokio::test]
async fn no_role_of_ours_is_above_row_level_security_or_owns_anything() -> Result<()> {
    let home = home().await?;
    let pool = home.behind().await?;
    let roles: Vec<(String, bool, bool)> = sqlx::query_as(
        "SELECT rolname::text, rolsuper, rolbypassrls FROM pg_roles
         WHERE rolname IN ('fanfare_owner', 'fanfare_app', 'fanfare_auth', 'fanfare_feed')",
    )
    .fetch_all(&pool)
    .await?;
    assert_eq!(roles.len(), 4);
    assert!(roles.iter().all(|(_, superuser, bypasses)| !superuser && !bypasses), "{roles:?}");
    let owners: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'fanfare'::regnamespace
         UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'fanfare'::regnamespace",
    )
    .fetch_all(&pool)
    .await?;
    assert_eq!(owners, ["fanfare_owner"]);
    Ok(())
}

#[tokio::test]
async fn functions_that_act_as_the_owner_are_called_by_the_named_and_search_nowhere_else() -> Result<()> {
    let home = home().await?;
    let pool = home.behind().await?;
    let loose: Vec<String> = sqlx::query_scalar(
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'fanfare'::regnamespace AND prosecdef
            AND NOT coalesce('search_path=fanfare, pg_temp' = ANY (proconfig), false)",
    )
    .fetch_all(&pool)
    .await?;
    assert!(loose.is_empty(), "{loose:?}");
    for (role, prefix) in [("fanfare_app", None), ("fanfare_auth", Some("auth_")), ("fanfare_feed", Some("feed_"))] {
        let callable: Vec<String> = sqlx::query_scalar(
            "SELECT proname::text FROM pg_proc
             WHERE pronamespace = 'fanfare'::regnamespace AND prosecdef AND has_function_privilege($1, oid, 'EXECUTE')",
        )
        .bind(role)
        .fetch_all(&pool)
        .await?;
        let expected = |name: &String| prefix.is_some_and(|prefix| name.starts_with(prefix));
        assert!(callable.iter().all(expected), "{role}: {callable:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_forgotten_where_shows_no_foreign_row_of_any_table() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = furnished(&home).await?;
    let pool = home.as_role("fanfare_app").await?;
    let scopes = [
        ("app.tenant", ann.tenant.id().to_bytes(), bob.tenant.id().to_bytes(), bob.account.user.id.to_bytes()),
        ("app.user", ann.account.user.id.to_bytes(), bob.tenant.id().to_bytes(), bob.account.user.id.to_bytes()),
    ];
    for (setting, own, tenant, user) in scopes {
        let mut own_rows = 0;
        for table in tables(&pool).await?.iter().filter(|table| !PUBLIC.contains(&table.as_str())) {
            let mut tx = pool.begin().await?;
            enter(&mut tx, setting, own).await?;
            let column = owner_column(table);
            let [tenant, user] = [tenant, user].map(|id| format!("'\\x{:032x}'", u128::from_be_bytes(id)));
            let foreign = seen(&mut tx, table, &format!("{column} IN ({tenant}, {user})")).await?;
            assert!(foreign.unwrap_or(0) == 0, "{setting} sees {foreign:?} foreign rows of {table}");
            own_rows += seen(&mut tx, table, "true").await?.unwrap_or(0);
        }
        assert!(own_rows >= 4, "{setting} sees its own rows, or this test shows nothing");
    }
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_names_nobody_sees_nothing() -> Result<()> {
    let home = home().await?;
    furnished(&home).await?;
    let pool = home.as_role("fanfare_app").await?;
    for table in tables(&pool).await?.iter().filter(|table| !PUBLIC.contains(&table.as_str())) {
        // Never set, and set to nothing as the end of another transaction leaves it.
        for named in [None, Some(""), Some("00")] {
            let mut tx = pool.begin().await?;
            if let Some(named) = named {
                let both = "SELECT set_config('app.tenant', $1, true), set_config('app.user', $1, true)";
                sqlx::query(both).bind(named).execute(&mut *tx).await?;
            }
            let rows = seen(&mut tx, table, "true").await?;
            assert!(rows.unwrap_or(0) == 0, "{table}: {rows:?} rows seen by nobody");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_owner_forgets_nothing_but_nobody_becomes_the_owner() -> Result<()> {
    let home = home().await?;
    furnished(&home).await?;
    let behind = home.behind().await?;
    for table in tables(&behind).await? {
        let mut connection = behind.acquire().await?;
        let rows = seen(&mut connection, &table, "true").await?;
        assert!(rows.context("the owner reads all")? >= 1, "{table} has no row to protect: this suite proves less");
    }
    let pool = home.as_role("fanfare_app").await?;
    let member: bool =
        sqlx::query_scalar("SELECT pg_has_role('fanfare_app', 'fanfare_owner', 'MEMBER')").fetch_one(&pool).await?;
    assert!(!member);
    Ok(())
}

#[tokio::test]
async fn nothing_can_be_written_into_another_tenant() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = furnished(&home).await?;
    let pool = home.as_role("fanfare_app").await?;
    let (own, foreign) = (ann.tenant.id().to_bytes(), bob.tenant.id().to_bytes());
    let foreign_app = bob.app.id().to_bytes();
    for insert in [
        "INSERT INTO apps (id, tenant_id, name, created_at) VALUES (decode(repeat('01', 16), 'hex'), $1, 'x', now())",
        "INSERT INTO acls (tenant_id, app_id, revision, rules, created_at) VALUES ($1, $2, 9, '[]', now())",
        "INSERT INTO app_limits (tenant_id, app_id) VALUES ($1, $2)",
        "INSERT INTO channel_settings (tenant_id, app_id) VALUES ($1, $2)",
        "INSERT INTO audit_log (tenant_id, id, action, target) VALUES ($1, $2, 'a.b', 'x')",
        "INSERT INTO idempotency_keys (scope, key, request_hash, reservation, reserved_until, expires_at)
            VALUES ($1, 'x', sha256(''), $2, now(), now())",
    ] {
        // With the other's tenant id, and with one's own on the other's app.
        for tenant in [foreign, own] {
            if tenant == own && !insert.contains("app_id") {
                continue;
            }
            let mut tx = pool.begin().await?;
            enter(&mut tx, "app.tenant", own).await?;
            let mut query = sqlx::query(insert).bind(tenant);
            if insert.contains("$2") {
                query = query.bind(foreign_app);
            }
            assert!(query.execute(&mut *tx).await.is_err(), "{insert}");
        }
    }
    for change in [
        "UPDATE apps SET name = 'stolen' WHERE id = $1",
        "UPDATE keys SET revoked_at = now() WHERE app_id = $1",
        "DELETE FROM acls WHERE app_id = $1",
        "UPDATE channel_settings SET settings = '[]' WHERE app_id = $1",
        "UPDATE app_limits SET lowered = '{}' WHERE app_id = $1",
    ] {
        let mut tx = pool.begin().await?;
        enter(&mut tx, "app.tenant", own).await?;
        let changed = sqlx::query(change).bind(foreign_app).execute(&mut *tx).await?;
        assert_eq!(changed.rows_affected(), 0, "{change}");
    }
    Ok(())
}

#[tokio::test]
async fn what_members_may_not_do_postgres_refuses_them() -> Result<()> {
    let home = home().await?;
    let (ann, _) = furnished(&home).await?;
    let pool = home.as_role("fanfare_app").await?;
    for refused in [
        "SELECT password_hash FROM users",
        "SELECT secret_hash FROM keys",
        "SELECT * FROM sessions",
        "SELECT * FROM welcome_codes",
        "SELECT * FROM platform_secrets",
        "SELECT * FROM sealed_values",
        "UPDATE audit_log SET ip = ''",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "INSERT INTO audit_log (tenant_id, id, action, target, number) VALUES ('', '', 'a.b', '', 1)",
        "UPDATE audit_heads SET number = 0",
        "UPDATE apps SET tenant_id = tenant_id",
        "UPDATE keys SET capabilities = '{}'",
        "UPDATE acls SET rules = '[]'",
        "UPDATE app_limits SET overridden = '{}'",
        "UPDATE tenants SET plan = 'pro'",
        "UPDATE plans SET limits = '{}'",
        "UPDATE memberships SET role = 'owner'",
        "INSERT INTO memberships SELECT * FROM memberships",
        "SELECT auth_credentials('ann@example.com')",
        "SELECT publish_version('')",
        "UPDATE statistics SET messages_out = 0",
        "DELETE FROM measured_spans",
        "SELECT feed_trim_statistics(now(), 1)",
        "UPDATE decisions SET count = 1",
        "SELECT feed_trim_decisions(now(), 1)",
        "CREATE TABLE mine ()",
    ] {
        let mut tx = pool.begin().await?;
        enter(&mut tx, "app.tenant", ann.tenant.id().to_bytes()).await?;
        let error = sqlx::query(refused).execute(&mut *tx).await.err().context(refused)?;
        let code = error.as_database_error().and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{refused}: {error}");
    }
    let behind = home.behind().await?;
    for refused in ["UPDATE audit_log SET ip = ''", "DELETE FROM audit_log", "TRUNCATE audit_log"] {
        assert!(sqlx::query(refused).execute(&behind).await.is_err(), "the owner may: {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn auth_reads_no_table_and_the_feed_writes_none() -> Result<()> {
    let home = home().await?;
    furnished(&home).await?;
    let (auth, feed) = (home.as_role("fanfare_auth").await?, home.as_role("fanfare_feed").await?);
    for table in tables(&auth).await? {
        assert_eq!(seen(&mut *auth.acquire().await?, &table, "true").await?, None, "fanfare_auth reads {table}");
        for (pool, rights) in [(&auth, "INSERT, UPDATE, DELETE"), (&feed, "INSERT, UPDATE, DELETE")] {
            let may: bool = sqlx::query_scalar("SELECT has_table_privilege($1, $2)")
                .bind(format!("fanfare.{table}"))
                .bind(rights)
                .fetch_one(pool)
                .await?;
            assert!(!may, "{table} can be written");
        }
    }
    for refused in ["SELECT email FROM users", "SELECT name FROM tenants", "SELECT * FROM audit_log"] {
        assert!(sqlx::query(refused).execute(&feed).await.is_err(), "the feed may: {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pooled_connection_carries_nothing_from_one_tenant_to_the_next() -> Result<()> {
    let home = home().await?;
    let one =
        StoreOptions { app_connections_max: 1, ..options(&home.database, &home.clock, MasterKey::new(MASTER_KEY)) };
    let store = Store::connect(one).await?;
    let shared = Home { store, database: home.database, clock: home.clock };
    let (ann, bob) = furnished(&shared).await?;
    let rounds = std::env::var("FANFARE_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    for round in 0..rounds {
        let tenant = if round % 2 == 0 { &ann } else { &bob };
        match round % 5 {
            0 => assert_eq!(tenant.app.record().await?.tenant, tenant.tenant.id()),
            1 => assert_eq!(tenant.member.memberships().await?.len(), 1),
            2 => assert!(tenant.app.put_acl(999, Vec::new()).await.is_err(), "left in the middle of a change"),
            3 => {
                let apps = tenant.tenant.apps(&fanfare_store::PageRequest::default()).await?.items;
                assert!(apps.iter().all(|app| app.tenant == tenant.tenant.id()) && apps.len() == 1);
            }
            _ => {
                let reading = tenant.app.acl();
                drop(tokio::time::timeout(std::time::Duration::from_micros(300), reading).await);
            }
        }
    }
    Ok(())
}
