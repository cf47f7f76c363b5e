//! The way into Postgres: three small pools, each bound to its role, and the scopes they open.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare_core::Clock;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool};

use crate::roles::{self, DatabaseRole};
use crate::{Actor, Auth, Feed, MasterKey, MemberStore, StoreError, migrate, platform_secrets, reseal};

/// How to reach Postgres, and what the store needs beside it.
#[derive(Clone)]
pub struct StoreOptions {
    /// `postgres://…`, with a login that is a member of `fanfare_app`, `fanfare_auth` and `fanfare_feed`.
    pub database_url: String,
    /// Seals secrets.
    pub master_key: MasterKey,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The most connections that requests of signed-in members share.
    pub app_connections_max: u32,
    /// The most connections that signing up and in, and session checks, share.
    pub auth_connections_max: u32,
    /// The most connections of the change feed; one of them listens.
    pub feed_connections_max: u32,
    /// How long to wait for a free connection, and for a lock that another holds: either keeps whoever asks waiting.
    pub acquire_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
}

impl StoreOptions {
    /// The defaults.
    #[must_use]
    pub fn new(database_url: impl Into<String>, master_key: MasterKey, clock: Arc<dyn Clock>) -> Self {
        Self {
            database_url: database_url.into(),
            master_key,
            clock,
            app_connections_max: 8,
            auth_connections_max: 4,
            feed_connections_max: 3,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        out.debug_struct("StoreOptions").finish_non_exhaustive()
    }
}

/// The way into Postgres. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) app: PgPool,
    pub(crate) auth: PgPool,
    pub(crate) feed: PgPool,
    pub(crate) master_key: MasterKey,
    clock: Arc<dyn Clock>,
}

impl Store {
    /// Makes the roles and brings the schema up to date. Any number of servers may do so at once.
    ///
    /// # Errors
    /// When Postgres is away, the login may not make what is missing, or a migration fails.
    pub async fn migrate(database_url: &str) -> Result<(), StoreError> {
        migrate::run(&connect_options(database_url)?).await
    }

    /// Refuses database roles that may more than they should.
    ///
    /// # Errors
    /// [`StoreError::Role`] names the role and what is wrong with it.
    pub async fn check_roles(database_url: &str) -> Result<(), StoreError> {
        let mut connection = connect_options(database_url)?.connect().await?;
        roles::check(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Connects, and refuses when a role may more than it should, the schema is too old, or the master key is another.
    ///
    /// # Errors
    /// Says which of these it was.
    pub async fn connect(options: StoreOptions) -> Result<Self, StoreError> {
        let connect = connect_options(&options.database_url)?;
        let mut connection = connect.connect().await?;
        roles::check(&mut connection).await?;
        migrate::check(&mut connection).await?;
        connection.close().await?;
        let pool = |role, connections_max| pool(&options, connect.clone(), role, connections_max);
        let inner = Inner {
            app: pool(DatabaseRole::App, options.app_connections_max),
            auth: pool(DatabaseRole::Auth, options.auth_connections_max),
            feed: pool(DatabaseRole::Feed, options.feed_connections_max),
            master_key: options.master_key.clone(),
            clock: options.clock.clone(),
        };
        platform_secrets::ensure(&inner).await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether Postgres answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.inner.app).await?;
        Ok(())
    }

    /// Accounts, sessions, welcome codes: what happens before anybody is known.
    #[must_use]
    pub fn auth(&self) -> Auth {
        Auth { inner: self.inner.clone() }
    }

    /// What a signed-in person may see.
    #[must_use]
    pub fn member(&self, actor: Actor) -> MemberStore {
        MemberStore { inner: self.inner.clone(), actor }
    }

    /// Snapshots of apps for the data plane.
    #[must_use]
    pub fn feed(&self) -> Feed {
        Feed { inner: self.inner.clone() }
    }

    /// 32 bytes that go into every password's hash: made once, sealed, the same for ever, so that a stolen database
    /// without its master key gives nothing to guess against.
    ///
    /// # Errors
    /// When Postgres is away or the master key does not open it.
    pub async fn password_pepper(&self) -> Result<fanfare_core::secret::SecretBytes, StoreError> {
        platform_secrets::password_pepper(&self.inner).await
    }

    /// Seals again, with the current master key, whatever another one sealed; returns how many it were. Safe at any
    /// time and any number of times, also while others write.
    ///
    /// # Errors
    /// When something sealed opens with neither key.
    pub async fn reseal_all(&self) -> Result<u64, StoreError> {
        reseal::run(&self.inner).await
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.inner.app.close().await;
        self.inner.auth.close().await;
        self.inner.feed.close().await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        let unix_ms = i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX);
        DateTime::from_timestamp_millis(unix_ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

fn connect_options(database_url: &str) -> Result<PgConnectOptions, StoreError> {
    // What else there is sqlx would read as an address on this machine.
    if !["postgres://", "postgresql://"].iter().any(|scheme| database_url.starts_with(scheme)) {
        return Err(StoreError::Url("it must begin with postgres://".to_owned()));
    }
    let options = database_url.parse::<PgConnectOptions>().map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        StoreError::Url(cause.to_string())
    })?;
    Ok(options.application_name("fanfare").disable_statement_logging())
}

fn pool(options: &StoreOptions, connect: PgConnectOptions, role: DatabaseRole, connections_max: u32) -> PgPool {
    let timeouts = [options.statement_timeout, options.acquire_timeout].map(|timeout| timeout.as_millis().to_string());
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(options.acquire_timeout)
        .after_connect(move |connection, _| {
            let [statement_timeout, lock_timeout] = timeouts.clone();
            Box::pin(async move {
                sqlx::query(
                    "SELECT set_config('role', $1, false), set_config('search_path', 'fanfare', false),
                        set_config('statement_timeout', $2, false), set_config('lock_timeout', $3, false),
                        set_config('idle_in_transaction_session_timeout', '10s', false)",
                )
                .bind(role.as_str())
                .bind(statement_timeout)
                .bind(lock_timeout)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .connect_lazy_with(connect)
}
