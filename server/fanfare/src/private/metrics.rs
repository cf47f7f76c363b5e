//! The platform's metrics, read when they are asked for. No label names a tenant, app or channel: their number would have
//! no bound. Labels are words of the tables in the core: codes, limits, stages.

use std::fmt;
use std::sync::{Arc, OnceLock};

use fanfare_broker_redis::{RedisBroker, RedisHealth};
use fanfare_core::Histogram;
use fanfare_core::histogram::{BUCKETS, upper_bound};
use fanfare_core::measures::{Counts, Measures, Stage};
use fanfare_engine::Node;
use fanfare_engine::budget::Sharing;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::feed::FeedStatus;
use crate::figures::FiguresStatus;
use crate::jwks::JwksStatus;
use crate::telemetry;

/// The buckets of the histograms told here end at powers of two, from 64 µs to 33 s, where counts are exact.
const BOUNDS: std::ops::RangeInclusive<u32> = 6..=25;

/// Where they are read.
pub(super) struct Metrics {
    pub(super) node: Arc<OnceLock<Arc<Node>>>,
    pub(super) feed: Arc<FeedStatus>,
    pub(super) figures: Arc<FiguresStatus>,
    pub(super) jwks: Arc<JwksStatus>,
    pub(super) redis: Arc<OnceLock<Arc<RedisBroker>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut told = Told(encoder);
        self.process(&mut told)?;
        self.node.get().map_or(Ok(()), |node| of_node(node, &mut told))
    }
}

impl Metrics {
    /// What is not counted by app.
    fn process(&self, told: &mut Told<'_>) -> Result<(), fmt::Error> {
        let ((written, failed), (kept, lost)) = (self.feed.snapshots(), self.figures.written_and_lost());
        told.counter("snapshots_written", "Snapshots of apps written to disk", written)?;
        let help = "Snapshots of apps that the disk did not take; the one before is kept";
        told.counter("snapshots_failed", help, failed)?;
        let help = "Lines of the log that were lost: the disk is full, or nobody reads them any more";
        told.counter("log_lines_lost", help, telemetry::lines_lost())?;
        told.counter("figures_written", "Rows of kept figures that Postgres took", kept)?;
        told.gauge("figures_waiting", "Rows of kept figures that wait for Postgres", self.figures.waiting())?;
        let help = "Hours of an app's kept figures let go because Postgres was away for too long";
        told.counter("figures_lost", help, lost)?;
        let (written, left_out) = self.figures.decisions();
        told.counter("decisions_written", "Rows of decisions of apps' rules that Postgres took", written)?;
        let help = "Decisions of apps' rules that found no room, and that no change of rules can be tried on";
        told.counter("decisions_left_out", help, left_out)?;
        let (fetches, failures) = self.jwks.counts();
        told.counter("jwks_fetches", "Fetches of issuers' keys", fetches)?;
        told.counter("jwks_failures", "Of those, fetches that failed", failures)?;
        if let Some(redis) = self.redis.get() {
            let RedisHealth { is_up, links, channels, repairs, found_behind, unconfirmed, nodes } = redis.health();
            told.gauge("redis_up", "Whether Redis tells this node of messages", u64::from(is_up))?;
            told.gauge("redis_channels", "Channels that Redis tells this node of", channels)?;
            told.gauge("nodes", "Nodes known to live, this one included", u64::from(nodes))?;
            told.counter("redis_links", "Times the link on which Redis tells of messages came up", links)?;
            told.counter("redis_repairs", "Channels read again because something was missed", repairs)?;
            let help = "Channels that an audit found behind their log; stays 0 where the rest is right";
            told.counter("redis_found_behind", help, found_behind)?;
            let help = "Publishes refused because replicas did not confirm them in time";
            told.counter("redis_not_replicated", help, unconfirmed)?;
        }
        let silent = self.feed.silent_for().as_secs_f64();
        told.seconds("feed_silent", "Time since the store last answered the change feed", silent)?;
        #[expect(clippy::cast_precision_loss, reason = "a clock's error in milliseconds is exact")]
        let skew = self.feed.skew_ms() as f64 / 1_000.0;
        told.seconds("clock_skew", "How far this machine's clock is ahead of Postgres's", skew)
    }
}

/// The sums over apps.
fn of_node(node: &Node, told: &mut Told<'_>) -> Result<(), fmt::Error> {
    let figures = node.metrics();
    let Measures { flow, subscriptions, channels, .. } = &figures.total;
    if let Some(Sharing { rates, is_away, times_away }) = node.sharing() {
        told.gauge("shared_rates", "Rates shared with other nodes that were drawn from lately", rates)?;
        told.gauge("sharing_away", "Whether limits cannot be shared and parts stay as they are", u64::from(is_away))?;
        told.counter("sharing_lost", "Times that began", times_away)?;
    }
    told.gauge("connections", "Open connections, those not yet welcomed included", node.connections())?;
    told.gauge("apps", "Apps known", figures.apps)?;
    told.gauge("channels", "Channels with a subscriber on this node", *channels)?;
    told.gauge("subscriptions", "Subscriptions of open connections", *subscriptions)?;
    told.gauge("presence_members", "Members present on channels", figures.presence.members)?;
    let pressure = "0 while there is memory, 1 while nobody new is let in, 2 while some are let go";
    told.gauge("pressure", pressure, node.pressure() as u64)?;
    let let_go = node.let_go(None);
    let conflated = "Messages replaced by a later one with their key before a slow client took them";
    told.counter("conflated", conflated, let_go.conflated)?;
    told.counter("dropped", "Messages let go before a slow client took them, and told", let_go.dropped)?;
    told.gauge("draining", "1 while the node takes nobody new", u64::from(node.is_draining()))?;
    told.counter("connects", "Connections opened; pairs with disconnects", flow.connects)?;
    told.counter("messages_in", "Messages accepted from publishers", flow.messages_in)?;
    told.counter("bytes_in", "Bytes of the messages accepted", flow.bytes_in)?;
    told.counter("messages_out", "Messages handed to subscribers' sockets", flow.messages_out)?;
    told.counter("bytes_out", "Bytes of their frames", flow.bytes_out)?;
    told.counter("presence_in", "Members that entered, and changes of what they say", figures.presence.changes)?;
    told.counter("presence_out", "Pushes of presence handed to watchers' sockets", figures.presence.pushes)?;
    told.counter("resumed", "Connections that went on with a ticket; pairs with not_resumed", flow.resumed)?;
    told.counter("not_resumed", "Connections whose ticket did not hold", flow.not_resumed)?;
    told.counter("recovered", "Subscriptions resumed without loss; pairs with not_recovered", flow.recovered)?;
    told.counter("not_recovered", "Subscriptions told that messages may be missing", flow.not_recovered)?;
    let links = node.links();
    let open = links.iter().map(|(transport, open, _)| (*transport, *open)).collect();
    told.levels("links", "What clients are connected by now, polls that wait included", "transport", &open)?;
    let opened = links.iter().map(|(transport, _, opened)| (*transport, *opened)).collect();
    told.words("links_opened", "Links opened, by transport; each poll is one", "transport", &opened)?;
    let (pages_asked, pages_read) = node.pages();
    told.counter("connects_paced", "Connections told to come later: more came than the node takes", node.paced())?;
    let dropped = node.events_dropped();
    told.counter("events_dropped", "Events of apps not told to whoever watches: more came than are told", dropped)?;
    told.counter("pages_asked", "Pages of history asked for by clients; pairs with pages_read", pages_asked)?;
    told.counter("pages_read", "Pages the broker was asked for: the others were shared", pages_read)?;
    let Measures { disconnects, errors, rejections, latency, .. } = &figures.total;
    told.words("disconnects", "Connections ended, by the code they were closed with", "reason", disconnects)?;
    told.words("errors", "Requests and commands refused, by code", "code", errors)?;
    told.words("rejections", "Those of them that a limit refused, by limit", "limit", rejections)?;
    told.latency(latency)
}

/// Writes one metric after the other.
struct Told<'a>(DescriptorEncoder<'a>);

impl Told<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.0.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> Result<(), fmt::Error> {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, Some(&Unit::Seconds), gauge.metric_type())?)
    }

    fn words(&mut self, name: &str, help: &str, label: &str, counts: &Counts) -> Result<(), fmt::Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        counts
            .iter()
            .try_for_each(|(word, count)| ConstCounter::new(*count).encode(family.encode_family(&[(label, *word)])?))
    }

    fn levels(&mut self, name: &str, help: &str, label: &str, counts: &Counts) -> Result<(), fmt::Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        counts.iter().try_for_each(|(word, count)| {
            let level = i64::try_from(*count).unwrap_or(i64::MAX);
            ConstGauge::new(level).encode(family.encode_family(&[(label, *word)])?)
        })
    }

    fn latency(&mut self, stages: &[Histogram; Stage::ALL.len()]) -> Result<(), fmt::Error> {
        let help = "How long each stage of a message, and of a connection, took";
        let mut family = self.0.encode_descriptor("latency", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        Stage::ALL.into_iter().try_for_each(|stage| {
            let histogram = &stages[stage as usize];
            let labels = [("stage", stage.as_str())];
            let mut encoder = family.encode_family(&labels)?;
            #[expect(clippy::cast_precision_loss, reason = "a sum of microseconds is below 2^52 for a century")]
            let sum = histogram.sum() as f64 / 1e6;
            encoder.encode_histogram::<[(&str, &str); 0]>(sum, histogram.count(), &buckets(histogram), None)
        })
    }
}

/// Counts between the bounds told here; what lies beyond the last is in the one that has no end.
fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    #[expect(clippy::cast_precision_loss, reason = "a minute in microseconds is exact")]
    let bounds = BOUNDS.map(|power| ((1_u64 << power) as f64 / 1e6, 0)).chain([(f64::MAX, 0)]);
    let mut buckets: Vec<(f64, u64)> = bounds.collect();
    for (bucket, count) in histogram.buckets() {
        debug_assert!(bucket < BUCKETS);
        // The power of two that no span of the bucket reaches.
        let power = (upper_bound(bucket) + 1).next_power_of_two().ilog2().max(*BOUNDS.start());
        let place = (power - BOUNDS.start()) as usize;
        let last = buckets.len() - 1;
        buckets[place.min(last)].1 += count;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        [1, 63, 64, 127, 128, 1_000, 40_000_000].into_iter().for_each(|micros| histogram.record(micros, 1));
        let seen: Vec<(f64, u64)> = buckets(&histogram).into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(seen, [(0.000_064, 2), (0.000_128, 2), (0.000_256, 1), (0.001_024, 1), (f64::MAX, 1)]);
    }
}
