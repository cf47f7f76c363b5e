//! How long things took, as histograms by stage: each second of `$stats:latency`, or what was kept.

use std::collections::{BTreeMap, HashMap, VecDeque};

use fanfare_api::statistics::Statistics;
use fanfare_core::Histogram;
use fanfare_core::measures::{MetricKind, Stage};
use serde::Deserialize;

use crate::samples::{Latency, Sample, Samples, WINDOW_MS, WINDOW_MS_MIN};

/// The channel that carries them.
pub(crate) const CHANNEL: &str = "$stats:latency";
/// The most columns of a heat map.
const COLUMNS_MAX: f64 = 120.0;
/// Fine buckets that make one row of a heat map: four rows to each power of two.
const ROW: usize = 4;

/// The stages' histograms of one step.
type Stages = HashMap<Stage, Histogram>;

/// One second, as it arrives.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Second {
    time: f64,
    stages: Stages,
}

/// Steps of a span of time, oldest first; a step that is not here is not known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Latencies {
    /// When each ends, Unix milliseconds, and what was in it.
    steps: VecDeque<(f64, Stages)>,
    step_ms: f64,
    window_ms: f64,
}

/// A column of a heat map: when it ends, and its rows' lower and upper bounds in milliseconds with their counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    /// When it ends.
    pub(crate) end: f64,
    /// How much time it stands for.
    pub(crate) step_ms: f64,
    /// Its rows.
    pub(crate) rows: Vec<(f64, f64, u64)>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { steps: VecDeque::new(), step_ms: 1_000.0, window_ms: WINDOW_MS }
    }
}

impl Latencies {
    /// Takes a second in.
    pub(crate) fn push(&mut self, second: Second) {
        if self.steps.back().is_some_and(|(end, _)| *end >= second.time) {
            return;
        }
        let oldest = second.time - self.window_ms;
        while self.steps.front().is_some_and(|(end, _)| *end < oldest) {
            self.steps.pop_front();
        }
        self.steps.push_back((second.time, second.stages));
    }

    /// What the control plane kept.
    pub(crate) fn kept(statistics: &Statistics) -> Self {
        let step_ms = f64::from(statistics.step_s) * 1_000.0;
        let mut steps: BTreeMap<i64, Stages> = BTreeMap::new();
        for series in &statistics.series {
            let MetricKind::Latency(stage) = series.metric.kind() else { continue };
            for point in &series.points {
                let stages = steps.entry(point.at.timestamp_millis()).or_default();
                if let Some(latency) = &point.latency {
                    stages.insert(stage, latency.buckets.clone());
                }
            }
        }
        let steps = steps.into_iter().map(|(at, stages)| (at as f64 + step_ms, stages)).collect();
        let window_ms = (statistics.to - statistics.from).num_milliseconds() as f64;
        Self { steps, step_ms, window_ms }
    }

    /// Whether nothing of a stage is known.
    pub(crate) fn is_empty(&self, stage: Stage) -> bool {
        self.steps.iter().all(|(_, stages)| !stages.contains_key(&stage))
    }

    /// Everything of a stage in one histogram.
    pub(crate) fn total(&self, stage: Stage) -> Histogram {
        let mut total = Histogram::default();
        self.steps.iter().filter_map(|(_, stages)| stages.get(&stage)).for_each(|it| total.merge(it));
        total
    }

    /// A stage in as few steps as a picture has room for.
    fn coarse(&self, stage: Stage) -> (f64, BTreeMap<i64, Histogram>) {
        let factor = (self.window_ms / self.step_ms / COLUMNS_MAX).ceil().max(1.0);
        let step_ms = self.step_ms * factor;
        let mut columns: BTreeMap<i64, Histogram> = BTreeMap::new();
        for (end, stages) in &self.steps {
            // A step that ends at a column's end is in it.
            let column = (end / step_ms).ceil() as i64;
            let histogram = columns.entry(column).or_default();
            if let Some(here) = stages.get(&stage) {
                histogram.merge(here);
            }
        }
        (step_ms, columns)
    }

    /// The percentiles of a stage over time.
    pub(crate) fn samples(&self, stage: Stage) -> Samples {
        let (step_ms, columns) = self.coarse(stage);
        let mut samples = Samples::new(step_ms, self.window_ms, self.window_ms.min(WINDOW_MS_MIN));
        for (column, histogram) in columns {
            let sample =
                Sample { time: column as f64 * step_ms, latency_ms: percentiles(&histogram), ..Sample::default() };
            samples.push(sample);
        }
        samples
    }

    /// The heat map of a stage.
    pub(crate) fn columns(&self, stage: Stage) -> Vec<Column> {
        let (step_ms, columns) = self.coarse(stage);
        let column = |(column, histogram): (i64, Histogram)| {
            let mut rows: BTreeMap<usize, u64> = BTreeMap::new();
            for (bucket, count) in histogram.buckets() {
                *rows.entry(bucket / ROW).or_default() += count;
            }
            let edge = |row: usize| fanfare_core::histogram::lower_bound(row * ROW) as f64 / 1_000.0;
            let rows = rows.into_iter().map(|(row, count)| (edge(row), edge(row + 1), count)).collect();
            Column { end: column as f64 * step_ms, step_ms, rows }
        };
        columns.into_iter().map(column).collect()
    }
}

/// The percentiles of a histogram, in milliseconds.
pub(crate) fn percentiles(histogram: &Histogram) -> Option<Latency> {
    let at = |share| histogram.quantile(share).map(|micros| micros as f64 / 1_000.0);
    Some(Latency { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(time: f64, micros: u64) -> Second {
        let mut histogram = Histogram::default();
        histogram.record(micros, 10);
        Second { time, stages: HashMap::from([(Stage::Write, histogram)]) }
    }

    #[test]
    fn seconds_are_put_together_into_columns_without_losing_any() {
        let mut latencies = Latencies::default();
        (1..=300_u32).for_each(|at| latencies.push(second(f64::from(at) * 1_000.0, 1_000)));
        let columns = latencies.columns(Stage::Write);
        assert_eq!(columns.len(), 100);
        let counts: u64 = columns.iter().flat_map(|column| &column.rows).map(|(.., count)| count).sum();
        assert_eq!((counts, latencies.total(Stage::Write).count()), (3_000, 3_000));
        let (low, high, _) = columns[0].rows[0];
        assert!(low <= 1.0 && 1.0 < high, "{low} to {high}");
        assert!(latencies.is_empty(Stage::Append) && !latencies.is_empty(Stage::Write));
        assert!(latencies.samples(Stage::Write).last().is_some_and(|last| last.latency_ms.is_some()));
    }
}
