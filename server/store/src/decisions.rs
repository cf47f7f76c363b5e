//! What the rules of apps answered lately: written by nodes, read when a change of the rules is tried.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_core::Decision;
use fanfare_core::id::{AppId, NodeId};
use serde::Serialize;
use sqlx::types::Json;

use crate::statistics::Hex;
use crate::{AppStore, Feed, StoreError};

/// How many old rows one call lets go at most.
const TRIM_ROWS_MAX: i32 = 5_000;
/// How long decisions are looked back at.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// A decision of one hour of an app as one process saw it so far.
#[derive(Debug, Clone, Copy)]
pub struct KeptDecision<'a> {
    /// Whose.
    pub app: AppId,
    /// The hour's first second, Unix time.
    pub hour_s: u64,
    /// What was decided.
    pub decision: &'a Decision,
    /// How often in that hour.
    pub count: u64,
    /// When last, Unix seconds.
    pub last_s: u64,
}

/// How much of one hour of an app a process had no room for so far.
#[derive(Debug, Clone, Copy)]
pub struct LeftOut {
    /// Whose.
    pub app: AppId,
    /// The hour's first second, Unix time.
    pub hour_s: u64,
    /// Decisions that were not kept.
    pub count: u64,
}

/// A decision of the last day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRecord {
    /// What was decided.
    pub decision: Decision,
    /// How often.
    pub count: u64,
    /// When last.
    pub last_at: DateTime<Utc>,
}

/// What is known of the last day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastDay {
    /// From when.
    pub from: DateTime<Utc>,
    /// The most frequent first.
    pub decisions: Vec<DecisionRecord>,
    /// How often something was decided that is not in the list: it found no room, or is rarer than what is.
    pub left_out: u64,
}

#[derive(Serialize)]
struct Row<'a> {
    app: Hex,
    hour_s: u64,
    decision: &'a Decision,
    count: u64,
    last_s: u64,
}

#[derive(Serialize)]
struct LeftOutRow {
    app: Hex,
    hour_s: u64,
    count: u64,
}

#[derive(sqlx::FromRow)]
struct Found {
    decision: Json<serde_json::Value>,
    count: i64,
    last_at: DateTime<Utc>,
}

impl Feed {
    /// Keeps what a process saw. Telling the same twice changes nothing.
    ///
    /// # Errors
    /// When Postgres is away: nothing was kept, or it was and the answer was lost; tell it again.
    pub async fn keep_decisions(
        &self,
        node: NodeId,
        kept: &[KeptDecision<'_>],
        left_out: &[LeftOut],
    ) -> Result<(), StoreError> {
        let rows = kept.iter().map(|kept| Row {
            app: Hex(kept.app.to_bytes()),
            hour_s: kept.hour_s,
            decision: kept.decision,
            count: kept.count,
            last_s: kept.last_s,
        });
        let left_out = left_out.iter().map(|left| LeftOutRow {
            app: Hex(left.app.to_bytes()),
            hour_s: left.hour_s,
            count: left.count,
        });
        sqlx::query("SELECT feed_keep_decisions($1, $2, $3)")
            .bind(node.to_bytes())
            .bind(Json(rows.collect::<Vec<_>>()))
            .bind(Json(left_out.collect::<Vec<_>>()))
            .execute(&self.inner.feed)
            .await?;
        Ok(())
    }

    /// Lets go a part of what is older than it is kept.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn trim_decisions(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT feed_trim_decisions($1, $2)")
            .bind(self.inner.now())
            .bind(TRIM_ROWS_MAX)
            .execute(&self.inner.feed)
            .await?;
        Ok(())
    }
}

impl AppStore {
    /// What its rules answered in the last day, at most so many different decisions.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn decisions(&self, max: u32) -> Result<LastDay, StoreError> {
        let from = self.inner().now() - KEPT;
        let mut tx = self.begin().await?;
        let rows: Vec<Found> = sqlx::query_as(
            "SELECT (array_agg(decision))[1] AS decision, sum(count)::bigint AS count, max(last_at) AS last_at
             FROM decisions WHERE app_id = $1 AND hour > $2 - interval '1 hour'
             GROUP BY digest ORDER BY sum(count) DESC, digest LIMIT $3",
        )
        .bind(self.id().to_bytes())
        .bind(from)
        .bind(i64::from(max))
        .fetch_all(&mut *tx)
        .await?;
        let all: i64 = sqlx::query_scalar(
            "SELECT (coalesce((SELECT sum(count) FROM decisions WHERE app_id = $1 AND hour > $2 - interval '1 hour'), 0)
                + coalesce((SELECT sum(count) FROM decisions_left_out
                    WHERE app_id = $1 AND hour > $2 - interval '1 hour'), 0))::bigint",
        )
        .bind(self.id().to_bytes())
        .bind(from)
        .fetch_one(&mut *tx)
        .await?;
        // What a newer version wrote and this one cannot read is left out.
        let decisions: Vec<DecisionRecord> = rows.into_iter().filter_map(Found::record).collect();
        let listed: u64 = decisions.iter().map(|record| record.count).sum();
        Ok(LastDay { from, decisions, left_out: all.cast_unsigned().saturating_sub(listed) })
    }
}

impl Found {
    fn record(self) -> Option<DecisionRecord> {
        let decision = serde_json::from_value(self.decision.0).ok()?;
        Some(DecisionRecord { decision, count: self.count.cast_unsigned(), last_at: self.last_at })
    }
}
