//! Keys of the platform itself: made once, by whichever server starts first.

use fanfare_core::position::PositionKey;
use fanfare_core::secret::SecretBytes;

use crate::store::Inner;
use crate::{Owner, StoreError, chance};

const POSITION_KEY: &str = "position_key";
const TICKET_KEYS: &str = "ticket_keys";
const PARTITION_KEY: &str = "partition_key";
const PASSWORD_PEPPER: &str = "password_pepper";

/// Makes what is missing, and makes sure that the master key opens what is there.
pub(crate) async fn ensure(inner: &Inner) -> Result<(), StoreError> {
    let [position_key_bytes, partition_key_bytes, pepper] = std::array::from_fn(|_| chance::bytes::<32>());
    // A ring of one: its number, then the key.
    let ticket_keys_bytes = [&[1], chance::bytes::<32>().as_slice()].concat();
    for (name, bytes) in [
        (POSITION_KEY, &position_key_bytes[..]),
        (TICKET_KEYS, &ticket_keys_bytes),
        (PARTITION_KEY, &partition_key_bytes),
        (PASSWORD_PEPPER, &pepper),
    ] {
        sqlx::query("SELECT auth_offer_secret($1, $2, $3)")
            .bind(name)
            .bind(inner.master_key.seal(owner(name), bytes))
            .bind(inner.now())
            .execute(&inner.auth)
            .await?;
    }
    position_key(inner).await?;
    ticket_keys(inner).await?;
    partition_key(inner).await?;
    password_pepper(inner).await?;
    Ok(())
}

/// The key that tags positions, as nodes read it.
pub(crate) async fn position_key(inner: &Inner) -> Result<PositionKey, StoreError> {
    let bytes = of_nodes(inner, POSITION_KEY).await?.expose().try_into();
    bytes.map(PositionKey::new).map_err(|_| StoreError::corrupt("platform_secrets", "a position key has 32 bytes"))
}

/// The keys that seal resume tickets, as nodes read them: for each a number and 32 bytes, the one that seals first.
pub(crate) async fn ticket_keys(inner: &Inner) -> Result<SecretBytes, StoreError> {
    of_nodes(inner, TICKET_KEYS).await
}

/// What says which partition of Redis a channel is in, as nodes read it: 32 bytes.
pub(crate) async fn partition_key(inner: &Inner) -> Result<SecretBytes, StoreError> {
    of_nodes(inner, PARTITION_KEY).await
}

async fn of_nodes(inner: &Inner, name: &str) -> Result<SecretBytes, StoreError> {
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM platform_secrets WHERE name = $1")
        .bind(name)
        .fetch_one(&inner.feed)
        .await?;
    open(inner, name, &sealed)
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
