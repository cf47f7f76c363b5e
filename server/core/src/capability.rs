//! What may be done, and where: operations and the maps from pattern to operations that keys and tokens carry.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::channel::ChannelName;
use crate::pattern::{Claims, Pattern};

/// The most patterns one key or token may carry.
pub const PATTERNS_MAX: usize = 256;

/// One thing that can be done to a channel, or, for keys, to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Operation {
    /// Receive messages as they are published, and recover missed ones.
    #[serde(rename = "subscribe")]
    Subscribe,
    /// Publish messages.
    #[serde(rename = "publish")]
    Publish,
    /// Enter, update and leave presence.
    #[serde(rename = "presence")]
    Presence,
    /// See who is present.
    #[serde(rename = "presence.read")]
    PresenceRead,
    /// Read what was published before, and rewind.
    #[serde(rename = "history")]
    History,
    /// Keys only: sign channel tokens.
    #[serde(rename = "sign")]
    Sign,
    /// Keys only: channels, connections, disconnect, revoke, server-side presence and subscriptions.
    #[serde(rename = "manage")]
    Manage,
    /// Keys only: read statistics.
    #[serde(rename = "stats")]
    Stats,
}

impl Operation {
    /// Every operation, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Subscribe,
        Self::Publish,
        Self::Presence,
        Self::PresenceRead,
        Self::History,
        Self::Sign,
        Self::Manage,
        Self::Stats,
    ];

    /// The word used in tokens, ACLs and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::PresenceRead => "presence.read",
            Self::History => "history",
            Self::Sign => "sign",
            Self::Manage => "manage",
            Self::Stats => "stats",
        }
    }

    /// Whether a token may carry it; the others belong to keys.
    #[must_use]
    pub const fn is_client(self) -> bool {
        !matches!(self, Self::Sign | Self::Manage | Self::Stats)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Operations(u8);

impl Operations {
    /// None.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(0xFF);
    /// Those that a token may carry.
    pub const CLIENT: Self = Self(0b1_1111);

    /// Whether the operation is in the set.
    #[must_use]
    pub const fn contains(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u8) != 0
    }

    /// The set and one more.
    #[must_use]
    pub const fn with(self, operation: Operation) -> Self {
        Self(self.0 | (1 << operation as u8))
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether everything here is in the other too.
    #[must_use]
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in it, in the order of [`Operation::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Operation> {
        Operation::ALL.into_iter().filter(move |operation| self.contains(*operation))
    }
}

impl FromIterator<Operation> for Operations {
    fn from_iter<I: IntoIterator<Item = Operation>>(all: I) -> Self {
        all.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Operations {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(None)?;
        for operation in self.iter() {
            list.serialize_element(&operation)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Operations {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Operations;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of operations such as [\"subscribe\", \"publish\"]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Operations, A::Error> {
                let mut all = Operations::NONE;
                // A list longer than there are operations repeats itself; refuse it before it costs anything.
                for _ in 0..Operation::ALL.len() {
                    match list.next_element::<Operation>()? {
                        Some(operation) => all = all.with(operation),
                        None => return Ok(all),
                    }
                }
                match list.next_element::<serde::de::IgnoredAny>()? {
                    None => Ok(all),
                    Some(_) => Err(A::Error::custom("more operations than exist")),
                }
            }
        }
        from.deserialize_seq(List)
    }
}

/// What a key or token may do: a map from pattern to operations. A channel gets what every matching pattern gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities(Vec<(Pattern, Operations)>);

impl Capabilities {
    /// Everything on every channel but Fanfare's own: what the first key of an app may do.
    #[must_use]
    pub fn everything() -> Self {
        let all = Pattern::parse("**").expect("`**` is a pattern");
        Self(vec![(all, Operations::ALL)])
    }

    /// The map with these entries.
    #[must_use]
    pub const fn new(entries: Vec<(Pattern, Operations)>) -> Self {
        Self(entries)
    }

    /// The operations on one channel, for somebody with these claims.
    #[must_use]
    pub fn on(&self, channel: &ChannelName, claims: &impl Claims) -> Operations {
        self.0
            .iter()
            .filter(|(pattern, _)| pattern.matches(channel, claims))
            .fold(Operations::NONE, |all, (_, operations)| all.union(*operations))
    }

    /// Whether some pattern gives the operation, for what concerns no single channel (`sign`, `manage`, `stats`).
    #[must_use]
    pub fn anywhere(&self, operation: Operation) -> bool {
        self.0.iter().any(|(_, operations)| operations.contains(operation))
    }

    /// Whether `**` gives the operation, for what concerns users, connections or the whole app.
    #[must_use]
    pub fn everywhere(&self, operation: Operation) -> bool {
        self.0.iter().any(|(pattern, operations)| pattern.is_everything() && operations.contains(operation))
    }

    /// Its entries.
    #[must_use]
    pub fn entries(&self) -> &[(Pattern, Operations)] {
        &self.0
    }

    /// Every operation that stands somewhere in it.
    #[must_use]
    pub fn operations(&self) -> Operations {
        self.0.iter().fold(Operations::NONE, |all, (_, operations)| all.union(*operations))
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (pattern, operations) in &self.0 {
            map.serialize_entry(pattern, operations)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Capabilities;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a map from pattern to operations such as {\"room:*\": [\"subscribe\"]}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Capabilities, A::Error> {
                let mut entries: Vec<(Pattern, Operations)> = Vec::new();
                while let Some((pattern, operations)) = map.next_entry::<Pattern, Operations>()? {
                    if entries.len() == PATTERNS_MAX {
                        return Err(A::Error::custom("more than 256 patterns"));
                    }
                    if entries.iter().any(|(known, _)| *known == pattern) {
                        return Err(A::Error::custom(format_args!("the pattern {pattern} stands twice")));
                    }
                    entries.push((pattern, operations));
                }
                Ok(Capabilities(entries))
            }
        }
        from.deserialize_map(Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::NoClaims;

    #[test]
    fn every_matching_pattern_adds_its_operations() {
        let map: Capabilities =
            serde_json::from_str(r#"{"room:*":["subscribe"],"room:9":["publish"],"x":["history"]}"#).expect("valid");
        let on = map.on(&ChannelName::parse("room:9").expect("valid"), &NoClaims);
        assert_eq!(on, [Operation::Subscribe, Operation::Publish].into_iter().collect());
        assert_eq!(
            serde_json::to_string(&map).expect("prints"),
            r#"{"room:*":["subscribe"],"room:9":["publish"],"x":["history"]}"#
        );
    }

    #[test]
    fn what_is_no_map_of_operations_is_refused() {
        for bad in [r#"{"a":["fly"]}"#, r#"{"a":"publish"}"#, r#"{"a*":["publish"]}"#, r#"["a"]"#, r#"{"a":[],"a":[]}"#]
        {
            assert!(serde_json::from_str::<Capabilities>(bad).is_err(), "{bad}");
        }
        let many: String = (0..257).map(|n| format!("\"a{n}\":[],")).collect();
        assert!(serde_json::from_str::<Capabilities>(&format!("{{{}}}", many.trim_end_matches(','))).is_err());
        assert!(Operations::CLIENT.iter().all(Operation::is_client) && Operations::CLIENT.iter().count() == 5);
    }
}
