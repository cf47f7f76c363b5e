//! Random texts that open something: session cookies and welcome codes. Postgres knows only their SHA-256.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::chance;

/// 256 random bits as 43 characters of base64url. Wiped when dropped, and never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Token(String);

impl Token {
    /// Draws a new one.
    pub(crate) fn draw() -> Self {
        Self(URL_SAFE_NO_PAD.encode(chance::bytes::<32>()))
    }

    /// Reads a token's text; `None` when its form is wrong.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = (text.len() == 43).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    /// The text, for the one place that hands it out.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_does_not_print() {
        let token = Token::draw();
        assert_eq!(Token::parse(token.expose()), Some(token.clone()));
        assert_ne!(Token::draw(), token);
        assert!(!format!("{token:?}").contains(token.expose()));
        for text in ["", "short", &"!".repeat(43), &"A".repeat(44)] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
    }
}
