//! Kept figures of an app: what it did over time, and what it used.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use fanfare_api::server::StrictQuery;
use fanfare_api::statistics::{
    DayUsage, Latency, METRICS_MAX, POINTS_MAX, Point, Series, Statistics, StatisticsQuery, Usage, UsageQuery, Used,
};
use fanfare_core::measures::{Metric, MetricKind};
use fanfare_core::{ErrorCode, Problem};
use fanfare_store::{Figure, Figures, FiguresQuery, Span, UsageRecord};

use crate::access::{AppPath, InApp, Viewer};
use crate::document::Problems;
use crate::error::ControlError;
use crate::state::Control;

/// Steps that can be asked for, and the kept spans that each is made of.
const STEPS: [(u32, Span); 5] =
    [(10, Span::TenSeconds), (60, Span::Minute), (300, Span::Minute), (3_600, Span::Hour), (86_400, Span::Hour)];
/// How far back anything is kept.
const KEPT_FOR: TimeDelta = TimeDelta::days(731);
const DEFAULT_RANGE: TimeDelta = TimeDelta::hours(1);
const DEFAULT_USAGE: TimeDelta = TimeDelta::days(30);

/// Read statistics
///
/// What the app did, over all nodes, in steps. Percentiles are computed from the merged histograms of a step. A step in
/// which nothing was measured anywhere is left out: it is not known, which is not zero. Figures come with a delay of up
/// to ten seconds, and later while Postgres is away.
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/statistics",
    operation_id = "get_statistics",
    tag = "Statistics",
    params(AppPath, StatisticsQuery),
    responses((status = 200, description = "The figures.", body = Statistics), Problems),
)]
pub(crate) async fn get(
    State(control): State<Control>,
    access: InApp<Viewer>,
    StrictQuery(query): StrictQuery<StatisticsQuery>,
) -> Result<Json<Statistics>, ControlError> {
    let metrics = metrics(&query.metric)?;
    let range = Range::new(&query, control.now())?;
    let mut series = Vec::with_capacity(metrics.len());
    for metric in metrics {
        let wanted = FiguresQuery { metric, span: range.span, from: range.from, to: range.to };
        let figures = access.app.figures(&wanted).await?;
        series.push(Series { metric, points: points(metric, &figures, range.step_s) });
    }
    Ok(Json(Statistics { from: range.from, to: range.to, step_s: range.step_s, series }))
}

/// Read usage
///
/// What the app used, by day: sums of the kept hours, each counted once however often a node told of it.
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/usage",
    operation_id = "get_usage",
    tag = "Statistics",
    params(AppPath, UsageQuery),
    responses((status = 200, description = "The usage.", body = Usage), Problems),
)]
pub(crate) async fn usage(
    State(control): State<Control>,
    access: InApp<Viewer>,
    StrictQuery(query): StrictQuery<UsageQuery>,
) -> Result<Json<Usage>, ControlError> {
    let to = query.to.unwrap_or_else(|| control.now());
    let from = query.from.unwrap_or_else(|| to - DEFAULT_USAGE);
    ordered(from, to)?;
    let days: Vec<DayUsage> = access.app.usage(from, to).await?.into_iter().map(day).collect();
    let total = days.iter().fold(Used::default(), |sum, day| plus(sum, day.used));
    Ok(Json(Usage { from, to, total, days }))
}

fn refused(detail: impl Into<String>) -> ControlError {
    Problem::new(ErrorCode::InvalidRequest, detail).into()
}

fn metrics(asked: &str) -> Result<Vec<Metric>, ControlError> {
    let metrics = asked.split(',').map(|word| {
        Metric::from_slug(word.trim()).ok_or_else(|| {
            let known: Vec<&str> = Metric::ALL.iter().map(|metric| metric.as_str()).collect();
            refused(format!("There is no such metric as asked for in `metric`; there are {}.", known.join(", ")))
        })
    });
    let metrics: Vec<Metric> = metrics.collect::<Result<_, _>>()?;
    if metrics.len() > METRICS_MAX {
        return Err(refused(format!("`metric` names {} metrics; {METRICS_MAX} is the most.", metrics.len())));
    }
    Ok(metrics)
}

fn ordered(from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(), ControlError> {
    if from >= to {
        return Err(refused("`from` must be before `to`."));
    }
    if to - from > KEPT_FOR {
        return Err(refused("Nothing is kept for longer than two years; ask for less between `from` and `to`."));
    }
    Ok(())
}

/// What a request's range and step come to.
#[derive(Debug, PartialEq)]
struct Range {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    step_s: u32,
    span: Span,
}

impl Range {
    fn new(query: &StatisticsQuery, now: DateTime<Utc>) -> Result<Self, ControlError> {
        let to = query.to.unwrap_or(now);
        let from = query.from.unwrap_or_else(|| to - DEFAULT_RANGE);
        ordered(from, to)?;
        let fits = |step_s: u32| (to - from).num_seconds() <= i64::from(step_s) * i64::from(POINTS_MAX);
        let (step_s, span) = match query.step {
            // Ten seconds are not kept for longer than an hour.
            None => *STEPS
                .iter()
                .find(|(step_s, span)| fits(*step_s) && (*span != Span::TenSeconds || now - from <= DEFAULT_RANGE))
                .unwrap_or(&STEPS[4]),
            Some(step) => *STEPS
                .iter()
                .find(|(step_s, _)| *step_s == step)
                .ok_or_else(|| refused(format!("`step` is 10, 60, 300, 3600 or 86400 seconds, not {step}.")))?,
        };
        if !fits(step_s) {
            return Err(refused(format!(
                "There would be more than {POINTS_MAX} points; ask for a longer `step` or a shorter time."
            )));
        }
        let step = i64::from(step_s);
        let (first, last) = (start_of(from, step_s), start_of(to - TimeDelta::milliseconds(1), step_s));
        Ok(Self { from: first, to: last + TimeDelta::seconds(step), step_s, span })
    }
}

/// The beginning of the step that a moment is in.
fn start_of(at: DateTime<Utc>, step_s: u32) -> DateTime<Utc> {
    let start = at.timestamp().div_euclid(step_s.into()) * i64::from(step_s);
    DateTime::from_timestamp(start, 0).unwrap_or(at)
}

/// Puts spans together into steps.
fn points(metric: Metric, figures: &Figures, step_s: u32) -> Vec<Point> {
    let mut steps: BTreeMap<DateTime<Utc>, Figure> = BTreeMap::new();
    for (at, figure) in figures {
        let step = steps.entry(start_of(*at, step_s)).or_insert_with(|| Figure::nothing(metric));
        match (metric.kind(), step, figure) {
            // What there is does not add up over time.
            (MetricKind::Gauge, Figure::Number(most), Figure::Number(here)) => *most = (*most).max(*here),
            (_, step, figure) => step.add(figure),
        }
    }
    steps.into_iter().map(|(at, figure)| point(at, figure)).collect()
}

fn point(at: DateTime<Utc>, figure: Figure) -> Point {
    match figure {
        Figure::Number(value) => Point { at, value, by: None, latency: None },
        Figure::Words(by) => {
            let value = by.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
            Point { at, value, by: Some(by), latency: None }
        }
        Figure::Latency(histogram) => Point { at, value: histogram.count(), by: None, latency: Latency::of(histogram) },
    }
}

fn day(record: UsageRecord) -> DayUsage {
    let number = |stored: i64| u64::try_from(stored).unwrap_or_default();
    let used = Used {
        connections_peak: number(record.connections_peak),
        connects: number(record.connects),
        messages_in: number(record.messages_in),
        bytes_in: number(record.bytes_in),
        messages_out: number(record.messages_out),
        bytes_out: number(record.bytes_out),
    };
    DayUsage { day: record.day, used }
}

fn plus(sum: Used, day: Used) -> Used {
    Used {
        connections_peak: sum.connections_peak.max(day.connections_peak),
        connects: sum.connects.saturating_add(day.connects),
        messages_in: sum.messages_in.saturating_add(day.messages_in),
        bytes_in: sum.bytes_in.saturating_add(day.bytes_in),
        messages_out: sum.messages_out.saturating_add(day.messages_out),
        bytes_out: sum.bytes_out.saturating_add(day.bytes_out),
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::Histogram;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    fn asked(from: i64, to: i64, step: Option<u32>) -> StatisticsQuery {
        StatisticsQuery { metric: "connections".to_owned(), from: Some(at(from)), to: Some(at(to)), step }
    }

    #[test]
    fn the_step_is_the_finest_that_is_kept_and_fits() {
        let now = 1_800_000_000;
        let (hour, day) = (3_600, 86_400);
        for (back, step_s) in [(hour, 10), (day, 60), (5 * day, 300), (30 * day, 3_600), (365 * day, 86_400)] {
            let range = Range::new(&asked(now - back, now, None), at(now)).expect("a range");
            assert_eq!(range.step_s, step_s, "{back} s back");
        }
        let range = Range::new(&asked(now - 61, now + 1, Some(60)), at(now)).expect("a range");
        assert_eq!((range.from, range.to), (at(now - 120), at(now + 60)), "whole steps");
        for wrong in [asked(now, now, None), asked(now - day, now, Some(10)), asked(now - hour, now, Some(30))] {
            assert!(Range::new(&wrong, at(now)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn gauges_keep_their_most_and_counters_and_histograms_add_up() {
        let number = |value| Figure::Number(value);
        let figures = Figures::from([(at(60), number(3)), (at(120), number(5)), (at(360), number(1))]);
        let values =
            |metric| points(metric, &figures, 300).iter().map(|point| (point.at, point.value)).collect::<Vec<_>>();
        assert_eq!(values(Metric::Connections), [(at(0), 5), (at(300), 1)]);
        assert_eq!(values(Metric::MessagesIn), [(at(0), 8), (at(300), 1)]);
        let spans = |micros: u64, count| {
            let mut histogram = Histogram::default();
            histogram.record(micros, count);
            Figure::Latency(histogram)
        };
        let figures =
            Figures::from([(at(60), spans(1_000, 99)), (at(120), spans(1_000_000, 1)), (at(360), spans(0, 0))]);
        let points = points(Metric::Delivery, &figures, 300);
        let first = points[0].latency.as_ref().expect("there were some");
        // The percentile of all, and not the middle between two percentiles.
        assert!(points[0].value == 100 && first.p99_ms < 1.1, "{first:?}");
        assert_eq!((points[1].value, &points[1].latency), (0, &None));
    }

    #[test]
    fn metrics_are_named_by_their_words() {
        assert_eq!(metrics("connections, delivery").expect("known"), [Metric::Connections, Metric::Delivery]);
        assert!(
            metrics("").is_err()
                && metrics("connections,nonsense").is_err()
                && metrics(&["errors"; 9].join(",")).is_err()
        );
    }
}
