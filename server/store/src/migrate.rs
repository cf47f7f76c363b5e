//! Brings the schema up to date, as the role that owns it.

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use crate::StoreError;

/// Compiled in, so that a server brings its own.
static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Makes roles and schema if they are missing and applies what was not applied. Servers that start at once take turns.
pub(crate) async fn run(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut connection = options.connect().await?;
    let roles = sqlx::raw_sql(include_str!("../../../migrations/roles.sql"));
    connection.execute(roles).await.map_err(not_allowed)?;
    connection.execute(sqlx::raw_sql("SET ROLE fanfare_owner; SET search_path = fanfare")).await?;
    // A newer version may have migrated further already: it does so in steps that this version survives.
    let mut migrations = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrations.set_ignore_missing(true);
    migrations.run_direct(None, &mut connection, false).await?;
    connection.close().await?;
    Ok(())
}

/// Makes plain what a login without the right to make roles runs into.
fn not_allowed(error: sqlx::Error) -> StoreError {
    let insufficient = error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501"));
    let problem = "cannot be made or taken on by this login: give it CREATEROLE, or have somebody who has make the \
        roles and grant them to it";
    if insufficient { StoreError::Role { role: "fanfare_owner", problem } } else { error.into() }
}

/// Refuses a database that lacks a migration this version needs.
pub(crate) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let migrated = sqlx::query_scalar::<_, bool>("SELECT to_regclass('fanfare._sqlx_migrations') IS NOT NULL");
    if !migrated.fetch_one(&mut *connection).await? {
        return Err(StoreError::Schema { found: 0, needed });
    }
    let found = sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM fanfare._sqlx_migrations WHERE success");
    let found = found.fetch_one(connection).await?.unwrap_or_default();
    if found < needed { Err(StoreError::Schema { found, needed }) } else { Ok(()) }
}
