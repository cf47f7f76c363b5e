//! `POST /v1/apps/{app}/disconnect`: close connections, by user, connection, channel or all.

use axum::Json;
use axum::extract::{Request, State};
use fanfare_api::manage::{DisconnectRequest, NodesReached, Reach};
use fanfare_api::{ProblemDocument, server};
use fanfare_core::{ErrorCode, Problem};
use fanfare_engine::{Told, Whom};

use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::failure::Failure;

/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 200;
/// The longest name of a user, as in tokens.
const USER_BYTES_MAX: usize = 255;

/// Close connections
///
/// They are closed with 4203 `disconnected`, which tells clients to come back if they still may: to keep somebody out,
/// revoke their tokens. By `channel` it takes a key that may `manage` that channel, otherwise one that may `manage` `**`.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/disconnect",
    operation_id = "disconnect",
    tag = "Connections",
    params(("app" = String, Path, description = "The app's id.")),
    request_body = DisconnectRequest,
    responses(
        (status = 200, description = "How many connections are being closed.", body = Reach),
        (status = "default", description = "None is.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn disconnect(
    State(context): State<Context>,
    Caller(caller): Caller,
    request: Request,
) -> Result<Json<Reach>, Failure> {
    let body = body::read(request, context.options.body_bytes_max, &context.options).await?;
    let (whom, reason) = checked(server::parse(&body)?)?;
    let told = context.node.disconnect(&caller, whom, reason).await?;
    Ok(Json(reach(told)))
}

/// How far something came, as told outside.
pub(crate) const fn reach(told: Told) -> Reach {
    let Told { connections, refused: _, applied, known } = told;
    Reach { connections, nodes: NodesReached { applied, known } }
}

fn checked(request: DisconnectRequest) -> Result<(Whom, Option<Box<str>>), Failure> {
    let DisconnectRequest { user, connection, channel, all, reason } = request;
    let wrong = |pointer: &str, detail: &str| Problem::new(ErrorCode::InvalidRequest, detail).at(pointer, detail);
    let mut named = [
        user.map(|user| Whom::User(user.into())),
        connection.map(Whom::Connection),
        channel.map(Whom::Channel),
        all.map(|_| Whom::Everybody),
    ]
    .into_iter()
    .flatten();
    let (Some(whom), None) = (named.next(), named.next()) else {
        return Err(wrong("", "Name exactly one of `user`, `connection`, `channel` and `all`.").into());
    };
    if all == Some(false) {
        return Err(wrong("/all", "`all` is `true`, or left out.").into());
    }
    if let Whom::User(user) = &whom {
        check_user("/user", user)?;
    }
    let is_reason =
        |reason: &String| (1..=REASON_BYTES_MAX).contains(&reason.len()) && !reason.chars().any(char::is_control);
    if !reason.as_ref().is_none_or(is_reason) {
        return Err(wrong("/reason", "A reason has 1 to 200 bytes and no control characters.").into());
    }
    Ok((whom, reason.map(Into::into)))
}

/// A user's name can only be one that a token could hold.
pub(crate) fn check_user(pointer: &str, user: &str) -> Result<(), Failure> {
    if (1..=USER_BYTES_MAX).contains(&user.len()) && !user.contains('\0') {
        return Ok(());
    }
    let detail = "A user is a text of 1 to 255 bytes without U+0000, the `sub` of tokens.";
    Err(Problem::new(ErrorCode::InvalidRequest, detail).at(pointer, detail).into())
}
