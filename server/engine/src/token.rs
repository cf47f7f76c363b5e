//! Tokens: JWTs that say what one client may do, signed with a key of the app or by an issuer that it trusts.
//!
//! The app is known before a byte of the token is looked at, and its key, or the key of its issuer, decides how the token
//! is checked: the algorithm is pinned by the record, and the header's `alg` is only compared. So a token can neither choose how it is
//! verified nor bring a key of its own, and the same `kid` in two apps means two keys. Nothing of the claims is
//! believed, or even parsed, before the signature holds. What is refused is told with what to do about it: the person
//! who reads it is a developer whose backend has just signed its first token.
//!
//! ```text
//! header  {"alg":"HS256","typ":"JWT","kid":"key_…"}
//! claims  {"exp":1700003600,"sub":"ann","jti":"7f…","ff":{"cap":{"room:9":["subscribe"]},"roles":["staff"],
//!          "info":{…},"meta":{…},"limits":{"subscriptions":5},"labels":["session:4"]}}
//! ```

mod claims;
mod header;
mod inspector;
mod issued;
#[cfg(test)]
mod tests;

use fanfare_core::id::{IssuerId, KeyId, RevocationId};
use fanfare_core::permission::ClientSubject;
use fanfare_core::{App, Capabilities, Ceiling, ErrorCode, Key, Operation, Signer, TokenAlgorithm};
use fanfare_protocol::json::JsonError;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::value::RawValue;

use crate::issuers::IssuerState;
use header::{Form, SignedBy};

pub(crate) use inspector::verify as verify_inspector;
pub(crate) use issued::{Costly, conclude};

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The longest life of a token, in seconds: a day.
pub const LIFETIME_MAX_S: u64 = 24 * 3600;
/// The most levels of arrays and objects in a token.
const DEPTH_MAX: usize = 8;
/// The shortest secret that HS256 is safe with (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;

/// How far the clocks of a backend and of this node may differ, at most a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew(u64);

impl Skew {
    /// The most.
    pub const MAX: Self = Self(60);

    /// So many seconds; `None` above a minute.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Option<Self> {
        if seconds <= Self::MAX.0 { Some(Self(seconds)) } else { None }
    }
}

impl Default for Skew {
    fn default() -> Self {
        Self::MAX
    }
}

/// A token that holds, and what it says.
#[derive(Debug, Clone)]
pub struct VerifiedToken {
    /// Who the client is and what it may do.
    pub subject: ClientSubject,
    /// When it expires, Unix milliseconds.
    pub expires_ms: u64,
    /// Who signed it.
    pub signer: Signer,
    /// `ff.info`: an object that others may see.
    pub info: Option<Box<RawValue>>,
}

/// Verifies a token against an app at a moment, however long that takes, with nothing known of what issuers keep at URLs.
///
/// # Errors
/// What is wrong with it and what to do.
pub fn verify(app: &App, token: &str, now_ms: u64) -> Result<VerifiedToken, TokenError> {
    let issuers = IssuerState::default();
    match examine(app, &issuers, token, now_ms) {
        Examined::Settled(outcome) => *outcome,
        Examined::Costly(work) => conclude(app, &issuers, work.run(), now_ms),
    }
}

/// How far a token was judged without much work.
#[derive(Debug)]
pub(crate) enum Examined {
    /// To the end.
    Settled(Box<Result<VerifiedToken, TokenError>>),
    /// Up to a signature that takes a fifth of a millisecond to verify. Whoever has a reactor to run does that elsewhere.
    Costly(Costly),
}

/// Judges a token as far as that is cheap: to the end, unless an issuer's key has signed it and it was not seen before.
pub(crate) fn examine(app: &App, issuers: &IssuerState, token: &str, now_ms: u64) -> Examined {
    let judged = (|| {
        let parts = Parts::split(token)?;
        let (form, signed_by) = header::read(parts.header)?;
        if form != Form::Channel {
            return Err(TokenError::Type);
        }
        match signed_by {
            SignedBy::Key(id) => verify_keyed(app, &parts, id, now_ms, Skew::default()).map(Ok),
            SignedBy::Issuer { algorithm, kid } => {
                let candidates = issued::candidates(app, issuers, (algorithm, kid.as_deref()), now_ms)?;
                issued::begin(app, issuers, (token, &parts), candidates, now_ms)
            }
        }
    })();
    match judged {
        Ok(Ok(verified)) => Examined::Settled(Box::new(Ok(verified))),
        Ok(Err(costly)) => Examined::Costly(costly),
        Err(error) => Examined::Settled(Box::new(Err(error))),
    }
}

/// A token of one of the app's own keys.
fn verify_keyed(app: &App, parts: &Parts<'_>, id: KeyId, now_ms: u64, skew: Skew) -> Result<VerifiedToken, TokenError> {
    let key = app.key(id).ok_or(TokenError::KeyUnknown(id))?;
    key_verifies(key, parts, now_ms)?;
    let claims = claims::read(parts.claims)?;
    claims.check_time(now_ms, skew)?;
    claims.check_audience(app.id)?;
    not_revoked(app, claims.into_verified(Ceiling { signer: Signer::Key(id), capabilities: key.capabilities.clone() }))
}

/// Checks that a key may sign and has signed.
fn key_verifies(key: &Key, parts: &Parts<'_>, now_ms: u64) -> Result<(), TokenError> {
    let secret = DecodingKey::from_secret(signing_secret(key, now_ms)?);
    // Not `jsonwebtoken::decode`: it would take the algorithm from the header, if only to compare it, and parse the
    // claims its own way. Here the algorithm is an argument, and one strict reader sees the claims.
    match jsonwebtoken::crypto::verify(parts.signature, parts.signed.as_bytes(), &secret, Algorithm::HS256) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(TokenError::Signature(key.id)),
    }
}

/// A token holds only until the app's backend revokes it.
fn not_revoked(app: &App, verified: VerifiedToken) -> Result<VerifiedToken, TokenError> {
    not_revoked_subject(app, &verified.subject).map(|()| verified)
}

fn not_revoked_subject(app: &App, subject: &ClientSubject) -> Result<(), TokenError> {
    app.revocations.of(subject).map_or(Ok(()), |revocation| Err(TokenError::Revoked(revocation)))
}

/// What a token to be signed says.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// Its user.
    pub sub: Option<String>,
    /// Its own id, by which it can be revoked.
    pub id: Option<String>,
    /// What it may do; `None` leaves that to the app's ACL.
    pub cap: Option<Capabilities>,
    /// Its roles.
    pub roles: Vec<String>,
    /// What others may see of the user.
    pub info: Option<serde_json::Map<String, serde_json::Value>>,
    /// What backends may know of it, and no client.
    pub meta: Option<serde_json::Map<String, serde_json::Value>>,
    /// Limits that it lowers.
    pub limits: Option<serde_json::Map<String, serde_json::Value>>,
    /// Labels by which it can be revoked.
    pub labels: Vec<String>,
    /// When it is signed, Unix milliseconds.
    pub issued_ms: u64,
    /// How long it lives, in seconds.
    pub ttl_s: u64,
}

/// Signs a token. What comes out was read like a stranger's token, so that it is never refused for its form later.
///
/// # Errors
/// When the key may not sign or a claim is out of bounds.
pub fn sign(key: &Key, claims: &Claims) -> Result<String, TokenError> {
    let secret = signing_secret(key, claims.issued_ms)?;
    let header = Header { kid: Some(key.id.to_string()), ..Header::new(Algorithm::HS256) };
    let token = jsonwebtoken::encode(&header, &claims::Outgoing::new(claims), &EncodingKey::from_secret(secret))
        .map_err(|_| TokenError::Unsigned)?;
    let parts = Parts::split(&token)?;
    claims::read(parts.claims)?.check_time(claims.issued_ms, Skew(0))?;
    Ok(token)
}

/// The secret, if the key may sign at this moment.
fn signing_secret(key: &Key, now_ms: u64) -> Result<&[u8], TokenError> {
    if !key.is_valid_at(now_ms) {
        return Err(TokenError::KeyRevoked(key.id));
    }
    let secret = key.signing_secret.as_ref().filter(|_| key.capabilities.anywhere(Operation::Sign));
    let secret = secret.ok_or(TokenError::KeyMayNotSign(key.id))?.expose();
    if secret.len() < SECRET_BYTES_MIN { Err(TokenError::KeyMayNotSign(key.id)) } else { Ok(secret) }
}

/// The three parts of a compact JWS (RFC 7515 §3.1), still encoded.
#[derive(Debug)]
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// Header and claims with the dot between them.
    signed: &'a str,
}

impl<'a> Parts<'a> {
    /// Looks at the length before anything else, so that a huge token costs nothing.
    fn split(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: token.len() });
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
        let is_encoded = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if [header, claims, signature].into_iter().all(is_encoded) {
            Ok(Self { header, claims, signature, signed })
        } else {
            Err(TokenError::Form)
        }
    }
}

/// Why a token does not hold, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Over [`TOKEN_BYTES_MAX`].
    #[error("the token has {bytes} bytes; at most 8192 are taken, so leave out claims or merge patterns of cap")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not the three parts.
    #[error("this is no signed JWT: it must be three parts of base64url without padding, joined by dots")]
    Form,
    /// The header is too long.
    #[error("the token's header has more than 1024 bytes; alg, typ and kid are all it needs")]
    HeaderTooLong,
    /// A part that is not base64url or not JSON.
    #[error("the token's {part} is not base64url of strict JSON: {error}")]
    Json {
        /// `header` or `claims`.
        part: &'static str,
        /// What is wrong.
        error: JsonError,
    },
    /// A field of the header that would let the token say how it is to be verified.
    #[error("the token's header has {0:?}, which is not taken; alg, typ and kid are all it needs")]
    HeaderField(&'static str),
    /// Another algorithm.
    #[error("the token's alg must be \"HS256\", with a key's secret, or the algorithm of one of the app's issuers")]
    Algorithm,
    /// Another type.
    #[error("the token's typ must be \"JWT\" or \"ff-ct+jwt\", or left out")]
    Type,
    /// No key id, or something else in its place.
    #[error(
        "the token's header must have kid, the id of the key that signed it: the part before the colon of key_…:ffs_…"
    )]
    KeyId,
    /// No such key in this app.
    #[error("this app has no key {0}; sign with a key of the app whose URL is used")]
    KeyUnknown(KeyId),
    /// The key is revoked, expired or rolled.
    #[error("the key {0} is revoked or has expired; sign with a valid one")]
    KeyRevoked(KeyId),
    /// A token of the dashboard that no tenant's key can sign.
    #[error("the key {0} signs tokens for clients; those of the dashboard are signed by the platform alone")]
    NotThePlatforms(KeyId),
    /// The key may not sign.
    #[error("the key {0} may not sign tokens; give it the operation sign, or use a key that has it")]
    KeyMayNotSign(KeyId),
    /// The app's backend revoked it.
    #[error("the token is revoked by {0}; get a new one, if you still may")]
    Revoked(RevocationId),
    /// The signature is another's.
    #[error(
        "the token's signature does not fit the key {0}; sign with the bytes of its whole secret, ffs_ included, not decoded"
    )]
    Signature(KeyId),
    /// No issuer of the app has such a key.
    #[error(
        "no issuer of this app has an {algorithm} key {}; add the issuer, or give it the key", named(.kid.as_deref())
    )]
    IssuerKeyUnknown {
        /// What the header says of the algorithm.
        algorithm: TokenAlgorithm,
        /// What the header calls the key.
        kid: Option<Box<str>>,
    },
    /// The keys of an issuer are not there yet.
    #[error(
        "the keys of the app's issuer could not be fetched yet; the issuer, as the control plane shows it, says why if it lasts"
    )]
    IssuerNotReady,
    /// The issuer is turned off.
    #[error("the issuer {0} is disabled")]
    IssuerDisabled(IssuerId),
    /// The signature does not fit the key of that name.
    #[error("the token's signature does not fit the key of that name at the app's issuer {0}")]
    IssuerSignature(IssuerId),
    /// A claim of the wrong type or out of bounds.
    #[error("the token's {claim} {fault}")]
    Claim {
        /// Which, such as `exp` or `ff.cap`.
        claim: String,
        /// What it must be.
        fault: String,
    },
    /// `exp` has passed.
    #[error("the token expired {seconds} s ago; get a new one")]
    Expired {
        /// How long ago.
        seconds: u64,
    },
    /// `nbf` or `iat` is ahead.
    #[error("the token's {claim} lies {seconds} s ahead; set the clock of the backend that signs")]
    Early {
        /// Which.
        claim: &'static str,
        /// How far, in seconds.
        seconds: u64,
    },
    /// It would live too long.
    #[error(
        "the token lives {seconds} s; at most 86400 are taken, so bring exp, in seconds, nearer to iat, and refresh the token in time"
    )]
    Lifetime {
        /// How long.
        seconds: u64,
    },
    /// `aud` names others.
    #[error("the token's aud does not name this app; leave it out, or make it the app's id")]
    Audience,
    /// The claims could not be written.
    #[error("the token could not be written")]
    Unsigned,
}

fn named(kid: Option<&str>) -> String {
    kid.map_or_else(|| "without kid".to_owned(), |kid| format!("with the kid {kid}"))
}

impl TokenError {
    /// The code as told outside.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Expired { .. } => ErrorCode::TokenExpired,
            Self::KeyRevoked(_) | Self::KeyMayNotSign(_) | Self::IssuerDisabled(_) | Self::Revoked(_) => {
                ErrorCode::TokenRevoked
            }
            Self::IssuerNotReady => ErrorCode::IssuerUnavailable,
            _ => ErrorCode::TokenInvalid,
        }
    }
}
