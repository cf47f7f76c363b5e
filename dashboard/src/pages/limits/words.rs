//! Limits in words.

use fanfare_core::Limit;
use fanfare_core::limits::{LimitEffect, Scope, Unit};

use crate::format;

/// What is counted, in a few words.
pub(crate) const fn about(limit: Limit) -> &'static str {
    match limit {
        Limit::Connections => "Connections at one moment",
        Limit::ConnectRate => "New connections",
        Limit::MessageBytes => "Payload, name, key and headers",
        Limit::PublishChannel => "Messages published to it",
        Limit::PublishConnection => "Messages it publishes",
        Limit::PublishApp => "Messages published in all",
        Limit::CommandRate => "Commands other than publish",
        Limit::Delivery => "Messages delivered to it",
        Limit::Subscriptions => "Channels it is subscribed to",
        Limit::OutboxBytes => "Bytes that wait for it",
        Limit::OutboxBytesApp => "Bytes that wait for all of them, on one node",
        Limit::PresenceMembers => "Members listed of it",
        Limit::PresenceRate => "Changes of presence on it",
        Limit::PresenceBytesApp => "Bytes of members' data",
        Limit::HistoryAge => "How long messages are kept",
        Limit::HistoryMessages => "Messages kept of it",
        Limit::HistoryBytes => "Bytes kept of it",
        Limit::Channels => "Channels in use or with history",
        Limit::HistoryBytesApp => "Bytes kept of all channels",
        Limit::BatchChannels => "Channels it reaches",
        Limit::BatchMessages => "Messages in it",
        Limit::BatchBytes => "Its bytes",
        Limit::RestRequests => "REST requests with it",
    }
}

/// What it is counted over.
pub(super) const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::App => "the app",
        Scope::Channel => "a channel",
        Scope::Connection => "a connection",
        Scope::Key => "a key",
        Scope::Message => "a message",
        Scope::Request => "a request",
    }
}

/// What happens when it is reached.
pub(super) const fn effect(effect: LimitEffect) -> &'static str {
    match effect {
        LimitEffect::Reject => "refused; may be tried again",
        LimitEffect::RefuseNew => "new ones are refused",
        LimitEffect::Trim => "the oldest are trimmed",
        LimitEffect::Conflate => "the channel's slow policy",
        LimitEffect::Close => "the connection is closed",
    }
}

/// A number in its unit.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn amount(number: u64, unit: Unit) -> String {
    match unit {
        Unit::Count => format::short(number as f64),
        Unit::PerSecond => format!("{}/s", format::short(number as f64)),
        Unit::Bytes => format::bytes(number as f64),
        Unit::Milliseconds => format::span(number as f64),
    }
}
