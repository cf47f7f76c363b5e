//! Apps.

use chrono::{DateTime, Utc};
use fanfare_core::id::{AppId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppView {
    /// Its id.
    #[schema(schema_with = schema::app_id)]
    pub id: AppId,
    /// Who owns it.
    #[schema(schema_with = schema::tenant_id)]
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The one URL that clients and backends configure.
    #[schema(format = "uri", example = "http://localhost:8000/v1/apps/app_01JD0000000000000000000000")]
    pub url: String,
    /// Origins that browsers may connect from; empty admits any.
    #[schema(example = json!(["https://example.com"]))]
    pub origins: Vec<String>,
    /// How long a link may be silent before it is probed, in milliseconds.
    pub heartbeat_ms: u32,
    /// How long the probe may stay unanswered before the connection is closed, in milliseconds; the same as `heartbeat_ms`
    /// where it was never set.
    pub heartbeat_timeout_ms: u32,
    /// Grows with every change; its ETag is `"v<version>"`.
    pub version: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Makes an app with a starter ACL: everyone may subscribe and publish on `demo:**`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApp {
    /// Its name, unique in the tenant.
    #[schema(min_length = 1, max_length = 100, example = "production")]
    pub name: String,
}

/// Changes what is named and leaves the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateApp {
    /// A new name, unique in the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, example = "production")]
    pub name: Option<String>,
    /// Origins that browsers may connect from, scheme, host and port exactly; empty admits any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100, example = json!(["https://example.com"]))]
    pub origins: Option<Vec<String>>,
    /// How long a link may be silent before it is probed, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 5_000, maximum = 300_000)]
    pub heartbeat_ms: Option<u32>,
    /// How long the probe may stay unanswered before the connection is closed, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1_000, maximum = 300_000)]
    pub heartbeat_timeout_ms: Option<u32>,
}
