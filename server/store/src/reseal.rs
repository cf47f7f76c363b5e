//! Rotation of the master key: everything sealed, sealed again.

use crate::store::Inner;
use crate::{Owner, StoreError};

#[derive(sqlx::FromRow)]
struct Sealed {
    kind: String,
    id: Vec<u8>,
    sealed: Vec<u8>,
}

/// Walks all sealed values in pages and replaces those of other keys; a value that was replaced meanwhile stays.
pub(crate) async fn run(inner: &Inner) -> Result<u64, StoreError> {
    let (mut kind, mut id) = (String::new(), Vec::new());
    let mut resealed = 0;
    loop {
        let page: Vec<Sealed> = sqlx::query_as("SELECT kind, id, sealed FROM auth_sealed_values($1, $2)")
            .bind(&kind)
            .bind(&id)
            .fetch_all(&inner.auth)
            .await?;
        let Some(last) = page.last() else { return Ok(resealed) };
        (kind, id) = (last.kind.clone(), last.id.clone());
        for value in page.iter().filter(|value| !inner.master_key.is_current(&value.sealed)) {
            replace(inner, value).await?;
            resealed += 1;
        }
    }
}

async fn replace(inner: &Inner, value: &Sealed) -> Result<(), StoreError> {
    let owner = Owner { kind: &value.kind, id: &value.id };
    let opened = inner
        .master_key
        .open(owner, &value.sealed)
        .map_err(|source| StoreError::Seal { what: "a sealed value does not open", source })?;
    sqlx::query("SELECT auth_reseal($1, $2, $3, $4)")
        .bind(&value.kind)
        .bind(&value.id)
        .bind(&value.sealed)
        .bind(inner.master_key.seal(owner, opened.expose()))
        .execute(&inner.auth)
        .await?;
    Ok(())
}
