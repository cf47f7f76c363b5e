//! The first tenant of a server that starts on an empty database: it works at once, and whoever follows the welcome link
//! first owns it.

use fanfare_core::id::{AppId, KeyId, TenantId};
use fanfare_core::secret::{KeySecret, PrintedKey};
use serde_json::json;

use crate::audit::{self, Entry};
use crate::auth::{as_auth, as_member, create_owner, create_tenant, furnish, hold};
use crate::scope::{Tx, Write};
use crate::store::Inner;
use crate::{
    Account, AppRecord, Auth, NewAccount, Origin, SessionTerms, StoreError, Token, apps, chance, keys, sessions,
};

/// A tenant that waits for its owner.
#[derive(Debug, Clone)]
pub struct Welcome {
    /// Claims it, once.
    pub code: Token,
    /// The tenant.
    pub tenant: TenantId,
    /// Its app.
    pub app: AppId,
    /// The app's key, for `FANFARE_KEY`.
    pub key: PrintedKey,
}

#[derive(sqlx::FromRow)]
struct State {
    has_tenants: bool,
    unclaimed: Option<[u8; 16]>,
}

impl Auth {
    /// On an empty database, makes a tenant with an app and a key that nobody owns yet, and the code that claims it. At
    /// later starts gives a new code for the same tenant as long as nobody claimed it; afterwards, or where there are
    /// only tenants that signed up, `None`.
    ///
    /// # Errors
    /// When Postgres is away, or the master key does not open the key.
    pub async fn welcome(&self, tenant_name: &str) -> Result<Option<Welcome>, StoreError> {
        let mut tx = self.inner.auth.begin().await?;
        let state: State =
            sqlx::query_as("SELECT has_tenants, unclaimed FROM auth_welcome_state()").fetch_one(&mut *tx).await?;
        let (mut tx, tenant, app, key) = match state {
            State { unclaimed: Some(tenant), .. } => {
                let tenant = TenantId::from_bytes(tenant);
                let (app, key) = first_of(&mut tx, &self.inner, tenant).await?;
                (tx, tenant, app.id, key)
            }
            State { has_tenants: true, .. } => return Ok(None),
            State { has_tenants: false, .. } => {
                let tenant = TenantId::new(self.inner.unix_ms(), chance::id_bits());
                create_tenant(&mut tx, &self.inner, tenant, tenant_name).await?;
                let write = Write { tx, tenant, actor: None, ip: None };
                let (tx, app, key) = furnish(write, &self.inner, tenant_name).await?;
                (tx, tenant, app.id, key)
            }
        };
        let code = Token::draw();
        sqlx::query("SELECT auth_set_welcome($1, $2, $3)")
            .bind(tenant.to_bytes())
            .bind(code.hash())
            .bind(self.inner.now())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Some(Welcome { code, tenant, app, key }))
    }

    /// Makes the account that owns the tenant behind the code, and uses the code up.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the code is wrong or was used, [`crate::Conflict::EmailTaken`].
    pub async fn claim_welcome(
        &self,
        code: &Token,
        account: NewAccount,
        origin: &Origin,
        terms: SessionTerms,
    ) -> Result<Account, StoreError> {
        let mut tx = self.inner.auth.begin().await?;
        let claimed: Option<[u8; 16]> = sqlx::query_scalar("SELECT auth_claim_welcome($1, $2, $3)")
            .bind(code.hash())
            .bind(&account.tenant_name)
            .bind(self.inner.now())
            .fetch_one(&mut *tx)
            .await?;
        let tenant = TenantId::from_bytes(claimed.ok_or(StoreError::NotFound)?);
        let user = create_owner(&mut tx, &self.inner, tenant, &account).await?;
        let (app, key) = first_of(&mut tx, &self.inner, tenant).await?;
        as_member(&mut tx, tenant).await?;
        let mut write = Write { tx, tenant, actor: Some(user.id), ip: origin.ip.clone() };
        let entry =
            Entry::new("tenant.claimed", tenant).after(json!({ "name": account.tenant_name, "owner": user.id }));
        audit::append(&mut write, &self.inner, entry).await?;
        let mut tx = write.tx;
        as_auth(&mut tx).await?;
        if let Some(held) = &account.held {
            hold(&mut tx, app.id, held).await?;
        }
        let session = sessions::open(&mut tx, &self.inner, user.id, origin, terms).await?;
        tx.commit().await?;
        Ok(Account { user, tenant, app, key, session })
    }
}

/// The tenant's oldest app and that app's oldest working key that may sign, whose secret can therefore be opened again.
async fn first_of(tx: &mut Tx, inner: &Inner, tenant: TenantId) -> Result<(AppRecord, PrintedKey), StoreError> {
    as_member(tx, tenant).await?;
    let app: apps::Row = sqlx::query_as(
        "SELECT id, tenant_id, name, origins, heartbeat_ms, heartbeat_timeout_ms, revision, created_at FROM apps
         WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    )
    .bind(tenant.to_bytes())
    .fetch_one(&mut **tx)
    .await?;
    let app = app.record();
    let (id, sealed): ([u8; 16], Vec<u8>) = sqlx::query_as(
        "SELECT id, sealed FROM keys
         WHERE app_id = $1 AND kind = 'api' AND sealed IS NOT NULL AND revoked_at IS NULL ORDER BY id LIMIT 1",
    )
    .bind(app.id.to_bytes())
    .fetch_one(&mut **tx)
    .await?;
    as_auth(tx).await?;
    let secret = keys::open(inner, &id, &sealed)?;
    let text = std::str::from_utf8(secret.expose()).ok();
    let secret =
        text.and_then(KeySecret::parse).ok_or_else(|| StoreError::corrupt("keys", "a sealed secret is none"))?;
    Ok((app, PrintedKey { id: KeyId::from_bytes(id), secret }))
}
