//! Keys of an app. A secret is known to Postgres by its hash; sealed under the master key as well only where the key may
//! sign, because checking a token's signature needs the secret itself.

use chrono::{DateTime, Utc};
use fanfare_core::id::{AppId, KeyId, TenantId, UserId};
use fanfare_core::secret::{PrintedKey, SecretBytes};
use fanfare_core::{Capabilities, Operation, capability::Operations, pattern::Pattern};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::types::Json;

use crate::audit::Entry;
use crate::page::Part;
use crate::scope::Write;
use crate::store::Inner;
use crate::{AppStore, Conflict, Keep, Owner, Page, PageRequest, StoreError, chance};

/// The most keys of one app that are not revoked.
pub const KEYS_MAX: u32 = 100;

/// A key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// Its app.
    pub app: AppId,
    /// Its name.
    pub name: String,
    /// What it may do and hand on.
    pub capabilities: Capabilities,
    /// The last four characters of its secret.
    pub last_four: String,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Who made it; `None` for the key of a server's first start.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Grows with every change: the ETag.
    pub version: u64,
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its name.
    pub name: String,
    /// What it may do and hand on.
    pub capabilities: Capabilities,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key's id and the bytes that sign tokens.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// The `kid`.
    pub id: KeyId,
    /// What tokens are HMACed with.
    pub secret: SecretBytes,
}

/// Whose key it is, and how to check its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOwner {
    /// The tenant.
    pub tenant: TenantId,
    /// The app.
    pub app: AppId,
    /// SHA-256 of the printed secret; compare in constant time.
    pub secret_hash: [u8; 32],
}

#[derive(sqlx::FromRow)]
struct Row {
    id: [u8; 16],
    app_id: [u8; 16],
    name: String,
    capabilities: Json<Capabilities>,
    last_four: String,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    created_by: Option<[u8; 16]>,
    created_at: DateTime<Utc>,
    revision: i64,
}

impl Row {
    fn record(self) -> KeyRecord {
        KeyRecord {
            id: KeyId::from_bytes(self.id),
            app: AppId::from_bytes(self.app_id),
            name: self.name,
            capabilities: self.capabilities.0,
            last_four: self.last_four,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            created_by: self.created_by.map(UserId::from_bytes),
            created_at: self.created_at,
            version: self.revision.cast_unsigned(),
        }
    }
}

impl KeyRecord {
    pub(crate) fn for_audit(&self) -> Value {
        json!({
            "name": self.name,
            "capabilities": self.capabilities,
            "last_four": self.last_four,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
        })
    }
}

/// What a sealed secret is bound to.
pub(crate) const fn owner(id: &[u8; 16]) -> Owner<'_> {
    Owner { kind: "keys", id }
}

/// Makes a key of either kind.
pub(crate) async fn insert(
    write: &mut Write,
    inner: &Inner,
    app: AppId,
    kind: &'static str,
    new: NewKey,
) -> Result<(KeyRecord, PrintedKey), StoreError> {
    let printed = PrintedKey { id: KeyId::new(inner.unix_ms(), chance::id_bits()), secret: chance::key_secret() };
    let secret = printed.secret.expose().as_bytes();
    let may_sign = new.capabilities.anywhere(Operation::Sign);
    let sealed = may_sign.then(|| inner.master_key.seal(owner(&printed.id.to_bytes()), secret));
    let capabilities = serde_json::to_string(&new.capabilities).map_err(|error| StoreError::corrupt("keys", error))?;
    let row: Row = sqlx::query_as(
        "INSERT INTO keys (id, tenant_id, app_id, kind, name, capabilities, last_four, secret_hash, sealed, expires_at,
            created_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6::json, $7, $8, $9, $10, $11, $12)
         RETURNING id, app_id, name, capabilities, last_four, expires_at, revoked_at, created_by, created_at, revision",
    )
    .bind(printed.id.to_bytes())
    .bind(write.tenant.to_bytes())
    .bind(app.to_bytes())
    .bind(kind)
    .bind(new.name)
    .bind(capabilities)
    .bind(printed.secret.last_four())
    .bind(<[u8; 32]>::from(Sha256::digest(secret)))
    .bind(sealed)
    .bind(new.expires_at)
    .bind(write.actor.map(UserId::to_bytes))
    .bind(inner.now())
    .fetch_one(&mut *write.tx)
    .await?;
    Ok((row.record(), printed))
}

/// Makes the hidden key whose tokens let the dashboard read live figures, what happens, and messages. What its tokens for
/// looking at the app give is not written here: `fanfare_core::inspection` says it.
pub(crate) async fn insert_platform_key(write: &mut Write, inner: &Inner, app: AppId) -> Result<(), StoreError> {
    let pattern = |text| Pattern::parse(text).expect("the platform's patterns are valid");
    let read: Operations = [Operation::Subscribe, Operation::History, Operation::Sign].into_iter().collect();
    let listen = Operations::NONE.with(Operation::Subscribe);
    let capabilities = Capabilities::new(vec![
        (pattern("$stats:*"), listen),
        (pattern("$debug:*"), listen.with(Operation::History)),
        (pattern("**"), read),
    ]);
    let new = NewKey { name: "platform".to_owned(), capabilities, expires_at: None };
    insert(write, inner, app, "platform", new).await.map(drop)
}

impl AppStore {
    /// Its keys, oldest first, revoked ones included.
    ///
    /// # Errors
    /// When the cursor is not one of this list.
    pub async fn keys(&self, page: &PageRequest) -> Result<Page<KeyRecord>, StoreError> {
        let part = Part::<16>::of(page)?;
        let mut tx = self.begin().await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, app_id, name, capabilities, last_four, expires_at, revoked_at, created_by, created_at, revision
             FROM keys WHERE app_id = $1 AND kind = 'api' AND ($2::bytea IS NULL OR id > $2) ORDER BY id LIMIT $3",
        )
        .bind(self.id().to_bytes())
        .bind(part.after)
        .bind(part.rows())
        .fetch_all(&mut *tx)
        .await?;
        Ok(part.page(rows, |row| row.id).map(Row::record))
    }

    /// One of its keys.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it has no such key.
    pub async fn key(&self, id: KeyId) -> Result<KeyRecord, StoreError> {
        let mut tx = self.begin().await?;
        let row: Row = sqlx::query_as(
            "SELECT id, app_id, name, capabilities, last_four, expires_at, revoked_at, created_by, created_at, revision
             FROM keys WHERE app_id = $1 AND id = $2 AND kind = 'api'",
        )
        .bind(self.id().to_bytes())
        .bind(id.to_bytes())
        .fetch_one(&mut *tx)
        .await?;
        Ok(row.record())
    }

    /// Makes a key. The printed secret is returned this once. The answer to a repeatable request is kept with it.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the app has [`KEYS_MAX`], [`StoreError::IdempotencyBusy`] when somebody else took over the
    /// request.
    pub async fn create_key(
        &self,
        new: NewKey,
        keep: Option<Keep<(KeyRecord, PrintedKey)>>,
    ) -> Result<(KeyRecord, PrintedKey), StoreError> {
        let mut write = self.write().await?;
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM keys WHERE app_id = $1 AND kind = 'api' AND revoked_at IS NULL")
                .bind(self.id().to_bytes())
                .fetch_one(&mut *write.tx)
                .await?;
        if count >= i64::from(KEYS_MAX) {
            return Err(StoreError::Full { what: "keys", max: KEYS_MAX });
        }
        let made = insert(&mut write, self.inner(), self.id(), "api", new).await?;
        let entry = Entry::new("key.created", made.0.id).in_app(self.id()).after(made.0.for_audit());
        write.commit_keeping(self.inner(), entry, &made, keep).await?;
        Ok(made)
    }

    /// Renames a key. `expected` is the version that was read.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when it has another version by now, or [`Conflict::KeyRevoked`].
    pub async fn rename_key(&self, id: KeyId, expected: u64, name: &str) -> Result<KeyRecord, StoreError> {
        let mut write = self.write().await?;
        let before = self.lock_key(&mut write, id).await?;
        if before.version != expected {
            return Err(StoreError::Stale { current: before.version });
        }
        if before.revoked_at.is_some() {
            return Err(Conflict::KeyRevoked.into());
        }
        let after: Row = sqlx::query_as(
            "UPDATE keys SET name = $2, revision = revision + 1 WHERE id = $1
             RETURNING id, app_id, name, capabilities, last_four, expires_at, revoked_at, created_by, created_at, revision",
        )
        .bind(id.to_bytes())
        .bind(name)
        .fetch_one(&mut *write.tx)
        .await?;
        let after = after.record();
        let entry = Entry::new("key.renamed", id).in_app(self.id());
        write.commit(self.inner(), entry.before(before.for_audit()).after(after.for_audit())).await?;
        Ok(after)
    }

    /// Revokes a key for ever. Revoking it again changes nothing: the first time counts.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the app has no such key.
    pub async fn revoke_key(&self, id: KeyId) -> Result<KeyRecord, StoreError> {
        let mut write = self.write().await?;
        let before = self.lock_key(&mut write, id).await?;
        if before.revoked_at.is_some() {
            return Ok(before);
        }
        let after: Row = sqlx::query_as(
            "UPDATE keys SET revoked_at = $2, revision = revision + 1 WHERE id = $1
             RETURNING id, app_id, name, capabilities, last_four, expires_at, revoked_at, created_by, created_at, revision",
        )
        .bind(id.to_bytes())
        .bind(self.inner().now())
        .fetch_one(&mut *write.tx)
        .await?;
        let after = after.record();
        let entry = Entry::new("key.revoked", id).in_app(self.id());
        write.commit(self.inner(), entry.before(before.for_audit()).after(after.for_audit())).await?;
        Ok(after)
    }

    /// The hidden key of the platform, which signs the dashboard's live tokens.
    ///
    /// # Errors
    /// When the master key does not open it.
    pub async fn platform_key(&self) -> Result<SigningKey, StoreError> {
        let mut tx = self.begin().await?;
        let (id, sealed): ([u8; 16], Vec<u8>) = sqlx::query_as(
            "SELECT id, sealed FROM keys WHERE app_id = $1 AND kind = 'platform' AND sealed IS NOT NULL",
        )
        .bind(self.id().to_bytes())
        .fetch_one(&mut *tx)
        .await?;
        let secret = open(self.inner(), &id, &sealed)?;
        Ok(SigningKey { id: KeyId::from_bytes(id), secret })
    }

    async fn lock_key(&self, write: &mut Write, id: KeyId) -> Result<KeyRecord, StoreError> {
        let row: Row = sqlx::query_as(
            "SELECT id, app_id, name, capabilities, last_four, expires_at, revoked_at, created_by, created_at, revision
             FROM keys WHERE app_id = $1 AND id = $2 AND kind = 'api' FOR UPDATE",
        )
        .bind(self.id().to_bytes())
        .bind(id.to_bytes())
        .fetch_one(&mut *write.tx)
        .await?;
        Ok(row.record())
    }
}

/// Opens a sealed secret.
pub(crate) fn open(inner: &Inner, id: &[u8; 16], sealed: &[u8]) -> Result<SecretBytes, StoreError> {
    let opened = inner.master_key.open(owner(id), sealed);
    opened.map_err(|source| StoreError::Seal { what: "a key's secret does not open", source })
}
