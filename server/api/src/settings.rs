//! Channel settings of an app, one document.

use fanfare_core::settings::{Durability, History, SlowPolicy};
use fanfare_core::{ChannelSettings, LimitValue, Pattern};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// The settings as they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelSettingsView {
    /// Grows with every change; its ETag is `"v<version>"`.
    pub version: u64,
    /// Per pattern; the most specific one that covers a channel counts.
    #[schema(value_type = Vec<ChannelSetting>)]
    pub settings: Vec<ChannelSettings>,
    /// What holds where no pattern covers a channel.
    #[schema(value_type = ChannelSetting)]
    pub defaults: ChannelSettings,
}

/// Replaces all settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceChannelSettings {
    /// The settings from now on, at most 100 patterns, none twice.
    #[schema(value_type = Vec<ChannelSetting>, max_items = 100)]
    pub settings: Vec<ChannelSettings>,
}

/// What is set for a pattern. The shape of [`ChannelSettings`] in the document.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(description = "What is set for a pattern.")]
pub struct ChannelSetting {
    /// The channels.
    #[schema(schema_with = schema::pattern)]
    pub pattern: Pattern,
    /// How much of the past is kept.
    #[schema(value_type = HistorySetting, required = false)]
    pub history: History,
    /// What must be so before a publish is acknowledged.
    #[schema(schema_with = schema::durability, required = false)]
    #[serde(skip_serializing_if = "is_memory")]
    pub durability: Durability,
    /// Whether clients may enter presence and see who is there.
    #[schema(default = true, required = false)]
    pub presence: bool,
    /// Whether subscribers are told who joins its presence and who leaves, without asking; those who may see who is there.
    #[schema(default = false, required = false)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub join_leave: bool,
    /// Whether subscribers are told how many are subscribed and present, at most once a second.
    #[schema(default = false, required = false)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub occupancy: bool,
    /// Whether a publisher that subscribes too receives its own messages.
    #[schema(default = true, required = false)]
    pub echo: bool,
    /// What becomes of messages for a subscriber that does not keep up.
    #[schema(schema_with = schema::slow_policy, required = false)]
    pub slow: SlowPolicy,
    /// The largest message in bytes, inside the app's limit `message_bytes`; left out, that limit counts.
    #[schema(minimum = 1, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_bytes: Option<u64>,
    /// How many messages may be published to one channel, inside the app's limit `publish_channel`; left out, that limit
    /// counts.
    #[schema(value_type = Option<RateSetting>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_rate: Option<LimitValue>,
    /// Whether messages may be compressed on their way.
    #[schema(default = true, required = false)]
    pub compression: bool,
    /// How long a message id is remembered, in milliseconds, at most a day.
    #[schema(default = 600_000, maximum = 86_400_000, required = false)]
    pub idempotency_ms: u64,
}

fn is_memory(durability: &Durability) -> bool {
    *durability == Durability::Memory
}

/// How much of a channel's past is kept; whatever bound is reached first trims. The shape of [`History`].
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(description = "How much of a channel's past is kept; whatever bound is reached first trims.")]
pub struct HistorySetting {
    /// How long, in milliseconds. 0 keeps nothing: the channel is at most once.
    #[schema(example = 120_000)]
    pub ttl_ms: u64,
    /// How many messages.
    #[schema(example = 1_000)]
    pub messages: u32,
    /// How many bytes of payload.
    #[schema(example = 16_777_216)]
    pub bytes: u64,
}

/// A rate. The shape of [`LimitValue`] where it is one.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(description = "A rate.")]
pub struct RateSetting {
    /// How many a second.
    #[schema(minimum = 1, example = 10)]
    pub max: u64,
    /// How many at once after a quiet time.
    #[schema(minimum = 1, example = 30)]
    pub burst: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_shape_is_the_real_one() {
        let defaults = ChannelSettings::defaults();
        let rate = LimitValue::rate(10, 30);
        let durability = Durability::Replicated;
        let noticed = ChannelSettings { durability, join_leave: true, occupancy: true, ..defaults.clone() };
        let full = ChannelSettings { message_bytes: Some(1), publish_rate: Some(rate), ..noticed };
        for real in [defaults, &full] {
            let shape = ChannelSetting {
                pattern: real.pattern.clone(),
                history: real.history,
                durability: real.durability,
                presence: real.presence,
                join_leave: real.join_leave,
                occupancy: real.occupancy,
                echo: real.echo,
                slow: real.slow,
                message_bytes: real.message_bytes,
                publish_rate: real.publish_rate,
                compression: real.compression,
                idempotency_ms: real.idempotency_ms,
            };
            assert_eq!(serde_json::to_value(real).expect("prints"), serde_json::to_value(shape).expect("prints"));
        }
        let shape = RateSetting { max: rate.max, burst: rate.burst };
        assert_eq!(serde_json::to_value(rate).expect("prints"), serde_json::to_value(shape).expect("prints"));
        let real = defaults;
        let History { ttl_ms, messages, bytes } = real.history;
        let shape = HistorySetting { ttl_ms, messages, bytes };
        assert_eq!(serde_json::to_value(real.history).expect("prints"), serde_json::to_value(shape).expect("prints"));
    }
}
