//! Public keys that sign tokens: read from PEM or JWK, kept in one form, printed as a JWK.
//!
//! Three kinds are taken, each with exactly one algorithm, so that a key can never be used with another: an elliptic
//! curve key on P-256 is ES256, an Ed25519 key EdDSA, an RSA key of at least 2048 bits RS256. Whether a point lies on
//! its curve is for whoever verifies with it; everything about form and size is judged here, and points of Ed25519 under
//! which anybody's signature holds are refused.

mod der;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value, json};

/// The longest key as PEM or JWK, in bytes.
pub const KEY_BYTES_MAX: usize = 8 * 1024;
/// The most keys of one JWKS.
pub const JWKS_KEYS_MAX: usize = 100;
/// The longest `kid` of an issuer's key.
pub const KID_BYTES_MAX: usize = 64;
const RSA_BITS_MIN: usize = 2_048;
/// What verifies in a bounded time, and more than anybody needs.
const RSA_BITS_MAX: usize = 4_096;

/// How an issuer signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSA PKCS#1 v1.5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// The word in a token's header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a text is no key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Over [`KEY_BYTES_MAX`].
    #[error("the key has more than 8192 bytes")]
    TooLong,
    /// Neither PEM nor JWK.
    #[error("give a public key as PEM (-----BEGIN PUBLIC KEY-----) or as one JWK object")]
    Form,
    /// A private key, which must not leave its owner.
    #[error(
        "this is a private key: keep it where tokens are signed, treat it as known to others now, and give the public one"
    )]
    Private,
    /// A kind that is not taken.
    #[error("this kind of key is not taken: use P-256 (ES256), Ed25519 (EdDSA) or RSA of at least 2048 bits (RS256)")]
    Kind,
    /// An RSA key of another size.
    #[error("the RSA key has {bits} bits; 2048 to 4096 are taken")]
    RsaSize {
        /// What it has.
        bits: usize,
    },
    /// An RSA exponent that makes forging easy or verifying slow.
    #[error("the RSA key's exponent must be odd, at least 3 and below 2^32; 65537 is what is used")]
    RsaExponent,
    /// A point of Ed25519 of an order of at most 8: signatures under it can be made without a private key.
    #[error("the Ed25519 key is a point of small order, under which anybody can sign; make a key pair")]
    SmallOrder,
    /// `alg`, `use` or `key_ops` say that it is for something else.
    #[error("the JWK's {field} says that the key is for something else than {algorithm} signatures")]
    Purpose {
        /// Which field.
        field: &'static str,
        /// What the key is for by its kind.
        algorithm: TokenAlgorithm,
    },
    /// A `kid` that no token can name.
    #[error("kid must be 1 to 64 characters of letters, digits and - _ + / =")]
    Kid,
}

/// A public key that verifies tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// What tokens call it in their header.
    pub kid: Option<Box<str>>,
    /// The key itself.
    pub material: KeyMaterial,
}

/// A key's numbers, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// A point on P-256, uncompressed (SEC 1): 4, X, Y.
    P256(Box<[u8; 65]>),
    /// A point of Ed25519.
    Ed25519(Box<[u8; 32]>),
    /// An RSA key: big-endian, without leading zeros.
    Rsa {
        /// The modulus.
        n: Box<[u8]>,
        /// The exponent.
        e: Box<[u8]>,
    },
}

/// Whether a token's header may call a key so. Never a path, a pattern or a query: it is compared, and nothing else.
#[must_use]
pub fn is_kid(text: &str) -> bool {
    (1..=KID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte))
}

impl PublicKey {
    /// Reads PEM or a JWK, whichever it is.
    ///
    /// # Errors
    /// When it is neither, or no key that can be used.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        if text.len() > KEY_BYTES_MAX {
            return Err(PublicKeyError::TooLong);
        }
        let text = text.trim();
        if text.starts_with('{') {
            crate::json::check(text.as_bytes()).map_err(|_| PublicKeyError::Form)?;
            let jwk: Map<String, Value> = serde_json::from_str(text).map_err(|_| PublicKeyError::Form)?;
            return Self::from_jwk(&jwk);
        }
        if text.contains("PRIVATE KEY") {
            return Err(PublicKeyError::Private);
        }
        let (begin, end) = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----");
        let body = text.strip_prefix(begin).and_then(|text| text.strip_suffix(end)).ok_or(PublicKeyError::Form)?;
        let body: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| PublicKeyError::Form)?;
        let material = match der::public_key(&der).ok_or(PublicKeyError::Kind)? {
            KeyMaterial::Rsa { n, e } => rsa(&n, &e)?,
            KeyMaterial::Ed25519(point) => ed25519(*point)?,
            KeyMaterial::P256(point) => KeyMaterial::P256(point),
        };
        Ok(Self { kid: None, material })
    }

    /// Reads a JWK (RFC 7517).
    ///
    /// # Errors
    /// When it is no key that can be used, or holds a private one.
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, PublicKeyError> {
        // `k` is the secret of a symmetric key: taking it as a public one is the confusion that this file prevents.
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|field| jwk.contains_key(*field)) {
            return Err(PublicKeyError::Private);
        }
        let text = |field: &str| jwk.get(field).and_then(Value::as_str);
        let bytes =
            |field: &str| text(field).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(PublicKeyError::Form);
        let material = match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => {
                let point = [&[4], bytes("x")?.as_slice(), bytes("y")?.as_slice()].concat();
                KeyMaterial::P256(Box::new(point.try_into().map_err(|_| PublicKeyError::Form)?))
            }
            (Some("OKP"), Some("Ed25519")) => ed25519(bytes("x")?.try_into().map_err(|_| PublicKeyError::Form)?)?,
            (Some("RSA"), None) => rsa(&bytes("n")?, &bytes("e")?)?,
            _ => return Err(PublicKeyError::Kind),
        };
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) if is_kid(kid) => Some(kid.as_str().into()),
            Some(_) => return Err(PublicKeyError::Kid),
        };
        let key = Self { kid, material };
        key.check_purpose(jwk)?;
        Ok(key)
    }

    /// A key that says what it is for must be for this.
    fn check_purpose(&self, jwk: &Map<String, Value>) -> Result<(), PublicKeyError> {
        let algorithm = self.algorithm();
        let wrong = |field| PublicKeyError::Purpose { field, algorithm };
        let is = |field: &str, wanted: &[&str]| {
            jwk.get(field).is_none_or(|value| value.as_str().is_some_and(|value| wanted.contains(&value)))
        };
        // RFC 9864 calls what was EdDSA by its curve.
        let names: &[&str] =
            if algorithm == TokenAlgorithm::EdDsa { &["EdDSA", "Ed25519"] } else { &[algorithm.as_str()] };
        if !is("alg", names) {
            return Err(wrong("alg"));
        }
        if !is("use", &["sig"]) {
            return Err(wrong("use"));
        }
        let verifies =
            |value: &Value| value.as_array().is_some_and(|all| all.iter().any(|operation| operation == "verify"));
        if jwk.get("key_ops").is_some_and(|value| !verifies(value)) {
            return Err(wrong("key_ops"));
        }
        Ok(())
    }

    /// The one algorithm that it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> TokenAlgorithm {
        match self.material {
            KeyMaterial::P256(_) => TokenAlgorithm::Es256,
            KeyMaterial::Ed25519(_) => TokenAlgorithm::EdDsa,
            KeyMaterial::Rsa { .. } => TokenAlgorithm::Rs256,
        }
    }

    /// As a JWK.
    #[must_use]
    pub fn to_jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.material {
            KeyMaterial::P256(point) => {
                json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            KeyMaterial::Ed25519(point) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(point.as_slice())}),
            KeyMaterial::Rsa { n, e } => json!({"kty": "RSA", "n": text(n), "e": text(e)}),
        };
        if let Some(kid) = &self.kid {
            jwk["kid"] = kid.as_ref().into();
        }
        jwk
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.to_jwk().serialize(to)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::from_jwk(&Map::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Points of order 1, 2, 4 and 8 on Ed25519, without the bit that says on which side they are. A point is written by its
/// second coordinate, and of 0 and 1 there are two writings: below the field's prime and above it.
const SMALL_ORDER: [[u8; 32]; 7] = [
    lengthened(0x00, 0x00),
    lengthened(0x01, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    lengthened(0xec, 0xff),
    lengthened(0xed, 0xff),
    lengthened(0xee, 0xff),
];

/// A number of 255 bits: its lowest byte, and all others alike.
const fn lengthened(lowest: u8, others: u8) -> [u8; 32] {
    let mut bytes = [others; 32];
    bytes[0] = lowest;
    bytes[31] = others & 0x7f;
    bytes
}

fn ed25519(point: [u8; 32]) -> Result<KeyMaterial, PublicKeyError> {
    let mut coordinate = point;
    coordinate[31] &= 0x7f;
    if SMALL_ORDER.contains(&coordinate) {
        return Err(PublicKeyError::SmallOrder);
    }
    Ok(KeyMaterial::Ed25519(Box::new(point)))
}

fn rsa(n: &[u8], e: &[u8]) -> Result<KeyMaterial, PublicKeyError> {
    let significant = |bytes: &[u8]| -> Box<[u8]> { bytes.iter().copied().skip_while(|byte| *byte == 0).collect() };
    let (n, e) = (significant(n), significant(e));
    let bits = (n.len() * 8).saturating_sub(n.first().map_or(0, |byte| byte.leading_zeros() as usize));
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(PublicKeyError::RsaSize { bits });
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    if !is_odd(&e) || e.len() > 4 || *e == [1] {
        return Err(PublicKeyError::RsaExponent);
    }
    if is_odd(&n) { Ok(KeyMaterial::Rsa { n, e }) } else { Err(PublicKeyError::Form) }
}

/// What a JWKS document holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// Keys that can verify tokens, with a `kid` each.
    pub keys: Vec<PublicKey>,
    /// Keys that cannot: of another kind or purpose, without `kid`, or of a `kid` that an earlier one has.
    pub skipped: usize,
}

/// Reads a JWKS (RFC 7517 §5). Keys that are of no use here are skipped, as the RFC wants.
///
/// # Errors
/// When it is no such document, or has more than [`JWKS_KEYS_MAX`] keys.
pub fn parse_jwks(bytes: &[u8]) -> Result<KeySet, JwksError> {
    crate::json::check(bytes).map_err(|_| JwksError::Form)?;
    let document: Value = serde_json::from_slice(bytes).map_err(|_| JwksError::Form)?;
    let all = document.get("keys").and_then(Value::as_array).ok_or(JwksError::Form)?;
    if all.len() > JWKS_KEYS_MAX {
        return Err(JwksError::TooMany { keys: all.len() });
    }
    let mut keys: Vec<PublicKey> = Vec::new();
    for jwk in all {
        let key = jwk.as_object().and_then(|jwk| PublicKey::from_jwk(jwk).ok()).filter(|key| key.kid.is_some());
        // Two keys under one name would make it a matter of chance which one verifies.
        keys.extend(key.filter(|key| keys.iter().all(|known| known.kid != key.kid)));
    }
    let skipped = all.len() - keys.len();
    Ok(KeySet { keys, skipped })
}

/// Why a document is no JWKS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not `{"keys":[…]}`.
    #[error("the answer is no JWKS: a JSON object with the array `keys`")]
    Form,
    /// Over [`JWKS_KEYS_MAX`].
    #[error("the JWKS has {keys} keys; at most 100 are taken")]
    TooMany {
        /// How many.
        keys: usize,
    },
}

#[cfg(test)]
mod tests;
