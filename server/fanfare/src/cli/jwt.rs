//! Channel tokens by hand: three parts of base64url, HMAC-SHA256 under the printed secret's bytes.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_core::secret::PrintedKey;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// Signs claims as a token of this key.
pub(super) fn sign(key: &PrintedKey, claims: &Value) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": key.id});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(mac(key, &signed).finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// A token taken apart, not believed.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) header: Value,
    pub(super) claims: Value,
    signed: String,
    signature: Vec<u8>,
}

impl Parts {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it is not three parts of base64url with JSON objects in the first two.
    pub(super) fn read(token: &str) -> Result<Self> {
        let parts: Vec<&str> = token.split('.').collect();
        ensure!(
            parts.len() == 3,
            "this is no token: it has {} part{} between dots, a token has 3",
            parts.len(),
            if parts.len() == 1 { "" } else { "s" }
        );
        let bytes = |name: &str, part: &str| {
            URL_SAFE_NO_PAD.decode(part).with_context(|| format!("the token's {name} is not base64url"))
        };
        let object = |name: &str, part: &str| {
            let value: Value = serde_json::from_slice(&bytes(name, part)?)
                .with_context(|| format!("the token's {name} is not JSON"))?;
            ensure!(value.is_object(), "the token's {name} is not a JSON object");
            Ok(value)
        };
        Ok(Self {
            header: object("header", parts[0])?,
            claims: object("claims", parts[1])?,
            signed: format!("{}.{}", parts[0], parts[1]),
            signature: bytes("signature", parts[2])?,
        })
    }

    /// Whether this key's secret signed it.
    pub(super) fn is_signed_by(&self, key: &PrintedKey) -> bool {
        mac(key, &self.signed).verify_slice(&self.signature).is_ok()
    }
}

fn mac(key: &PrintedKey, signed: &str) -> Hmac<Sha256> {
    let secret = key.secret.expose().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    mac
}
