//! A store on a database of its own, and tenants in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use fanfare_core::{Clock, Limits};
use fanfare_store::{
    Account, Actor, AppRecord, AppStore, Keep, MasterKey, MemberStore, NewAccount, Origin, Reservation, SessionTerms,
    Store, StoreError, StoreOptions, TenantStore,
};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::postgres::{self, Database};

/// The bytes of the master key of every test.
pub const MASTER_KEY: [u8; 32] = [7; 32];

/// Sessions of tests last a day.
pub const TERMS: SessionTerms = SessionTerms { lifetime: Duration::from_secs(24 * 3600) };

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct HandClock(AtomicU64);

impl HandClock {
    /// Moves on.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).expect("tests move by less than an age");
        self.0.fetch_add(by, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.unix_ms())
    }
}

/// A store, its database and its time.
#[derive(Debug)]
pub struct Home {
    /// The database.
    pub database: Database,
    /// The store.
    pub store: Store,
    /// Its time.
    pub clock: Arc<HandClock>,
}

/// Somebody who signed up, and what is theirs.
#[derive(Clone)]
pub struct Tenant {
    /// What signing up gave.
    pub account: Account,
    /// They.
    pub member: MemberStore,
    /// Their tenant.
    pub tenant: TenantStore,
    /// Its first app.
    pub app: AppStore,
}

/// A store on an empty, migrated database.
///
/// # Errors
/// When Postgres does not start.
pub async fn home() -> Result<Home> {
    let database = postgres::database().await?;
    let clock = Arc::new(HandClock(AtomicU64::new(1_800_000_000_000)));
    let store = Store::connect(options(&database, &clock, MasterKey::new(MASTER_KEY))).await?;
    Ok(Home { database, store, clock })
}

/// How tests connect.
#[must_use]
pub fn options(database: &Database, clock: &Arc<HandClock>, master_key: MasterKey) -> StoreOptions {
    StoreOptions::new(database.url.clone(), master_key, clock.clone())
}

/// An account as tests make it.
#[must_use]
pub fn new_account(name: &str) -> NewAccount {
    NewAccount {
        email: format!("{name}@example.com"),
        password_hash: "$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ$aGFzaA".to_owned(),
        tenant_name: name.to_owned(),
        held: None,
    }
}

/// Where the requests of tests come from.
#[must_use]
pub fn origin() -> Origin {
    Origin { ip: Some("192.0.2.1".into()), user_agent: Some("tests".into()) }
}

impl Tenant {
    /// Makes an app for a request that was reserved, and keeps this as its answer.
    ///
    /// # Errors
    /// As [`TenantStore::create_app`].
    pub async fn answer(&self, request: Reservation, app: &str, body: &[u8]) -> Result<AppRecord, StoreError> {
        let body = body.to_vec();
        self.tenant.create_app(app, Some(Keep::new(request, 201, |_| Ok(body)))).await
    }
}

impl Home {
    /// Signs somebody up.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn sign_up(&self, name: &str) -> Result<Tenant> {
        Ok(self.open(self.store.auth().sign_up(new_account(name), &origin(), TERMS).await?).await?)
    }

    /// Signs somebody up whose limits are held.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn sign_up_held(&self, name: &str, held: Limits) -> Result<Tenant> {
        let account = NewAccount { held: Some(held), ..new_account(name) };
        Ok(self.open(self.store.auth().sign_up(account, &origin(), TERMS).await?).await?)
    }

    async fn open(&self, account: Account) -> Result<Tenant, StoreError> {
        let member = self.store.member(Actor { user: account.user.id, ip: Some("192.0.2.1".into()) });
        let tenant = member.tenant(account.tenant).await?;
        let app = tenant.app(account.app.id).await?;
        Ok(Tenant { account, member, tenant, app })
    }

    /// A pool that sees what the owner of the tables sees, for looking behind the store's back.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn behind(&self) -> Result<PgPool> {
        self.as_role("fanfare_owner").await
    }

    /// A pool of one connection that has taken a role on, as the store's pools do.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn as_role(&self, role: &'static str) -> Result<PgPool> {
        let pool = PgPoolOptions::new().max_connections(1).after_connect(move |connection, _| {
            Box::pin(async move {
                let taken = "SELECT set_config('role', $1, false), set_config('search_path', 'fanfare', false)";
                sqlx::query(taken).bind(role).execute(connection).await?;
                Ok(())
            })
        });
        Ok(pool.connect(&self.database.url).await?)
    }
}
