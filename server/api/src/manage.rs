//! What a backend does to connections: requests and answers of the data plane.

use chrono::{DateTime, Utc};
use fanfare_core::id::{ConnectionId, KeyId, RevocationId};
use fanfare_core::{ChannelName, Limit};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::page::{Page, is_zero};
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

/// Revokes tokens. Exactly one of `token`, `user`, `label`, `key` and `all` says which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// The one with this `jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub token: Option<String>,
    /// Those of this user, their `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255, example = "ann")]
    pub user: Option<String>,
    /// Those that carry this text in `ff.labels`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub label: Option<String>,
    /// Those that this key of the app signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_key_id)]
    pub key: Option<KeyId>,
    /// `true`: all of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Of these, the ones that were issued (`iat`) until then, by the clock of whoever signed them; now when left out.
    /// A token without `iat` counts as old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_until: Option<DateTime<Utc>>,
}

/// A revocation in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revocation {
    /// Its id.
    #[schema(schema_with = schema::revocation_id)]
    pub id: RevocationId,
    /// The `jti` that is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The user whose tokens are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The label whose tokens are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The key whose tokens are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_key_id)]
    pub key: Option<KeyId>,
    /// `true` where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Tokens that were issued until then.
    pub issued_until: DateTime<Utc>,
    /// When no such token can live any more. A token without `iat` is refused after that too, until newer revocations
    /// need the place.
    pub ends_at: DateTime<Utc>,
}

/// Tokens were revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevocationCreated {
    /// The revocation.
    #[serde(flatten)]
    pub revocation: Revocation,
    /// How many connections are being closed, and on how many nodes.
    #[serde(flatten)]
    pub reach: Reach,
}

/// Revocations, the oldest first.
pub type RevocationList = Page<Revocation>;

/// Which revocations are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevocationsParams {
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub after: Option<RevocationId>,
    /// How many, 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    pub limit: Option<u32>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionView {
    /// Its id.
    #[schema(schema_with = schema::connection_id)]
    pub id: ConnectionId,
    /// The `sub` of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `ff.meta` of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub meta: Option<serde_json::Value>,
    /// When it came.
    pub since: DateTime<Utc>,
    /// How it is connected.
    #[schema(example = "websocket")]
    pub transport: String,
    /// The channels it is subscribed to, by name; Fanfare's own included.
    pub subscriptions: Vec<String>,
    /// Bytes that wait until it takes them.
    pub bytes_waiting: u64,
    /// How long it took to answer the node's last probe, in milliseconds; probes come when a link is silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
}

/// A connection, seen from near.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionDetail {
    /// What a list shows of it.
    #[serde(flatten)]
    pub connection: ConnectionView,
    /// Where each of its subscriptions stands, by channel.
    pub places: Vec<SubscriptionPlace>,
    /// The limits that it alone counts towards.
    pub limits: Vec<ConnectionLimit>,
}

/// Where a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionPlace {
    /// Its channel; Fanfare's own included.
    #[schema(example = "room:9")]
    pub channel: String,
    /// Up to where it was sent everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "k3Zx.12")]
    pub position: Option<String>,
    /// Whether messages reach it as they come; else it reads on from history.
    pub live: bool,
}

/// How much of a limit a connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionLimit {
    /// The limit.
    #[schema(schema_with = schema::limit)]
    pub name: Limit,
    /// How much it uses.
    pub used: u64,
    /// How much it may.
    pub max: u64,
}

/// Connections, the oldest first.
pub type ConnectionList = Page<ConnectionView>;

/// Which connections are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConnectionsParams {
    /// Those of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Those that are subscribed to this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub channel: Option<ChannelName>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub after: Option<ConnectionId>,
    /// How many, 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    pub limit: Option<u32>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// The `sub` of its tokens.
    pub user: String,
    /// Its connections, the oldest hundred.
    pub connections: Vec<ConnectionView>,
    /// Whether there are more.
    pub more: bool,
    /// Nodes that did not answer in time: what they have is missing here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing_nodes: u32,
}

/// A message was sent to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserMessageSent {
    /// Its id, the sender's or one that Fanfare made.
    pub id: String,
    /// How many connections it was written to, and on how many nodes.
    #[serde(flatten)]
    pub reach: Reach,
}

/// Subscriptions were begun or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionsReach {
    /// How many connections may not subscribe to the channel by their own rights, and were told nothing.
    pub refused: u64,
    /// How many connections were told, and on how many nodes.
    #[serde(flatten)]
    pub reach: Reach,
}
