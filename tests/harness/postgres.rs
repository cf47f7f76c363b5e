//! A database for a test, migrated and alone.
//!
//! The first test to ask starts a private cluster (see `cluster.rs` for who ends it), migrates a template once for each
//! state of `migrations/`, and every test gets a copy of that template, dropped when its [`Database`] is.

mod cluster;
mod own;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool};

use crate::proxy::Proxy;
use cluster::Cluster;
pub use cluster::LOGIN;
pub use own::{OwnCluster, URL_PASSWORD, superuser_of};

/// A test's own database. Dropping it drops the database, whoever is still connected to it.
#[derive(Debug)]
pub struct Database {
    /// Where it is, as the login that may migrate: what `DATABASE_URL` wants.
    pub url: String,
    /// Its name in the cluster.
    pub name: String,
}

/// A database with every migration applied.
///
/// # Errors
/// When Postgres is not installed, does not start, or a migration fails.
pub async fn database() -> Result<Database> {
    create(Some(cluster::shared().await?)).await
}

/// A database without anything in it, for tests of the migrations themselves.
///
/// # Errors
/// When Postgres is not installed or does not start.
pub async fn empty_database() -> Result<Database> {
    cluster::shared().await?;
    create(None).await
}

impl Database {
    /// A pool of at most four connections as the login of `DATABASE_URL`.
    ///
    /// # Errors
    /// When the first connection fails.
    pub async fn pool(&self) -> Result<PgPool> {
        self.connect(cluster::options(LOGIN, &self.name)).await
    }

    /// Lowers limits of every app that has limits, as its owner would.
    ///
    /// # Errors
    /// When Postgres refuses, or no app has limits.
    pub async fn lower_limits(&self, lowered: &serde_json::Value) -> Result<()> {
        let pool = self.pool_as("fanfare_owner").await?;
        let query = sqlx::query("UPDATE fanfare.app_limits SET lowered = $1, revision = revision + 1").bind(lowered);
        ensure!(query.execute(&pool).await?.rows_affected() > 0, "no app has limits");
        Ok(())
    }

    /// A pool of at most four connections that took on a role, as the server's pools do.
    ///
    /// # Errors
    /// When the first connection fails.
    pub async fn pool_as(&self, role: &str) -> Result<PgPool> {
        self.connect(cluster::options(LOGIN, &self.name).options([("role", role)])).await
    }

    /// A proxy to its cluster, and where the database is through that: what `DATABASE_URL` wants.
    ///
    /// # Errors
    /// When the machine gives no port.
    pub async fn behind_proxy(&self) -> Result<(Proxy, String)> {
        let proxy = Proxy::to_unix(cluster::socket()).await?;
        let url = format!("postgres://{LOGIN}@{}/{}?sslmode=disable", proxy.address(), self.name);
        Ok((proxy, url))
    }

    async fn connect(&self, options: PgConnectOptions) -> Result<PgPool> {
        let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(20));
        pool.connect_with(options).await.with_context(|| format!("connect to {}", self.name))
    }

    /// Cuts every connection to the database but the asker's, as a failing network would, and says how many it were.
    ///
    /// # Errors
    /// When the cluster is gone.
    pub async fn cut_connections(&self) -> Result<usize> {
        let mut admin = cluster::admin().connect().await?;
        let cut = sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
        )
        .bind(&self.name)
        .fetch_all(&mut admin)
        .await?;
        Ok(cut.len())
    }

    /// Lets nobody connect, and cuts who is; or lets everybody connect again.
    ///
    /// # Errors
    /// When the cluster is gone.
    pub async fn set_reachable(&self, reachable: bool) -> Result<()> {
        let mut admin = cluster::admin().connect().await?;
        let statement = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {reachable}", self.name);
        sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await?;
        if !reachable {
            self.cut_connections().await?;
        }
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = self.name.clone();
        // A thread of its own, because dropping may happen inside a runtime, which must not be blocked on from within.
        let dropping = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = cluster::admin().connect().await?;
                let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await?;
                Ok(())
            })
        });
        // What is left over goes with the cluster: it is made anew each time.
        drop(dropping.join());
    }
}

async fn create(template: Option<&Cluster>) -> Result<Database> {
    static CREATED: AtomicU32 = AtomicU32::new(0);
    let name = format!("t_{}_{}", std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed));
    let template = template.map_or("template0", |cluster| &cluster.template);
    let mut admin = cluster::admin().connect().await?;
    // A process id may come again while the cluster lives, and a killed test leaves its database behind.
    for statement in [
        format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {LOGIN}"),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await.with_context(|| format!("create {name}"))?;
    }
    Ok(Database { url: cluster::url(LOGIN, &name), name })
}

/// Applies every migration, as the server does.
async fn migrate(url: &str) -> Result<()> {
    Ok(fanfare_store::Store::migrate(url).await?)
}
