//! Names of channels, and the pair of app and channel that every lookup uses.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::id::AppId;

/// The longest name of a channel, and the longest pattern, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Why a text is not a channel's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("the name is empty; a channel needs 1 to 200 characters")]
    Empty,
    /// The name is longer than [`NAME_BYTES_MAX`].
    #[error("the name has {bytes} bytes; at most 200 are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A byte that names may not hold.
    #[error(
        "the character at byte {at} is not allowed; use printable ASCII without space and without * {{ }} [ ] ? % \\ \" < >"
    )]
    Character {
        /// Offset of the first such byte.
        at: usize,
    },
    /// Two colons in a row, or one at an end.
    #[error("the segment at byte {at} is empty; segments are parted by single colons")]
    EmptySegment {
        /// Where the empty segment stands.
        at: usize,
    },
    /// `$` first is Fanfare's own.
    #[error("names that start with $ are reserved")]
    Reserved,
}

/// Whether a byte may stand in a channel's name.
#[must_use]
pub const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E)
        && !matches!(byte, b'*' | b'{' | b'}' | b'[' | b']' | b'?' | b'%' | b'\\' | b'"' | b'<' | b'>')
}

/// A valid channel name: 1–200 bytes of printable ASCII, segments parted by `:`, none empty.
///
/// Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Parses a name that a tenant may use.
    ///
    /// # Errors
    /// Says which byte is wrong; a name that starts with `$` is [`NameError::Reserved`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = Self::parse_any(text)?;
        if name.is_reserved() { Err(NameError::Reserved) } else { Ok(name) }
    }

    /// Parses a name that may be one of Fanfare's own (`$stats:…`): a client may read those when a token lets it.
    ///
    /// # Errors
    /// As [`ChannelName::parse`], less [`NameError::Reserved`].
    pub fn parse_any(text: &str) -> Result<Self, NameError> {
        check(text, is_name_byte)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is Fanfare's own.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The parts between the colons.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split(':')
    }
}

/// The checks that names and patterns share.
pub(crate) fn check(text: &str, allowed: impl Fn(u8) -> bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { bytes: text.len() });
    }
    if let Some(at) = text.bytes().position(|byte| !allowed(byte)) {
        return Err(NameError::Character { at });
    }
    let mut at = 0;
    for segment in text.split(':') {
        if segment.is_empty() {
            return Err(NameError::EmptySegment { at });
        }
        at += segment.len() + 1;
    }
    Ok(())
}

/// A name equals, orders and hashes as its text, so that maps by name can be searched by any text.
impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, out)
    }
}

impl FromStr for ChannelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl Serialize for ChannelName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChannelName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// One channel of one app: what the hub, the broker and every cache are keyed by.
///
/// It exists only behind a check: [`crate::permission::Grant::channel_key`] makes one from a permission that was
/// granted, [`ChannelKey::from_broker`] reads one back that a broker was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey {
    app: AppId,
    channel: ChannelName,
}

impl ChannelKey {
    pub(crate) const fn new(app: AppId, channel: ChannelName) -> Self {
        Self { app, channel }
    }

    /// A key that comes back from a broker, or that the platform itself publishes to.
    #[must_use]
    pub const fn from_broker(app: AppId, channel: ChannelName) -> Self {
        Self { app, channel }
    }

    /// The app.
    #[must_use]
    pub const fn app(&self) -> AppId {
        self.app
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &ChannelName {
        &self.channel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_ascii_in_non_empty_segments() {
        for good in ["a", "room:9", "a:b:c", "user@example.com", "x.y-z_~!#&'()+,/;=^`|", &"a".repeat(200)] {
            assert!(ChannelName::parse(good).is_ok(), "{good}");
        }
        let bad = [
            ("", NameError::Empty),
            ("a b", NameError::Character { at: 1 }),
            ("é", NameError::Character { at: 0 }),
            ("a\0", NameError::Character { at: 1 }),
            ("a*", NameError::Character { at: 1 }),
            ("a%2e", NameError::Character { at: 1 }),
            (":a", NameError::EmptySegment { at: 0 }),
            ("a:", NameError::EmptySegment { at: 2 }),
            ("a::b", NameError::EmptySegment { at: 2 }),
            ("$stats:x", NameError::Reserved),
        ];
        for (text, why) in bad {
            assert_eq!(ChannelName::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(ChannelName::parse(&"a".repeat(201)), Err(NameError::TooLong { bytes: 201 }));
    }
}
