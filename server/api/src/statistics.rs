//! Kept figures of an app: what it did, and what it used.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fanfare_core::Histogram;
use fanfare_core::measures::Metric;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::schema;

/// The most points of one series.
pub const POINTS_MAX: u32 = 1_500;
/// The most metrics of one request.
pub const METRICS_MAX: usize = 8;

/// Which figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatisticsQuery {
    /// Up to 8 metrics, parted by commas.
    #[param(example = "connections,messages_in,delivery")]
    pub metric: String,
    /// From when; an hour before `to` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Until when; until now without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// Seconds from one point to the next: 10, 60, 300, 3600 or 86400. Without it the finest that gives up to 1,500
    /// points. Steps of ten seconds are kept for an hour, of a minute for 30 days, of an hour for two years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
}

/// Figures over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Statistics {
    /// The beginning of the first step.
    pub from: DateTime<Utc>,
    /// The end of the last.
    pub to: DateTime<Utc>,
    /// Seconds from one point to the next.
    #[schema(example = 60)]
    pub step_s: u32,
    /// A series for each metric, in the order in which they were asked for.
    pub series: Vec<Series>,
}

/// One metric over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// Which.
    #[schema(schema_with = schema::metric)]
    pub metric: Metric,
    /// A point for each step in which anything was measured. A step that is missing is not known; a zero is one.
    pub points: Vec<Point>,
}

/// A metric within one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// When the step begins.
    pub at: DateTime<Utc>,
    /// Of gauges the most within the step, of everything else how often it happened.
    pub value: u64,
    /// How often by word: codes, reasons, limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<BTreeMap<String, u64>>,
    /// Of latencies, when there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// How long something took, from the merged histograms of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// Half were faster, in milliseconds.
    pub p50_ms: f64,
    /// 95 % were faster.
    pub p95_ms: f64,
    /// 99 % were faster.
    pub p99_ms: f64,
    /// The histogram: pairs of a bucket's lower bound in microseconds and its count. Buckets are a microsecond wide below
    /// 16, from there sixteen to each power of two.
    #[schema(schema_with = schema::histogram)]
    pub buckets: Histogram,
}

impl Latency {
    /// The percentiles of a histogram, if there is anything in it.
    #[must_use]
    pub fn of(buckets: Histogram) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a minute in microseconds is exact")]
        let at = |share| buckets.quantile(share).map(|micros| micros as f64 / 1_000.0);
        let (p50_ms, p95_ms, p99_ms) = (at(0.5)?, at(0.95)?, at(0.99)?);
        Some(Self { p50_ms, p95_ms, p99_ms, buckets })
    }
}

/// Which days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// From when, a full hour; 30 days before `to` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Until when, a full hour; until now without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
}

/// What an app used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
    /// All of it.
    pub total: Used,
    /// By day of UTC, the oldest first; days without any use are left out.
    pub days: Vec<DayUsage>,
}

/// A day's use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DayUsage {
    /// When the day begins, UTC.
    pub day: DateTime<Utc>,
    /// What was used.
    #[serde(flatten)]
    pub used: Used,
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Used {
    /// The most connections at one moment.
    pub connections_peak: u64,
    /// Connections opened.
    pub connects: u64,
    /// Messages accepted.
    pub messages_in: u64,
    /// Their weight.
    pub bytes_in: u64,
    /// Messages delivered.
    pub messages_out: u64,
    /// Bytes of their frames.
    pub bytes_out: u64,
}
