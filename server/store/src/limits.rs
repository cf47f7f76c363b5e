//! Limits of an app: the plan's, what the operator set instead, and what the tenant lowered.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fanfare_core::{Limit, LimitValue, Limits};
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::audit::Entry;
use crate::{AppStore, StoreError};

/// An app's limits and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsRecord {
    /// Grows with every change of `lowered`: the ETag.
    pub version: u64,
    /// The tenant's plan.
    pub plan: String,
    /// What the plan sets.
    pub planned: Limits,
    /// What the operator set instead, while it holds.
    pub overridden: Limits,
    /// When the override ends; `None` while it has no end, or where there is none.
    pub overridden_until: Option<DateTime<Utc>>,
    /// What the tenant lowered for itself.
    pub lowered: Limits,
    /// All of it combined: what is in force.
    pub effective: Limits,
}

/// The three layers as stored, for one app.
#[derive(sqlx::FromRow)]
pub(crate) struct Layers {
    pub(crate) planned: Value,
    pub(crate) overridden: Value,
    pub(crate) overridden_until: Option<DateTime<Utc>>,
    pub(crate) lowered: Value,
}

impl Layers {
    /// What the operator set instead, if it still holds.
    fn override_at(&self, now: DateTime<Utc>) -> Result<Limits, serde_json::Error> {
        let holds = self.overridden_until.is_none_or(|end| now < end);
        if holds { read(&self.overridden) } else { Ok(Limits::default()) }
    }

    /// What is in force.
    pub(crate) fn effective(&self, now: DateTime<Utc>) -> Result<Limits, serde_json::Error> {
        Ok(read(&self.planned)?.overridden_by(&self.override_at(now)?).lowered_by(&read(&self.lowered)?))
    }
}

/// Reads stored limits. A name that this version does not know is a newer version's and is passed over.
fn read(stored: &Value) -> Result<Limits, serde_json::Error> {
    let by_name: BTreeMap<String, LimitValue> = serde::Deserialize::deserialize(stored)?;
    let mut limits = Limits::default();
    for limit in Limit::ALL {
        if let Some(value) = by_name.get(limit.as_str()) {
            limits.set(*limit, *value);
        }
    }
    Ok(limits)
}

#[derive(sqlx::FromRow)]
struct Row {
    revision: i64,
    plan: String,
    #[sqlx(flatten)]
    layers: Layers,
}

impl Row {
    fn record(self, now: DateTime<Utc>) -> Result<LimitsRecord, StoreError> {
        let corrupt = |error| StoreError::corrupt("app_limits", error);
        Ok(LimitsRecord {
            version: self.revision.cast_unsigned(),
            plan: self.plan,
            planned: read(&self.layers.planned).map_err(corrupt)?,
            overridden: self.layers.override_at(now).map_err(corrupt)?,
            overridden_until: self.layers.overridden_until.filter(|end| now < *end),
            lowered: read(&self.layers.lowered).map_err(corrupt)?,
            effective: self.layers.effective(now).map_err(corrupt)?,
        })
    }
}

impl AppStore {
    /// Its limits.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn limits(&self) -> Result<LimitsRecord, StoreError> {
        let mut tx = self.begin().await?;
        self.read_limits(&mut tx).await
    }

    /// Replaces what the tenant lowered for itself; numbers above what it would have anyway do nothing. `expected` is
    /// the version that was read.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when it has another version by now.
    pub async fn lower_limits(&self, expected: u64, lowered: Limits) -> Result<LimitsRecord, StoreError> {
        let mut write = self.write().await?;
        sqlx::query("SELECT FROM app_limits WHERE app_id = $1 FOR UPDATE")
            .bind(self.id().to_bytes())
            .fetch_one(&mut *write.tx)
            .await?;
        let before = self.read_limits(&mut write.tx).await?;
        if before.version != expected {
            return Err(StoreError::Stale { current: before.version });
        }
        sqlx::query("UPDATE app_limits SET lowered = $2, revision = revision + 1 WHERE app_id = $1")
            .bind(self.id().to_bytes())
            .bind(Json(&lowered))
            .execute(&mut *write.tx)
            .await?;
        let after = self.read_limits(&mut write.tx).await?;
        let entry = Entry::new("limits.lowered", self.id()).in_app(self.id());
        let entry = entry.before(json!({ "lowered": before.lowered })).after(json!({ "lowered": after.lowered }));
        write.commit(self.inner(), entry).await?;
        Ok(after)
    }

    async fn read_limits(&self, connection: &mut PgConnection) -> Result<LimitsRecord, StoreError> {
        let row: Row = sqlx::query_as(
            "SELECT revision, plans.name AS plan, plans.limits AS planned, overridden, overridden_until, lowered
             FROM app_limits
             JOIN tenants ON tenants.id = tenant_id
             JOIN plans ON plans.name = tenants.plan
             WHERE app_id = $1",
        )
        .bind(self.id().to_bytes())
        .fetch_one(connection)
        .await?;
        row.record(self.inner().now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(until: Option<DateTime<Utc>>) -> Layers {
        Layers {
            planned: json!({ "connections": { "max": 1000 }, "publish_app": { "max": 100, "burst": 300 } }),
            overridden: json!({ "connections": { "max": 20 } }),
            overridden_until: until,
            lowered: json!({ "publish_app": { "max": 50, "burst": 400 }, "wings_of_a_later_version": { "max": 2 } }),
        }
    }

    #[test]
    fn an_override_counts_until_it_ends_and_lowering_always() {
        let end = DateTime::from_timestamp(1_000, 0).expect("a time");
        let before = DateTime::from_timestamp(999, 0).expect("a time");
        for (until, now, connections) in [(None, end, 20), (Some(end), before, 20), (Some(end), end, 1000)] {
            let limits = layers(until).effective(now).expect("readable");
            assert_eq!(limits.get(Limit::Connections), LimitValue::count(connections));
            assert_eq!(limits.get(Limit::PublishApp), LimitValue::rate(50, 300));
        }
    }
}
