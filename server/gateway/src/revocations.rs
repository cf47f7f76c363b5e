//! `…/revocations`: refuse tokens before their time.

use axum::Json;
use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use fanfare_api::manage::{Revocation, RevocationCreated, RevocationList, RevocationsParams, RevokeRequest};
use fanfare_api::server::{self, StrictQuery, page_limit};
use fanfare_api::{Page, ProblemDocument};
use fanfare_core::revocation::{self, Revoked};
use fanfare_core::{ErrorCode, Problem};

use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::disconnect::{check_user, reach};
use crate::failure::Failure;
use crate::path::RevocationPath;

/// The most revocations of one page.
const LIMIT_MAX: u32 = 1_000;
const LIMIT_DEFAULT: u32 = 100;
/// The longest `jti`, as in tokens.
const TOKEN_BYTES_MAX: usize = 128;
/// The longest label, as in tokens.
const LABEL_BYTES_MAX: usize = 64;

/// Revoke tokens
///
/// Refuses the tokens that are named and were issued until a moment, now if none is said; their connections are closed
/// with 4403 `token_revoked` within a second. A token that is signed later works. What was revoked is kept for as long
/// as such a token can live, through restarts. Revoking the same again takes the place of the earlier.
///
/// Needs a key that may `manage` `**`. `nodes` says how many act on it already; the others hear of it within seconds.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/revocations",
    operation_id = "revoke_tokens",
    tag = "Revocations",
    params(("app" = String, Path, description = "The app's id.")),
    request_body = RevokeRequest,
    responses(
        (status = 200, description = "They are revoked.", body = RevocationCreated),
        (status = "default", description = "Nothing was revoked.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn revoke(
    State(context): State<Context>,
    Caller(caller): Caller,
    request: Request,
) -> Result<Json<RevocationCreated>, Failure> {
    let body = body::read(request, context.options.body_bytes_max, &context.options).await?;
    let (revoked, issued_until_ms) = checked(server::parse(&body)?)?;
    let (kept, told) = context.node.revoke(&caller, revoked, issued_until_ms).await?;
    Ok(Json(RevocationCreated { revocation: view(&kept), reach: reach(told) }))
}

/// List revocations
///
/// Those in force, the oldest first. Needs a key that may `manage` `**`.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/revocations",
    operation_id = "list_revocations",
    tag = "Revocations",
    params(("app" = String, Path, description = "The app's id."), RevocationsParams),
    responses(
        (status = 200, description = "A page of revocations.", body = RevocationList),
        (status = "default", description = "It was not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    State(context): State<Context>,
    Caller(caller): Caller,
    StrictQuery(params): StrictQuery<RevocationsParams>,
) -> Result<Json<RevocationList>, Failure> {
    let limit = page_limit(params.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let (page, next) = context.node.revocations(&caller, params.after, limit)?;
    Ok(Json(Page::part(page.iter().map(view).collect(), next.map(|id| id.to_string()))))
}

/// End a revocation
///
/// The tokens work again for as long as they live. Needs a key that may `manage` `**`.
#[utoipa::path(
    delete,
    path = "/v1/apps/{app}/revocations/{revocation}",
    operation_id = "end_revocation",
    tag = "Revocations",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("revocation" = String, Path, description = "The revocation's id."),
    ),
    responses(
        (status = 204, description = "It has ended."),
        (status = "default", description = "It has not.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn end(
    State(context): State<Context>,
    Caller(caller): Caller,
    RevocationPath(revocation): RevocationPath,
) -> Result<http::StatusCode, Failure> {
    context.node.end_revocation(&caller, revocation).await?;
    Ok(http::StatusCode::NO_CONTENT)
}

fn checked(request: RevokeRequest) -> Result<(Revoked, Option<u64>), Failure> {
    let RevokeRequest { token, user, label, key, all, issued_until } = request;
    let wrong = |pointer: &str, detail: &str| Problem::new(ErrorCode::InvalidRequest, detail).at(pointer, detail);
    let mut named = [
        token.map(|id| Revoked::Token(id.into())),
        user.map(|user| Revoked::User(user.into())),
        label.map(|label| Revoked::Label(label.into())),
        key.map(Revoked::Key),
        all.map(|_| Revoked::All),
    ]
    .into_iter()
    .flatten();
    let (Some(revoked), None) = (named.next(), named.next()) else {
        return Err(wrong("", "Name exactly one of `token`, `user`, `label`, `key` and `all`.").into());
    };
    if all == Some(false) {
        return Err(wrong("/all", "`all` is `true`, or left out.").into());
    }
    match &revoked {
        Revoked::Token(id) => check_text("/token", id, TOKEN_BYTES_MAX)?,
        Revoked::User(user) => check_user("/user", user)?,
        Revoked::Label(label) => check_text("/label", label, LABEL_BYTES_MAX)?,
        Revoked::Key(_) | Revoked::All => {}
    }
    let issued_until_ms = issued_until.map(|at| u64::try_from(at.timestamp_millis()).unwrap_or(0));
    Ok((revoked, issued_until_ms))
}

fn check_text(pointer: &str, text: &str, bytes_max: usize) -> Result<(), Failure> {
    if (1..=bytes_max).contains(&text.len()) && !text.contains('\0') {
        return Ok(());
    }
    let detail = format!("It is a text of 1 to {bytes_max} bytes, as tokens hold it.");
    Err(Problem::new(ErrorCode::InvalidRequest, detail.clone()).at(pointer, detail).into())
}

fn view(kept: &revocation::Revocation) -> Revocation {
    let mut view = Revocation {
        id: kept.id,
        token: None,
        user: None,
        label: None,
        key: None,
        all: None,
        issued_until: time(kept.issued_until_ms),
        ends_at: time(kept.ends_ms()),
    };
    match &kept.revoked {
        Revoked::Token(id) => view.token = Some(id.to_string()),
        Revoked::User(user) => view.user = Some(user.to_string()),
        Revoked::Label(label) => view.label = Some(label.to_string()),
        Revoked::Key(key) => view.key = Some(*key),
        Revoked::All => view.all = Some(true),
    }
    view
}

fn time(unix_ms: u64) -> DateTime<Utc> {
    i64::try_from(unix_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
