//! What happens before anybody is known: accounts by their address, keys by their id, signing up.
//!
//! The role behind it has no right on any table and calls functions of its own. Signing up makes what a member could
//! make too (an app and a key) by the same code: its transaction changes to the members' role for that part.

use std::fmt;
use std::sync::Arc;

use fanfare_core::id::{AppId, KeyId, TenantId, UserId};
use fanfare_core::secret::PrintedKey;
use fanfare_core::{Capabilities, Limits};
use serde_json::json;
use sqlx::types::Json;

use crate::audit::{self, Entry};
use crate::roles::DatabaseRole;
use crate::scope::{Scope, Tx, Write};
use crate::store::Inner;
use crate::{
    AppRecord, Conflict, Credentials, KeyOwner, NewKey, OpenedSession, SessionTerms, StoreError, UserRecord, apps,
    chance, keys, sessions,
};

/// The name of a tenant's first app.
const FIRST_APP: &str = "Production";
/// The name of an app's first key.
const FIRST_KEY: &str = "First key";

/// What happens before anybody is known. Sessions are in `sessions.rs`, welcome codes in `welcome.rs`.
#[derive(Clone)]
pub struct Auth {
    pub(crate) inner: Arc<Inner>,
}

/// Where a request comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub ip: Option<Box<str>>,
    /// What its browser calls itself; cut to 200 characters.
    pub user_agent: Option<Box<str>>,
}

/// Somebody who signs up.
#[derive(Clone)]
pub struct NewAccount {
    /// The address, as typed.
    pub email: String,
    /// The password's hash as a PHC string.
    pub password_hash: String,
    /// The tenant's name. Empty, when claiming a tenant, leaves the name it has.
    pub tenant_name: String,
    /// Limits that hold until an operator lifts them, where the address was not verified.
    pub held: Option<Limits>,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NewAccount").finish_non_exhaustive()
    }
}

/// What signing up made.
#[derive(Debug, Clone)]
pub struct Account {
    /// The person.
    pub user: UserRecord,
    /// Their tenant.
    pub tenant: TenantId,
    /// Its first app.
    pub app: AppRecord,
    /// The app's first key, shown this once.
    pub key: PrintedKey,
    /// They are signed in.
    pub session: OpenedSession,
}

#[derive(sqlx::FromRow)]
struct CredentialsRow {
    user_id: [u8; 16],
    password_hash: String,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    tenant_id: [u8; 16],
    app_id: [u8; 16],
    secret_hash: [u8; 32],
}

impl Auth {
    /// The account with this address, in upper or lower case.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn credentials(&self, email: &str) -> Result<Option<Credentials>, StoreError> {
        let row: Option<CredentialsRow> = sqlx::query_as("SELECT user_id, password_hash FROM auth_credentials($1)")
            .bind(email)
            .fetch_optional(&self.inner.auth)
            .await?;
        Ok(row.map(|row| Credentials { user: UserId::from_bytes(row.user_id), password_hash: row.password_hash }))
    }

    /// Replaces a password's hash by one with other parameters, if it is still the old one.
    ///
    /// # Errors
    /// [`Conflict::PasswordChanged`] when it is not.
    pub async fn replace_password_hash(&self, user: UserId, old: &str, new: &str) -> Result<(), StoreError> {
        let replaced: bool = sqlx::query_scalar("SELECT auth_replace_password_hash($1, $2, $3)")
            .bind(user.to_bytes())
            .bind(old)
            .bind(new)
            .fetch_one(&self.inner.auth)
            .await?;
        if replaced { Ok(()) } else { Err(Conflict::PasswordChanged.into()) }
    }

    /// Whose key it is; `None` when there is none of this id, or it is revoked.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyOwner>, StoreError> {
        let row: Option<KeyRow> = sqlx::query_as("SELECT tenant_id, app_id, secret_hash FROM auth_key($1)")
            .bind(id.to_bytes())
            .fetch_optional(&self.inner.auth)
            .await?;
        Ok(row.map(|row| KeyOwner {
            tenant: TenantId::from_bytes(row.tenant_id),
            app: AppId::from_bytes(row.app_id),
            secret_hash: row.secret_hash,
        }))
    }

    /// Makes user, tenant, ownership, app, key, starter ACL and session, all or nothing.
    ///
    /// # Errors
    /// [`Conflict::EmailTaken`].
    pub async fn sign_up(
        &self,
        account: NewAccount,
        origin: &Origin,
        terms: SessionTerms,
    ) -> Result<Account, StoreError> {
        let tenant = TenantId::new(self.inner.unix_ms(), chance::id_bits());
        let mut tx = self.inner.auth.begin().await?;
        create_tenant(&mut tx, &self.inner, tenant, &account.tenant_name).await?;
        let user = create_owner(&mut tx, &self.inner, tenant, &account).await?;
        let write = Write { tx, tenant, actor: Some(user.id), ip: origin.ip.clone() };
        let (mut tx, app, key) = furnish(write, &self.inner, &account.tenant_name).await?;
        if let Some(held) = &account.held {
            hold(&mut tx, app.id, held).await?;
        }
        let session = sessions::open(&mut tx, &self.inner, user.id, origin, terms).await?;
        tx.commit().await?;
        Ok(Account { user, tenant, app, key, session })
    }
}

pub(crate) async fn create_tenant(tx: &mut Tx, inner: &Inner, id: TenantId, name: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT auth_create_tenant($1, $2, $3)")
        .bind(id.to_bytes())
        .bind(name)
        .bind(inner.now())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Makes a person and their ownership of the tenant.
pub(crate) async fn create_owner(
    tx: &mut Tx,
    inner: &Inner,
    tenant: TenantId,
    account: &NewAccount,
) -> Result<UserRecord, StoreError> {
    let (id, created_at) = (UserId::new(inner.unix_ms(), chance::id_bits()), inner.now());
    sqlx::query("SELECT auth_create_owner($1, $2, $3, $4, $5)")
        .bind(tenant.to_bytes())
        .bind(id.to_bytes())
        .bind(&account.email)
        .bind(&account.password_hash)
        .bind(created_at)
        .execute(&mut **tx)
        .await?;
    Ok(UserRecord { id, email: account.email.clone(), created_at })
}

pub(crate) async fn hold(tx: &mut Tx, app: AppId, held: &Limits) -> Result<(), StoreError> {
    sqlx::query("SELECT auth_hold_app($1, $2)").bind(app.to_bytes()).bind(Json(held)).execute(&mut **tx).await?;
    Ok(())
}

/// Gives a new tenant its first app and key, and its audit log the first row.
pub(crate) async fn furnish(
    mut write: Write,
    inner: &Inner,
    tenant_name: &str,
) -> Result<(Tx, AppRecord, PrintedKey), StoreError> {
    as_member(&mut write.tx, write.tenant).await?;
    let app = apps::insert(&mut write, inner, FIRST_APP).await?;
    let first = NewKey { name: FIRST_KEY.to_owned(), capabilities: Capabilities::everything(), expires_at: None };
    let (key, printed) = keys::insert(&mut write, inner, app.id, "api", first).await?;
    let made = json!({ "name": tenant_name, "app": app.for_audit(), "key": key.for_audit() });
    let entry = Entry::new("tenant.created", write.tenant).in_app(app.id).after(made);
    audit::append(&mut write, inner, entry).await?;
    as_auth(&mut write.tx).await?;
    Ok((write.tx, app, printed))
}

/// Goes on as the members' role, within one tenant, until [`as_auth`] or the transaction's end.
pub(crate) async fn as_member(tx: &mut Tx, tenant: TenantId) -> Result<(), StoreError> {
    take_role(tx, DatabaseRole::App).await?;
    Scope::Tenant(tenant).enter(tx).await
}

/// Goes back to the role of this pool.
pub(crate) async fn as_auth(tx: &mut Tx) -> Result<(), StoreError> {
    take_role(tx, DatabaseRole::Auth).await
}

async fn take_role(tx: &mut Tx, role: DatabaseRole) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config('role', $1, true)").bind(role.as_str()).execute(&mut **tx).await?;
    Ok(())
}
