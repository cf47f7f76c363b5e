//! What is measured of an app: the words that the node, the store, the API and the dashboard share.
//!
//! [`Measures`] are read off a node's counters, which only grow; the difference of two readings is what happened
//! between them. Differences of one span add up, over nodes and over time: counters by adding, latencies by merging
//! [`Histogram`]s. Gauges do not add up over time: of those the highest reading is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::codes::ErrorCode;
use crate::histogram::Histogram;
use crate::limits::Limit;

macro_rules! stages {
    ($($(#[doc = $doc:literal])+ $name:ident = $slug:literal;)+) => {
        /// A span that is measured.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Stage { $($(#[doc = $doc])+ $name,)+ }

        impl Stage {
            /// All of them, in the order in which they are shown.
            pub const ALL: [Self; [$($slug),+].len()] = [$(Self::$name),+];

            /// Its word in the API, in figures and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $slug,)+ } }
        }
    };
}

stages! {
    /// From a publish accepted to its message written to a subscriber's socket: each delivery counts.
    Delivery = "delivery";
    /// The first part of it: rights, limits, settings. Each message counts.
    Ingest = "ingest";
    /// The second: until the broker has it in the channel's log.
    Append = "append";
    /// The third: from there until a subscriber's turn comes. Between nodes, the way there is part of it.
    FanOut = "fan_out";
    /// The last: encoding and writing, until the last socket of the same turn has it.
    Write = "write";
    /// From a publish accepted until its answer is ready.
    Acknowledged = "acknowledged";
    /// From a connection's handshake answered to its hello, the client's own time included.
    Connect = "connect";
    /// From a heartbeat's ping to the client's answer.
    RoundTrip = "round_trip";
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident = $slug:literal, $kind:expr;)+) => {
        /// A figure of an app that can be asked for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Metric { $($(#[doc = $doc])+ $name,)+ }

        impl Metric {
            /// All of them.
            pub const ALL: [Self; [$($slug),+].len()] = [$(Self::$name),+];

            /// Its word in the API.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $slug,)+ } }

            /// What it is made of.
            #[must_use]
            pub const fn kind(self) -> MetricKind { match self { $(Self::$name => $kind,)+ } }
        }
    };
}

/// What a metric is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// How many there are: of a span the most.
    Gauge,
    /// How often it happened.
    Counter,
    /// How often it happened, by word.
    Words,
    /// How long a stage took.
    Latency(Stage),
}

metrics! {
    /// Open connections.
    Connections = "connections", MetricKind::Gauge;
    /// Subscriptions of open connections.
    Subscriptions = "subscriptions", MetricKind::Gauge;
    /// Channels with a subscriber.
    Channels = "channels", MetricKind::Gauge;
    /// Connections opened.
    Connects = "connects", MetricKind::Counter;
    /// Messages accepted.
    MessagesIn = "messages_in", MetricKind::Counter;
    /// What they weigh.
    BytesIn = "bytes_in", MetricKind::Counter;
    /// Messages delivered.
    MessagesOut = "messages_out", MetricKind::Counter;
    /// Bytes of their frames.
    BytesOut = "bytes_out", MetricKind::Counter;
    /// Connections that went on with a ticket.
    Resumed = "resumed", MetricKind::Counter;
    /// Connections whose ticket did not hold.
    NotResumed = "not_resumed", MetricKind::Counter;
    /// Subscriptions resumed without loss.
    Recovered = "recovered", MetricKind::Counter;
    /// Subscriptions told that messages may be missing.
    NotRecovered = "not_recovered", MetricKind::Counter;
    /// Connections ended, by reason.
    Disconnects = "disconnects", MetricKind::Words;
    /// Requests and commands refused, by code.
    Errors = "errors", MetricKind::Words;
    /// Those of them that a limit refused, by limit.
    Rejections = "rejections", MetricKind::Words;
    /// [`Stage::Delivery`].
    Delivery = "delivery", MetricKind::Latency(Stage::Delivery);
    /// [`Stage::Ingest`].
    Ingest = "ingest", MetricKind::Latency(Stage::Ingest);
    /// [`Stage::Append`].
    Append = "append", MetricKind::Latency(Stage::Append);
    /// [`Stage::FanOut`].
    FanOut = "fan_out", MetricKind::Latency(Stage::FanOut);
    /// [`Stage::Write`].
    Write = "write", MetricKind::Latency(Stage::Write);
    /// [`Stage::Acknowledged`].
    Acknowledged = "acknowledged", MetricKind::Latency(Stage::Acknowledged);
    /// [`Stage::Connect`].
    Connect = "connect", MetricKind::Latency(Stage::Connect);
    /// [`Stage::RoundTrip`].
    RoundTrip = "round_trip", MetricKind::Latency(Stage::RoundTrip);
}

impl Metric {
    /// The metric that a word names.
    #[must_use]
    pub fn from_slug(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == word)
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server closed it with this code.
    Code(ErrorCode),
    /// The client said goodbye.
    Client,
    /// The link broke without a word.
    Lost,
}

impl Ending {
    /// How many there are.
    pub const COUNT: usize = ErrorCode::ALL.len() + 2;

    /// Its place among all.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Code(code) => code as usize,
            Self::Client => ErrorCode::ALL.len(),
            Self::Lost => ErrorCode::ALL.len() + 1,
        }
    }

    /// Its word: a code's own, or `client` or `lost`.
    #[must_use]
    pub fn word_of(index: usize) -> &'static str {
        match ErrorCode::ALL.get(index) {
            Some(code) => code.as_str(),
            None if index == Self::Client.index() => "client",
            None => "lost",
        }
    }
}

/// Counts by word: codes, limits, reasons. Words without a count are left out, and there are no more words than the
/// tables in this crate have.
pub type Counts = BTreeMap<&'static str, u64>;

/// What an app did, up to a moment or within a span.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measures {
    /// Open connections; of a span the most that were read.
    pub connections: u64,
    /// Subscriptions; likewise.
    pub subscriptions: u64,
    /// Channels with a subscriber; likewise.
    pub channels: u64,
    /// What adds up.
    pub flow: Flow,
    /// Connections ended, by [`Ending`].
    #[serde(deserialize_with = "known_words")]
    pub disconnects: Counts,
    /// Requests and commands refused, by code.
    #[serde(deserialize_with = "known_words")]
    pub errors: Counts,
    /// Those of them that a limit refused, by limit.
    #[serde(deserialize_with = "known_words")]
    pub rejections: Counts,
    /// By [`Stage`].
    pub latency: [Histogram; Stage::ALL.len()],
}

/// Counters that are not told apart by a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Connections opened.
    pub connects: u64,
    /// Messages accepted from publishers.
    pub messages_in: u64,
    /// What they weigh.
    pub bytes_in: u64,
    /// Messages handed to subscribers.
    pub messages_out: u64,
    /// Bytes of their frames.
    pub bytes_out: u64,
    /// Connections that went on with a ticket.
    pub resumed: u64,
    /// Connections whose ticket did not hold.
    pub not_resumed: u64,
    /// Subscriptions resumed without loss.
    pub recovered: u64,
    /// Subscriptions told that messages may be missing.
    pub not_recovered: u64,
}

impl Flow {
    /// Both, field by field.
    fn with(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            connects: combine(self.connects, other.connects),
            messages_in: combine(self.messages_in, other.messages_in),
            bytes_in: combine(self.bytes_in, other.bytes_in),
            messages_out: combine(self.messages_out, other.messages_out),
            bytes_out: combine(self.bytes_out, other.bytes_out),
            resumed: combine(self.resumed, other.resumed),
            not_resumed: combine(self.not_resumed, other.not_resumed),
            recovered: combine(self.recovered, other.recovered),
            not_recovered: combine(self.not_recovered, other.not_recovered),
        }
    }
}

impl Measures {
    /// The histogram of a stage.
    #[must_use]
    pub const fn of(&self, stage: Stage) -> &Histogram {
        &self.latency[stage as usize]
    }

    /// What happened between two readings of the same counters; the gauges are those of the later.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            connections: self.connections,
            subscriptions: self.subscriptions,
            channels: self.channels,
            flow: self.flow.with(before.flow, u64::saturating_sub),
            disconnects: more(&self.disconnects, &before.disconnects),
            errors: more(&self.errors, &before.errors),
            rejections: more(&self.rejections, &before.rejections),
            latency: std::array::from_fn(|stage| self.latency[stage].since(&before.latency[stage])),
        }
    }

    /// Adds what the same node measured in another span.
    pub fn append(&mut self, other: &Self) {
        self.connections = self.connections.max(other.connections);
        self.subscriptions = self.subscriptions.max(other.subscriptions);
        self.channels = self.channels.max(other.channels);
        self.add_flow(other);
    }

    /// Adds what another app or node measured in the same span.
    pub fn add(&mut self, other: &Self) {
        self.connections = self.connections.saturating_add(other.connections);
        self.subscriptions = self.subscriptions.saturating_add(other.subscriptions);
        self.channels = self.channels.saturating_add(other.channels);
        self.add_flow(other);
    }

    fn add_flow(&mut self, other: &Self) {
        self.flow = self.flow.with(other.flow, u64::saturating_add);
        let pairs = [
            (&mut self.disconnects, &other.disconnects),
            (&mut self.errors, &other.errors),
            (&mut self.rejections, &other.rejections),
        ];
        for (mine, theirs) in pairs {
            for (word, count) in theirs {
                let sum = mine.entry(word).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        self.latency.iter_mut().zip(&other.latency).for_each(|(mine, theirs)| mine.merge(theirs));
    }

    /// What it weighs in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let words = self.disconnects.len() + self.errors.len() + self.rejections.len();
        let buckets: usize = self.latency.iter().map(|histogram| histogram.buckets().count()).sum();
        size_of::<Self>() + 40 * words + 16 * buckets
    }

    /// Whether there is nothing in it: nobody was there and nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Counts as another node tells them: words that this version does not know are left out.
fn known_words<'de, D: Deserializer<'de>>(from: D) -> Result<Counts, D::Error> {
    let told = BTreeMap::<String, u64>::deserialize(from)?;
    let endings = (0..Ending::COUNT).map(Ending::word_of);
    let known = endings.chain(Limit::ALL.iter().map(|limit| limit.as_str()));
    Ok(known.filter_map(|word| Some((word, *told.get(word)?))).collect())
}

fn more(now: &Counts, before: &Counts) -> Counts {
    let since = |(word, count): (&&'static str, &u64)| {
        let more = count.saturating_sub(before.get(word).copied().unwrap_or_default());
        (more > 0).then_some((*word, more))
    };
    now.iter().filter_map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(scale: u64) -> Measures {
        let mut latency: [Histogram; Stage::ALL.len()] = Default::default();
        latency[Stage::Delivery as usize].record(100 * scale, scale);
        Measures {
            connections: scale,
            flow: Flow { messages_in: 10 * scale, ..Flow::default() },
            errors: Counts::from([("rate_limited", scale)]),
            latency,
            ..Measures::default()
        }
    }

    #[test]
    fn spans_that_follow_each_other_add_up_to_the_whole() {
        let readings = [Measures::default(), reading(1), {
            let mut two = reading(1);
            two.add(&reading(5));
            two
        }];
        let mut sum = Measures::default();
        readings.windows(2).for_each(|pair| sum.append(&pair[1].since(&pair[0])));
        assert_eq!(sum, readings[2]);
        assert_eq!((sum.flow.messages_in, sum.errors["rate_limited"], sum.of(Stage::Delivery).count()), (60, 6, 6));
    }

    #[test]
    fn counters_that_begin_anew_make_no_difference() {
        let gone = reading(1).since(&reading(9));
        assert_eq!((gone.flow, gone.errors.len(), gone.connections), (Flow::default(), 0, 1));
    }

    #[test]
    fn every_ending_has_a_place_and_a_word() {
        assert_eq!(Ending::word_of(Ending::Code(ErrorCode::Moving).index()), "moving");
        assert_eq!(
            (Ending::word_of(Ending::Client.index()), Ending::word_of(Ending::Lost.index())),
            ("client", "lost")
        );
        for (place, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(Ending::Code(*code).index(), place);
        }
    }
}
