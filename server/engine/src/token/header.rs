//! The header of a token, before anything is believed.

use fanfare_core::id::KeyId;

use super::claims::{fields, text};
use super::{TokenError, claims};

/// The longest header, decoded.
const HEADER_BYTES_MAX: usize = 1024;
/// The longest `kid`.
const KID_BYTES_MAX: usize = 64;
/// Fields with which a token would bring or fetch its own key, or change what is signed (RFC 7515 §4.1, RFC 7516
/// §4.1, RFC 7518 §4.8, RFC 7797). One that knows them all is refused rather than half understood.
const FORBIDDEN: [&str; 10] = ["jku", "x5u", "x5c", "jwk", "crit", "b64", "zip", "enc", "p2s", "p2c"];

/// Reads the header and returns the id of the key that is said to have signed.
pub(super) fn read(encoded: &str) -> Result<KeyId, TokenError> {
    if encoded.len() > HEADER_BYTES_MAX.div_ceil(3) * 4 {
        return Err(TokenError::HeaderTooLong);
    }
    let json = claims::decode(encoded, "header")?;
    if json.len() > HEADER_BYTES_MAX {
        return Err(TokenError::HeaderTooLong);
    }
    let (mut algorithm, mut key) = (None, None);
    for (name, value) in fields(&json, "header")? {
        match &*name {
            "alg" => algorithm = text(value),
            "kid" => key = text(value),
            "typ" if !matches!(text(value).as_deref(), Some("JWT" | "ff-ct+jwt")) => return Err(TokenError::Type),
            name => {
                if let Some(forbidden) = FORBIDDEN.into_iter().find(|forbidden| *forbidden == name) {
                    return Err(TokenError::HeaderField(forbidden));
                }
            }
        }
    }
    if algorithm.as_deref() != Some("HS256") {
        return Err(TokenError::Algorithm);
    }
    key.filter(|key| is_kid(key)).and_then(|key| key.parse().ok()).ok_or(TokenError::KeyId)
}

fn is_kid(text: &str) -> bool {
    text.len() <= KID_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
