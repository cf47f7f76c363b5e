//! The dashboard's own way onto the data plane.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;
use crate::secret::SecretText;

/// A short-lived token that reads an app's live figures and messages, signed by the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveToken {
    /// The token for `connect` or `refresh`.
    #[schema(schema_with = schema::secret)]
    pub token: SecretText,
    /// The app's WebSocket URL.
    #[schema(format = "uri", example = "ws://localhost:8000/v1/apps/app_01JD0000000000000000000000/socket")]
    pub url: String,
    /// When the token stops working.
    pub expires_at: DateTime<Utc>,
}
