//! The header of a token, before anything is believed.

use fanfare_core::TokenAlgorithm;
use fanfare_core::id::KeyId;
use fanfare_core::public_key::is_kid;

use super::claims::{fields, text};
use super::{TokenError, claims};

/// The longest header, decoded.
const HEADER_BYTES_MAX: usize = 1024;
/// Fields with which a token would bring or fetch its own key, or change what is signed (RFC 7515 §4.1, RFC 7516
/// §4.1, RFC 7518 §4.8, RFC 7797). One that knows them all is refused rather than half understood.
const FORBIDDEN: [&str; 10] = ["jku", "x5u", "x5c", "jwk", "crit", "b64", "zip", "enc", "p2s", "p2c"];

/// Who is said to have signed: where to look, and nothing more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SignedBy {
    /// A key of the app, with HS256.
    Key(KeyId),
    /// An issuer's key, by the name that the issuer gives it.
    Issuer { algorithm: TokenAlgorithm, kid: Option<Box<str>> },
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// It says what a client may do.
    Channel,
    /// It lets a member of the tenant look at the app (`inspector.rs`).
    Inspector,
}

/// Reads the header. The algorithm in it only has to be that of the key which is found by the rest.
pub(super) fn read(encoded: &str) -> Result<(Form, SignedBy), TokenError> {
    if encoded.len() > HEADER_BYTES_MAX.div_ceil(3) * 4 {
        return Err(TokenError::HeaderTooLong);
    }
    let json = claims::decode(encoded, "header")?;
    if json.len() > HEADER_BYTES_MAX {
        return Err(TokenError::HeaderTooLong);
    }
    let (mut form, mut algorithm, mut kid) = (Form::Channel, None, None);
    for (name, value) in fields(&json, "header")? {
        match &*name {
            "alg" => algorithm = text(value),
            "kid" => kid = Some(text(value).ok_or(TokenError::KeyId)?),
            "typ" => {
                form = match text(value).as_deref() {
                    Some("JWT" | "ff-ct+jwt") => Form::Channel,
                    Some("ff-inspector+jwt") => Form::Inspector,
                    Some(_) | None => return Err(TokenError::Type),
                }
            }
            name => {
                if let Some(forbidden) = FORBIDDEN.into_iter().find(|forbidden| *forbidden == name) {
                    return Err(TokenError::HeaderField(forbidden));
                }
            }
        }
    }
    let kid = kid.as_deref();
    if kid.is_some_and(|kid| !is_kid(kid)) {
        return Err(TokenError::KeyId);
    }
    let key: Option<KeyId> = kid.and_then(|kid| kid.parse().ok());
    let algorithm = algorithm.as_deref().ok_or(TokenError::Algorithm)?;
    match (TokenAlgorithm::ALL.into_iter().find(|known| known.as_str() == algorithm), key) {
        (Some(algorithm), None) => Ok((form, SignedBy::Issuer { algorithm, kid: kid.map(Into::into) })),
        (None, key) if algorithm == "HS256" => Ok((form, SignedBy::Key(key.ok_or(TokenError::KeyId)?))),
        // One of our keys with another algorithm, or an algorithm that nobody here signs with.
        (Some(_) | None, _) => Err(TokenError::Algorithm),
    }
}
