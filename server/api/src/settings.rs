//! Channel settings of an app, one document.

use fanfare_core::settings::History;
use fanfare_core::{ChannelSettings, Pattern};
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
    /// Whether a publisher that subscribes too receives its own messages.
    #[schema(default = true, required = false)]
    pub echo: bool,
    /// Whether clients may enter presence and see who is there.
    #[schema(default = true, required = false)]
    pub presence: bool,
    /// How long a message id is remembered, in milliseconds, at most a day.
    #[schema(default = 600_000, maximum = 86_400_000, required = false)]
    pub idempotency_ms: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_shape_is_the_real_one() {
        let real = ChannelSettings::defaults();
        let shape = ChannelSetting {
            pattern: real.pattern.clone(),
            history: real.history,
            echo: real.echo,
            presence: real.presence,
            idempotency_ms: real.idempotency_ms,
        };
        assert_eq!(serde_json::to_value(real).expect("prints"), serde_json::to_value(shape).expect("prints"));
        let History { ttl_ms, messages, bytes } = real.history;
        let shape = HistorySetting { ttl_ms, messages, bytes };
        assert_eq!(serde_json::to_value(real.history).expect("prints"), serde_json::to_value(shape).expect("prints"));
    }
}
