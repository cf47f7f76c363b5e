//! Figures: an app's and the node's counters, and the live ones on each app's reserved channel.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fanfare_core::id::{AppId, MessageId};
use fanfare_core::limits::LimitValue;
use fanfare_core::settings::History;
use fanfare_core::{ChannelKey, ChannelName, Data, Draft};
use serde::Serialize;

use super::Node;
use crate::broker::{Append, Scope};
use crate::stats::{AppFigures, NodeFigures, Percentiles};

/// The reserved channel on which an app's live figures are published, each second, while somebody listens.
const OVERVIEW: &str = "$stats:overview";

/// What was published last, to make rates of counters.
#[derive(Default)]
pub(super) struct LiveFigures {
    before: HashMap<AppId, (Duration, AppFigures)>,
}

#[derive(Serialize)]
struct Overview {
    time: u64,
    connections: u64,
    channels: u64,
    subscriptions: u64,
    r#in: Flow,
    out: Flow,
    latency_ms: Option<Percentiles>,
}

/// Per second.
#[derive(Serialize)]
struct Flow {
    messages: f64,
    bytes: f64,
}

impl Node {
    /// An app's counters on this node.
    #[must_use]
    pub fn stats(&self, app: AppId) -> Option<AppFigures> {
        self.directory.entry(app).map(|entry| entry.stats.figures(self.clock.monotonic()))
    }

    /// The node's counters.
    #[must_use]
    pub fn metrics(&self) -> NodeFigures {
        let (now, entries) = (self.clock.monotonic(), self.directory.entries());
        let total = entries.iter().map(|entry| entry.stats.figures(now)).fold(AppFigures::default(), AppFigures::plus);
        NodeFigures { apps: entries.len() as u64, channels: self.hub.channels(), total }
    }
}

impl LiveFigures {
    /// Publishes each app's figures, where somebody listens.
    pub(super) fn publish(&mut self, node: &Node) {
        let Ok(name) = ChannelName::parse_any(OVERVIEW) else { return };
        let now = node.clock.monotonic();
        let mut seen = HashMap::new();
        for entry in node.directory.entries() {
            let key = ChannelKey::from_broker(entry.id(), name.clone());
            if node.hub.find(&key).is_none_or(|channel| channel.subscribers() == 0) {
                continue;
            }
            let figures = entry.stats.figures(now);
            seen.insert(entry.id(), (now, figures));
            // A rate needs two readings: the first second says nothing rather than zero.
            let Some((since, before)) = self.before.get(&entry.id()).copied() else { continue };
            // The channel of the figures is not one of the tenant's.
            let channels = entry.channel_count().saturating_sub(1);
            let overview = overview(figures, before, now.saturating_sub(since), node.clock.unix_ms(), channels);
            let Ok(json) = serde_json::value::to_raw_value(&overview) else { continue };
            drop(node.broker.publish(&key, own_append(node, Data::Json(json), now)));
        }
        self.before = seen;
        node.hub.run_ready();
    }
}

fn overview(figures: AppFigures, before: AppFigures, elapsed: Duration, time: u64, channels: u64) -> Overview {
    #[expect(clippy::cast_precision_loss, reason = "counts of one second are far below 2^52")]
    let rate = |now: u64, then: u64| {
        let seconds = elapsed.as_secs_f64().max(0.001);
        (now.saturating_sub(then) as f64 / seconds * 10.0).round() / 10.0
    };
    Overview {
        time,
        connections: figures.connections,
        channels,
        subscriptions: figures.subscriptions,
        r#in: Flow {
            messages: rate(figures.messages_in, before.messages_in),
            bytes: rate(figures.bytes_in, before.bytes_in),
        },
        out: Flow {
            messages: rate(figures.messages_out, before.messages_out),
            bytes: rate(figures.bytes_out, before.bytes_out),
        },
        latency_ms: figures.latency,
    }
}

/// An append of the platform's own: nothing of it is kept.
fn own_append(node: &Node, data: Data, now: Duration) -> Append {
    let time_ms = node.clock.unix_ms();
    Append {
        id: MessageId::new(time_ms, node.chance.next()).to_string().into(),
        idempotent: false,
        scope: Scope::Backend,
        publisher: None,
        origin: None,
        draft: Arc::new(Draft { name: Some("overview".into()), ..Draft::new(data) }),
        time_ms,
        monotonic: now,
        history: History::NONE,
        idempotency_ms: 0,
        rate: LimitValue::rate(1_000, 1_000),
        app_bytes_max: u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_begin_anew_make_no_rate() {
        let before = AppFigures { messages_in: 9, bytes_out: 9, ..AppFigures::default() };
        let seen = overview(AppFigures::default(), before, Duration::from_secs(1), 0, 0);
        assert!(seen.r#in.messages < 0.1 && seen.out.bytes < 0.1);
    }
}
