//! Tokens as they stand, read in the browser: nothing is believed, and nothing leaves the page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The longest token that a node looks at.
pub(crate) const BYTES_MAX: usize = 8 * 1024;

/// A token taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Jwt {
    /// Its header.
    pub(crate) header: Map<String, Value>,
    /// Its claims.
    pub(crate) claims: Map<String, Value>,
}

impl Jwt {
    /// Takes a token apart, or says why it is none.
    pub(crate) fn read(token: &str) -> Result<Self, &'static str> {
        if token.len() > BYTES_MAX {
            return Err("It is longer than 8 KiB.");
        }
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, _signature] = parts[..] else {
            return Err("It is not three parts with a dot between each two.");
        };
        let header = object(header).ok_or("Its first part is not a JSON object in base64url.")?;
        let claims = object(claims).ok_or("Its second part is not a JSON object in base64url.")?;
        Ok(Self { header, claims })
    }

    /// A text of its header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }

    /// A moment among its claims, Unix milliseconds.
    pub(crate) fn moment(&self, name: &str) -> Option<f64> {
        Some(self.claims.get(name)?.as_f64()? * 1_000.0)
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_apart_and_what_is_none_is_said() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token =
            format!("{}.{}.x", part(r#"{"alg":"HS256","kid":"key_1"}"#), part(r#"{"sub":"ann","exp":1700000000}"#));
        let read = Jwt::read(&token).expect("a token");
        assert_eq!((read.header("kid"), read.moment("exp")), (Some("key_1"), Some(1_700_000_000_000.0)));
        assert_eq!(read.moment("sub"), None);
        let long = "x".repeat(BYTES_MAX + 1);
        for wrong in ["", "a.b", "a.b.c.d", "a.b.c", &format!("{}.b.c", part("[]")), &long] {
            assert!(Jwt::read(wrong).is_err(), "{wrong}");
        }
    }
}
