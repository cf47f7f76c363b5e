//! The live figures of an app, as its node publishes them every second on `$stats:overview`, and the last minutes of
//! them.

use std::collections::VecDeque;

use serde::Deserialize;

/// The channel that carries them.
pub(crate) const CHANNEL: &str = "$stats:overview";
/// How much is kept and drawn: five minutes of one sample a second.
pub(crate) const WINDOW_MS: f64 = 300_000.0;
/// What is drawn at least, however short the time that is known.
pub(crate) const WINDOW_MS_MIN: f64 = 60_000.0;
/// The most samples kept, whatever rate they come at.
const KEPT_MAX: usize = 330;
/// A longer silence than this is a gap in the line.
const GAP_MS: f64 = 2_600.0;

/// One second of an app.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Sample {
    /// When, Unix milliseconds of the node's clock.
    pub(crate) time: f64,
    /// Connections that are open.
    pub(crate) connections: f64,
    /// Channels in use.
    pub(crate) channels: f64,
    /// Subscriptions that are open.
    pub(crate) subscriptions: f64,
    /// What was published.
    #[serde(rename = "in")]
    pub(crate) inbound: Flow,
    /// What was delivered.
    pub(crate) out: Flow,
    /// From publish to the subscriber's socket over the last seconds; nothing while nothing was delivered.
    #[serde(default)]
    pub(crate) latency_ms: Option<Latency>,
}

/// Messages a second and what they weighed.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Flow {
    /// Messages a second.
    pub(crate) messages: f64,
    /// Bytes a second.
    pub(crate) bytes: f64,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Latency {
    /// Half were quicker.
    pub(crate) p50: f64,
    /// One in twenty was slower.
    pub(crate) p95: f64,
    /// One in a hundred was slower.
    pub(crate) p99: f64,
}

/// The last minutes, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Samples(VecDeque<Sample>);

impl Samples {
    /// Takes a sample in. One that is not newer than the last was seen before, and is dropped.
    pub(crate) fn push(&mut self, sample: Sample) {
        if self.last().is_some_and(|last| last.time >= sample.time) {
            return;
        }
        let oldest = sample.time - WINDOW_MS;
        while self.0.len() >= KEPT_MAX || self.0.front().is_some_and(|first| first.time < oldest) {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The newest.
    pub(crate) fn last(&self) -> Option<&Sample> {
        self.0.back()
    }

    /// The time from the oldest to the newest.
    pub(crate) fn span(&self) -> f64 {
        self.0.front().zip(self.0.back()).map_or(0.0, |(first, last)| last.time - first.time)
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.0.iter()
    }

    /// All of them, with `None` wherever samples are missing between two.
    pub(crate) fn with_gaps(&self) -> impl Iterator<Item = Option<&Sample>> {
        let mut before = f64::MAX;
        self.0.iter().flat_map(move |sample| {
            let gap = sample.time - before > GAP_MS;
            before = sample.time;
            [gap.then_some(None), Some(Some(sample))].into_iter().flatten()
        })
    }

    /// The one nearest to a moment.
    pub(crate) fn nearest(&self, time: f64) -> Option<&Sample> {
        self.0.iter().min_by(|left, right| (left.time - time).abs().total_cmp(&(right.time - time).abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: f64) -> Sample {
        let text = format!(
            r#"{{"time":{time},"connections":2,"channels":1,"subscriptions":1,"in":{{"messages":1,"bytes":9}},"out":{{"messages":1,"bytes":9}},"latency_ms":null}}"#
        );
        serde_json::from_str(&text).expect("reads")
    }

    #[test]
    fn samples_stay_in_order_and_in_the_window() {
        let mut samples = Samples::default();
        for second in [1.0, 2.0, 2.0, 1.5, 3.0, 400.0] {
            samples.push(at(second * 1_000.0));
        }
        let times: Vec<f64> = samples.iter().map(|sample| sample.time).collect();
        assert_eq!(times, [400_000.0]);
    }

    #[test]
    fn missing_seconds_are_a_gap() {
        let mut samples = Samples::default();
        for second in [1.0, 2.0, 9.0] {
            samples.push(at(second * 1_000.0));
        }
        let shape: Vec<bool> = samples.with_gaps().map(|sample| sample.is_some()).collect();
        assert_eq!(shape, [true, true, false, true]);
    }
}
