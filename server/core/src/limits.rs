//! Limits by name: what is counted, in which unit and scope, and what happens when one is reached.
//!
//! A limit that is not set is unlimited, up to the safety bounds that protect a node whatever the plan says.

use serde::{Deserialize, Serialize};

/// What a limit is counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of an app.
    App,
    /// One channel.
    Channel,
    /// One connection.
    Connection,
    /// One key.
    Key,
    /// One message.
    Message,
    /// One request.
    Request,
}

/// What a number of it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// How many there may be.
    Count,
    /// How many bytes.
    Bytes,
    /// How many a second, with a burst.
    PerSecond,
    /// How many milliseconds.
    Milliseconds,
}

/// What happens at the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitEffect {
    /// The request or command is refused and may be tried again.
    Reject,
    /// New ones are refused, those there stay.
    RefuseNew,
    /// What is over is trimmed.
    Trim,
    /// What is over follows the channel's slow policy: caught up with, conflated, dropped with word of it, or the end.
    Conflate,
    /// The connection is closed.
    Close,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $slug:literal, $scope:ident, $unit:ident, $effect:ident, safety $safety:expr;)+) => {
        /// Every limit there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Limit { $($(#[$doc])* #[serde(rename = $slug)] $name,)+ }

        impl Limit {
            /// All of them, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name used in plans, errors and headers.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $slug,)+ } }

            /// What it is counted over.
            #[must_use]
            pub const fn scope(self) -> Scope { match self { $(Self::$name => Scope::$scope,)+ } }

            /// What a number of it means.
            #[must_use]
            pub const fn unit(self) -> Unit { match self { $(Self::$name => Unit::$unit,)+ } }

            /// What happens when it is reached.
            #[must_use]
            pub const fn effect(self) -> LimitEffect { match self { $(Self::$name => LimitEffect::$effect,)+ } }

            /// The bound that holds even where a plan sets none.
            #[must_use]
            pub const fn safety(self) -> LimitValue { match self { $(Self::$name => $safety,)+ } }
        }
    };
}

limits! {
    /// Connections of an app at one moment.
    Connections = "connections", App, Count, RefuseNew, safety LimitValue::count(1_000_000);
    /// New connections of an app.
    ConnectRate = "connect_rate", App, PerSecond, RefuseNew, safety LimitValue::rate(20_000, 40_000);
    /// Size of a message: payload, name, key and headers.
    MessageBytes = "message_bytes", Message, Bytes, Reject, safety LimitValue::count(1024 * 1024);
    /// Messages published to one channel.
    PublishChannel = "publish_channel", Channel, PerSecond, Reject, safety LimitValue::rate(1_000_000, 1_000_000);
    /// Messages published by one connection.
    PublishConnection = "publish_connection", Connection, PerSecond, Reject, safety LimitValue::rate(1_000_000, 1_000_000);
    /// Messages published in an app.
    PublishApp = "publish_app", App, PerSecond, Reject, safety LimitValue::rate(2_000_000, 2_000_000);
    /// Commands other than publish on one connection.
    CommandRate = "command_rate", Connection, PerSecond, Reject, safety LimitValue::rate(10_000, 20_000);
    /// Messages delivered to one connection.
    Delivery = "delivery", Connection, PerSecond, Conflate, safety LimitValue::rate(1_000_000, 1_000_000);
    /// Subscriptions of one connection.
    Subscriptions = "subscriptions", Connection, Count, Reject, safety LimitValue::count(10_000);
    /// Bytes waiting to be written to one connection.
    OutboxBytes = "outbox_bytes", Connection, Bytes, Close, safety LimitValue::count(4 * 1024 * 1024);
    /// Bytes waiting to be written to all connections of an app on one node.
    OutboxBytesApp = "outbox_bytes_app", App, Bytes, Conflate, safety LimitValue::count(64 * 1024 * 1024);
    /// How long a channel's history is kept at most.
    HistoryAge = "history_age", Channel, Milliseconds, Trim, safety LimitValue::count(30 * 24 * 3_600_000);
    /// Messages kept of one channel.
    HistoryMessages = "history_messages", Channel, Count, Trim, safety LimitValue::count(1_000_000);
    /// Bytes kept of one channel.
    HistoryBytes = "history_bytes", Channel, Bytes, Trim, safety LimitValue::count(64 * 1024 * 1024);
    /// Channels of an app that are in use or have history.
    Channels = "channels", App, Count, RefuseNew, safety LimitValue::count(500_000);
    /// Bytes kept of all channels of an app.
    HistoryBytesApp = "history_bytes_app", App, Bytes, Reject, safety LimitValue::count(16 * 1024 * 1024 * 1024);
    /// Members of a channel that are listed; above it they are counted.
    PresenceMembers = "presence_members", Channel, Count, Trim, safety LimitValue::count(20_000);
    /// Members that enter one channel, and changes of what they say.
    PresenceRate = "presence_rate", Channel, PerSecond, Reject, safety LimitValue::rate(5_000, 20_000);
    /// Bytes kept of all members of an app.
    PresenceBytesApp = "presence_bytes_app", App, Bytes, RefuseNew, safety LimitValue::count(256 * 1024 * 1024);
    /// Channels in one batch.
    BatchChannels = "batch_channels", Request, Count, Reject, safety LimitValue::count(100);
    /// Messages in one batch.
    BatchMessages = "batch_messages", Request, Count, Reject, safety LimitValue::count(1_000);
    /// Bytes of one batch.
    BatchBytes = "batch_bytes", Request, Bytes, Reject, safety LimitValue::count(4 * 1024 * 1024);
    /// REST requests of one key.
    RestRequests = "rest_requests", Key, PerSecond, Reject, safety LimitValue::rate(200_000, 200_000);
}

impl Limit {
    /// Whether a token may lower it for its own connection.
    #[must_use]
    pub const fn is_lowered_by_tokens(self) -> bool {
        matches!(self, Self::MessageBytes | Self::PublishConnection | Self::CommandRate | Self::Subscriptions)
    }
}

/// A limit's number, and for rates how many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitValue {
    /// The number, in the limit's unit.
    pub max: u64,
    /// For rates: how many may come at once after a quiet time. 0 where it does not apply.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub burst: u64,
}

#[cfg_attr(not(target_arch = "wasm32"), expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so"))]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl LimitValue {
    /// A number that is not a rate.
    #[must_use]
    pub const fn count(max: u64) -> Self {
        Self { max, burst: 0 }
    }

    /// So many a second, and so many at once.
    #[must_use]
    pub const fn rate(per_second: u64, burst: u64) -> Self {
        Self { max: per_second, burst }
    }

    /// The tighter of the two in each part.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { max: self.max.min(other.max), burst: self.burst.min(other.burst) }
    }
}

/// The limits of an app. Printed and read as a map from name to number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits([Option<LimitValue>; Limit::ALL.len()]);

impl Default for Limits {
    fn default() -> Self {
        Self([None; Limit::ALL.len()])
    }
}

impl Limits {
    /// The number in force: the plan's, never above the safety bound.
    #[must_use]
    pub fn get(&self, limit: Limit) -> LimitValue {
        self.0[limit as usize].map_or(limit.safety(), |value| value.min(limit.safety()))
    }

    /// Whether the plan sets it.
    #[must_use]
    pub fn is_set(&self, limit: Limit) -> bool {
        self.0[limit as usize].is_some()
    }

    /// The number as it was set, whatever the safety bound.
    #[must_use]
    pub const fn own(&self, limit: Limit) -> Option<LimitValue> {
        self.0[limit as usize]
    }

    /// Those that are set, in the order in which they are shown.
    pub fn all(&self) -> impl Iterator<Item = (Limit, LimitValue)> {
        Limit::ALL.iter().filter_map(|limit| self.own(*limit).map(|value| (*limit, value)))
    }

    /// Sets it, replacing what was there.
    pub const fn set(&mut self, limit: Limit, value: LimitValue) {
        self.0[limit as usize] = Some(value);
    }

    /// Those of `self` where `over` sets none, those of `over` otherwise: an operator's override.
    #[must_use]
    pub fn overridden_by(mut self, over: &Self) -> Self {
        for (slot, value) in self.0.iter_mut().zip(over.0) {
            *slot = value.or(*slot);
        }
        self
    }

    /// The tighter of both: what a tenant lowered for itself.
    #[must_use]
    pub fn lowered_by(mut self, own: &Self) -> Self {
        for (slot, value) in self.0.iter_mut().zip(own.0) {
            *slot = match (*slot, value) {
                (Some(left), Some(right)) => Some(left.min(right)),
                (left, right) => left.or(right),
            };
        }
        self
    }
}

impl Serialize for Limits {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(Limit::ALL.iter().filter_map(|limit| self.0[*limit as usize].map(|value| (limit, value))))
    }
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::<Limit, LimitValue>::deserialize(from)?;
        let mut limits = Self::default();
        for (limit, value) in map {
            limits.set(limit, value);
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_replace_and_tenants_only_lower() {
        let plan: Limits =
            serde_json::from_str(r#"{"connections":{"max":1000},"publish_app":{"max":100,"burst":300}}"#)
                .expect("valid");
        let over: Limits = serde_json::from_str(r#"{"connections":{"max":5000}}"#).expect("valid");
        let own: Limits = serde_json::from_str(r#"{"connections":{"max":9000},"publish_app":{"max":50,"burst":900}}"#)
            .expect("valid");
        let all = plan.overridden_by(&over).lowered_by(&own);
        assert_eq!(all.get(Limit::Connections), LimitValue::count(5_000));
        assert_eq!(all.get(Limit::PublishApp), LimitValue::rate(50, 300));
        assert_eq!(all.get(Limit::MessageBytes), Limit::MessageBytes.safety());
    }

    #[test]
    fn no_plan_reaches_over_a_safety_bound() {
        let mut limits = Limits::default();
        limits.set(Limit::MessageBytes, LimitValue::count(u64::MAX));
        assert_eq!(limits.get(Limit::MessageBytes), Limit::MessageBytes.safety());
        assert!(serde_json::from_str::<Limits>(r#"{"wings":{"max":2}}"#).is_err());
    }
}
