//! Typed, prefixed, sortable ids: `ten_01JD…`.
//!
//! An id is 128 bits, a ULID without its library: 48 bits of Unix milliseconds, then 80 random bits, written as 26
//! characters of Crockford's base 32 behind the prefix that names its type. Ids made later sort later.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ENCODED_LEN: usize = 26;

/// Why a text is not an id of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that reads `{prefix}_` and 26 characters of 0-9 and A-Z without I, L, O and U")]
pub struct IdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

fn encode(value: u128) -> [u8; ENCODED_LEN] {
    let mut out = [b'0'; ENCODED_LEN];
    let mut rest = value;
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    out
}

fn decode(text: &[u8]) -> Option<u128> {
    if text.len() != ENCODED_LEN {
        return None;
    }
    text.iter().enumerate().try_fold(0_u128, |value, (index, byte)| {
        let digit = ALPHABET.iter().position(|letter| letter == byte)? as u128;
        // 26 × 5 bits are two more than an id has: the first character stays below 8.
        (index > 0 || digit < 8).then_some((value << 5) | digit)
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What every id of this type starts with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id from the time in Unix milliseconds and 80 bits of the given randomness.
            #[must_use]
            pub const fn new(unix_ms: u64, random: u128) -> Self {
                Self(((unix_ms as u128 & 0xFFFF_FFFF_FFFF) << 80) | (random & ((1 << 80) - 1)))
            }

            /// When it was made, in Unix milliseconds.
            #[must_use]
            pub const fn unix_ms(self) -> u64 {
                // 48 bits are left.
                (self.0 >> 80) as u64
            }

            /// The id as stored in Postgres and hashed.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The id behind stored bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = encode(self.0);
                let digits = std::str::from_utf8(&digits).map_err(|_| fmt::Error)?;
                write!(out, "{}_{digits}", $prefix)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|digits| decode(digits.as_bytes()))
                    .map(Self)
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )+};
}

ids! {
    /// A customer: owns apps, members, limits, usage and the audit log.
    TenantId = "ten";
    /// A world of its own for channels.
    AppId = "app";
    /// An API key of an app.
    KeyId = "key";
    /// A public key or JWKS URL whose tokens an app trusts.
    IssuerId = "iss";
    /// A person with an e-mail address.
    UserId = "usr";
    /// One client transport.
    ConnectionId = "con";
    /// A message for which the publisher gave no id of its own.
    MessageId = "msg";
    /// A rule of an app's ACL.
    RuleId = "rul";
    /// A revocation of tokens.
    RevocationId = "rev";
    /// A signed-in browser.
    SessionId = "ses";
    /// A row of the audit log.
    AuditId = "aud";
    /// One HTTP request or socket command, as shown in errors and logs.
    RequestId = "req";
    /// A server process, from its start to its end.
    NodeId = "nod";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_print_and_parse() {
        let id = TenantId::new(1_700_000_000_000, u128::MAX);
        assert_eq!(id.to_string().parse::<TenantId>(), Ok(id));
        assert_eq!(TenantId::from_bytes(id.to_bytes()), id);
        assert_eq!(id.unix_ms(), 1_700_000_000_000);
    }

    #[test]
    fn a_later_id_sorts_later_as_text_too() {
        let (early, late) = (AppId::new(1, u128::MAX), AppId::new(2, 0));
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn an_id_of_another_type_is_refused() {
        let key = KeyId::new(1, 1).to_string();
        assert_eq!(key.parse::<AppId>(), Err(IdError { prefix: "app" }));
        for wrong in ["", "app_", "app_01", "app_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "app_0000000000000000000000000l"] {
            assert!(wrong.parse::<AppId>().is_err(), "{wrong}");
        }
    }
}
