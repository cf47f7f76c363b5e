//! An app's own word on who may do what: a set of allow and deny rules whose order does not matter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::capability::Operations;
use crate::id::RuleId;
use crate::pattern::Pattern;

/// The most rules one app may have.
pub const RULES_MAX: usize = 1_000;

/// Whom a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// Clients without a token, or whose token has no `sub`.
    Anonymous,
    /// Clients whose token has a `sub`.
    Identified,
    /// All clients.
    Everyone,
    /// The client whose token has this `sub`.
    User(Box<str>),
    /// Clients whose token names this role.
    Role(Box<str>),
}

impl Who {
    /// Whether a client with this `sub` and these roles is meant.
    #[must_use]
    pub fn covers(&self, sub: Option<&str>, roles: &[Box<str>]) -> bool {
        match self {
            Self::Anonymous => sub.is_none(),
            Self::Identified => sub.is_some(),
            Self::Everyone => true,
            Self::User(user) => sub == Some(user),
            Self::Role(role) => roles.contains(role),
        }
    }
}

/// The text is none of the five forms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use anonymous, identified, everyone, user:<sub> or role:<name>, names of 1 to 255 bytes")]
pub struct WhoError;

impl FromStr for Who {
    type Err = WhoError;

    fn from_str(text: &str) -> Result<Self, WhoError> {
        let named = |name: &str| (1..=255).contains(&name.len()).then(|| name.into()).ok_or(WhoError);
        match text {
            "anonymous" => Ok(Self::Anonymous),
            "identified" => Ok(Self::Identified),
            "everyone" => Ok(Self::Everyone),
            _ => match text.split_once(':') {
                Some(("user", name)) => named(name).map(Self::User),
                Some(("role", name)) => named(name).map(Self::Role),
                _ => Err(WhoError),
            },
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => out.write_str("anonymous"),
            Self::Identified => out.write_str("identified"),
            Self::Everyone => out.write_str("everyone"),
            Self::User(user) => write!(out, "user:{user}"),
            Self::Role(role) => write!(out, "role:{role}"),
        }
    }
}

impl Serialize for Who {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Whether a rule gives or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Gives the operations to clients whose token has no `cap`.
    Allow,
    /// Takes them from everybody it covers, whatever tokens and other rules say.
    Deny,
}

/// One rule of an app's ACL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its id, named by refusals.
    pub id: RuleId,
    /// The channels.
    pub pattern: Pattern,
    /// The clients.
    pub who: Who,
    /// The operations, client operations only.
    pub operations: Operations,
    /// Give or take.
    pub effect: Effect,
}

/// Whether clients without a token may connect by these rules: only if some rule gives them something.
#[must_use]
pub fn admits_anonymous(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| rule.effect == Effect::Allow && !rule.operations.is_empty() && rule.who.covers(None, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_back_and_covers_whom_it_says() {
        for text in ["anonymous", "identified", "everyone", "user:ann:x", "role:staff"] {
            assert_eq!(text.parse::<Who>().expect(text).to_string(), text);
        }
        for text in ["", "user:", "role", "nobody", "Anonymous"] {
            assert!(text.parse::<Who>().is_err(), "{text}");
        }
        let staff: Who = "role:staff".parse().expect("valid");
        assert!(staff.covers(None, &["staff".into()]) && !staff.covers(Some("staff"), &[]));
        assert!(Who::Anonymous.covers(None, &[]) && !Who::Anonymous.covers(Some("ann"), &[]));
    }
}
