//! The audit log: a hash chain per tenant, appended to by Postgres and checked from here.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use fanfare_core::Act;
use fanfare_core::id::{AppId, AuditId, TenantId, UserId};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::types::Json;

use crate::page::Part;
use crate::scope::{Scope, Write};
use crate::store::Inner;
use crate::{AppStore, Page, PageRequest, StoreError, TenantStore, chance};

/// A row of a tenant's audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// Its id.
    pub id: AuditId,
    /// Its number in the tenant's chain, from 1 without holes.
    pub number: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who; `None` when the platform itself did it.
    pub actor: Option<UserId>,
    /// From which address.
    pub ip: Option<String>,
    /// What was done: `key.created`.
    pub action: String,
    /// To what: a printed id.
    pub target: String,
    /// In which app.
    pub app: Option<AppId>,
    /// What was there before, secrets masked.
    pub before: Option<Value>,
    /// What is there since, secrets masked.
    pub after: Option<Value>,
}

/// What a change writes into the log. Whoever makes one leaves secrets out.
pub(crate) struct Entry {
    action: &'static str,
    target: String,
    app: Option<AppId>,
    before: Option<Value>,
    after: Option<Value>,
}

impl Entry {
    pub(crate) fn new(action: &'static str, target: impl Display) -> Self {
        Self { action, target: target.to_string(), app: None, before: None, after: None }
    }

    pub(crate) fn in_app(self, app: AppId) -> Self {
        Self { app: Some(app), ..self }
    }

    pub(crate) fn before(self, before: Value) -> Self {
        Self { before: Some(before), ..self }
    }

    pub(crate) fn after(self, after: Value) -> Self {
        Self { after: Some(after), ..self }
    }
}

/// Appends a row; a trigger gives it its number, time and hash.
pub(crate) async fn append(write: &mut Write, inner: &Inner, entry: Entry) -> Result<(), StoreError> {
    let id = AuditId::new(inner.unix_ms(), chance::id_bits());
    sqlx::query(
        "INSERT INTO audit_log (tenant_id, id, actor, ip, action, target, app_id, before, after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(write.tenant.to_bytes())
    .bind(id.to_bytes())
    .bind(write.actor.map(UserId::to_bytes))
    .bind(write.ip.as_deref())
    .bind(entry.action)
    .bind(entry.target)
    .bind(entry.app.map(AppId::to_bytes))
    .bind(entry.before.map(Json))
    .bind(entry.after.map(Json))
    .execute(&mut *write.tx)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: [u8; 16],
    number: i64,
    at: DateTime<Utc>,
    actor: Option<[u8; 16]>,
    ip: Option<String>,
    action: String,
    target: String,
    app_id: Option<[u8; 16]>,
    before: Option<Json<Value>>,
    after: Option<Json<Value>>,
}

impl Row {
    fn record(self) -> AuditRecord {
        AuditRecord {
            id: AuditId::from_bytes(self.id),
            number: self.number.cast_unsigned(),
            at: self.at,
            actor: self.actor.map(UserId::from_bytes),
            ip: self.ip,
            action: self.action,
            target: self.target,
            app: self.app_id.map(AppId::from_bytes),
            before: self.before.map(|json| json.0),
            after: self.after.map(|json| json.0),
        }
    }
}

/// A row as its hash covers it: JSON as the text that Postgres prints.
#[derive(sqlx::FromRow)]
struct Link {
    number: i64,
    id: [u8; 16],
    at: DateTime<Utc>,
    actor: Option<[u8; 16]>,
    ip: Option<String>,
    action: String,
    target: String,
    app_id: Option<[u8; 16]>,
    before: Option<String>,
    after: Option<String>,
    hash: [u8; 32],
}

impl Link {
    /// The hash it must have; `audit_append` in the migrations computes the same.
    fn expected(&self, tenant: TenantId, previous: &[u8; 32]) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(previous);
        let fields: [Option<&[u8]>; 11] = [
            Some(&tenant.to_bytes()),
            Some(&self.number.to_be_bytes()),
            Some(&self.id),
            Some(&self.at.timestamp_micros().to_be_bytes()),
            self.actor.as_ref().map(<[u8; 16]>::as_slice),
            self.ip.as_deref().map(str::as_bytes),
            Some(self.action.as_bytes()),
            Some(self.target.as_bytes()),
            self.app_id.as_ref().map(<[u8; 16]>::as_slice),
            self.before.as_deref().map(str::as_bytes),
            self.after.as_deref().map(str::as_bytes),
        ];
        for field in fields {
            let length = field.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
            digest.update(length.to_be_bytes());
            digest.update(field.unwrap_or_default());
        }
        digest.finalize().into()
    }
}

impl AppStore {
    /// Notes that the member is let do something to the app's connections or channels: the data plane does it, and knows
    /// no audit log.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn note_act(&self, act: &Act) -> Result<(), StoreError> {
        let action = match act {
            Act::DisconnectConnection(_) | Act::DisconnectUser(_) | Act::DisconnectChannel(_) => {
                "connections.disconnect"
            }
            Act::DeleteHistory(_) => "history.delete",
        };
        let after = serde_json::to_value(act).map_err(|error| StoreError::corrupt("audit_log", error))?;
        let entry = Entry::new(action, self.id()).in_app(self.id()).after(after);
        self.write().await?.commit(self.inner(), entry).await
    }
}

impl TenantStore {
    /// The audit log, newest first.
    ///
    /// # Errors
    /// When the cursor is not one of this list.
    pub async fn audit(&self, page: &PageRequest) -> Result<Page<AuditRecord>, StoreError> {
        let part = Part::<8>::of(page)?;
        let mut tx = self.begin().await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, number, at, actor, ip, action, target, app_id, before, after FROM audit_log
             WHERE tenant_id = $1 AND ($2::bigint IS NULL OR number < $2) ORDER BY number DESC LIMIT $3",
        )
        .bind(self.id().to_bytes())
        .bind(part.after.map(i64::from_be_bytes))
        .bind(part.rows())
        .fetch_all(&mut *tx)
        .await?;
        Ok(part.page(rows, |row| row.number.to_be_bytes()).map(Row::record))
    }

    /// Walks the whole chain; the number of the first row that was altered or is missing, if any.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn verify_audit(&self) -> Result<Option<u64>, StoreError> {
        // One snapshot for head and pages: rows appended meanwhile are not mistaken for a difference.
        let mut tx = Scope::Tenant(self.id()).begin_snapshot(&self.inner.app).await?;
        let head: Option<(i64, [u8; 32])> = sqlx::query_as("SELECT number, hash FROM audit_heads WHERE tenant_id = $1")
            .bind(self.id().to_bytes())
            .fetch_optional(&mut *tx)
            .await?;
        let (mut number, mut hash) = (0_i64, [0; 32]);
        loop {
            let links: Vec<Link> = sqlx::query_as(
                "SELECT number, id, at, actor, ip, action, target, app_id, before::text, after::text, hash
                 FROM audit_log WHERE tenant_id = $1 AND number > $2 ORDER BY number LIMIT 500",
            )
            .bind(self.id().to_bytes())
            .bind(number)
            .fetch_all(&mut *tx)
            .await?;
            if links.is_empty() {
                break;
            }
            for link in links {
                if link.number != number + 1 || link.expected(self.id(), &hash) != link.hash {
                    return Ok(Some((number + 1).cast_unsigned()));
                }
                (number, hash) = (link.number, link.hash);
            }
        }
        let whole = head.unwrap_or((0, [0; 32])) == (number, hash);
        Ok((!whole).then_some((number + 1).cast_unsigned()))
    }
}
