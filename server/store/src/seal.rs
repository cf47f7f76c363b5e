//! Seals secrets under the master key, which is kept outside Postgres.
//!
//! XChaCha20-Poly1305 with a random nonce; what the secret belongs to is bound in as associated data, so that a sealed
//! value moved to another row does not open. A sealed value starts with a version and the number of the key that
//! sealed it:
//!
//! ```text
//! 1 byte: 1 │ 4 bytes: which key │ 24 bytes: nonce │ ciphertext and tag
//! ```
//!
//! To rotate: start with the new key as current and the old one as previous, call [`Store::reseal_all`], then drop the
//! old one. Nodes go on with what they have unsealed; nothing else depends on the master key.
//!
//! [`Store::reseal_all`]: crate::Store::reseal_all

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use fanfare_core::secret::SecretBytes;
use sha2::{Digest, Sha256};

use crate::chance;

const VERSION: u8 = 1;
const NUMBER_LEN: usize = 4;
const NONCE_LEN: usize = 24;
const HEADER_LEN: usize = 1 + NUMBER_LEN + NONCE_LEN;

/// Why a sealed value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short, or of a version that is not known.
    #[error("it is not a sealed value")]
    Form,
    /// Neither the current nor the previous master key sealed it.
    #[error("it was sealed under another master key")]
    OtherKey,
    /// The bytes, or what they belong to, were altered.
    #[error("it was altered, or belongs to something else")]
    Altered,
}

/// What a sealed value belongs to: a kind of thing, and which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The kind; for rows, the table.
    pub kind: &'a str,
    /// Which one of the kind.
    pub id: &'a [u8],
}

/// The key that seals, and during a rotation the one before it, which only opens.
#[derive(Clone)]
pub struct MasterKey {
    current: One,
    previous: Option<One>,
}

#[derive(Clone)]
struct One {
    number: [u8; NUMBER_LEN],
    bytes: SecretBytes,
}

impl One {
    fn new(bytes: [u8; 32]) -> Self {
        let digest = Sha256::new().chain_update(b"fanfare master key number").chain_update(bytes).finalize();
        let mut number = [0; NUMBER_LEN];
        number.copy_from_slice(&digest[..NUMBER_LEN]);
        Self { number, bytes: SecretBytes::new(bytes.to_vec()) }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new_from_slice(self.bytes.expose()).expect("a master key has 32 bytes")
    }
}

impl MasterKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self { current: One::new(bytes), previous: None }
    }

    /// The same, opening also what an earlier key sealed.
    #[must_use]
    pub fn with_previous(mut self, bytes: [u8; 32]) -> Self {
        self.previous = Some(One::new(bytes));
        self
    }

    /// Seals.
    #[must_use]
    pub fn seal(&self, owner: Owner<'_>, plain: &[u8]) -> Vec<u8> {
        let nonce = chance::bytes::<NONCE_LEN>();
        let payload = Payload { msg: plain, aad: &associated(owner) };
        let cipher = self.current.cipher();
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).expect("secrets are far below the cipher's bound");
        [&[VERSION], self.current.number.as_slice(), &nonce, &sealed].concat()
    }

    /// Opens what was sealed for the same owner.
    ///
    /// # Errors
    /// Says whether the form, the key or the bytes are wrong.
    pub fn open(&self, owner: Owner<'_>, sealed: &[u8]) -> Result<SecretBytes, SealError> {
        if sealed.len() < HEADER_LEN || sealed[0] != VERSION {
            return Err(SealError::Form);
        }
        let (header, body) = sealed.split_at(HEADER_LEN);
        let (number, nonce) = header[1..].split_at(NUMBER_LEN);
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        let key = keys.find(|key| key.number == number).ok_or(SealError::OtherKey)?;
        let nonce = <[u8; NONCE_LEN]>::try_from(nonce).expect("the header was split to fit");
        let payload = Payload { msg: body, aad: &associated(owner) };
        let plain = key.cipher().decrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Altered)?;
        Ok(SecretBytes::new(plain))
    }

    /// Whether the current key sealed it.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.get(1..=NUMBER_LEN) == Some(&self.current.number)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("MasterKey(redacted)")
    }
}

/// Kind and id, the kind's length first so that no two owners read the same.
fn associated(owner: Owner<'_>) -> Vec<u8> {
    let length = u32::try_from(owner.kind.len()).expect("kinds are short words of ours");
    [&length.to_be_bytes(), owner.kind.as_bytes(), owner.id].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Owner<'_> = Owner { kind: "keys", id: b"one" };

    #[test]
    fn a_sealed_value_opens_for_its_owner_only() {
        let key = MasterKey::new([1; 32]);
        let sealed = key.seal(ROW, b"secret");
        assert_eq!(key.open(ROW, &sealed).expect("opens").expose(), b"secret");
        for other in [Owner { id: b"two", ..ROW }, Owner { kind: "key", id: b"sone" }] {
            assert_eq!(key.open(other, &sealed), Err(SealError::Altered));
        }
        assert_ne!(key.seal(ROW, b"secret"), sealed, "every nonce is new");
    }

    #[test]
    fn no_altered_byte_goes_unnoticed() {
        let key = MasterKey::new([1; 32]);
        let sealed = key.seal(ROW, b"secret");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(key.open(ROW, &altered).is_err(), "byte {at}");
        }
        for short in 0..sealed.len() {
            assert!(key.open(ROW, &sealed[..short]).is_err(), "{short} bytes");
        }
    }

    #[test]
    fn rotation_opens_the_old_and_seals_with_the_new() {
        let (old, new) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        let both = new.clone().with_previous([1; 32]);
        let sealed = old.seal(ROW, b"secret");
        assert_eq!(new.open(ROW, &sealed), Err(SealError::OtherKey));
        assert!(both.open(ROW, &sealed).is_ok() && !both.is_current(&sealed));
        let resealed = both.seal(ROW, b"secret");
        assert!(new.open(ROW, &resealed).is_ok() && both.is_current(&resealed));
        assert!(format!("{new:?}").contains("redacted"));
    }
}
