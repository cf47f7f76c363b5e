//! What an app and a node do, in numbers.
//!
//! Counters only grow and are read by whoever wants rates; several readers do not disturb each other. Latency is kept as
//! histograms of fixed buckets, each an atomic of its own: counting takes no lock, and nothing is reset. What most apps
//! never need (a histogram, counts by code) is made on first use, so that an idle app weighs some hundred bytes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fanfare_core::histogram::{BUCKETS, bucket_of};
use fanfare_core::measures::{Counts, Ending, Flow, Measures, Stage};
use fanfare_core::{ErrorCode, Histogram, Limit};

/// The live counters of one app.
#[derive(Debug, Default)]
pub struct AppStats {
    /// Open connections.
    pub(crate) connections: AtomicU64,
    /// Connections ever opened.
    pub(crate) connects: AtomicU64,
    /// Subscriptions of open connections.
    pub(crate) subscriptions: AtomicU64,
    /// Messages published.
    pub(crate) messages_in: AtomicU64,
    /// Their weight.
    pub(crate) bytes_in: AtomicU64,
    /// Messages delivered.
    pub(crate) messages_out: AtomicU64,
    /// Bytes of their frames.
    pub(crate) bytes_out: AtomicU64,
    /// Connections that went on with a ticket.
    pub(crate) resumed: AtomicU64,
    /// Connections whose ticket did not hold.
    pub(crate) not_resumed: AtomicU64,
    /// Subscriptions resumed without loss.
    pub(crate) recovered: AtomicU64,
    /// Subscriptions told `recovered: false`.
    pub(crate) not_recovered: AtomicU64,
    /// Members that entered, and changes of what they say.
    pub(crate) presence_in: AtomicU64,
    /// Pushes of presence handed to sockets.
    pub(crate) presence_out: AtomicU64,
    words: OnceLock<Box<Words>>,
    latency: [OnceLock<Box<Spans>>; Stage::ALL.len()],
}

/// What is counted by word.
#[derive(Debug)]
struct Words {
    disconnects: [AtomicU64; Ending::COUNT],
    errors: [AtomicU64; ErrorCode::ALL.len()],
    rejections: [AtomicU64; Limit::ALL.len()],
}

/// One stage's histogram.
#[derive(Debug)]
struct Spans([AtomicU64; BUCKETS]);

/// The node's counters at one moment, all apps together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeFigures {
    /// Apps known.
    pub apps: u64,
    /// The sum over apps.
    pub total: Measures,
    /// Presence of all apps.
    pub presence: PresenceFigures,
}

/// Presence in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PresenceFigures {
    /// Members now, through this node.
    pub members: u64,
    /// Members that ever entered, and changes of what they said.
    pub changes: u64,
    /// Pushes ever handed to sockets.
    pub pushes: u64,
}

impl Words {
    fn new() -> Box<Self> {
        let zero = |_| AtomicU64::new(0);
        Box::new(Self {
            disconnects: std::array::from_fn(zero),
            errors: std::array::from_fn(zero),
            rejections: std::array::from_fn(zero),
        })
    }
}

impl Spans {
    fn read(&self) -> Histogram {
        let mut histogram = Histogram::default();
        for (bucket, count) in self.0.iter().enumerate() {
            histogram.add_bucket(bucket, count.load(Ordering::Relaxed));
        }
        histogram
    }
}

impl AppStats {
    /// Counts one.
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes it back.
    pub(crate) fn sub(counter: &AtomicU64, count: u64) {
        counter.fetch_sub(count, Ordering::Relaxed);
    }

    /// `count` times a stage took so long.
    pub(crate) fn took(&self, stage: Stage, span: Duration, count: u64) {
        let spans =
            self.latency[stage as usize].get_or_init(|| Box::new(Spans(std::array::from_fn(|_| AtomicU64::new(0)))));
        // Half a million years fit; what is longer than a minute counts as that.
        let micros = span.as_micros() as u64;
        Self::add(&spans.0[bucket_of(micros)], count);
    }

    /// A request or command was refused.
    pub(crate) fn refused(&self, code: ErrorCode, limit: Option<Limit>) {
        let words = self.words.get_or_init(Words::new);
        Self::add(&words.errors[code as usize], 1);
        if let Some(limit) = limit {
            Self::add(&words.rejections[limit as usize], 1);
        }
    }

    /// What each limit refused, in the order of [`Limit::ALL`].
    pub(crate) fn rejections(&self) -> [u64; Limit::ALL.len()] {
        let words = self.words.get();
        std::array::from_fn(|at| words.map_or(0, |words| words.rejections[at].load(Ordering::Relaxed)))
    }

    /// A connection ended.
    pub(crate) fn ended(&self, ending: Ending) {
        Self::add(&self.words.get_or_init(Words::new).disconnects[ending.index()], 1);
    }

    /// The counters that are not told apart by a word, now.
    pub(crate) fn flow(&self) -> Flow {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Flow {
            connects: read(&self.connects),
            messages_in: read(&self.messages_in),
            bytes_in: read(&self.bytes_in),
            messages_out: read(&self.messages_out),
            bytes_out: read(&self.bytes_out),
            resumed: read(&self.resumed),
            not_resumed: read(&self.not_resumed),
            recovered: read(&self.recovered),
            not_recovered: read(&self.not_recovered),
        }
    }

    /// Everything counted until now; `channels` are counted elsewhere.
    pub(crate) fn measures(&self, channels: u64) -> Measures {
        let words = self.words.get();
        Measures {
            connections: self.connections.load(Ordering::Relaxed),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            channels,
            flow: self.flow(),
            disconnects: words.map_or_else(Counts::new, |words| counts(&words.disconnects, Ending::word_of)),
            errors: words.map_or_else(Counts::new, |words| counts(&words.errors, |at| ErrorCode::ALL[at].as_str())),
            rejections: words.map_or_else(Counts::new, |words| counts(&words.rejections, |at| Limit::ALL[at].as_str())),
            latency: std::array::from_fn(|stage| {
                self.latency[stage].get().map(|spans| spans.read()).unwrap_or_default()
            }),
        }
    }
}

fn counts(counters: &[AtomicU64], word_of: impl Fn(usize) -> &'static str) -> Counts {
    let read = counters.iter().enumerate().map(|(at, counter)| (at, counter.load(Ordering::Relaxed)));
    read.filter(|(_, count)| *count > 0).map(|(at, count)| (word_of(at), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read() {
        let stats = AppStats::default();
        stats.took(Stage::Delivery, Duration::from_micros(5_000), 99);
        stats.took(Stage::Delivery, Duration::from_secs(3_600), 1);
        stats.refused(ErrorCode::RateLimited, Some(Limit::PublishApp));
        stats.refused(ErrorCode::InvalidJson, None);
        stats.ended(Ending::Lost);
        AppStats::add(&stats.messages_in, 7);
        let read = stats.measures(3);
        assert_eq!((read.channels, read.flow.messages_in), (3, 7));
        assert_eq!(read.errors, Counts::from([("rate_limited", 1), ("invalid_json", 1)]));
        assert_eq!(read.rejections, Counts::from([("publish_app", 1)]));
        assert_eq!(read.disconnects, Counts::from([("lost", 1)]));
        let delivery = read.of(Stage::Delivery);
        assert_eq!((delivery.count(), delivery.quantile(0.5)), (100, Some(5_119)));
        assert!(read.of(Stage::Connect).is_empty());
    }

    #[test]
    fn an_idle_app_weighs_little() {
        assert!(size_of::<AppStats>() <= 256, "{} bytes", size_of::<AppStats>());
    }
}
