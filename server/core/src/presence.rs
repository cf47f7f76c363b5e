//! Who is present on a channel.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use crate::id::{ConnectionId, IdError};

/// The most bytes of a member's data, as JSON.
pub const DATA_BYTES_MAX: usize = 1024;
/// The longest name of a user, in bytes: as in tokens.
pub const USER_BYTES_MAX: usize = 255;

/// What a member is known by in its channel.
///
/// As text, which is what cursors of lists hold: `con_…`, or `user:` and the user's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberId {
    /// A client that entered by itself.
    Connection(ConnectionId),
    /// A user that a backend entered.
    User(Box<str>),
}

impl MemberId {
    /// The connection, where the member is a client.
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Connection(connection) => Some(*connection),
            Self::User(_) => None,
        }
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(connection) => fmt::Display::fmt(connection, out),
            Self::User(user) => write!(out, "user:{user}"),
        }
    }
}

impl FromStr for MemberId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.strip_prefix("user:") {
            Some(user) if (1..=USER_BYTES_MAX).contains(&user.len()) => Ok(Self::User(user.into())),
            Some(_) => Err(IdError { prefix: ConnectionId::PREFIX }),
            None => text.parse().map(Self::Connection),
        }
    }
}

/// Somebody who is present. Shared by everything that holds it; a change makes a new one.
#[derive(Debug, Clone)]
pub struct Member {
    /// What it is known by.
    pub id: MemberId,
    /// The token's `sub`, or whom the backend entered; `None` for clients without a name.
    pub user: Option<Box<str>>,
    /// What the token or the backend says of the user.
    pub info: Option<Box<RawValue>>,
    /// What the member says of itself.
    pub data: Option<Box<RawValue>>,
    /// When it entered, Unix milliseconds.
    pub since_ms: u64,
}

impl Member {
    /// What its texts weigh, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let json = |json: &Option<Box<RawValue>>| json.as_deref().map_or(0, |json| json.get().len());
        let id = match &self.id {
            MemberId::Connection(_) => 0,
            MemberId::User(user) => user.len(),
        };
        id + self.user.as_deref().map_or(0, str::len) + json(&self.info) + json(&self.data)
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        let same = |left: &Option<Box<RawValue>>, right: &Option<Box<RawValue>>| {
            left.as_deref().map(RawValue::get) == right.as_deref().map(RawValue::get)
        };
        self.id == other.id
            && self.user == other.user
            && self.since_ms == other.since_ms
            && same(&self.info, &other.info)
            && same(&self.data, &other.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_member_is_known_by_reads_back_from_its_text() {
        for id in [MemberId::Connection(ConnectionId::new(1, 2)), MemberId::User("ann:b".into())] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "ann", "user:", "con_1", &format!("user:{}", "x".repeat(256))] {
            assert!(wrong.parse::<MemberId>().is_err(), "{wrong}");
        }
    }
}
