//! What a run found.

use std::time::Duration;

use anyhow::{Result, ensure};
use fanfare_core::Histogram;
use serde_json::{Value, json};

use super::plan::Plan;
use super::publisher::Sent;
use super::subscriber::Received;
use crate::out;

/// The shares of all that are told of each histogram.
const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];
/// A generator that was later than this did not offer the load that was asked for.
const LATE_MAX_US: u64 = 50_000;

pub(super) struct Report {
    plan: Value,
    connect: Histogram,
    sent: Sent,
    received: Received,
    /// How many messages should have come: for each client those from its subscribing to the last one acknowledged.
    expected: u64,
    took: Duration,
}

impl Report {
    pub(super) fn new(plan: &Plan, connects: Vec<u64>, sent: Sent, received: Received, took: Duration) -> Self {
        let mut connect = Histogram::default();
        connects.into_iter().for_each(|micros| connect.record(micros, 1));
        let expected = received.messages + received.missing + received.told;
        Self { plan: plan.as_json(), connect, sent, received, expected, took }
    }

    fn published(&self) -> u64 {
        self.sent.acknowledged + self.sent.unknown + self.sent.refused.values().sum::<u64>()
    }

    /// Messages acknowledged in a second.
    fn rate(&self) -> f64 {
        self.sent.acknowledged as f64 / self.took.as_secs_f64().max(0.001)
    }

    /// Whether the generator kept its times.
    fn is_late(&self) -> bool {
        self.sent.late.quantile(0.99).is_some_and(|late| late > LATE_MAX_US)
    }

    pub(super) fn as_json(&self) -> Value {
        let Received { messages, again, missing, told, ended, latency } = &self.received;
        json!({
            "plan": self.plan,
            "connect_us": shares(&self.connect),
            "publish": {
                "published": self.published(),
                "acknowledged": self.sent.acknowledged,
                "refused": self.sent.refused,
                "unknown": self.sent.unknown,
                "rate_per_s": self.rate(),
                "latency_us": shares(&self.sent.latency),
            },
            "delivery": {
                "expected": self.expected,
                "received": messages,
                "missing": missing,
                "again": again,
                "left_out_as_told": told,
                "connections_ended": ended,
                "latency_us": shares(latency),
            },
            "generator": { "late_us": shares(&self.sent.late), "kept_its_times": !self.is_late() },
            "histograms": {
                "connect": self.connect,
                "publish": self.sent.latency,
                "delivery": latency,
                "late": self.sent.late,
            },
        })
    }

    /// For people.
    pub(super) fn print(&self) {
        let Received { messages, again, missing, told, ended, latency } = &self.received;
        out::line(format_args!("{:<28}{:>10}{:>10}{:>10}{:>10}  ms", "", "p50", "p90", "p99", "p99.9"));
        row("connected and subscribed", &self.connect);
        row("publish acknowledged", &self.sent.latency);
        row("published to received", latency);
        row("generator late by", &self.sent.late);
        out::line("");
        out::line(format_args!(
            "published {}, acknowledged {} ({:.0} a second), unknown {}",
            self.published(),
            self.sent.acknowledged,
            self.rate(),
            self.sent.unknown
        ));
        for (code, count) in &self.sent.refused {
            out::line(format_args!("refused {count}: {code}"));
        }
        out::line(format_args!(
            "delivered {messages} of {}: {missing} missing, {again} again, {told} left out as told, {ended} connections ended",
            self.expected
        ));
        if self.is_late() {
            out::line(
                "The generator did not keep its times: the figures are of less load than was asked for, or of a busy machine.",
            );
        }
    }

    /// A run in which something was lost or came twice is a failed one.
    ///
    /// # Errors
    /// Says what.
    pub(super) fn verdict(&self) -> Result<()> {
        let Received { missing, again, ended, .. } = &self.received;
        ensure!(
            missing + again + ended == 0,
            "{missing} deliveries are missing, {again} came again, {ended} connections ended"
        );
        ensure!(self.sent.acknowledged > 0, "nothing was acknowledged");
        Ok(())
    }
}

fn shares(histogram: &Histogram) -> Value {
    let mut told = serde_json::Map::new();
    told.insert("count".to_owned(), histogram.count().into());
    for (name, share) in SHARES {
        told.insert(name.to_owned(), histogram.quantile(share).into());
    }
    told.insert("max".to_owned(), histogram.quantile(1.0).into());
    Value::Object(told)
}

fn row(name: &str, histogram: &Histogram) {
    let mut line = format!("{name:<28}");
    for (_, share) in SHARES {
        match histogram.quantile(share) {
            Some(micros) => line.push_str(&format!("{:>10.2}", micros as f64 / 1_000.0)),
            None => line.push_str(&format!("{:>10}", "–")),
        }
    }
    out::line(line);
}
