//! How near apps are to their limits: written by nodes, read by their owners.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_core::Limit;
use fanfare_core::id::AppId;
use fanfare_core::limits::Scope;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::{AppStore, Feed, StoreError};

/// What is older says nothing of this moment: the node is gone, or does not reach Postgres.
const FRESH: TimeDelta = TimeDelta::seconds(30);
/// How much of one limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Now; `None` where it is not one number but each connection's, channel's or key's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<u64>,
    /// The most in the last minute.
    pub peak_minute: u64,
    /// The most since midnight UTC.
    pub peak_today: u64,
    /// What was refused since midnight UTC.
    pub rejected_today: u64,
    /// How often a fifth or less was left since midnight UTC.
    pub near_today: u64,
}

/// What is used of an app's limits, over all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UseRecord {
    /// When a node last told; `None` while none did.
    pub told_at: Option<DateTime<Utc>>,
    /// By limit; what was never used is left out.
    pub used: BTreeMap<Limit, Used>,
}

#[derive(sqlx::FromRow)]
struct Row {
    told_at: DateTime<Utc>,
    used: Json<BTreeMap<String, Used>>,
}

impl Feed {
    /// Takes what a node tells of apps. Apps that are gone meanwhile are passed over.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn put_limit_use(&self, node: &str, apps: Vec<(AppId, BTreeMap<Limit, Used>)>) -> Result<(), StoreError> {
        let now = self.inner.now();
        let (ids, used): (Vec<_>, Vec<_>) = apps.into_iter().map(|(app, used)| (app.to_bytes(), Json(used))).unzip();
        sqlx::query("SELECT feed_tell_limit_use($1, $2, $3, $4)")
            .bind(node)
            .bind(now)
            .bind(ids)
            .bind(used)
            .execute(&self.inner.feed)
            .await?;
        Ok(())
    }
}

impl AppStore {
    /// What is used of its limits.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn limit_use(&self) -> Result<UseRecord, StoreError> {
        let mut tx = self.begin().await?;
        let rows: Vec<Row> = sqlx::query_as("SELECT told_at, used FROM limit_use WHERE app_id = $1")
            .bind(self.id().to_bytes())
            .fetch_all(&mut *tx)
            .await?;
        Ok(together(&rows, self.inner().now()))
    }
}

/// What the nodes tell, put together: an app's own numbers are summed, of each connection's the greatest counts.
fn together(rows: &[Row], now: DateTime<Utc>) -> UseRecord {
    let mut record = UseRecord { told_at: rows.iter().map(|row| row.told_at).max(), used: BTreeMap::new() };
    for row in rows {
        let (fresh, today) = (now - row.told_at <= FRESH, row.told_at.date_naive() == now.date_naive());
        // A name that this version does not know is a newer version's and is passed over.
        let known = Limit::ALL.iter().filter_map(|limit| Some((*limit, *row.used.get(limit.as_str())?)));
        for (limit, told) in known.filter(|_| today || fresh) {
            let sum = limit.scope() == Scope::App;
            let all = record.used.entry(limit).or_default();
            if fresh {
                all.now = told.now.map(|now| now + all.now.unwrap_or_default()).or(all.now);
                all.peak_minute =
                    if sum { all.peak_minute + told.peak_minute } else { all.peak_minute.max(told.peak_minute) };
            }
            if today {
                all.peak_today = all.peak_today.max(told.peak_today);
                all.rejected_today += told.rejected_today;
                all.near_today += told.near_today;
            }
        }
    }
    for used in record.used.values_mut() {
        used.peak_today = used.peak_today.max(used.peak_minute);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_put_together_and_old_word_is_not_of_now() {
        let now = DateTime::from_timestamp(90_000, 0).expect("a time");
        let row = |age_s, connections, requests| Row {
            told_at: now - TimeDelta::seconds(age_s),
            used: Json(BTreeMap::from([
                (
                    "connections".to_owned(),
                    Used {
                        now: Some(connections),
                        peak_minute: connections,
                        peak_today: 9,
                        rejected_today: 1,
                        near_today: 0,
                    },
                ),
                ("rest_requests".to_owned(), Used { peak_minute: requests, peak_today: requests, ..Used::default() }),
                ("wings_of_a_later_version".to_owned(), Used::default()),
            ])),
        };
        let record = together(&[row(1, 7, 3), row(2, 5, 4), row(600, 100, 100), row(80_000, 1_000, 1_000)], now);
        assert_eq!(record.told_at, Some(now - TimeDelta::seconds(1)));
        let connections = record.used[&Limit::Connections];
        assert_eq!((connections.now, connections.peak_minute, connections.peak_today), (Some(12), 12, 12));
        assert_eq!(connections.rejected_today, 3);
        let requests = record.used[&Limit::RestRequests];
        assert_eq!((requests.now, requests.peak_minute, requests.peak_today), (None, 4, 100));
    }
}
