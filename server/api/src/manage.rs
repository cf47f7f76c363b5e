//! What a backend does to connections: requests and answers of the data plane.

use fanfare_core::ChannelName;
use fanfare_core::id::ConnectionId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// Closes connections. Exactly one of `user`, `connection`, `channel` and `all` says which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisconnectRequest {
    /// Those of this user, the `sub` of their tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255, example = "ann")]
    pub user: Option<String>,
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_connection_id)]
    pub connection: Option<ConnectionId>,
    /// Those that are subscribed to this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_channel)]
    pub channel: Option<ChannelName>,
    /// `true`: all of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Told to the clients before the close, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, example = "You signed in elsewhere.")]
    pub reason: Option<String>,
}

/// How far something has come that concerns connections wherever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reach {
    /// How many connections it concerned, over the nodes that answered.
    pub connections: u64,
    /// On how many nodes.
    pub nodes: NodesReached,
}

/// How many nodes have carried something out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodesReached {
    /// Those that have.
    pub applied: u32,
    /// Those that live; where fewer have applied it, ask again.
    pub known: u32,
}
