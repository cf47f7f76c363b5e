//! Figures: what an app and the node measure, and the live ones on each app's reserved channels.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fanfare_core::id::{AppId, MessageId};
use fanfare_core::limits::LimitValue;
use fanfare_core::measures::{Counts, Flow, Measures, Stage};
use fanfare_core::settings::{Durability, History};
use fanfare_core::{ChannelKey, ChannelName, Data, Draft, Histogram, Operation, Refusal, Subject};
use serde::Serialize;

use super::Node;
use crate::broker::{Append, Scope};
use crate::bus::{Look, Seen};
use crate::caller::Caller;
use crate::decisions::TakenDecisions;
use crate::directory::AppEntry;
use crate::error::NodeError;
use crate::stats::{AppStats, NodeFigures, PresenceFigures};
use crate::usage::LetGo;

/// The reserved channels on which an app's live figures are published, each second, while somebody listens: at a glance,
/// and each stage's histogram of the second.
const OVERVIEW: &str = "overview";
const LATENCY: &str = "latency";
/// How many seconds the percentiles of the overview cover.
const WINDOW: usize = 10;

/// What a tenant's own monitoring reads of its app on this node.
#[derive(Debug, Clone, Copy, Default)]
pub struct AppMetrics {
    /// Open connections.
    pub connections: u64,
    /// Their subscriptions.
    pub subscriptions: u64,
    /// What only grows.
    pub flow: Flow,
}

/// What was published last, to make rates of counters.
#[derive(Default)]
pub(super) struct LiveFigures {
    apps: HashMap<AppId, Before>,
}

/// What is remembered of an app that somebody looks at.
struct Before {
    at: Duration,
    /// By node.
    read: HashMap<Arc<str>, Measures>,
    /// The stages' histograms of the last seconds, oldest first.
    window: VecDeque<[Histogram; Stage::ALL.len()]>,
}

/// What nodes have counted until now.
type Readings = Vec<(Arc<str>, Measures)>;

/// An app whose figures somebody listens to, and on which channels.
struct Heard {
    entry: Arc<AppEntry>,
    overview: Option<ChannelKey>,
    latency: Option<ChannelKey>,
}

/// What happened in about the last second.
struct Second {
    time: u64,
    elapsed: Duration,
    measures: Measures,
}

#[derive(Serialize)]
struct Overview<'a> {
    time: u64,
    connections: u64,
    channels: u64,
    subscriptions: u64,
    r#in: Rate,
    out: Rate,
    connects: f64,
    resumed: f64,
    not_resumed: f64,
    recovered: f64,
    not_recovered: f64,
    disconnects: &'a Counts,
    errors: &'a Counts,
    rejections: &'a Counts,
    latency_ms: Option<Percentiles>,
    acknowledged_ms: Option<Percentiles>,
    connect_ms: Option<Percentiles>,
    round_trip_ms: Option<Percentiles>,
}

/// Per second.
#[derive(Serialize)]
struct Rate {
    messages: f64,
    bytes: f64,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

#[derive(Serialize)]
struct Latency<'a> {
    time: u64,
    /// Only those in which something was counted.
    stages: HashMap<Stage, &'a Histogram>,
}

impl Node {
    /// What an app measured on this node until now.
    #[must_use]
    pub fn stats(&self, app: AppId) -> Option<Measures> {
        self.directory.entry(app).map(|entry| entry.measures())
    }

    /// What slow clients were not sent, of one app or of all.
    #[must_use]
    pub fn let_go(&self, app: Option<AppId>) -> LetGo {
        let entries = self.directory.entries();
        let wanted = entries.iter().filter(|entry| app.is_none_or(|app| entry.id() == app));
        wanted.map(|entry| entry.usage.let_go()).fold(LetGo::default(), |sum, one| LetGo {
            conflated: sum.conflated + one.conflated,
            dropped: sum.dropped + one.dropped,
        })
    }

    /// Its plain counters alone, which cost less to read.
    #[must_use]
    pub fn flow(&self, app: AppId) -> Option<Flow> {
        self.directory.entry(app).map(|entry| entry.stats.flow())
    }

    /// What every app measured on this node until now. Apps that nothing ever happened in are left out.
    #[must_use]
    pub fn measures(&self) -> Vec<(AppId, Measures)> {
        let read = self.directory.entries().into_iter().map(|entry| (entry.id(), entry.measures()));
        read.filter(|(_, measures)| !measures.is_empty()).collect()
    }

    /// Takes away what the rules of every app answered since the last time, for whoever keeps it.
    #[must_use]
    pub fn take_decisions(&self) -> Vec<(AppId, TakenDecisions)> {
        let taken = self.directory.entries().into_iter().map(|entry| (entry.id(), entry.decisions.take()));
        taken.filter(|(_, taken)| *taken != TakenDecisions::default()).collect()
    }

    /// The counters of the caller's app on this node.
    ///
    /// # Errors
    /// When the caller is no key that has `stats`.
    pub fn app_metrics(&self, caller: &Caller) -> Result<AppMetrics, NodeError> {
        let Subject::Key { id, capabilities } = &*caller.subject else { return Err(NodeError::KeyInvalid) };
        if !capabilities.anywhere(Operation::Stats) {
            let refusal = Refusal::Key { key: *id, operation: Operation::Stats };
            return self.counted(&caller.entry, Err(refusal.into()));
        }
        let stats = &caller.entry.stats;
        Ok(AppMetrics {
            connections: stats.connections.load(Ordering::Relaxed),
            subscriptions: stats.subscriptions.load(Ordering::Relaxed),
            flow: stats.flow(),
        })
    }

    /// The node's counters.
    #[must_use]
    pub fn metrics(&self) -> NodeFigures {
        let entries = self.directory.entries();
        let mut total = Measures::default();
        entries.iter().for_each(|entry| total.add(&entry.measures()));
        let sum = |of: fn(&AppStats) -> &AtomicU64| {
            entries.iter().map(|entry| of(&entry.stats).load(Ordering::Relaxed)).sum::<u64>()
        };
        let presence = PresenceFigures {
            members: self.presence.members(),
            changes: sum(|stats| &stats.presence_in),
            pushes: sum(|stats| &stats.presence_out),
        };
        NodeFigures { apps: entries.len() as u64, total, presence }
    }
}

impl Node {
    /// Publishes each app's figures where somebody listens, of this node alone.
    pub(super) fn tell_own_figures(&self) {
        let told = self.heard_figures().into_iter().map(|heard| {
            let own = ("".into(), heard.entry.measures());
            (heard, vec![own])
        });
        self.publish_figures(told.collect());
    }

    /// Publishes each app's figures where somebody listens, of all nodes together. One of the nodes where somebody does
    /// tells all listeners.
    pub(super) async fn tell_all_figures(&self) {
        let bus = self.bus();
        let leading = self.heard_figures().into_iter().filter(|heard| bus.leads(heard.entry.id()));
        // All are asked before the first is waited for.
        let asked: Vec<_> = leading
            .map(|heard| {
                let answers = bus.look(heard.entry.id(), Look::Measures);
                (heard, answers)
            })
            .collect();
        let mut told = Vec::with_capacity(asked.len());
        for (heard, answers) in asked {
            let seen = answers.wait().await.seen.into_iter().filter_map(|(node, seen)| match seen {
                Seen::Measures(measures) => Some((node, *measures)),
                _ => None,
            });
            told.push((heard, seen.collect()));
        }
        self.publish_figures(told);
    }

    /// Apps whose figures somebody listens to here.
    fn heard_figures(&self) -> Vec<Heard> {
        let names = [OVERVIEW, LATENCY].map(|name| ChannelName::parse_any(&format!("$stats:{name}")));
        let [Ok(overview), Ok(latency)] = names else { return Vec::new() };
        let entries = self.directory.entries().into_iter().filter_map(|entry| {
            let heard = |name: &ChannelName| {
                let key = ChannelKey::from_broker(entry.id(), name.clone());
                self.hub.find(&key).filter(|channel| channel.subscribers() > 0).map(|_| key)
            };
            let (overview, latency) = (heard(&overview), heard(&latency));
            (overview.is_some() || latency.is_some()).then_some(Heard { entry, overview, latency })
        });
        entries.collect()
    }

    fn publish_figures(&self, told: Vec<(Heard, Readings)>) {
        let now = self.clock.monotonic();
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut looked_at = HashMap::new();
        for (Heard { entry, overview, latency }, read) in told {
            let before = figures.apps.remove(&entry.id());
            let (next, second) = Before::next(before, read, now, self.clock.unix_ms());
            // A rate needs two readings: the first second says nothing rather than zero.
            if let Some(second) = second {
                if let Some(key) = overview {
                    tell(self, &key, OVERVIEW, &second.overview(&next.window));
                }
                if let Some(key) = latency {
                    tell(self, &key, LATENCY, &second.latency());
                }
            }
            looked_at.insert(entry.id(), next);
        }
        figures.apps = looked_at;
        drop(figures);
        self.hub.run_ready();
    }
}

impl Before {
    /// Takes readings of nodes in, and says what happened since those before. A node that was not read before, or is not
    /// read now, adds nothing that it counted but what it has now.
    fn next(before: Option<Self>, read: Readings, now: Duration, time: u64) -> (Self, Option<Second>) {
        let read: HashMap<_, _> = read.into_iter().collect();
        let Some(Self { at, read: earlier, mut window }) = before else {
            return (Self { at: now, read, window: VecDeque::new() }, None);
        };
        let mut measures = Measures::default();
        for (node, read) in &read {
            measures.add(&read.since(earlier.get(node).unwrap_or(read)));
        }
        if window.len() == WINDOW {
            window.pop_front();
        }
        window.push_back(measures.latency.clone());
        (Self { at: now, read, window }, Some(Second { time, elapsed: now.saturating_sub(at), measures }))
    }
}

impl Second {
    fn rate(&self, count: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of one second are far below 2^52")]
        let count = count as f64;
        (count / self.elapsed.as_secs_f64().max(0.001) * 10.0).round() / 10.0
    }

    fn overview(&self, window: &VecDeque<[Histogram; Stage::ALL.len()]>) -> Overview<'_> {
        let Measures { connections, subscriptions, channels, flow, disconnects, errors, rejections, .. } =
            &self.measures;
        let lately = |stage: Stage| {
            let mut merged = Histogram::default();
            window.iter().for_each(|second| merged.merge(&second[stage as usize]));
            Percentiles::of(&merged)
        };
        Overview {
            time: self.time,
            connections: *connections,
            channels: *channels,
            subscriptions: *subscriptions,
            r#in: Rate { messages: self.rate(flow.messages_in), bytes: self.rate(flow.bytes_in) },
            out: Rate { messages: self.rate(flow.messages_out), bytes: self.rate(flow.bytes_out) },
            connects: self.rate(flow.connects),
            resumed: self.rate(flow.resumed),
            not_resumed: self.rate(flow.not_resumed),
            recovered: self.rate(flow.recovered),
            not_recovered: self.rate(flow.not_recovered),
            disconnects,
            errors,
            rejections,
            latency_ms: lately(Stage::Delivery),
            acknowledged_ms: lately(Stage::Acknowledged),
            connect_ms: lately(Stage::Connect),
            round_trip_ms: lately(Stage::RoundTrip),
        }
    }

    fn latency(&self) -> Latency<'_> {
        let stages = Stage::ALL.into_iter().map(|stage| (stage, self.measures.of(stage)));
        Latency { time: self.time, stages: stages.filter(|(_, histogram)| !histogram.is_empty()).collect() }
    }
}

impl Percentiles {
    fn of(histogram: &Histogram) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a minute in microseconds is exact")]
        let at = |share| histogram.quantile(share).map(|micros| micros as f64 / 1_000.0);
        Some(Self { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
    }
}

/// Publishes one document of figures.
fn tell(node: &Node, key: &ChannelKey, name: &str, figures: &impl Serialize) {
    if let Ok(json) = serde_json::value::to_raw_value(figures) {
        drop(node.broker.publish(key, own_append(node, name, Data::Json(json))));
    }
}

/// An append of the platform's own: nothing of it is kept.
pub(super) fn own_append(node: &Node, name: &str, data: Data) -> Append {
    let time_ms = node.clock.unix_ms();
    Append {
        id: MessageId::new(time_ms, node.chance.next()).to_string().into(),
        idempotent: false,
        scope: Scope::Backend,
        publisher: None,
        origin: None,
        draft: Arc::new(Draft { name: Some(name.into()), ..Draft::new(data) }),
        time_ms,
        monotonic: node.clock.monotonic(),
        history: History::NONE,
        durability: Durability::Memory,
        idempotency_ms: 0,
        rate: LimitValue::rate(1_000, 1_000),
        app_bytes_max: u64::MAX,
        app_channels_max: u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(node: &str, read: Measures) -> Readings {
        vec![(node.into(), read)]
    }

    fn read(messages_in: u64, micros: u64) -> Measures {
        let mut read = Measures { flow: Flow { messages_in, ..Flow::default() }, ..Measures::default() };
        read.latency[Stage::Delivery as usize].record(micros, messages_in);
        read
    }

    #[test]
    fn counters_that_begin_anew_make_no_rate() {
        let (before, _) = Before::next(None, of("a", read(9, 100)), Duration::ZERO, 0);
        let (_, second) = Before::next(Some(before), of("a", Measures::default()), Duration::from_secs(1), 0);
        assert!(second.expect("the second reading").overview(&VecDeque::new()).r#in.messages < 0.1);
    }

    #[test]
    fn what_nodes_counted_adds_up_and_a_node_that_comes_makes_no_leap() {
        let at = |second: u64| Duration::from_secs(second);
        let both = |one, other| [of("a", read(one, 100)), of("b", read(other, 100))].concat();
        let (before, _) = Before::next(None, of("a", read(5, 100)), at(0), 0);
        let (before, second) = Before::next(Some(before), both(7, 1_000), at(1), 0);
        assert_eq!(second.expect("there was one before").measures.flow.messages_in, 2);
        let (before, second) = Before::next(Some(before), both(8, 1_030), at(2), 0);
        assert_eq!(second.expect("there was one before").measures.flow.messages_in, 31);
        let (_, second) = Before::next(Some(before), of("b", read(1_031, 100)), at(3), 0);
        assert_eq!(second.expect("there was one before").measures.flow.messages_in, 1);
    }

    #[test]
    fn percentiles_cover_the_last_seconds_and_then_forget() {
        let at = |second: u64| Duration::from_secs(second);
        let (mut before, _) = Before::next(None, of("a", Measures::default()), at(0), 0);
        let mut seen = Vec::new();
        for second in 1..=12 {
            let (next, told) = Before::next(Some(before), of("a", read(100, 5_000)), at(second), 0);
            seen.push(told.expect("there was one before").overview(&next.window).latency_ms.is_some());
            before = next;
        }
        assert_eq!(seen.iter().filter(|has| **has).count(), WINDOW);
        assert!(seen[0] && !seen[WINDOW]);
    }
}
