//! Who is present on a channel.

use chrono::{DateTime, Utc};
use fanfare_core::ChannelName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::schema;

/// Which members are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PresenceParams {
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many, 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    pub limit: Option<u32>,
}

/// Members of a channel at one moment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PresenceView {
    /// The channel.
    #[schema(schema_with = schema::channel)]
    pub channel: ChannelName,
    /// Grows by one with each change.
    pub version: u64,
    /// How many members there are.
    pub count: u64,
    /// A page of them, of about 256 KiB at most, in the order of their connections; users that backends entered come last.
    /// Absent on a crowded channel, which has more members than `presence_members` allows to be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<MemberView>>,
    /// Hand this back as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Somebody who is present.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// The client's connection; absent for a user whom a backend entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "con_01JD0000000000000000000000")]
    pub connection: Option<String>,
    /// The token's `sub`, or whom the backend entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ann")]
    pub user: Option<String>,
    /// What the token, or the backend, says of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub info: Option<Box<RawValue>>,
    /// What the member says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub data: Option<Box<RawValue>>,
    /// When it entered.
    pub since: DateTime<Utc>,
}

/// Enters a user, or changes what is said of them. Read by `fanfare-protocol`; this is its shape in the document.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnterMember {
    /// What others may see of the user: an object of at most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub info: Option<Box<RawValue>>,
    /// What the user says: any JSON of at most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub data: Option<Box<RawValue>>,
    /// How long the user stays, in seconds, at most 30 days; until taken out when left out. Entering again counts anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub ttl_s: Option<u64>,
}
