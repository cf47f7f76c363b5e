//! The figures of an app over a span of time: the last minutes as its node publishes them every second on
//! `$stats:overview`, or what was kept of a longer one.

use std::collections::{BTreeMap, VecDeque};

use fanfare_api::statistics::{Latency as KeptLatency, Point, Statistics};
use fanfare_core::measures::Metric;
use serde::Deserialize;

/// The channel that carries them.
pub(crate) const CHANNEL: &str = "$stats:overview";
/// How much is kept and drawn of what comes live: five minutes of one sample a second.
pub(crate) const WINDOW_MS: f64 = 300_000.0;
/// What is drawn at least, however short the time that is known.
pub(crate) const WINDOW_MS_MIN: f64 = 60_000.0;
/// The most samples kept, whatever rate they come at.
const KEPT_MAX: usize = 1_600;
const SECOND_MS: f64 = 1_000.0;
/// A longer silence than so many steps is a gap in the line.
const GAP_STEPS: f64 = 2.6;

/// One step of an app.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
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

impl From<&KeptLatency> for Latency {
    fn from(kept: &KeptLatency) -> Self {
        Self { p50: kept.p50_ms, p95: kept.p95_ms, p99: kept.p99_ms }
    }
}

/// Figures over a span, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples {
    samples: VecDeque<Sample>,
    /// From one to the next.
    step_ms: f64,
    /// How much time is shown at most.
    window_ms: f64,
    /// What is shown at least.
    window_ms_min: f64,
}

impl Default for Samples {
    fn default() -> Self {
        Self::new(SECOND_MS, WINDOW_MS, WINDOW_MS_MIN)
    }
}

impl Samples {
    /// Nothing yet.
    pub(crate) const fn new(step_ms: f64, window_ms: f64, window_ms_min: f64) -> Self {
        Self { samples: VecDeque::new(), step_ms, window_ms, window_ms_min }
    }

    /// What the control plane kept. A step that goes on says too little yet, and would hide what comes live.
    pub(crate) fn kept(statistics: &Statistics, now_ms: f64) -> Self {
        let step_ms = f64::from(statistics.step_s) * SECOND_MS;
        let mut steps: BTreeMap<i64, Sample> = BTreeMap::new();
        for series in &statistics.series {
            for point in &series.points {
                let sample = steps.entry(point.at.timestamp_millis()).or_default();
                sample.take(series.metric, point, statistics.step_s.into());
            }
        }
        let window_ms = (statistics.to - statistics.from).num_milliseconds() as f64;
        let mut samples = Self::new(step_ms, window_ms, WINDOW_MS_MIN);
        // A figure is known at the end of its step.
        let ended = steps.into_iter().map(|(at, sample)| (at as f64 + step_ms, sample));
        for (time, sample) in ended.filter(|(time, _)| *time <= now_ms) {
            samples.push(Sample { time, ..sample });
        }
        samples
    }

    /// The same with what came live since its last step.
    pub(crate) fn and_live(mut self, live: &Self) -> Self {
        live.iter().for_each(|sample| self.push(sample.clone()));
        self
    }

    /// Takes a sample in. One that is not newer than the last was seen before, and is dropped.
    pub(crate) fn push(&mut self, sample: Sample) {
        if self.last().is_some_and(|last| last.time >= sample.time) {
            return;
        }
        let oldest = sample.time - self.window_ms;
        while self.samples.len() >= KEPT_MAX || self.samples.front().is_some_and(|first| first.time < oldest) {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The newest.
    pub(crate) fn last(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// Whether they come as it happens.
    pub(crate) fn is_live(&self) -> bool {
        self.window_ms <= WINDOW_MS
    }

    /// How much time is shown: what is known, inside its bounds.
    pub(crate) fn window(&self) -> f64 {
        let first = self.samples.front().zip(self.samples.back());
        first.map_or(0.0, |(first, last)| last.time - first.time).clamp(self.window_ms_min, self.window_ms)
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter()
    }

    /// All of them, with `None` wherever samples are missing between two.
    pub(crate) fn with_gaps(&self) -> impl Iterator<Item = Option<&Sample>> {
        let mut before = f64::MAX;
        self.samples.iter().flat_map(move |sample| {
            let gap = sample.time - before > GAP_STEPS * self.step_ms;
            before = sample.time;
            [gap.then_some(None), Some(Some(sample))].into_iter().flatten()
        })
    }

    /// The one nearest to a moment.
    pub(crate) fn nearest(&self, time: f64) -> Option<&Sample> {
        self.samples.iter().min_by(|left, right| (left.time - time).abs().total_cmp(&(right.time - time).abs()))
    }
}

impl Sample {
    /// Takes one kept figure in. Counts become rates.
    fn take(&mut self, metric: Metric, point: &Point, step_s: f64) {
        let value = point.value as f64;
        match metric {
            Metric::Connections => self.connections = value,
            Metric::Channels => self.channels = value,
            Metric::Subscriptions => self.subscriptions = value,
            Metric::MessagesIn => self.inbound.messages = value / step_s,
            Metric::BytesIn => self.inbound.bytes = value / step_s,
            Metric::MessagesOut => self.out.messages = value / step_s,
            Metric::BytesOut => self.out.bytes = value / step_s,
            Metric::Delivery => self.latency_ms = point.latency.as_ref().map(Latency::from),
            _ => {}
        }
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

    #[test]
    fn what_was_kept_goes_before_what_comes_live() {
        let text = r#"{"from":"2026-01-01T00:00:00Z","to":"2026-01-01T01:00:00Z","step_s":10,"series":[
            {"metric":"messages_out","points":[{"at":"2026-01-01T00:00:00Z","value":50},{"at":"2026-01-01T00:00:10Z","value":0}]},
            {"metric":"delivery","points":[{"at":"2026-01-01T00:00:00Z","value":1,
                "latency":{"p50_ms":1.0,"p95_ms":2.0,"p99_ms":3.0,"buckets":[[1000,1]]}}]}]}"#;
        let start = 1_767_225_600_000.0;
        let statistics = serde_json::from_str(text).expect("reads");
        assert_eq!(Samples::kept(&statistics, start + 19_000.0).iter().count(), 1, "the second step goes on");
        let kept = Samples::kept(&statistics, start + 20_000.0);
        let shown: Vec<_> = kept.iter().map(|it| (it.time - start, it.out.messages, it.latency_ms.is_some())).collect();
        assert_eq!(shown, [(10_000.0, 5.0, true), (20_000.0, 0.0, false)]);
        let mut live = Samples::default();
        [15_000.0, 21_000.0].into_iter().for_each(|after| live.push(at(start + after)));
        let both = kept.and_live(&live);
        assert_eq!(both.iter().map(|it| it.time - start).collect::<Vec<_>>(), [10_000.0, 20_000.0, 21_000.0]);
    }
}
