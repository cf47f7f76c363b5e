//! Issuers of an app: whose tokens it trusts without sharing a secret. Nothing in here is secret.

use chrono::{DateTime, Utc};
use fanfare_core::id::{AppId, IssuerId, UserId};
use fanfare_core::issuer::ClaimMap;
use fanfare_core::{Capabilities, Issuer, KeySource, TokenAlgorithm};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::types::Json;

use crate::audit::Entry;
use crate::page::Part;
use crate::scope::Write;
use crate::{AppStore, Keep, Page, PageRequest, StoreError, chance};

/// The most issuers of one app.
pub const ISSUERS_MAX: u32 = 10;

/// An issuer as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct IssuerRecord {
    /// What the data plane sees of it.
    pub issuer: Issuer,
    /// Its app.
    pub app: AppId,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Grows with every change: the ETag.
    pub version: u64,
    /// How the last fetch of its keys went, if they are at a URL and one was made.
    pub fetch: Option<FetchRecord>,
}

/// How the last fetch went.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchRecord {
    /// When it was made.
    pub attempted_at: DateTime<Utc>,
    /// When the last one went well.
    pub fetched_at: Option<DateTime<Utc>>,
    /// What was found then.
    pub keys: Vec<FetchedKey>,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

/// A key that was found at an issuer's URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedKey {
    /// What tokens call it.
    pub kid: String,
    /// What it verifies.
    pub algorithm: TokenAlgorithm,
}

/// An issuer to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewIssuer {
    /// Its name.
    pub name: String,
    /// What `iss` of its tokens is.
    pub iss: String,
    /// What `aud` of its tokens holds.
    pub aud: Option<String>,
    /// Where its keys are.
    pub source: KeySource,
    /// What its tokens may do at most.
    pub ceiling: Capabilities,
    /// Where in its tokens what lies.
    pub claims: ClaimMap,
}

/// What is to be different; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IssuerChange {
    /// Its name.
    pub name: Option<String>,
    /// What its tokens may do at most.
    pub ceiling: Option<Capabilities>,
    /// Where in its tokens what lies.
    pub claims: Option<ClaimMap>,
    /// Whether its tokens are taken.
    pub enabled: Option<bool>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: [u8; 16],
    app_id: [u8; 16],
    name: String,
    iss: String,
    aud: Option<String>,
    source: Json<KeySource>,
    ceiling: Json<Capabilities>,
    claims: Json<ClaimMap>,
    enabled: bool,
    created_by: Option<[u8; 16]>,
    created_at: DateTime<Utc>,
    revision: i64,
    attempted_at: Option<DateTime<Utc>>,
    fetched_at: Option<DateTime<Utc>>,
    fetched_keys: Option<Json<Vec<FetchedKey>>>,
    fetch_error: Option<String>,
}

impl Row {
    fn record(self) -> IssuerRecord {
        let (fetched_at, error) = (self.fetched_at, self.fetch_error);
        let keys = self.fetched_keys.map(|keys| keys.0).unwrap_or_default();
        IssuerRecord {
            issuer: Issuer {
                id: IssuerId::from_bytes(self.id),
                name: self.name.into(),
                iss: self.iss.into(),
                aud: self.aud.map(Into::into),
                source: self.source.0,
                ceiling: self.ceiling.0,
                claims: self.claims.0,
                enabled: self.enabled,
            },
            app: AppId::from_bytes(self.app_id),
            created_by: self.created_by.map(UserId::from_bytes),
            created_at: self.created_at,
            version: self.revision.cast_unsigned(),
            fetch: self.attempted_at.map(|attempted_at| FetchRecord { attempted_at, fetched_at, keys, error }),
        }
    }
}

impl IssuerRecord {
    fn for_audit(&self) -> Value {
        let Issuer { name, iss, aud, source, ceiling, claims, enabled, .. } = &self.issuer;
        json!({
            "name": name, "iss": iss, "aud": aud, "source": source, "ceiling": ceiling, "claims": claims,
            "enabled": enabled,
        })
    }
}

impl AppStore {
    /// Its issuers, oldest first.
    ///
    /// # Errors
    /// When the cursor is not one of this list.
    pub async fn issuers(&self, page: &PageRequest) -> Result<Page<IssuerRecord>, StoreError> {
        let part = Part::<16>::of(page)?;
        let mut tx = self.begin().await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, issuers.app_id, name, iss, aud, source, ceiling, claims, enabled, created_by, created_at,
                revision, attempted_at, fetched_at, keys AS fetched_keys, error AS fetch_error
             FROM issuers LEFT JOIN issuer_fetches ON issuer_id = id
             WHERE issuers.app_id = $1 AND ($2::bytea IS NULL OR id > $2) ORDER BY id LIMIT $3",
        )
        .bind(self.id().to_bytes())
        .bind(part.after)
        .bind(part.rows())
        .fetch_all(&mut *tx)
        .await?;
        Ok(part.page(rows, |row| row.id).map(Row::record))
    }

    /// One of its issuers.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it has no such issuer.
    pub async fn issuer(&self, id: IssuerId) -> Result<IssuerRecord, StoreError> {
        let mut tx = self.begin().await?;
        let row: Row = sqlx::query_as(
            "SELECT id, issuers.app_id, name, iss, aud, source, ceiling, claims, enabled, created_by, created_at,
                revision, attempted_at, fetched_at, keys AS fetched_keys, error AS fetch_error
             FROM issuers LEFT JOIN issuer_fetches ON issuer_id = id WHERE issuers.app_id = $1 AND id = $2",
        )
        .bind(self.id().to_bytes())
        .bind(id.to_bytes())
        .fetch_one(&mut *tx)
        .await?;
        Ok(row.record())
    }

    /// Makes an issuer. The answer to a repeatable request is kept with it.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the app has [`ISSUERS_MAX`], [`StoreError::IdempotencyBusy`] when somebody else took over
    /// the request.
    pub async fn create_issuer(
        &self,
        new: NewIssuer,
        keep: Option<Keep<IssuerRecord>>,
    ) -> Result<IssuerRecord, StoreError> {
        let mut write = self.write().await?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM issuers WHERE app_id = $1")
            .bind(self.id().to_bytes())
            .fetch_one(&mut *write.tx)
            .await?;
        if count >= i64::from(ISSUERS_MAX) {
            return Err(StoreError::Full { what: "issuers", max: ISSUERS_MAX });
        }
        let ceiling = serde_json::to_string(&new.ceiling).map_err(|error| StoreError::corrupt("issuers", error))?;
        let row: Row = sqlx::query_as(
            "INSERT INTO issuers (id, tenant_id, app_id, name, iss, aud, source, ceiling, claims, created_by, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8::json, $9, $10, $11)
             RETURNING id, app_id, name, iss, aud, source, ceiling, claims, enabled, created_by, created_at, revision,
                NULL::timestamptz AS attempted_at, NULL::timestamptz AS fetched_at, NULL::jsonb AS fetched_keys,
                NULL::text AS fetch_error",
        )
        .bind(IssuerId::new(self.inner().unix_ms(), chance::id_bits()).to_bytes())
        .bind(write.tenant.to_bytes())
        .bind(self.id().to_bytes())
        .bind(new.name)
        .bind(new.iss)
        .bind(new.aud)
        .bind(Json(new.source))
        .bind(ceiling)
        .bind(Json(new.claims))
        .bind(write.actor.map(UserId::to_bytes))
        .bind(self.inner().now())
        .fetch_one(&mut *write.tx)
        .await?;
        let made = row.record();
        let entry = Entry::new("issuer.created", made.issuer.id).in_app(self.id()).after(made.for_audit());
        write.commit_keeping(self.inner(), entry, &made, keep).await?;
        Ok(made)
    }

    /// Changes an issuer. `expected` is the version that was read.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when it has another version by now.
    pub async fn change_issuer(
        &self,
        id: IssuerId,
        expected: u64,
        change: IssuerChange,
    ) -> Result<IssuerRecord, StoreError> {
        let mut write = self.write().await?;
        let before = self.lock_issuer(&mut write, id).await?;
        if before.version != expected {
            return Err(StoreError::Stale { current: before.version });
        }
        let mut after = before.clone();
        let IssuerChange { name, ceiling, claims, enabled } = change;
        after.issuer.name = name.map_or(after.issuer.name, Into::into);
        after.issuer.ceiling = ceiling.unwrap_or(after.issuer.ceiling);
        after.issuer.claims = claims.unwrap_or(after.issuer.claims);
        after.issuer.enabled = enabled.unwrap_or(after.issuer.enabled);
        let ceiling = serde_json::to_string(&after.issuer.ceiling);
        let revision: i64 = sqlx::query_scalar(
            "UPDATE issuers SET name = $2, ceiling = $3::json, claims = $4, enabled = $5, revision = revision + 1
             WHERE id = $1 RETURNING revision",
        )
        .bind(id.to_bytes())
        .bind(&*after.issuer.name)
        .bind(ceiling.map_err(|error| StoreError::corrupt("issuers", error))?)
        .bind(Json(&after.issuer.claims))
        .bind(after.issuer.enabled)
        .fetch_one(&mut *write.tx)
        .await?;
        after.version = revision.cast_unsigned();
        let entry = Entry::new("issuer.changed", id).in_app(self.id());
        write.commit(self.inner(), entry.before(before.for_audit()).after(after.for_audit())).await?;
        Ok(after)
    }

    /// Deletes an issuer.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the app has no such issuer.
    pub async fn delete_issuer(&self, id: IssuerId) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        let before = self.lock_issuer(&mut write, id).await?;
        sqlx::query("DELETE FROM issuers WHERE id = $1").bind(id.to_bytes()).execute(&mut *write.tx).await?;
        let entry = Entry::new("issuer.deleted", id).in_app(self.id()).before(before.for_audit());
        write.commit(self.inner(), entry).await
    }

    async fn lock_issuer(&self, write: &mut Write, id: IssuerId) -> Result<IssuerRecord, StoreError> {
        let row: Row = sqlx::query_as(
            "SELECT id, issuers.app_id, name, iss, aud, source, ceiling, claims, enabled, created_by, created_at,
                revision, attempted_at, fetched_at, keys AS fetched_keys, error AS fetch_error
             FROM issuers LEFT JOIN issuer_fetches ON issuer_id = id
             WHERE issuers.app_id = $1 AND id = $2 FOR UPDATE OF issuers",
        )
        .bind(self.id().to_bytes())
        .bind(id.to_bytes())
        .fetch_one(&mut *write.tx)
        .await?;
        Ok(row.record())
    }
}
