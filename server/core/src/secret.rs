//! Secrets that cannot be printed by accident, and the printed form of a key.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::id::KeyId;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 characters of base 62 hold 256 bits.
const BODY_LEN: usize = 43;
const CHECKSUM_LEN: usize = 6;
const PREFIX: &str = "ffs_";

/// Bytes that are wiped when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes over.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretBytes(redacted)")
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
impl Eq for SecretBytes {}

/// The secret half of a key, as printed: `ffs_`, 43 random characters, 6 characters of checksum.
///
/// The checksum lets a mistyped or cut-off secret be told from a wrong one before any look-up, and lets scanners of
/// leaked secrets be sure of what they found.
#[derive(Clone, Zeroize, ZeroizeOnDrop, PartialEq, Eq)]
pub struct KeySecret(String);

impl KeySecret {
    /// Makes a secret from 43 random numbers, each below 62.
    ///
    /// # Panics
    /// When a number is 62 or more.
    #[must_use]
    pub fn from_digits(digits: [u8; BODY_LEN]) -> Self {
        let mut text = String::with_capacity(PREFIX.len() + BODY_LEN + CHECKSUM_LEN);
        text.push_str(PREFIX);
        text.extend(digits.iter().map(|digit| char::from(BASE62[usize::from(*digit)])));
        let sum = checksum(&text);
        text.extend(sum.map(char::from));
        Self(text)
    }

    /// Reads a printed secret; `None` when its form or checksum is wrong.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(PREFIX)?;
        if body.len() != BODY_LEN + CHECKSUM_LEN || !body.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let (signed, sum) = text.split_at(PREFIX.len() + BODY_LEN);
        (sum.as_bytes() == checksum(signed)).then(|| Self(text.to_owned()))
    }

    /// The printed form: what tokens are HMACed with, byte for byte, and what is hashed at rest.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last four characters, shown so that people can tell their secrets apart.
    #[must_use]
    pub fn last_four(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeySecret(redacted)")
    }
}

fn checksum(text: &str) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut out = [b'0'; CHECKSUM_LEN];
    for slot in out.iter_mut().rev() {
        *slot = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    out
}

/// A whole key as printed: `key_<id>:ffs_<secret>`, so that `curl -u` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrintedKey {
    /// Which key.
    pub id: KeyId,
    /// Its secret.
    pub secret: KeySecret,
}

impl PrintedKey {
    /// Reads `key_…:ffs_…`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once(':')?;
        Some(Self { id: id.parse().ok()?, secret: KeySecret::parse(secret)? })
    }

    /// The text that is shown once.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}:{}", self.id, self.secret.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_key_reads_back_and_a_changed_one_does_not() {
        let key = PrintedKey { id: KeyId::new(1, 2), secret: KeySecret::from_digits([61; 43]) };
        let text = key.expose();
        assert_eq!(PrintedKey::parse(&text), Some(key));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'Q' { b'R' } else { b'Q' };
            let changed = String::from_utf8(changed).expect("ASCII stays ASCII");
            let parsed = PrintedKey::parse(&changed);
            // A changed id is another key's id; everything else must be noticed.
            assert!(parsed.is_none() || at < text.find(':').expect("has a colon"), "{changed}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let secret = KeySecret::from_digits([7; 43]);
        assert!(!format!("{secret:?}").contains(secret.last_four()));
        assert_eq!(format!("{:?}", SecretBytes::new(vec![1])), "SecretBytes(redacted)");
    }
}
