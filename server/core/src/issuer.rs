//! Issuers: identity providers whose tokens an app trusts, without sharing a secret with them.
//!
//! A record pins everything a token could want to say about its own verification: the key or the one URL where keys
//! are, the algorithms, `iss`, `aud` and other claims that must be exact, the ceiling of what its tokens may do, and
//! where in them the user, roles and capabilities lie.

mod url;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::capability::Capabilities;
use crate::id::IssuerId;
use crate::public_key::{PublicKey, TokenAlgorithm};

pub use url::{Host, JwksUrl, JwksUrlError};

/// The longest `iss` and the longest `aud`, in bytes.
pub const NAME_BYTES_MAX: usize = 500;
/// The most places where roles may lie.
pub const ROLE_PATHS_MAX: usize = 4;
/// The most claims that must be exact, beside `iss` and `aud`.
pub const REQUIRED_MAX: usize = 8;

/// An issuer as the data plane sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Issuer {
    /// Its id.
    pub id: IssuerId,
    /// Its name, for messages to people.
    pub name: Box<str>,
    /// What `iss` of its tokens is, exactly.
    pub iss: Box<str>,
    /// What `aud` of its tokens holds, exactly. Without it a token's `aud`, if any, must name the app.
    pub aud: Option<Box<str>>,
    /// Where its keys are.
    pub source: KeySource,
    /// What its tokens may do at most.
    pub ceiling: Capabilities,
    /// Where in its tokens what lies.
    pub claims: ClaimMap,
    /// Whether its tokens are taken.
    pub enabled: bool,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// In the record.
    Key(PublicKey),
    /// At a URL, where they may change.
    Jwks {
        /// The URL. It is a part of the record: nothing of a token is ever put into it.
        url: JwksUrl,
        /// What the issuer may sign with; a key of another algorithm is not used.
        algorithms: Vec<TokenAlgorithm>,
    },
}

impl Issuer {
    /// The URL where its keys are, if they are at one.
    #[must_use]
    pub const fn jwks(&self) -> Option<(&JwksUrl, &Vec<TokenAlgorithm>)> {
        match &self.source {
            KeySource::Key(_) => None,
            KeySource::Jwks { url, algorithms } => Some((url, algorithms)),
        }
    }
}

/// Where in an issuer's tokens what lies. What is not said lies where Fanfare's own tokens have it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimMap {
    /// The user; `/sub` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<ClaimPath>,
    /// Roles: lists of texts, or texts parted by spaces; all that are found count. `/ff/roles` unless said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<ClaimPath>,
    /// Capabilities, `{pattern: [operations]}`; `/ff/cap` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<ClaimPath>,
    /// An object that others may see; `/ff/info` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<ClaimPath>,
    /// Claims that must be exactly these texts, such as the client a token was issued to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub required: BTreeMap<ClaimPath, Box<str>>,
}

/// A place in a token's claims, written as a JSON pointer (RFC 6901): `/app_metadata/roles`,
/// `/https:~1~1example.com~1roles`. Names only: no place inside a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimPath(Box<[Box<str>]>);

/// The text is no such place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "use a JSON pointer such as /app_metadata/roles: 1 to 7 names of 1 to 200 bytes, each after a slash; a slash inside a name is ~1, a tilde ~0"
)]
pub struct ClaimPathError;

impl ClaimPath {
    /// Its names, from the outermost.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.0
    }
}

impl std::str::FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<Self, ClaimPathError> {
        let names = text.strip_prefix('/').ok_or(ClaimPathError)?.split('/').map(unescape);
        let names: Vec<Box<str>> = names.collect::<Option<_>>().ok_or(ClaimPathError)?;
        // A token has at most eight levels, its claims' own object among them.
        let fits = names.len() <= 7 && names.iter().all(|name| (1..=200).contains(&name.len()));
        if fits { Ok(Self(names.into())) } else { Err(ClaimPathError) }
    }
}

fn unescape(name: &str) -> Option<Box<str>> {
    let mut parts = name.split('~');
    let mut all = parts.next()?.to_owned();
    for part in parts {
        all.push(match part.as_bytes().first()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        });
        all.push_str(&part[1..]);
    }
    Some(all.into())
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|name| write!(out, "/{}", name.replace('~', "~0").replace('/', "~1")))
    }
}

impl Serialize for ClaimPath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClaimPath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_path_reads_back_and_reaches_names_with_slashes() {
        for (text, names) in [
            ("/sub", vec!["sub"]),
            ("/app_metadata/roles", vec!["app_metadata", "roles"]),
            ("/https:~1~1example.com~1roles", vec!["https://example.com/roles"]),
            ("/cognito:groups", vec!["cognito:groups"]),
            ("/a~0~1", vec!["a~/"]),
            ("/~01", vec!["~1"]),
        ] {
            let path: ClaimPath = text.parse().expect(text);
            assert_eq!(path.names().iter().map(|name| &**name).collect::<Vec<_>>(), names);
            assert_eq!(path.to_string(), text);
        }
        for wrong in
            ["", "/", "sub", "/a//b", "/a~", "/a~2", "/a/", "/1/2/3/4/5/6/7/8", &format!("/{}", "x".repeat(201))]
        {
            assert_eq!(wrong.parse::<ClaimPath>(), Err(ClaimPathError), "{wrong}");
        }
    }

    #[test]
    fn a_claim_map_knows_its_fields_and_no_others() {
        let map: ClaimMap = serde_json::from_str(
            r#"{"sub":"/sub","roles":["/role","/app_metadata/roles"],"required":{"/client_id":"x"}}"#,
        )
        .expect("valid");
        assert_eq!((map.roles.len(), map.required.len(), map.cap), (2, 1, None));
        assert!(serde_json::from_str::<ClaimMap>(r#"{"role":"/role"}"#).is_err());
    }
}
