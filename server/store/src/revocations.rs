//! Revocations of tokens: written by an app's backends, read as part of its snapshot.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_core::id::{AppId, KeyId, RevocationId, TenantId};
use fanfare_core::revocation::{KEPT_FOR_MS, REVOCATIONS_MAX, Revocation, Revoked};
use serde_json::json;
use std::sync::Arc;

use crate::audit::Entry;
use crate::scope::{Scope, Write};
use crate::store::Inner;
use crate::{Store, StoreError, chance};

/// What a backend may change of its app: it calls with a key that the data plane has checked.
#[derive(Clone)]
pub struct BackendStore {
    inner: Arc<Inner>,
    tenant: TenantId,
    app: AppId,
    key: KeyId,
}

impl Store {
    /// What a backend may change of its app. Whoever calls has checked the key, and that the app is this tenant's.
    #[must_use]
    pub fn backend(&self, tenant: TenantId, app: AppId, key: KeyId) -> BackendStore {
        BackendStore { inner: Arc::clone(&self.inner), tenant, app, key }
    }
}

impl BackendStore {
    /// Revokes tokens that were issued until a moment. A revocation of the same tokens is replaced, and never made to
    /// cover less.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the app has as many as may be.
    pub async fn revoke(&self, revoked: Revoked, issued_until_ms: u64) -> Result<Revocation, StoreError> {
        let now = self.inner.now();
        let mut write = self.write().await?;
        let (kind, value) = stored(&revoked);
        self.make_room(&mut write, now, kind, &value).await?;
        self.check_count(&mut write, now, kind, &value).await?;
        let id = RevocationId::new(self.inner.unix_ms(), chance::id_bits());
        let issued_until: DateTime<Utc> = sqlx::query_scalar(
            "INSERT INTO revocations
                (tenant_id, app_id, id, kind, value, issued_until, expires_at, created_by_key, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT ON CONSTRAINT revocations_once_key DO UPDATE SET
                id = excluded.id,
                issued_until = greatest(revocations.issued_until, excluded.issued_until),
                expires_at = greatest(revocations.expires_at, excluded.expires_at),
                created_by_key = excluded.created_by_key, created_at = excluded.created_at
             RETURNING issued_until",
        )
        .bind(self.tenant.to_bytes())
        .bind(self.app.to_bytes())
        .bind(id.to_bytes())
        .bind(kind)
        .bind(&value)
        .bind(time(issued_until_ms))
        .bind(time(issued_until_ms.saturating_add(KEPT_FOR_MS)))
        .bind(self.key.to_bytes())
        .bind(now)
        .fetch_one(&mut *write.tx)
        .await?;
        let entry = Entry::new("revocation.created", id).in_app(self.app);
        let after = json!({ "key": self.key, kind: value, "issued_until": issued_until });
        write.commit(&self.inner, entry.after(after)).await?;
        Ok(Revocation { id, revoked, issued_until_ms: unix_ms(issued_until) })
    }

    /// Ends a revocation: the tokens work again for as long as they live.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none with this id.
    pub async fn end_revocation(&self, id: RevocationId) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        let (kind, value): (String, String) =
            sqlx::query_as("DELETE FROM revocations WHERE app_id = $1 AND id = $2 RETURNING kind, value")
                .bind(self.app.to_bytes())
                .bind(id.to_bytes())
                .fetch_one(&mut *write.tx)
                .await?;
        let entry = Entry::new("revocation.deleted", id).in_app(self.app);
        write.commit(&self.inner, entry.before(json!({ "key": self.key, kind: value }))).await
    }

    async fn write(&self) -> Result<Write, StoreError> {
        // No person: who did it is the key, which stands in the entry.
        let tx = Scope::Tenant(self.tenant).begin(&self.inner.app).await?;
        Ok(Write { tx, tenant: self.tenant, actor: None, ip: None })
    }

    /// Lets go of what is in the way of one more: of those that have ended, the first that did. The others stay, for tokens
    /// that do not say when they were issued.
    async fn make_room(
        &self,
        write: &mut Write,
        now: DateTime<Utc>,
        kind: &str,
        value: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "WITH others AS (
                SELECT id, expires_at FROM revocations WHERE app_id = $1 AND NOT (kind = $3 AND value = $4)
             )
             DELETE FROM revocations WHERE app_id = $1 AND id IN (
                SELECT id FROM others WHERE expires_at <= $2 ORDER BY expires_at, id
                LIMIT greatest(0, (SELECT count(*) FROM others) + 1 - $5)
             )",
        )
        .bind(self.app.to_bytes())
        .bind(now)
        .bind(kind)
        .bind(value)
        .bind(i64::from(REVOCATIONS_MAX))
        .execute(&mut *write.tx)
        .await?;
        Ok(())
    }

    async fn check_count(
        &self,
        write: &mut Write,
        now: DateTime<Utc>,
        kind: &str,
        value: &str,
    ) -> Result<(), StoreError> {
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM revocations WHERE app_id = $1 AND expires_at > $2 AND NOT (kind = $3 AND value = $4)",
        )
        .bind(self.app.to_bytes())
        .bind(now)
        .bind(kind)
        .bind(value)
        .fetch_one(&mut *write.tx)
        .await?;
        if others >= i64::from(REVOCATIONS_MAX) {
            return Err(StoreError::Full { what: "revocations", max: REVOCATIONS_MAX });
        }
        Ok(())
    }
}

/// The two columns that say which tokens.
fn stored(revoked: &Revoked) -> (&'static str, String) {
    match revoked {
        Revoked::Token(id) => ("token", id.to_string()),
        Revoked::User(user) => ("user", user.to_string()),
        Revoked::Label(label) => ("label", label.to_string()),
        Revoked::Key(key) => ("key", key.to_string()),
        Revoked::All => ("all", String::new()),
    }
}

/// A row as it is in a snapshot.
#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) app_id: [u8; 16],
    id: [u8; 16],
    kind: String,
    value: String,
    issued_until: DateTime<Utc>,
}

impl Row {
    /// What it says; an error for what this version does not know.
    pub(crate) fn revocation(self) -> Result<Revocation, StoreError> {
        let wrong = |reason: &str| StoreError::corrupt("revocations", reason);
        let revoked = match &*self.kind {
            "token" => Revoked::Token(self.value.into()),
            "user" => Revoked::User(self.value.into()),
            "label" => Revoked::Label(self.value.into()),
            "key" => Revoked::Key(self.value.parse().map_err(|_| wrong("a key's id is none"))?),
            "all" => Revoked::All,
            _ => return Err(wrong("the kind is not known")),
        };
        let id = RevocationId::from_bytes(self.id);
        Ok(Revocation { id, revoked, issued_until_ms: unix_ms(self.issued_until) })
    }
}

fn time(unix_ms: u64) -> DateTime<Utc> {
    let most = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(365_000);
    i64::try_from(unix_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or(most).min(most)
}

fn unix_ms(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}
