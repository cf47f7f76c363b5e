//! Limits of an app, as shown.

use chrono::{DateTime, Utc};
use fanfare_core::limits::{LimitEffect, Scope, Unit};
use fanfare_core::{Limit, Limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// Every limit of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitList {
    /// Grows with every change of what was lowered; its ETag is `"v<version>"`.
    pub version: u64,
    /// The tenant's plan.
    #[schema(example = "unlimited")]
    pub plan: String,
    /// When a node last told what is used; absent while none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<DateTime<Utc>>,
    /// The limits, in the order in which they are shown.
    pub limits: Vec<LimitView>,
}

/// A limit and its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitView {
    /// Its name, as in errors and headers.
    #[schema(schema_with = schema::limit)]
    pub name: Limit,
    /// What it is counted over.
    #[schema(schema_with = schema::limit_scope)]
    pub scope: Scope,
    /// What its number means.
    #[schema(schema_with = schema::limit_unit)]
    pub unit: Unit,
    /// What happens when it is reached.
    #[schema(schema_with = schema::limit_effect)]
    pub effect: LimitEffect,
    /// The number in force.
    pub max: u64,
    /// For rates: how many may come at once after a quiet time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Whether the plan, the operator or the tenant sets it; otherwise the number is the bound that protects the server.
    pub set_by_plan: bool,
    /// What the app would have without its own lowering; absent where it lowered nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowered_from: Option<LimitNumber>,
    /// How much of it is used; absent where nothing was used today, or it is not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<LimitUsed>,
}

/// A limit's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitNumber {
    /// The number, in the limit's unit.
    #[schema(minimum = 1)]
    pub max: u64,
    /// For rates: how many may come at once after a quiet time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub burst: Option<u64>,
}

/// How much of a limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitUsed {
    /// What 100 % is: `max`, or the burst where a rate belongs to each connection, channel or key.
    pub of: u64,
    /// Now, for limits of the whole app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<u64>,
    /// The most in the last minute, by the app or by any one connection, channel, key or message.
    pub peak_minute: u64,
    /// The most since midnight UTC.
    pub peak_today: u64,
    /// What it refused since midnight UTC.
    pub rejected_today: u64,
    /// How often a fifth or less of it was left since midnight UTC.
    pub near_today: u64,
}

/// Lowers limits for the app, and takes earlier lowerings back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LowerLimits {
    /// The app's own numbers by limit, below what it has; whatever is left out is no longer lowered.
    #[schema(value_type = BTreeMap<String, LimitNumber>, example = json!({ "connections": { "max": 100 } }))]
    pub lowered: Limits,
}
