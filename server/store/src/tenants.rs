//! Tenants and memberships.

use chrono::{DateTime, Utc};
use fanfare_core::id::{AppId, TenantId};
use fanfare_core::{AppStatus, Block, Role};

use crate::{MemberStore, StoreError, TenantStore};

/// The most tenants, and the most apps, that one list of memberships names.
const LISTED_MAX: i64 = 1_000;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// Its id.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Whether its apps work.
    pub status: AppStatus,
    /// Its plan.
    pub plan: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A tenant, as one of its members sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipRecord {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// What the member may do.
    pub role: Role,
    /// Ids and names of its apps, oldest first.
    pub apps: Vec<(AppId, String)>,
}

/// What a stored status means for the tenant's apps.
pub(crate) fn status(stored: &str) -> Result<AppStatus, StoreError> {
    match stored {
        "active" => Ok(AppStatus::Active),
        "publish_blocked" => Ok(AppStatus::Suspended(Block::Publish)),
        "connect_blocked" => Ok(AppStatus::Suspended(Block::Connect)),
        "all_blocked" => Ok(AppStatus::Suspended(Block::All)),
        "deleted" => Ok(AppStatus::Deleted),
        _ => Err(StoreError::corrupt("tenants", format_args!("no status is called {stored}"))),
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: [u8; 16],
    name: String,
    status: String,
    plan: String,
    created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct MembershipRow {
    tenant_id: [u8; 16],
    name: String,
    role: String,
}

#[derive(sqlx::FromRow)]
struct AppRow {
    tenant_id: [u8; 16],
    id: [u8; 16],
    name: String,
}

impl MemberStore {
    /// The tenants they are a member of, with their apps.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn memberships(&self) -> Result<Vec<MembershipRecord>, StoreError> {
        let mut tx = self.begin().await?;
        let rows: Vec<MembershipRow> = sqlx::query_as(
            "SELECT memberships.tenant_id, tenants.name, memberships.role
             FROM memberships JOIN tenants ON tenants.id = memberships.tenant_id
             WHERE memberships.user_id = $1 AND tenants.status <> 'deleted'
             ORDER BY memberships.tenant_id LIMIT $2",
        )
        .bind(self.user().to_bytes())
        .bind(LISTED_MAX)
        .fetch_all(&mut *tx)
        .await?;
        let tenants: Vec<[u8; 16]> = rows.iter().map(|row| row.tenant_id).collect();
        let apps: Vec<AppRow> =
            sqlx::query_as("SELECT tenant_id, id, name FROM apps WHERE tenant_id = ANY($1) ORDER BY id LIMIT $2")
                .bind(tenants)
                .bind(LISTED_MAX)
                .fetch_all(&mut *tx)
                .await?;
        rows.into_iter().map(|row| membership(row, &apps)).collect()
    }
}

fn membership(row: MembershipRow, apps: &[AppRow]) -> Result<MembershipRecord, StoreError> {
    let role = Role::from_slug(&row.role)
        .ok_or_else(|| StoreError::corrupt("memberships", format_args!("no role is called {}", row.role)))?;
    let own = apps.iter().filter(|app| app.tenant_id == row.tenant_id);
    let apps = own.map(|app| (AppId::from_bytes(app.id), app.name.clone())).collect();
    Ok(MembershipRecord { tenant: TenantId::from_bytes(row.tenant_id), name: row.name, role, apps })
}

impl TenantStore {
    /// The tenant.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn record(&self) -> Result<TenantRecord, StoreError> {
        let mut tx = self.begin().await?;
        let row: Row = sqlx::query_as("SELECT id, name, status, plan, created_at FROM tenants WHERE id = $1")
            .bind(self.id().to_bytes())
            .fetch_one(&mut *tx)
            .await?;
        Ok(TenantRecord {
            id: TenantId::from_bytes(row.id),
            name: row.name,
            status: status(&row.status)?,
            plan: row.plan,
            created_at: row.created_at,
        })
    }
}
