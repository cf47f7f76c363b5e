//! `/v1/apps/{app}/channels/{channel}/presence`: who is there, and members that backends enter.

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use chrono::DateTime;
use fanfare_api::ProblemDocument;
use fanfare_api::presence::{EnterMember, MemberView, PresenceParams, PresenceView};
use fanfare_api::server::{StrictQuery, page_limit};
use fanfare_core::presence::USER_BYTES_MAX;
use fanfare_core::{ErrorCode, Member, MemberId, Problem};
use fanfare_engine::{EnterUser, PresenceQuery};
use fanfare_protocol::member;
use http::StatusCode;
use http::request::Parts;

use crate::body;
use crate::caller::{AnyChannel, Caller, Channel};
use crate::context::Context;
use crate::failure::Failure;

/// The most members of one page.
const LIMIT_MAX: u32 = 1_000;
const LIMIT_DEFAULT: u32 = 100;
/// A member's texts, and what is around them.
const BODY_BYTES_MAX: usize = 8 * 1024;

/// Read who is present
///
/// A crowded channel, with more members than `presence_members` allows to be listed, answers with their count alone. Needs
/// `presence.read`, or a key that may `manage`.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/channels/{channel}/presence",
    operation_id = "read_presence",
    tag = "Presence",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
        PresenceParams,
    ),
    responses(
        (status = 200, description = "A page of members.", body = PresenceView),
        (status = "default", description = "It was not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn read(
    State(context): State<Context>,
    Caller(caller): Caller,
    AnyChannel(channel): AnyChannel,
    StrictQuery(params): StrictQuery<PresenceParams>,
) -> Result<Json<PresenceView>, Failure> {
    let wrong = |_| Problem::new(ErrorCode::InvalidRequest, "`after` is the `next` of the page before.");
    let after = params.after.as_deref().map(str::parse::<MemberId>).transpose().map_err(wrong)?;
    let limit = page_limit(params.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let page = context.node.presence(&caller, &channel, PresenceQuery { after, limit }).await?;
    let members = page.members.map(|members| members.iter().map(|member| view(member)).collect());
    let next = page.next.map(|next| next.to_string());
    Ok(Json(PresenceView { channel: page.channel, version: page.version, count: page.count, members, next }))
}

/// Enter a user
///
/// The user is present until taken out, or until `ttl_s` is over; entering again changes what is said. Members that
/// backends enter are in the memory of the node: whoever must stay is entered again after a restart. Needs a key that may
/// `manage`.
#[utoipa::path(
    put,
    path = "/v1/apps/{app}/channels/{channel}/presence/{member}",
    operation_id = "enter_member",
    tag = "Presence",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
        ("member" = String, Path, description = "The user, 1 to 255 bytes, percent-encoded once."),
    ),
    request_body = EnterMember,
    responses(
        (status = 200, description = "The user is present.", body = MemberView),
        (status = "default", description = "Nothing was changed.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn enter(
    State(context): State<Context>,
    Caller(caller): Caller,
    Channel(channel): Channel,
    User(user): User,
    request: Request,
) -> Result<Json<MemberView>, Failure> {
    let body = body::read(request, BODY_BYTES_MAX, &context.options).await?;
    let member::MemberDraft { info, data, ttl_s } = member::parse(&body)?;
    let enter = EnterUser { user, info, data, ttl_ms: ttl_s.map(|ttl_s| ttl_s * 1_000) };
    let member = context.node.enter_user(&caller, &channel, enter).await?;
    Ok(Json(view(&member)))
}

/// Take a user out
///
/// Whom a backend has entered; clients leave by themselves. Needs a key that may `manage`.
#[utoipa::path(
    delete,
    path = "/v1/apps/{app}/channels/{channel}/presence/{member}",
    operation_id = "remove_member",
    tag = "Presence",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
        ("member" = String, Path, description = "The user, percent-encoded once."),
    ),
    responses(
        (status = 204, description = "The user is not present any more."),
        (status = "default", description = "Nothing was changed.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn remove(
    State(context): State<Context>,
    Caller(caller): Caller,
    Channel(channel): Channel,
    User(user): User,
) -> Result<StatusCode, Failure> {
    context.node.leave_user(&caller, &channel, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A member as told outside.
fn view(member: &Member) -> MemberView {
    let since = i64::try_from(member.since_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    MemberView {
        connection: member.id.connection().map(|connection| connection.to_string()),
        user: member.user.as_deref().map(ToOwned::to_owned),
        info: member.info.clone(),
        data: member.data.clone(),
        since,
    }
}

/// The user in the path.
#[derive(Debug)]
pub(crate) struct User(Box<str>);

impl FromRequestParts<Context> for User {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Failure> {
        let wrong = || {
            let detail = format!("The member in the path must have 1 to {USER_BYTES_MAX} bytes of UTF-8 when decoded.");
            Failure::from(Problem::new(ErrorCode::InvalidRequest, detail))
        };
        let params = RawPathParams::from_request_parts(parts, context).await.map_err(|_| wrong())?;
        let user = params.iter().find_map(|(name, value)| (name == "member").then_some(value)).unwrap_or_default();
        if (1..=USER_BYTES_MAX).contains(&user.len()) { Ok(Self(user.into())) } else { Err(wrong()) }
    }
}
