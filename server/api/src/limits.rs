//! Limits of an app, as shown.

use fanfare_core::Limit;
use fanfare_core::limits::{LimitEffect, Scope, Unit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// Every limit of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitList {
    /// The tenant's plan.
    #[schema(example = "unlimited")]
    pub plan: String,
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
}
