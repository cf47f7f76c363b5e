//! The ACL of an app, one document.

use fanfare_core::capability::Operations;
use fanfare_core::id::RuleId;
use fanfare_core::{Effect, Pattern, Who};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// The ACL as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AclView {
    /// Grows with every change; its ETag is `"v<version>"`.
    pub version: u64,
    /// Its rules; their order does not matter.
    pub rules: Vec<RuleView>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleView {
    /// Its id, named by refusals.
    #[schema(schema_with = schema::rule_id)]
    pub id: RuleId,
    /// The channels.
    #[schema(schema_with = schema::pattern)]
    pub pattern: Pattern,
    /// The clients.
    #[schema(schema_with = schema::who)]
    pub who: Who,
    /// The operations.
    #[schema(schema_with = schema::operations)]
    pub operations: Operations,
    /// Give or take.
    #[schema(schema_with = schema::effect)]
    pub effect: Effect,
}

/// Replaces all rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceAcl {
    /// The rules from now on, at most 1,000.
    #[schema(max_items = 1_000)]
    pub rules: Vec<RuleDraft>,
}

/// A rule as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleDraft {
    /// The id it had; left out for a new rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_rule_id)]
    pub id: Option<RuleId>,
    /// The channels.
    #[schema(schema_with = schema::pattern)]
    pub pattern: Pattern,
    /// The clients.
    #[schema(schema_with = schema::who)]
    pub who: Who,
    /// The operations, those of clients only.
    #[schema(schema_with = schema::operations)]
    pub operations: Operations,
    /// Give or take.
    #[schema(schema_with = schema::effect)]
    pub effect: Effect,
}
