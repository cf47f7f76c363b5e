//! Keys.

use chrono::{DateTime, Utc};
use fanfare_core::Capabilities;
use fanfare_core::id::{KeyId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;
use crate::secret::SecretText;

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Its id, the `kid` of tokens it signs.
    #[schema(schema_with = schema::key_id)]
    pub id: KeyId,
    /// Its name.
    pub name: String,
    /// What it may do, and hand on in tokens.
    #[schema(schema_with = schema::capabilities)]
    pub capabilities: Capabilities,
    /// The last four characters of its secret, to tell secrets apart.
    #[schema(example = "x7Qp")]
    pub last_four: String,
    /// Whether it works.
    pub state: KeyStatus,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// Who made it; absent for the key of a server's first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::user_id)]
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Grows with every change; its ETag is `"v<version>"`.
    pub version: u64,
}

/// Whether a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// As usual.
    Active,
    /// Its time is over.
    Expired,
    /// Never again.
    Revoked,
}

/// Makes a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// Its name.
    #[schema(min_length = 1, max_length = 100, example = "backend")]
    pub name: String,
    /// What it may do, and hand on in tokens; everything when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::capabilities)]
    pub capabilities: Option<Capabilities>,
    /// When it stops working; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// A new key with its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyCreated {
    /// The key.
    pub key: KeyView,
    /// `key_…:ffs_…`, as `curl -u` takes it; shown this once.
    #[schema(schema_with = schema::secret)]
    pub secret: SecretText,
}

/// Renames a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateKey {
    /// Its new name.
    #[schema(min_length = 1, max_length = 100, example = "backend")]
    pub name: String,
}

/// A key was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyRevoked {
    /// Since when; the first time counts when it is revoked again.
    pub revoked_at: DateTime<Utc>,
}
