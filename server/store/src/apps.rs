//! Apps.

use chrono::{DateTime, Utc};
use fanfare_core::id::{AppId, TenantId};
use serde_json::{Value, json};

use crate::audit::Entry;
use crate::page::Part;
use crate::scope::Write;
use crate::store::Inner;
use crate::{AppStore, Keep, Page, PageRequest, StoreError, TenantStore, acls, chance, keys};

/// The most apps one tenant may have.
pub const APPS_MAX: u32 = 100;

/// An app, as members see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRecord {
    /// Its id.
    pub id: AppId,
    /// Who owns it.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: String,
    /// Origins that browsers may connect from; empty admits any.
    pub origins: Vec<String>,
    /// How long a link may be silent before it is probed, in milliseconds.
    pub heartbeat_ms: u32,
    /// How long the probe may stay unanswered, in milliseconds.
    pub heartbeat_timeout_ms: u32,
    /// Grows with every change of what stands here: the ETag. The version of the app's snapshot is another number.
    pub version: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What to change of an app; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppChange {
    /// A new name.
    pub name: Option<String>,
    /// New origins.
    pub origins: Option<Vec<String>>,
    /// A new heartbeat interval.
    pub heartbeat_ms: Option<u32>,
    /// A new time within which its probe must be answered.
    pub heartbeat_timeout_ms: Option<u32>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    id: [u8; 16],
    tenant_id: [u8; 16],
    name: String,
    origins: Vec<String>,
    heartbeat_ms: i32,
    heartbeat_timeout_ms: Option<i32>,
    revision: i64,
    created_at: DateTime<Utc>,
}

impl Row {
    pub(crate) fn record(self) -> AppRecord {
        AppRecord {
            id: AppId::from_bytes(self.id),
            tenant: TenantId::from_bytes(self.tenant_id),
            name: self.name,
            origins: self.origins,
            heartbeat_ms: self.heartbeat_ms.cast_unsigned(),
            heartbeat_timeout_ms: self.heartbeat_timeout_ms.unwrap_or(self.heartbeat_ms).cast_unsigned(),
            version: self.revision.cast_unsigned(),
            created_at: self.created_at,
        }
    }
}

impl AppRecord {
    pub(crate) fn for_audit(&self) -> Value {
        json!({
            "name": self.name, "origins": self.origins, "heartbeat_ms": self.heartbeat_ms,
            "heartbeat_timeout_ms": self.heartbeat_timeout_ms,
        })
    }
}

/// Makes an app with all its parts: the platform's hidden key, the starter ACL, empty settings, the plan's limits.
pub(crate) async fn insert(write: &mut Write, inner: &Inner, name: &str) -> Result<AppRecord, StoreError> {
    let id = AppId::new(inner.unix_ms(), chance::id_bits());
    let row: Row = sqlx::query_as(
        "INSERT INTO apps (id, tenant_id, name, created_at) VALUES ($1, $2, $3, $4)
         RETURNING id, tenant_id, name, origins, heartbeat_ms, heartbeat_timeout_ms, revision, created_at",
    )
    .bind(id.to_bytes())
    .bind(write.tenant.to_bytes())
    .bind(name)
    .bind(inner.now())
    .fetch_one(&mut *write.tx)
    .await?;
    for part in [
        "INSERT INTO channel_settings (tenant_id, app_id) VALUES ($1, $2)",
        "INSERT INTO app_limits (tenant_id, app_id) VALUES ($1, $2)",
    ] {
        sqlx::query(part).bind(write.tenant.to_bytes()).bind(id.to_bytes()).execute(&mut *write.tx).await?;
    }
    acls::insert_starter(write, inner, id).await?;
    keys::insert_platform_key(write, inner, id).await?;
    Ok(row.record())
}

impl TenantStore {
    /// Its apps, oldest first.
    ///
    /// # Errors
    /// When the cursor is not one of this list.
    pub async fn apps(&self, page: &PageRequest) -> Result<Page<AppRecord>, StoreError> {
        let part = Part::<16>::of(page)?;
        let mut tx = self.begin().await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, tenant_id, name, origins, heartbeat_ms, heartbeat_timeout_ms, revision, created_at FROM apps
             WHERE tenant_id = $1 AND ($2::bytea IS NULL OR id > $2) ORDER BY id LIMIT $3",
        )
        .bind(self.id().to_bytes())
        .bind(part.after)
        .bind(part.rows())
        .fetch_all(&mut *tx)
        .await?;
        Ok(part.page(rows, |row| row.id).map(Row::record))
    }

    /// Makes an app with the starter ACL and without a key. The answer to a repeatable request is kept with it.
    ///
    /// # Errors
    /// [`crate::Conflict::AppNameTaken`], [`StoreError::Full`] when the tenant has [`APPS_MAX`], or
    /// [`StoreError::IdempotencyBusy`] when somebody else took over the request.
    pub async fn create_app(&self, name: &str, keep: Option<Keep<AppRecord>>) -> Result<AppRecord, StoreError> {
        let mut write = self.write().await?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM apps WHERE tenant_id = $1")
            .bind(self.id().to_bytes())
            .fetch_one(&mut *write.tx)
            .await?;
        if count >= i64::from(APPS_MAX) {
            return Err(StoreError::Full { what: "apps", max: APPS_MAX });
        }
        let app = insert(&mut write, &self.inner, name).await?;
        let entry = Entry::new("app.created", app.id).in_app(app.id).after(app.for_audit());
        write.commit_keeping(&self.inner, entry, &app, keep).await?;
        Ok(app)
    }
}

impl AppStore {
    /// The app.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn record(&self) -> Result<AppRecord, StoreError> {
        let mut tx = self.begin().await?;
        let row: Row = sqlx::query_as(
            "SELECT id, tenant_id, name, origins, heartbeat_ms, heartbeat_timeout_ms, revision, created_at FROM apps
             WHERE id = $1",
        )
        .bind(self.id().to_bytes())
        .fetch_one(&mut *tx)
        .await?;
        Ok(row.record())
    }

    /// Changes what is named and leaves the rest. `expected` is the version that was read.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when it has another version by now, or [`crate::Conflict::AppNameTaken`].
    pub async fn update(&self, expected: u64, change: AppChange) -> Result<AppRecord, StoreError> {
        let mut write = self.write().await?;
        let before: Row = sqlx::query_as(
            "SELECT id, tenant_id, name, origins, heartbeat_ms, heartbeat_timeout_ms, revision, created_at FROM apps
             WHERE id = $1 FOR UPDATE",
        )
        .bind(self.id().to_bytes())
        .fetch_one(&mut *write.tx)
        .await?;
        let before = before.record();
        if before.version != expected {
            return Err(StoreError::Stale { current: before.version });
        }
        let after: Row = sqlx::query_as(
            "UPDATE apps SET name = $2, origins = $3, heartbeat_ms = $4,
                heartbeat_timeout_ms = coalesce($5, heartbeat_timeout_ms), revision = revision + 1
             WHERE id = $1
             RETURNING id, tenant_id, name, origins, heartbeat_ms, heartbeat_timeout_ms, revision, created_at",
        )
        .bind(self.id().to_bytes())
        .bind(change.name.as_ref().unwrap_or(&before.name))
        .bind(change.origins.as_ref().unwrap_or(&before.origins))
        .bind(change.heartbeat_ms.unwrap_or(before.heartbeat_ms).cast_signed())
        .bind(change.heartbeat_timeout_ms.map(u32::cast_signed))
        .fetch_one(&mut *write.tx)
        .await?;
        let after = after.record();
        let entry = Entry::new("app.updated", self.id()).in_app(self.id());
        write.commit(self.inner(), entry.before(before.for_audit()).after(after.for_audit())).await?;
        Ok(after)
    }
}
