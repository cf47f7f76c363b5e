//! Channel settings, per pattern, with defaults that work unasked.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

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

/// The settings of the channels that a pattern covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// The channels.
    pub pattern: Pattern,
    /// How much of the past is kept.
    #[serde(default)]
    pub history: History,
    /// Whether a publisher that subscribes too receives its own messages.
    #[serde(default = "yes")]
    pub echo: bool,
    /// Whether clients may enter presence and see who is there.
    #[serde(default = "yes")]
    pub presence: bool,
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
    /// What holds where nothing is set.
    #[must_use]
    pub fn defaults() -> &'static Self {
        static DEFAULTS: OnceLock<ChannelSettings> = OnceLock::new();
        DEFAULTS.get_or_init(|| Self {
            pattern: Pattern::parse("**").expect("`**` is a pattern"),
            history: History::default(),
            echo: true,
            presence: true,
            idempotency_ms: ten_minutes(),
        })
    }
}
