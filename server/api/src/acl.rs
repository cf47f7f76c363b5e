//! The ACL of an app, one document.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fanfare_core::capability::Operations;
use fanfare_core::id::{IssuerId, KeyId, RuleId, UserId};
use fanfare_core::permission::Layer;
use fanfare_core::{Capabilities, Effect, Operation, Pattern, Who};
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

/// A version of the ACL, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AclVersion {
    /// The version.
    pub version: u64,
    /// How many rules it has.
    pub rules: u32,
    /// Who put it in force; absent for the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::user_id)]
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// The versions that are kept, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AclVersions {
    /// At most 50.
    pub items: Vec<AclVersion>,
}

/// Asks whether a client may do something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// Where.
    #[schema(schema_with = schema::channel)]
    pub channel: String,
    /// What, one that clients may have.
    #[schema(schema_with = schema::operation)]
    pub operation: Operation,
    /// The client's user; an anonymous client when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255, example = "ann")]
    pub sub: Option<String>,
    /// The token's roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub roles: Vec<String>,
    /// The token's `cap`; the rules decide when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::capabilities)]
    pub cap: Option<Capabilities>,
    /// The key that signed the token; no token when this and `issuer` are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_key_id)]
    pub key: Option<KeyId>,
    /// The issuer that signed the token, instead of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_issuer_id)]
    pub issuer: Option<IssuerId>,
    /// Other claims of the token that patterns speak of, as texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

/// Whether it may, and what each layer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Whether it may: if every layer allows it.
    pub allowed: bool,
    /// The layers, in the order in which they are asked.
    pub layers: Vec<LayerWord>,
}

/// What one layer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LayerWord {
    /// Which.
    #[schema(schema_with = schema::layer)]
    pub layer: Layer,
    /// Whether it lets the operation pass.
    pub allows: bool,
    /// Why, in a sentence.
    pub detail: String,
    /// The rule that gives or takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_rule_id)]
    pub rule: Option<RuleId>,
    /// The pattern that gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_pattern)]
    pub pattern: Option<Pattern>,
}
