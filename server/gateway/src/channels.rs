//! `GET /v1/apps/{app}/channels`: which channels are in use.

use axum::Json;
use axum::extract::State;
use fanfare_api::data::{ChannelList, ChannelView, ChannelsParams};
use fanfare_api::server::{StrictQuery, page_limit};
use fanfare_api::{Page, ProblemDocument};
use fanfare_core::ChannelName;
use fanfare_engine::ChannelsQuery;

use crate::caller::Caller;
use crate::context::Context;
use crate::failure::Failure;

/// The most channels of one page.
const LIMIT_MAX: u32 = 1_000;
const LIMIT_DEFAULT: u32 = 100;

/// List channels
///
/// Channels that somebody is subscribed to, in the order of their names. Needs a key that may `manage`.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/channels",
    operation_id = "list_channels",
    tag = "Channels",
    params(("app" = String, Path, description = "The app's id."), ChannelsParams),
    responses(
        (status = 200, description = "A page of channels.", body = ChannelList),
        (status = "default", description = "It was not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn channels(
    State(context): State<Context>,
    Caller(caller): Caller,
    StrictQuery(params): StrictQuery<ChannelsParams>,
) -> Result<Json<ChannelList>, Failure> {
    let after = params.after.as_deref().map(ChannelName::parse).transpose()?;
    let limit = page_limit(params.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let page = context.node.channels(&caller, ChannelsQuery { prefix: params.prefix, after, limit }).await?;
    let items = page
        .channels
        .into_iter()
        .map(|channel| ChannelView { name: channel.name, subscribers: channel.subscribers })
        .collect();
    Ok(Json(Page { items, next: page.next.map(|name| name.to_string()), missing_nodes: page.missing }))
}
