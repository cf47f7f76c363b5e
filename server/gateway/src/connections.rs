//! `…/connections` and `…/users`: who is connected, and what is done for them.

use axum::Json;
use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use fanfare_api::data::MessageDraft;
use fanfare_api::manage::{
    ConnectionDetail, ConnectionLimit, ConnectionList, ConnectionView, ConnectionsParams, SubscriptionPlace,
    SubscriptionsReach, UserMessageSent, UserView,
};
use fanfare_api::server::{StrictQuery, page_limit};
use fanfare_api::{Page, ProblemDocument};
use fanfare_core::id::ConnectionId;
use fanfare_engine::{ConnectionInfo, ConnectionsQuery, Told, Whom};
use fanfare_protocol::draft;

use crate::body;
use crate::caller::{Caller, Channel};
use crate::context::Context;
use crate::disconnect::{check_user, reach};
use crate::failure::Failure;
use crate::path::{ConnectionPath, UserPath};

/// The most connections of one page.
const LIMIT_MAX: u32 = 1_000;
const LIMIT_DEFAULT: u32 = 100;

/// List connections
///
/// Those of the app on all nodes, the oldest first; by user, by channel, or both. A page may be shorter than was asked for;
/// the last is the one without `next`. By `channel` it takes a key that may `manage` that channel, otherwise one that may
/// `manage` `**`.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/connections",
    operation_id = "list_connections",
    tag = "Connections",
    params(("app" = String, Path, description = "The app's id."), ConnectionsParams),
    responses(
        (status = 200, description = "A page of connections.", body = ConnectionList),
        (status = "default", description = "It was not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    State(context): State<Context>,
    Caller(caller): Caller,
    StrictQuery(params): StrictQuery<ConnectionsParams>,
) -> Result<Json<ConnectionList>, Failure> {
    let limit = page_limit(params.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let (user, channel) = (params.user.map(Into::into), params.channel);
    let query = ConnectionsQuery { user, channel, after: params.after, limit };
    let page = context.node.connections_of(&caller, query).await?;
    let items = page.connections.into_iter().map(view).collect();
    Ok(Json(Page { items, next: page.next.map(|id| id.to_string()), missing_nodes: page.missing }))
}

/// Look at a connection
///
/// With where its subscriptions stand and how near its own limits it is. Needs a key that may `manage` `**`.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/connections/{connection}",
    operation_id = "get_connection",
    tag = "Connections",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("connection" = String, Path, description = "The connection's id."),
    ),
    responses(
        (status = 200, description = "The connection.", body = ConnectionDetail),
        (status = "default", description = "It was not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn get(
    State(context): State<Context>,
    Caller(caller): Caller,
    ConnectionPath(id): ConnectionPath,
) -> Result<Json<ConnectionDetail>, Failure> {
    let detail = context.node.connection_detail(&caller, id).await?;
    let place = |place: fanfare_engine::SubscriptionPlace| SubscriptionPlace {
        channel: place.channel.into(),
        position: place.position,
        live: place.is_live,
    };
    let limits = detail.limits.into_iter().map(|(name, used, max)| ConnectionLimit { name, used, max });
    Ok(Json(ConnectionDetail {
        connection: view(detail.info),
        places: detail.places.into_iter().map(place).collect(),
        limits: limits.collect(),
    }))
}

/// Look at a user
///
/// Its connections, the oldest hundred of them; `GET …/connections?user=` lists all. Needs a key that may `manage` `**`.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/users/{user}",
    operation_id = "get_user",
    tag = "Users",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("user" = String, Path, description = "The `sub` of the user's tokens, percent-encoded once."),
    ),
    responses(
        (status = 200, description = "The user.", body = UserView),
        (status = "default", description = "It was not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn user(
    State(context): State<Context>,
    Caller(caller): Caller,
    UserPath(user): UserPath,
) -> Result<Json<UserView>, Failure> {
    check_user("", &user)?;
    let query = ConnectionsQuery { user: Some(user.as_str().into()), limit: LIMIT_DEFAULT, ..Default::default() };
    let page = context.node.connections_of(&caller, query).await?;
    let connections = page.connections.into_iter().map(view).collect();
    Ok(Json(UserView { user, connections, more: page.next.is_some(), missing_nodes: page.missing }))
}

/// Send to a user
///
/// To all connections the user has now. The message is of no channel: clients get it as
/// `{"msg":{"channel":"$user",…}}` without a `seq`, nothing keeps it, and a client that is away or does not take its bytes
/// misses it. Publish to a channel of the user's, such as `user:ann`, for messages that must arrive. Needs a key that may
/// `publish` on `**`.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/users/{user}/messages",
    operation_id = "send_to_user",
    tag = "Users",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("user" = String, Path, description = "The `sub` of the user's tokens, percent-encoded once."),
    ),
    request_body = MessageDraft,
    responses(
        (status = 200, description = "How many connections it was written to.", body = UserMessageSent),
        (status = "default", description = "It was not sent.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn send(
    State(context): State<Context>,
    Caller(caller): Caller,
    UserPath(user): UserPath,
    request: Request,
) -> Result<Json<UserMessageSent>, Failure> {
    check_user("", &user)?;
    let body = body::read(request, context.options.body_bytes_max, &context.options).await?;
    let (id, told) = context.node.send_to_user(&caller, &user, draft::parse(&body)?).await?;
    Ok(Json(UserMessageSent { id: id.into(), reach: reach(told) }))
}

/// Subscribe a user
///
/// Every connection the user has now is subscribed to the channel from now on, as if it had asked, and told so by the
/// push `subscribed`. The clients' own rights decide; `refused` says how many lack them. Needs a key that may `manage`
/// `**`.
#[utoipa::path(
    put,
    path = "/v1/apps/{app}/users/{user}/subscriptions/{channel}",
    operation_id = "subscribe_user",
    tag = "Users",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("user" = String, Path, description = "The `sub` of the user's tokens, percent-encoded once."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
    ),
    responses(
        (status = 200, description = "How many connections are subscribed.", body = SubscriptionsReach),
        (status = "default", description = "None is.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn subscribe_user(
    State(context): State<Context>,
    Caller(caller): Caller,
    UserPath(user): UserPath,
    Channel(channel): Channel,
) -> Result<Json<SubscriptionsReach>, Failure> {
    check_user("", &user)?;
    let told = context.node.subscribe(&caller, Whom::User(user.into()), channel).await?;
    Ok(Json(subscriptions(told)))
}

/// Unsubscribe a user
///
/// Every connection the user has now is told by the push `unsubscribed`. Needs a key that may `manage` `**`.
#[utoipa::path(
    delete,
    path = "/v1/apps/{app}/users/{user}/subscriptions/{channel}",
    operation_id = "unsubscribe_user",
    tag = "Users",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("user" = String, Path, description = "The `sub` of the user's tokens, percent-encoded once."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
    ),
    responses(
        (status = 200, description = "How many connections were told.", body = SubscriptionsReach),
        (status = "default", description = "None was.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn unsubscribe_user(
    State(context): State<Context>,
    Caller(caller): Caller,
    UserPath(user): UserPath,
    Channel(channel): Channel,
) -> Result<Json<SubscriptionsReach>, Failure> {
    check_user("", &user)?;
    let told = context.node.unsubscribe(&caller, Whom::User(user.into()), channel).await?;
    Ok(Json(subscriptions(told)))
}

/// Subscribe a connection
///
/// As for a user, but one connection.
#[utoipa::path(
    put,
    path = "/v1/apps/{app}/connections/{connection}/subscriptions/{channel}",
    operation_id = "subscribe_connection",
    tag = "Connections",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("connection" = String, Path, description = "The connection's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
    ),
    responses(
        (status = 200, description = "Whether it is subscribed.", body = SubscriptionsReach),
        (status = "default", description = "It is not.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn subscribe_connection(
    State(context): State<Context>,
    Caller(caller): Caller,
    ConnectionPath(id): ConnectionPath,
    Channel(channel): Channel,
) -> Result<Json<SubscriptionsReach>, Failure> {
    Ok(Json(subscriptions(context.node.subscribe(&caller, Whom::Connection(id), channel).await?)))
}

/// Unsubscribe a connection
///
/// As for a user, but one connection.
#[utoipa::path(
    delete,
    path = "/v1/apps/{app}/connections/{connection}/subscriptions/{channel}",
    operation_id = "unsubscribe_connection",
    tag = "Connections",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("connection" = String, Path, description = "The connection's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
    ),
    responses(
        (status = 200, description = "Whether it was told.", body = SubscriptionsReach),
        (status = "default", description = "It was not.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn unsubscribe_connection(
    State(context): State<Context>,
    Caller(caller): Caller,
    ConnectionPath(id): ConnectionPath,
    Channel(channel): Channel,
) -> Result<Json<SubscriptionsReach>, Failure> {
    Ok(Json(subscriptions(context.node.unsubscribe(&caller, Whom::Connection(id), channel).await?)))
}

const fn subscriptions(told: Told) -> SubscriptionsReach {
    SubscriptionsReach { refused: told.refused, reach: reach(told) }
}

fn view(info: ConnectionInfo) -> ConnectionView {
    ConnectionView {
        id: info.id,
        user: info.user.map(Into::into),
        meta: info.meta.and_then(|meta| serde_json::from_str(&meta).ok()),
        since: since(info.id),
        transport: info.transport.into(),
        subscriptions: info.channels.into_iter().map(Into::into).collect(),
        bytes_waiting: info.bytes_waiting,
        round_trip_ms: info.round_trip.map(|span| span.as_secs_f64() * 1_000.0),
    }
}

/// An id is made when its connection comes.
fn since(id: ConnectionId) -> DateTime<Utc> {
    i64::try_from(id.unix_ms()).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default()
}
