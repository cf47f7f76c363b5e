//! Keys of the platform itself: made once, by whichever server starts first.

use fanfare_core::position::PositionKey;
use fanfare_core::secret::SecretBytes;

use crate::store::Inner;
use crate::{Owner, StoreError, chance};

const POSITION_KEY: &str = "position_key";
const PASSWORD_PEPPER: &str = "password_pepper";

/// Makes what is missing, and makes sure that the master key opens what is there.
pub(crate) async fn ensure(inner: &Inner) -> Result<(), StoreError> {
    for name in [POSITION_KEY, PASSWORD_PEPPER] {
        sqlx::query("SELECT auth_offer_secret($1, $2, $3)")
            .bind(name)
            .bind(inner.master_key.seal(owner(name), &chance::bytes::<32>()))
            .bind(inner.now())
            .execute(&inner.auth)
            .await?;
    }
    position_key(inner).await?;
    password_pepper(inner).await?;
    Ok(())
}

/// The key that tags positions, as nodes read it.
pub(crate) async fn position_key(inner: &Inner) -> Result<PositionKey, StoreError> {
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM platform_secrets WHERE name = $1")
        .bind(POSITION_KEY)
        .fetch_one(&inner.feed)
        .await?;
    let bytes = open(inner, POSITION_KEY, &sealed)?.expose().try_into();
    bytes.map(PositionKey::new).map_err(|_| StoreError::corrupt("platform_secrets", "a position key has 32 bytes"))
}

/// What goes into every password's hash.
pub(crate) async fn password_pepper(inner: &Inner) -> Result<SecretBytes, StoreError> {
    let sealed: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT auth_secret($1)").bind(PASSWORD_PEPPER).fetch_one(&inner.auth).await?;
    open(inner, PASSWORD_PEPPER, &sealed.ok_or(StoreError::NotFound)?)
}

const fn owner(name: &str) -> Owner<'_> {
    Owner { kind: "platform_secrets", id: name.as_bytes() }
}

fn open(inner: &Inner, name: &str, sealed: &[u8]) -> Result<SecretBytes, StoreError> {
    let opened = inner.master_key.open(owner(name), sealed);
    opened.map_err(|source| StoreError::Seal { what: "a secret of the platform does not open", source })
}
