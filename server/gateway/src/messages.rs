//! Single messages and channels as a whole: `…/channels/{channel}` and `…/messages/{message}`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_api::ProblemDocument;
use fanfare_api::data::{ChannelDetail, DeletedHistory, MessageView};
use fanfare_engine::ChannelState;
use fanfare_protocol::json::write_message;
use http::{HeaderValue, StatusCode, header};

use crate::caller::{AnyChannel, Caller, Channel};
use crate::context::Context;
use crate::failure::Failure;
use crate::path::MessagePath;

/// Look at a channel
///
/// How many are subscribed on all nodes, where the newest message stands, and how much is kept. A channel that nobody
/// uses is answered with nothing of all. Needs a key that may `manage` the channel.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/channels/{channel}",
    operation_id = "get_channel",
    tag = "Channels",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
    ),
    responses(
        (status = 200, description = "The channel.", body = ChannelDetail),
        (status = "default", description = "It was not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn channel(
    State(context): State<Context>,
    Caller(caller): Caller,
    Channel(name): Channel,
) -> Result<Json<ChannelDetail>, Failure> {
    let ChannelState { subscribers, missing, position, messages, first } =
        context.node.channel_state(&caller, &name).await?;
    Ok(Json(ChannelDetail { name, subscribers, position, messages, first_seq: first, missing_nodes: missing }))
}

/// Read one message
///
/// By its id. Needs the right to history.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/channels/{channel}/messages/{message}",
    operation_id = "get_message",
    tag = "Messages",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
        ("message" = String, Path, description = "The message's id, percent-encoded once."),
    ),
    responses(
        (status = 200, description = "The message.", body = MessageView),
        (status = "default", description = "It was not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn message(
    State(context): State<Context>,
    Caller(caller): Caller,
    AnyChannel(channel): AnyChannel,
    MessagePath(id): MessagePath,
) -> Result<Response, Failure> {
    let (message, lineage) = context.node.message(&caller, &channel, &id).await?;
    let mut out = Vec::with_capacity(256);
    write_message(&mut out, &message, Some(&lineage));
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], Body::from(out)).into_response())
}

/// Delete one message
///
/// Its content is gone. Its number stays: history shows it as `deleted`, and whoever catches up is told instead of
/// getting it. Nobody who has it already is told. Needs a key that may `manage` the channel.
#[utoipa::path(
    delete,
    path = "/v1/apps/{app}/channels/{channel}/messages/{message}",
    operation_id = "delete_message",
    tag = "Messages",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
        ("message" = String, Path, description = "The message's id, percent-encoded once."),
    ),
    responses(
        (status = 204, description = "It is deleted."),
        (status = "default", description = "It is not.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn delete_message(
    State(context): State<Context>,
    Caller(caller): Caller,
    Channel(channel): Channel,
    MessagePath(id): MessagePath,
) -> Result<StatusCode, Failure> {
    context.node.delete_message(&caller, &channel, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete the history of a channel
///
/// All that is kept. Numbers go on from where they are, and whoever recovers from before is told `truncated`. Needs a key
/// that may `manage` the channel.
#[utoipa::path(
    delete,
    path = "/v1/apps/{app}/channels/{channel}/messages",
    operation_id = "delete_history",
    tag = "Messages",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
    ),
    responses(
        (status = 200, description = "It is deleted.", body = DeletedHistory),
        (status = "default", description = "It is not.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn delete_history(
    State(context): State<Context>,
    Caller(caller): Caller,
    Channel(channel): Channel,
) -> Result<Json<DeletedHistory>, Failure> {
    Ok(Json(DeletedHistory { messages: context.node.delete_history(&caller, &channel).await? }))
}
