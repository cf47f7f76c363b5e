//! Channel settings, per pattern, with defaults that work unasked.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::limits::LimitValue;
use crate::pattern::Pattern;

/// How much of a channel's past is kept. Whatever bound is reached first trims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// How long, in milliseconds. 0 keeps nothing: the channel is at most once.
    pub ttl_ms: u64,
    /// How many messages.
    pub messages: u32,
    /// How many bytes of payload.
    pub bytes: u64,
}

impl History {
    /// Nothing is kept.
    pub const NONE: Self = Self { ttl_ms: 0, messages: 0, bytes: 0 };

    /// Whether anything is kept.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.ttl_ms > 0 && self.messages > 0 && self.bytes > 0
    }
}

impl Default for History {
    fn default() -> Self {
        Self { ttl_ms: 120_000, messages: 1_000, bytes: 16 * 1024 * 1024 }
    }
}

/// What becomes of messages that a subscriber does not take as fast as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowPolicy {
    /// The subscription falls behind and reads on from history when the client reads again.
    #[default]
    Recover,
    /// Of the messages that wait, only the latest with each key is kept.
    Conflate,
    /// The oldest that wait are let go, and the client is told how many.
    DropOldest,
    /// The connection is closed.
    Disconnect,
}

impl SlowPolicy {
    /// All of them, in the order in which they are shown.
    pub const ALL: &'static [Self] = &[Self::Recover, Self::Conflate, Self::DropOldest, Self::Disconnect];

    /// The word in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recover => "recover",
            Self::Conflate => "conflate",
            Self::DropOldest => "drop_oldest",
            Self::Disconnect => "disconnect",
        }
    }
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The message is in the memory of one machine.
    #[default]
    Memory,
    /// It is on another machine too.
    Replicated,
}

impl Durability {
    /// All of them, the weakest first.
    pub const ALL: &'static [Self] = &[Self::Memory, Self::Replicated];

    /// The word in answers and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Replicated => "replicated",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The settings of the channels that a pattern covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// The channels.
    pub pattern: Pattern,
    /// How much of the past is kept.
    #[serde(default)]
    pub history: History,
    /// What must be so before a publish is acknowledged.
    #[serde(default, skip_serializing_if = "Durability::is_default")]
    pub durability: Durability,
    /// Whether clients may enter presence and see who is there.
    #[serde(default = "yes")]
    pub presence: bool,
    /// Whether subscribers are told who joins its presence and who leaves, without asking.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub join_leave: bool,
    /// Whether subscribers are told how many are subscribed and present.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub occupancy: bool,
    /// Whether a publisher that subscribes too receives its own messages.
    #[serde(default = "yes")]
    pub echo: bool,
    /// What becomes of messages for a subscriber that does not keep up.
    #[serde(default)]
    pub slow: SlowPolicy,
    /// The largest message, inside the app's limit; `None` leaves that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_bytes: Option<u64>,
    /// Messages published to one channel, inside the app's limit; `None` leaves that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_rate: Option<LimitValue>,
    /// Whether messages may be compressed on their way.
    #[serde(default = "yes")]
    pub compression: bool,
    /// How long a message id is remembered, in milliseconds, at most a day.
    #[serde(default = "ten_minutes")]
    pub idempotency_ms: u64,
}

const fn yes() -> bool {
    true
}

const fn ten_minutes() -> u64 {
    600_000
}

impl ChannelSettings {
    /// The largest message on such a channel where the limit says this.
    #[must_use]
    pub fn message_bytes_max(&self, limit: LimitValue) -> u64 {
        self.message_bytes.map_or(limit.max, |own| own.min(limit.max))
    }

    /// How fast may be published to such a channel where the limit says this.
    #[must_use]
    pub fn publish_rate(&self, limit: LimitValue) -> LimitValue {
        self.publish_rate.map_or(limit, |own| own.min(limit))
    }

    /// What holds where nothing is set.
    #[must_use]
    pub fn defaults() -> &'static Self {
        static DEFAULTS: OnceLock<ChannelSettings> = OnceLock::new();
        DEFAULTS.get_or_init(|| Self {
            pattern: Pattern::parse("**").expect("`**` is a pattern"),
            history: History::default(),
            durability: Durability::Memory,
            presence: true,
            join_leave: false,
            occupancy: false,
            echo: true,
            slow: SlowPolicy::Recover,
            message_bytes: None,
            publish_rate: None,
            compression: true,
            idempotency_ms: ten_minutes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_only_tightens_the_limits() {
        let (bytes, rate) = (LimitValue::count(1_000), LimitValue::rate(10, 30));
        let mut settings = ChannelSettings::defaults().clone();
        assert_eq!((settings.message_bytes_max(bytes), settings.publish_rate(rate)), (1_000, rate));
        settings.message_bytes = Some(2_000);
        settings.publish_rate = Some(LimitValue::rate(5, 90));
        assert_eq!((settings.message_bytes_max(bytes), settings.publish_rate(rate)), (1_000, LimitValue::rate(5, 30)));
        settings.message_bytes = Some(500);
        assert_eq!(settings.message_bytes_max(bytes), 500);
    }

    #[test]
    fn a_pattern_alone_is_the_defaults_and_nothing_unknown_passes() {
        let alone: ChannelSettings = serde_json::from_str(r#"{"pattern":"**"}"#).expect("valid");
        assert_eq!(&alone, ChannelSettings::defaults());
        assert!(serde_json::from_str::<ChannelSettings>(r#"{"pattern":"a","slow":"faster"}"#).is_err());
        assert!(serde_json::from_str::<ChannelSettings>(r#"{"pattern":"a","retention":1}"#).is_err());
        for policy in SlowPolicy::ALL {
            assert_eq!(serde_json::to_value(policy).expect("prints"), policy.as_str());
        }
        for durability in Durability::ALL {
            assert_eq!(serde_json::to_value(durability).expect("prints"), durability.as_str());
        }
    }
}
