//! The audit log of a tenant.

use chrono::{DateTime, Utc};
use fanfare_core::id::{AppId, AuditId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// A row of the audit log: who changed what, when and from where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    #[schema(schema_with = schema::audit_id)]
    pub id: AuditId,
    /// Its number in the tenant's chain, from 1 without holes.
    pub number: u64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Who did it; absent when the platform itself did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::user_id)]
    pub actor: Option<UserId>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// What was done.
    #[schema(example = "key.revoked")]
    pub action: String,
    /// To what: an id.
    #[schema(example = "key_01JD0000000000000000000000")]
    pub target: String,
    /// In which app, when it was inside one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::app_id)]
    pub app: Option<AppId>,
    /// What was there before, secrets masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub before: Option<serde_json::Value>,
    /// What is there since, secrets masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub after: Option<serde_json::Value>,
}
