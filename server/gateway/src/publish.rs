//! `POST /v1/apps/{app}/channels/{channel}/messages`: publish one message.

use axum::Json;
use axum::extract::{Request, State};
use fanfare_api::ProblemDocument;
use fanfare_api::data::{MessageDraft, Published};
use fanfare_protocol::draft;

use crate::body;
use crate::caller::{Caller, Channel};
use crate::context::Context;
use crate::failure::Failure;

/// Publish a message
///
/// The answer's `position` says where the message stands, and `durability` what was done before answering. With an
/// `id` of its own a publish can be repeated safely: inside the channel's window it is accepted once.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/channels/{channel}/messages",
    operation_id = "publish_message",
    tag = "Messages",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
    ),
    request_body = MessageDraft,
    responses(
        (status = 200, description = "The message was accepted.", body = Published),
        (status = "default", description = "It was not.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn publish(
    State(context): State<Context>,
    Caller(caller): Caller,
    Channel(channel): Channel,
    request: Request,
) -> Result<Json<Published>, Failure> {
    let body = body::read(request, context.options.body_bytes_max, &context.options).await?;
    let published = context.node.publish(&caller, &channel, draft::parse(&body)?).await?;
    Ok(Json(view(published)))
}

/// An accepted message as told outside.
pub(crate) fn view(published: fanfare_engine::Published) -> Published {
    let fanfare_engine::Published { id, position, durability, duplicate } = published;
    Published { id: id.into(), position, durability: durability.as_str().to_owned(), duplicate }
}
