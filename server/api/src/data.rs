//! Requests and answers of the data plane.
//!
//! The body of a publish is the message itself, read by `fanfare-protocol` in the same words as on the socket;
//! [`MessageDraft`] and [`MessageView`] are its shapes in the OpenAPI document.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fanfare_core::{Capabilities, ChannelName, ErrorCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::page::{Page, is_zero};
use crate::problem::ProblemDocument;
use crate::schema;
use crate::secret::SecretText;

/// A message as published.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageDraft {
    /// Makes the publish idempotent inside the channel's window; made by Fanfare when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub id: Option<String>,
    /// What happened, for handlers to choose by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128, example = "greet")]
    pub name: Option<String>,
    /// The payload; with `encoding` a text of base64.
    #[schema(schema_with = schema::any)]
    pub data: serde_json::Value,
    /// `base64`, when the payload is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Messages with one key replace each other where a channel conflates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub key: Option<String>,
    /// Small texts beside the payload, at most 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// A connection that shall not receive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
}

/// How bytes are written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// RFC 4648, with padding.
    Base64,
}

/// A message in its channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MessageView {
    /// Where it stands.
    #[schema(example = "k3Zx.1")]
    pub position: String,
    /// Its number in the channel's log, the last part of the position.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its conflation key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Small texts beside the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// The `sub` of the client that published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// When it was appended.
    pub time: DateTime<Utc>,
    /// `base64`, when the payload is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// The payload; absent when the message was deleted.
    #[serde(default)]
    #[schema(schema_with = schema::any)]
    pub data: serde_json::Value,
    /// Whether it was deleted: its number stays, and nothing else of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// A message was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Published {
    /// Its id, the publisher's or one that Fanfare made.
    #[schema(example = "msg_01JD0000000000000000000000")]
    pub id: String,
    /// Where it stands.
    #[schema(example = "k3Zx.1")]
    pub position: String,
    /// What the acknowledgement means: how the message is kept.
    #[schema(example = "memory")]
    pub durability: String,
    /// Whether the same id was accepted before; the position is then that one's.
    pub duplicate: bool,
}

/// Which part of a channel's history is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryParams {
    /// A position to start from, itself excluded; without it the end (backward) or the beginning (forward).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// In place of `from`: the id of a message to start from, itself excluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_id: Option<String>,
    /// In place of `from`: a moment to start from, itself included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_time: Option<DateTime<Utc>>,
    /// A position to end at, itself included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// In place of `until`: a moment to end at, itself included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_time: Option<DateTime<Utc>>,
    /// Which way to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub direction: Option<Direction>,
    /// How many messages, 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    pub limit: Option<u32>,
}

/// Which way to read a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From newer to older.
    #[default]
    Backward,
    /// From older to newer.
    Forward,
}

/// A part of a channel's history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HistoryPage {
    /// The channel.
    #[schema(schema_with = schema::channel)]
    pub channel: ChannelName,
    /// The log that the numbers count in.
    pub lineage: String,
    /// The messages, each the object of [`MessageView`], kept as the publisher wrote its data.
    #[schema(value_type = Vec<MessageView>)]
    pub messages: Vec<Box<RawValue>>,
    /// Whether older messages than asked for are no longer kept.
    pub truncated: bool,
    /// Hand this back as `from` for the next part; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which channels are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChannelsParams {
    /// What their names start with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many, 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    pub limit: Option<u32>,
}

/// A channel that somebody uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// Its name.
    #[schema(schema_with = schema::channel)]
    pub name: ChannelName,
    /// How many subscriptions it has.
    pub subscribers: u64,
}

/// A channel as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelDetail {
    /// Its name.
    #[schema(schema_with = schema::channel)]
    pub name: ChannelName,
    /// How many subscriptions it has.
    pub subscribers: u64,
    /// Where its newest message stands.
    #[schema(example = "k3Zx.12")]
    pub position: String,
    /// How many messages are kept.
    pub messages: u64,
    /// The number of the oldest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
    /// Nodes that did not answer in time: their subscriptions are missing here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing_nodes: u32,
}

/// A channel's history was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeletedHistory {
    /// How many messages were kept.
    pub messages: u64,
}

/// Channels in the order of their names.
pub type ChannelList = Page<ChannelView>;

/// Publishes several messages, to one channel or many. Every message has a result of its own; there is no all or
/// nothing.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// At most 1,000 messages to 100 channels, 4 MiB. Those for one channel are published in this order.
    #[schema(min_items = 1, max_items = 1_000)]
    pub messages: Vec<BatchMessage>,
}

/// A message and its channel.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BatchMessage {
    /// The channel, as text: a wrong name fails its own message only.
    #[schema(schema_with = schema::channel)]
    pub channel: String,
    /// The message's fields, beside the channel.
    #[serde(flatten)]
    pub draft: MessageDraft,
}

/// What became of a batch.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BatchResult {
    /// One for each message, in the order of the request.
    pub results: Vec<MessageResult>,
}

/// What became of one message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageResult {
    /// It was accepted.
    Ok(Published),
    /// It was not.
    Error(Box<ProblemDocument>),
}

/// Has a key that may `sign` sign a token, for backends without a JWT library.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MintTokenRequest {
    /// Who the client is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255, example = "ann")]
    pub sub: Option<String>,
    /// What it may do, client operations only; the app's ACL decides when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::capabilities)]
    pub cap: Option<Capabilities>,
    /// Roles that the app's ACL speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// What others may see of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub info: Option<serde_json::Value>,
    /// What backends may know of the client, and no client may: an object of at most 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub meta: Option<serde_json::Value>,
    /// Limits that hold for its connection where they are lower than the app's: an object of `message_bytes`,
    /// `publish_connection`, `command_rate` and `subscriptions`, each a number, or `{"max":…,"burst":…}` for a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub limits: Option<serde_json::Value>,
    /// Labels by which it can be revoked: at most 16 texts of 1 to 64 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub labels: Vec<String>,
    /// Its own id, by which it can be revoked: 1 to 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub jti: Option<String>,
    /// How long it works, in seconds, at most a day; an hour when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86_400, default = 3_600)]
    pub ttl_s: Option<u64>,
}

/// A signed token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MintTokenResponse {
    /// The token for `connect`.
    #[schema(schema_with = schema::secret)]
    pub token: SecretText,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

/// Asks what a token says and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InspectTokenRequest {
    /// The token. It is neither kept nor logged.
    #[schema(schema_with = schema::secret)]
    pub token: SecretText,
}

/// What a token says and whether it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InspectTokenResponse {
    /// Whether a connection with it would be let in now.
    pub valid: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<TokenProblem>,
    /// Its header as it stands, believed or not; absent where it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub header: Option<serde_json::Value>,
    /// Its claims as they stand, believed or not; absent where they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub claims: Option<serde_json::Value>,
    /// What a token that holds makes of its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<TokenClient>,
}

/// Why a token does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenProblem {
    /// The code with which a connection would be refused.
    #[schema(schema_with = schema::error_code)]
    pub code: ErrorCode,
    /// What is wrong, and what to do.
    pub detail: String,
}

/// Whom a token lets in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenClient {
    /// Who signed: the id of a key or of an issuer.
    pub signer: String,
    /// The user; absent for an anonymous client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// What it may do, under the ceiling of who signed; absent where the app's ACL decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::capabilities)]
    pub cap: Option<Capabilities>,
    /// What who signed may hand on at most.
    #[schema(schema_with = schema::capabilities)]
    pub ceiling: Capabilities,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

/// A word for a URL that stands for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TicketResponse {
    /// Good once.
    #[schema(schema_with = schema::secret)]
    pub ticket: SecretText,
    /// When it stops working, Unix milliseconds.
    pub expires_ms: u64,
}

/// The server's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimeResponse {
    /// Unix milliseconds.
    #[schema(example = 1_700_000_000_000_u64)]
    pub time: u64,
}
