//! Scope is the API: a member opens a tenant, a tenant an app, and only what a scope holds can be asked of it.
//!
//! Each call runs in a transaction that names its tenant or its user, and row-level security shows it no other rows,
//! whatever the statement says. A transaction names one of both, never both: what a user may see across tenants is not
//! mixed into the work on one. A change ends in [`Write::commit`], which appends its row to the audit log: there is no
//! other way to commit one.

use std::sync::Arc;

use fanfare_core::Role;
use fanfare_core::id::{AppId, TenantId, UserId};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::audit::{self, Entry};
use crate::store::Inner;
use crate::{Idempotency, Keep, StoreError};

/// Who changes something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The signed-in person.
    pub user: UserId,
    /// The address they come from.
    pub ip: Option<Box<str>>,
}

/// What one signed-in person may see. Their profile and memberships are in `users.rs` and `tenants.rs`.
#[derive(Clone)]
pub struct MemberStore {
    pub(crate) inner: Arc<Inner>,
    pub(crate) actor: Actor,
}

/// What one member may see of one tenant. Its resources are in `tenants.rs`, `apps.rs` and `audit.rs`.
#[derive(Clone)]
pub struct TenantStore {
    pub(crate) inner: Arc<Inner>,
    pub(crate) actor: Actor,
    id: TenantId,
    role: Role,
}

/// What one member may see of one app. Its resources are in `apps.rs`, `keys.rs`, `acls.rs`, `channel_settings.rs` and
/// `limits.rs`.
#[derive(Clone)]
pub struct AppStore {
    pub(crate) tenant: TenantStore,
    id: AppId,
}

/// Whose rows a transaction may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Tenant(TenantId),
    User(UserId),
}

impl Scope {
    /// The id behind it, as stored.
    pub(crate) const fn to_bytes(self) -> [u8; 16] {
        match self {
            Self::Tenant(id) => id.to_bytes(),
            Self::User(id) => id.to_bytes(),
        }
    }

    /// Begins a transaction that sees this scope's rows and no others.
    pub(crate) async fn begin(self, pool: &PgPool) -> Result<Tx, StoreError> {
        let mut tx = pool.begin().await?;
        self.enter(&mut tx).await?;
        Ok(tx)
    }

    /// The same for reading in several statements: they all see the database as it is now.
    pub(crate) async fn begin_snapshot(self, pool: &PgPool) -> Result<Tx, StoreError> {
        let mut tx = pool.begin_with(SNAPSHOT).await?;
        self.enter(&mut tx).await?;
        Ok(tx)
    }

    /// Names the scope until the transaction ends.
    pub(crate) async fn enter(self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let (tenant, user) = match self {
            Self::Tenant(id) => (hex(id.to_bytes()), String::new()),
            Self::User(id) => (String::new(), hex(id.to_bytes())),
        };
        sqlx::query("SELECT set_config('app.tenant', $1, true), set_config('app.user', $2, true)")
            .bind(tenant)
            .bind(user)
            .execute(connection)
            .await?;
        Ok(())
    }
}

fn hex(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

/// Begins a transaction in which every statement sees the same.
pub(crate) const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A transaction of any pool.
pub(crate) type Tx = Transaction<'static, Postgres>;

/// A change of one tenant's things, under way.
pub(crate) struct Write {
    pub(crate) tx: Tx,
    pub(crate) tenant: TenantId,
    pub(crate) actor: Option<UserId>,
    pub(crate) ip: Option<Box<str>>,
}

impl Write {
    /// Appends the one row of the audit log and commits.
    pub(crate) async fn commit(mut self, inner: &Inner, entry: Entry) -> Result<(), StoreError> {
        audit::append(&mut self, inner, entry).await?;
        Ok(self.tx.commit().await?)
    }

    /// The same, and keeps the answer to the request that asked for what was made.
    pub(crate) async fn commit_keeping<M>(
        mut self,
        inner: &Inner,
        entry: Entry,
        made: &M,
        keep: Option<Keep<M>>,
    ) -> Result<(), StoreError> {
        audit::append(&mut self, inner, entry).await?;
        if let Some(keep) = keep {
            keep.keep(&mut self.tx, inner, made).await?;
        }
        Ok(self.tx.commit().await?)
    }
}

#[derive(sqlx::FromRow)]
struct Standing {
    tenant_id: [u8; 16],
    role: String,
}

impl MemberStore {
    /// Who it is.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.actor.user
    }

    /// A tenant they are a member of.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for every other.
    pub async fn tenant(&self, id: TenantId) -> Result<TenantStore, StoreError> {
        let mut tx = self.begin().await?;
        let standing = sqlx::query_as::<_, Standing>(
            "SELECT memberships.tenant_id, memberships.role
             FROM memberships JOIN tenants ON tenants.id = memberships.tenant_id
             WHERE memberships.user_id = $1 AND memberships.tenant_id = $2 AND tenants.status <> 'deleted'",
        )
        .bind(self.actor.user.to_bytes())
        .bind(id.to_bytes())
        .fetch_one(&mut *tx)
        .await?;
        self.standing_in(&standing)
    }

    /// An app of a tenant they are a member of.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for every other.
    pub async fn app(&self, id: AppId) -> Result<AppStore, StoreError> {
        let mut tx = self.begin().await?;
        let standing = sqlx::query_as::<_, Standing>(
            "SELECT memberships.tenant_id, memberships.role
             FROM apps
             JOIN memberships ON memberships.tenant_id = apps.tenant_id
             JOIN tenants ON tenants.id = apps.tenant_id
             WHERE memberships.user_id = $1 AND apps.id = $2 AND tenants.status <> 'deleted'",
        )
        .bind(self.actor.user.to_bytes())
        .bind(id.to_bytes())
        .fetch_one(&mut *tx)
        .await?;
        Ok(AppStore { tenant: self.standing_in(&standing)?, id })
    }

    /// Answers to their repeated requests.
    #[must_use]
    pub fn idempotency(&self) -> Idempotency {
        Idempotency { inner: self.inner.clone(), scope: Scope::User(self.actor.user) }
    }

    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        Scope::User(self.actor.user).begin(&self.inner.app).await
    }

    fn standing_in(&self, standing: &Standing) -> Result<TenantStore, StoreError> {
        let role = Role::from_slug(&standing.role)
            .ok_or_else(|| StoreError::corrupt("memberships", format_args!("no role is called {}", standing.role)))?;
        let id = TenantId::from_bytes(standing.tenant_id);
        Ok(TenantStore { inner: self.inner.clone(), actor: self.actor.clone(), id, role })
    }
}

impl TenantStore {
    /// Which tenant.
    #[must_use]
    pub const fn id(&self) -> TenantId {
        self.id
    }

    /// What the member may do in it: callers compare before they change anything.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// One of its apps.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it has no such app.
    pub async fn app(&self, id: AppId) -> Result<AppStore, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("SELECT FROM apps WHERE tenant_id = $1 AND id = $2")
            .bind(self.id.to_bytes())
            .bind(id.to_bytes())
            .fetch_one(&mut *tx)
            .await?;
        Ok(AppStore { tenant: self.clone(), id })
    }

    /// Answers to repeated requests, shared by all members of the tenant.
    #[must_use]
    pub fn idempotency(&self) -> Idempotency {
        Idempotency { inner: self.inner.clone(), scope: Scope::Tenant(self.id) }
    }

    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        Scope::Tenant(self.id).begin(&self.inner.app).await
    }

    pub(crate) async fn write(&self) -> Result<Write, StoreError> {
        let (actor, ip) = (Some(self.actor.user), self.actor.ip.clone());
        Ok(Write { tx: self.begin().await?, tenant: self.id, actor, ip })
    }
}

impl AppStore {
    /// Which app.
    #[must_use]
    pub const fn id(&self) -> AppId {
        self.id
    }

    /// Which tenant owns it.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant.id
    }

    /// What the member may do in it.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.tenant.role
    }

    /// The tenant's scope.
    #[must_use]
    pub const fn in_tenant(&self) -> &TenantStore {
        &self.tenant
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.tenant.inner
    }

    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        self.tenant.begin().await
    }

    pub(crate) async fn write(&self) -> Result<Write, StoreError> {
        self.tenant.write().await
    }
}
