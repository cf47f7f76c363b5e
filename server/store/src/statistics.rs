//! Kept figures: written by nodes as they measure, read by an app's members.
//!
//! A row is one span of one app as one process measured it (`0010_statistics.sql`). Whoever reads gets the sums over
//! processes: counters added, gauges added, histograms merged, and never a percentile, which nothing can be made of.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chrono::{DateTime, Utc};
use fanfare_core::Histogram;
use fanfare_core::id::{AppId, NodeId};
use fanfare_core::measures::{Measures, Metric, MetricKind, Stage};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::scope::Scope;
use crate::{AppStore, Feed, StoreError};

/// How many old rows one call lets go at most.
const TRIM_ROWS_MAX: i32 = 5_000;

/// How long a kept span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// Ten seconds, kept for an hour.
    TenSeconds,
    /// A minute, kept for 30 days.
    Minute,
    /// An hour, kept for two years.
    Hour,
}

impl Span {
    /// All of them, the shortest first.
    pub const ALL: [Self; 3] = [Self::TenSeconds, Self::Minute, Self::Hour];

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    /// The first second of the span that this Unix second is in.
    #[must_use]
    pub const fn start_of(self, unix_s: u64) -> u64 {
        unix_s - unix_s % self.seconds()
    }

    const fn stored(self) -> i32 {
        match self {
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

/// A span of an app as one process measured it so far.
#[derive(Debug, Clone, Copy)]
pub struct KeptSpan<'a> {
    /// Whose.
    pub app: AppId,
    /// How long.
    pub span: Span,
    /// Its first second, Unix time.
    pub start_s: u64,
    /// Grows each time it is told anew.
    pub revision: u64,
    /// What was measured.
    pub measures: &'a Measures,
}

#[derive(Serialize)]
struct Row<'a> {
    app: Hex,
    span: i32,
    start_s: u64,
    revision: u64,
    connections: u64,
    subscriptions: u64,
    channels: u64,
    connects: u64,
    messages_in: u64,
    bytes_in: u64,
    messages_out: u64,
    bytes_out: u64,
    resumed: u64,
    not_resumed: u64,
    recovered: u64,
    not_recovered: u64,
    disconnects: &'a BTreeMap<&'static str, u64>,
    errors: &'a BTreeMap<&'static str, u64>,
    rejections: &'a BTreeMap<&'static str, u64>,
    latency: BTreeMap<&'static str, String>,
}

/// An id in a document for Postgres.
pub(crate) struct Hex(pub(crate) [u8; 16]);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", u128::from_be_bytes(self.0)))
    }
}

impl<'a> From<&KeptSpan<'a>> for Row<'a> {
    fn from(kept: &KeptSpan<'a>) -> Self {
        let Measures { connections, subscriptions, channels, flow, disconnects, errors, rejections, .. } =
            kept.measures;
        let stages = Stage::ALL.into_iter().map(|stage| (stage, kept.measures.of(stage)));
        let stages = stages.filter(|(_, histogram)| !histogram.is_empty());
        Self {
            app: Hex(kept.app.to_bytes()),
            span: kept.span.stored(),
            start_s: kept.start_s,
            revision: kept.revision,
            connections: *connections,
            subscriptions: *subscriptions,
            channels: *channels,
            connects: flow.connects,
            messages_in: flow.messages_in,
            bytes_in: flow.bytes_in,
            messages_out: flow.messages_out,
            bytes_out: flow.bytes_out,
            resumed: flow.resumed,
            not_resumed: flow.not_resumed,
            recovered: flow.recovered,
            not_recovered: flow.not_recovered,
            disconnects,
            errors,
            rejections,
            latency: stages.map(|(stage, it)| (stage.as_str(), STANDARD_NO_PAD.encode(it.to_bytes()))).collect(),
        }
    }
}

impl Feed {
    /// Keeps what a process measured: `spans` in which it measured at all, and the apps that did something in them.
    /// Telling the same twice changes nothing. Answers the time of the database's clock.
    ///
    /// # Errors
    /// When Postgres is away: nothing was kept, or it was and the answer was lost; tell it again.
    pub async fn keep(
        &self,
        node: NodeId,
        spans: &[(Span, u64)],
        kept: &[KeptSpan<'_>],
    ) -> Result<DateTime<Utc>, StoreError> {
        let spans: Vec<Value> = spans
            .iter()
            .map(|(span, start_s)| serde_json::json!({ "span": span.stored(), "start_s": start_s }))
            .collect();
        let rows: Vec<Row<'_>> = kept.iter().map(Row::from).collect();
        let now = sqlx::query_scalar("SELECT feed_keep_statistics($1, $2, $3)")
            .bind(node.to_bytes())
            .bind(Json(spans))
            .bind(Json(rows))
            .fetch_one(&self.inner.feed)
            .await?;
        Ok(now)
    }

    /// Lets go a part of what is older than it is kept.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn trim_statistics(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT feed_trim_statistics($1, $2)")
            .bind(self.inner.now())
            .bind(TRIM_ROWS_MAX)
            .execute(&self.inner.feed)
            .await?;
        Ok(())
    }
}

/// Which figures of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiguresQuery {
    /// What.
    pub metric: Metric,
    /// From which spans.
    pub span: Span,
    /// Spans that begin at or after this.
    pub from: DateTime<Utc>,
    /// And before this.
    pub to: DateTime<Utc>,
}

/// A figure of one span, all processes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// A number.
    Number(u64),
    /// Counts by word.
    Words(BTreeMap<String, u64>),
    /// A histogram.
    Latency(Histogram),
}

impl Figure {
    /// What an idle app has.
    #[must_use]
    pub fn nothing(metric: Metric) -> Self {
        match metric.kind() {
            MetricKind::Gauge | MetricKind::Counter => Self::Number(0),
            MetricKind::Words => Self::Words(BTreeMap::new()),
            MetricKind::Latency(_) => Self::Latency(Histogram::default()),
        }
    }

    /// Adds another one of the same metric.
    pub fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Number(mine), Self::Number(theirs)) => *mine = mine.saturating_add(*theirs),
            (Self::Words(mine), Self::Words(theirs)) => {
                for (word, count) in theirs {
                    let sum = mine.entry(word.clone()).or_default();
                    *sum = sum.saturating_add(*count);
                }
            }
            (Self::Latency(mine), Self::Latency(theirs)) => mine.merge(theirs),
            _ => {}
        }
    }
}

/// What a span of an app holds.
#[derive(FromRow)]
struct Stored {
    start_at: DateTime<Utc>,
    figure: Option<Value>,
}

/// Figures of an app by the beginning of their span.
pub type Figures = BTreeMap<DateTime<Utc>, Figure>;

/// What an app used within a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromRow)]
pub struct UsageRecord {
    /// The day, UTC.
    pub day: DateTime<Utc>,
    /// The most connections at one moment, as hourly peaks tell it.
    pub connections_peak: i64,
    /// Connections opened.
    pub connects: i64,
    /// Messages accepted.
    pub messages_in: i64,
    /// Their weight.
    pub bytes_in: i64,
    /// Messages delivered.
    pub messages_out: i64,
    /// Bytes of their frames.
    pub bytes_out: i64,
}

impl AppStore {
    /// Figures of each span in which anything was measured; an app that did nothing in it has a figure that says so. A
    /// span that is not in the answer is not known.
    ///
    /// # Errors
    /// When Postgres is away, or a row cannot be read.
    pub async fn figures(&self, query: &FiguresQuery) -> Result<Figures, StoreError> {
        let mut tx = Scope::Tenant(self.tenant()).begin_snapshot(&self.inner().app).await?;
        let measured: Vec<DateTime<Utc>> = sqlx::query_scalar(
            "SELECT start_at FROM measured_spans WHERE span = $1 AND start_at >= $2 AND start_at < $3",
        )
        .bind(query.span.stored())
        .bind(query.from)
        .bind(query.to)
        .fetch_all(&mut *tx)
        .await?;
        // A stage that did not happen in a row is not in it, and nothing else has its name.
        let rows: Vec<Stored> = sqlx::query_as(
            "SELECT start_at, coalesce(latency -> $5, CASE $5
                WHEN 'connections' THEN to_jsonb(connections)
                WHEN 'subscriptions' THEN to_jsonb(subscriptions)
                WHEN 'channels' THEN to_jsonb(channels)
                WHEN 'connects' THEN to_jsonb(connects)
                WHEN 'messages_in' THEN to_jsonb(messages_in)
                WHEN 'bytes_in' THEN to_jsonb(bytes_in)
                WHEN 'messages_out' THEN to_jsonb(messages_out)
                WHEN 'bytes_out' THEN to_jsonb(bytes_out)
                WHEN 'resumed' THEN to_jsonb(resumed)
                WHEN 'not_resumed' THEN to_jsonb(not_resumed)
                WHEN 'recovered' THEN to_jsonb(recovered)
                WHEN 'not_recovered' THEN to_jsonb(not_recovered)
                WHEN 'disconnects' THEN disconnects
                WHEN 'errors' THEN errors
                WHEN 'rejections' THEN rejections
             END) AS figure
             FROM statistics WHERE app_id = $1 AND span = $2 AND start_at >= $3 AND start_at < $4",
        )
        .bind(self.id().to_bytes())
        .bind(query.span.stored())
        .bind(query.from)
        .bind(query.to)
        .bind(query.metric.as_str())
        .fetch_all(&mut *tx)
        .await?;
        let mut figures: Figures =
            measured.into_iter().map(|start_at| (start_at, Figure::nothing(query.metric))).collect();
        for row in rows {
            let read =
                row.figure.map_or_else(|| Ok(Figure::nothing(query.metric)), |stored| read(query.metric, stored))?;
            figures.entry(row.start_at).or_insert_with(|| Figure::nothing(query.metric)).add(&read);
        }
        Ok(figures)
    }

    /// What the app used, by day, the oldest first. Days without any use are left out.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn usage(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<UsageRecord>, StoreError> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query_as(
            "SELECT date_trunc('day', start_at, 'UTC') AS day, max(connections)::bigint AS connections_peak,
                sum(connects)::bigint AS connects, sum(messages_in)::bigint AS messages_in,
                sum(bytes_in)::bigint AS bytes_in, sum(messages_out)::bigint AS messages_out,
                sum(bytes_out)::bigint AS bytes_out
             FROM (
                SELECT start_at, sum(connections) AS connections, sum(connects) AS connects,
                    sum(messages_in) AS messages_in, sum(bytes_in) AS bytes_in, sum(messages_out) AS messages_out,
                    sum(bytes_out) AS bytes_out
                FROM statistics WHERE app_id = $1 AND span = 3600 AND start_at >= $2 AND start_at < $3
                GROUP BY start_at
             ) AS hours GROUP BY 1 ORDER BY 1",
        )
        .bind(self.id().to_bytes())
        .bind(from)
        .bind(to)
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows)
    }
}

/// Reads a metric as it is stored.
fn read(metric: Metric, stored: Value) -> Result<Figure, StoreError> {
    let corrupt = |reason: &dyn fmt::Display| StoreError::corrupt("statistics", reason);
    match metric.kind() {
        MetricKind::Gauge | MetricKind::Counter => {
            serde_json::from_value(stored).map(Figure::Number).map_err(|error| corrupt(&error))
        }
        MetricKind::Words => serde_json::from_value(stored).map(Figure::Words).map_err(|error| corrupt(&error)),
        MetricKind::Latency(_) => {
            let text: String = serde_json::from_value(stored).map_err(|error| corrupt(&error))?;
            let bytes = STANDARD_NO_PAD.decode(text).map_err(|error| corrupt(&error))?;
            Histogram::from_bytes(&bytes).map(Figure::Latency).map_err(|error| corrupt(&error))
        }
    }
}
