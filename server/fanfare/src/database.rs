//! Which Postgres: the one that was configured, else the private one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fanfare_engine::SystemClock;
use fanfare_store::{MasterKey, Store, StoreError, StoreOptions};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{error, warn};

use crate::config::{Options, Pools};
use crate::lifecycle::{Backoff, pause};
use crate::master_key::MasterKeys;
use crate::postgres::PrivatePostgres;

/// Where the database is, and the private Postgres if it is ours.
pub(crate) struct Database {
    pub(crate) url: String,
    private: Option<PrivatePostgres>,
}

impl Database {
    /// Starts the private Postgres unless a database is configured.
    ///
    /// # Errors
    /// When the private Postgres does not start.
    pub(crate) async fn open(options: &Options, data: &Path) -> Result<Self> {
        if let Some(url) = &options.database_url {
            return Ok(Self { url: url.expose().to_owned(), private: None });
        }
        let (data, pg_bin) = (data.to_path_buf(), options.pg_bin.clone());
        // Its thread is started from here and lives on; only the waiting is done on a thread for blocking work.
        let start = move || PrivatePostgres::start(&data, pg_bin.as_deref());
        let private = spawn_blocking(start).await.context("the start of the private Postgres panicked")??;
        Ok(Self { url: private.url(), private: Some(private) })
    }

    /// Whether these are the embedded defaults.
    pub(crate) const fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Stops the private Postgres if it is ours.
    pub(crate) async fn close(self) {
        if let Some(private) = self.private
            && spawn_blocking(move || private.stop()).await.is_err()
        {
            error!("stopping the private Postgres panicked");
        }
    }

    /// What the store needs.
    pub(crate) fn store_options(&self, pools: &Pools, keys: &MasterKeys, clock: Arc<SystemClock>) -> StoreOptions {
        let current = MasterKey::new(*keys.current);
        let master_key = match &keys.previous {
            Some(previous) => current.with_previous(**previous),
            None => current,
        };
        StoreOptions {
            app_connections_max: pools.app_connections_max,
            auth_connections_max: pools.auth_connections_max,
            feed_connections_max: pools.feed_connections_max,
            acquire_timeout: Duration::from_millis(pools.acquire_timeout_ms),
            statement_timeout: Duration::from_millis(pools.statement_timeout_ms),
            ..StoreOptions::new(&self.url, master_key, clock)
        }
    }
}

/// Waits until there is a store; `None` when the server stops before.
pub(crate) async fn reached(store: &mut watch::Receiver<Option<Store>>) -> Option<Store> {
    store.wait_for(Option::is_some).await.ok()?.clone()
}

/// Connects, migrating first where the database is our own; tries again for as long as Postgres is away.
///
/// # Errors
/// When the database is there and must not be used: wrong roles, an old schema, another master key.
pub(crate) async fn connect(options: StoreOptions, migrate: bool) -> Result<Store, StoreError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        let connected = async {
            if migrate {
                Store::migrate(&options.database_url).await?;
            }
            Store::connect(options.clone()).await
        };
        match connected.await {
            Err(away) if away.is_temporary() => {
                if backoff.is_fresh() {
                    warn!(error = %away, "Postgres is away; trying again until it is there");
                }
                pause(backoff.next()).await;
            }
            done => return done,
        }
    }
}
