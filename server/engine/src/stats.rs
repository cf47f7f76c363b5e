//! What an app and a node do, in numbers.
//!
//! Counters only grow and are read by whoever wants rates. Latency is kept as histograms, never as percentiles.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// How long one latency window lasts; figures cover the running one and the one before.
const WINDOW: Duration = Duration::from_secs(10);
/// Latencies above a minute count as a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

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
    /// Requests and commands refused.
    pub(crate) refused: AtomicU64,
    /// Connections that went on with a ticket.
    pub(crate) resumed: AtomicU64,
    /// Connections whose ticket did not hold.
    pub(crate) not_resumed: AtomicU64,
    /// Subscriptions resumed without loss.
    pub(crate) recovered: AtomicU64,
    /// Subscriptions told `recovered: false`.
    pub(crate) not_recovered: AtomicU64,
    latency: Mutex<Option<Box<Latency>>>,
}

#[derive(Debug)]
struct Latency {
    since: Duration,
    running: Histogram<u32>,
    before: Histogram<u32>,
}

/// Percentiles of publish → written to the subscriber's socket over the last 10 to 20 seconds, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half were faster.
    pub p50: f64,
    /// 95 % were faster.
    pub p95: f64,
    /// 99 % were faster.
    pub p99: f64,
}

/// An app's counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AppFigures {
    /// Open connections.
    pub connections: u64,
    /// Connections ever opened.
    pub connects: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Messages ever published.
    pub messages_in: u64,
    /// Bytes ever published.
    pub bytes_in: u64,
    /// Messages ever delivered.
    pub messages_out: u64,
    /// Bytes ever delivered.
    pub bytes_out: u64,
    /// Refusals ever.
    pub refused: u64,
    /// Connections that ever went on with a ticket.
    pub resumed: u64,
    /// Tickets that ever did not hold.
    pub not_resumed: u64,
    /// Subscriptions ever resumed without loss.
    pub recovered: u64,
    /// Subscriptions ever told `recovered: false`.
    pub not_recovered: u64,
    /// Latency, when something was delivered lately.
    pub latency: Option<Percentiles>,
}

/// The node's counters at one moment, all apps together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NodeFigures {
    /// Apps known.
    pub apps: u64,
    /// Channels with a subscriber here.
    pub channels: u64,
    /// The sum over apps; its latency is empty.
    pub total: AppFigures,
}

fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("the bounds are valid")
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

    /// `count` deliveries were written `latency` after their message was accepted.
    pub(crate) fn delivered(&self, latency: Duration, count: u64, now: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, LATENCY_US_MAX);
        let mut held = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let windows =
            held.get_or_insert_with(|| Box::new(Latency { since: now, running: histogram(), before: histogram() }));
        windows.turn(now);
        windows.running.saturating_record_n(micros, u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// The counters now.
    pub(crate) fn figures(&self, now: Duration) -> AppFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AppFigures {
            connections: read(&self.connections),
            connects: read(&self.connects),
            subscriptions: read(&self.subscriptions),
            messages_in: read(&self.messages_in),
            bytes_in: read(&self.bytes_in),
            messages_out: read(&self.messages_out),
            bytes_out: read(&self.bytes_out),
            refused: read(&self.refused),
            resumed: read(&self.resumed),
            not_resumed: read(&self.not_resumed),
            recovered: read(&self.recovered),
            not_recovered: read(&self.not_recovered),
            latency: self.percentiles(now),
        }
    }

    fn percentiles(&self, now: Duration) -> Option<Percentiles> {
        let mut held = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = held.as_mut()?;
        windows.turn(now);
        let mut both = windows.running.clone();
        both.add(&windows.before).ok()?;
        if both.is_empty() {
            // Nothing for two windows: give the memory back.
            *held = None;
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a minute in microseconds is exact")]
        let at = |quantile| both.value_at_quantile(quantile) as f64 / 1_000.0;
        Some(Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) })
    }
}

impl Latency {
    fn turn(&mut self, now: Duration) {
        let age = now.saturating_sub(self.since);
        if age < WINDOW {
            return;
        }
        std::mem::swap(&mut self.running, &mut self.before);
        self.running.reset();
        if age >= 2 * WINDOW {
            self.before.reset();
        }
        self.since = now;
    }
}

impl AppFigures {
    /// The sum of both, without latency.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            connects: self.connects + other.connects,
            subscriptions: self.subscriptions + other.subscriptions,
            messages_in: self.messages_in + other.messages_in,
            bytes_in: self.bytes_in + other.bytes_in,
            messages_out: self.messages_out + other.messages_out,
            bytes_out: self.bytes_out + other.bytes_out,
            refused: self.refused + other.refused,
            resumed: self.resumed + other.resumed,
            not_resumed: self.not_resumed + other.not_resumed,
            recovered: self.recovered + other.recovered,
            not_recovered: self.not_recovered + other.not_recovered,
            latency: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_covers_the_last_windows_and_then_forgets() {
        let (stats, at) = (AppStats::default(), Duration::from_secs);
        assert_eq!(stats.figures(at(0)).latency, None);
        stats.delivered(Duration::from_millis(5), 99, at(0));
        stats.delivered(Duration::from_millis(500), 1, at(9));
        let seen = stats.figures(at(12)).latency.expect("ten seconds are not over");
        assert!((4.9..5.2).contains(&seen.p50) && (4.9..5.2).contains(&seen.p95), "{seen:?}");
        assert_eq!(stats.figures(at(40)).latency, None);
    }
}
