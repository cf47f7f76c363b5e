//! Signing in and out, and who is signed in.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_api::server::StrictJson;
use fanfare_api::session::{AppName, SessionView, SignInRequest, TenantView, UserView};
use fanfare_core::ErrorCode;
use fanfare_store::{Actor, Conflict, Credentials, MemberStore, StoreError};
use http::{StatusCode, header};

use crate::access::{CameFrom, Cookie, SignedIn};
use crate::document::Problems;
use crate::error::ControlError;
use crate::hasher::Verdict;
use crate::state::Control;
use crate::{check, cookie};

/// An address that nobody has: asked for in place of texts that are no address, so that they take as long.
const NOBODY: &str = "nobody@invalid";

/// Sign in
///
/// Whether the address is unknown or the password wrong, the answer is the same.
#[utoipa::path(
    post,
    path = "/api/v1/sign-in",
    operation_id = "sign_in",
    tag = "Sessions",
    request_body = SignInRequest,
    responses((status = 200, description = "Who is signed in. The session is in the cookie.", body = SessionView), Problems),
    security(()),
)]
pub(crate) async fn sign_in(
    State(control): State<Control>,
    CameFrom(origin): CameFrom,
    Cookie(before): Cookie,
    StrictJson(request): StrictJson<SignInRequest>,
) -> Result<Response, ControlError> {
    let auth = control.store().auth();
    let email = request.email.trim();
    let known = auth.credentials(if check::is_email(email) { email } else { NOBODY }).await?;
    let hash = known.as_ref().map(|known| &*known.password_hash);
    let verdict = control.hasher().verify(request.password.expose(), hash).await?;
    let Some(Credentials { user, password_hash }) = known.filter(|_| verdict != Verdict::Wrong) else {
        return Err(ErrorCode::SignInFailed.into());
    };
    if verdict == Verdict::RightButOutdated {
        let new = control.hasher().hash(request.password.expose()).await?;
        match auth.replace_password_hash(user, &password_hash, &new).await {
            // Somebody else was quicker; either hash is good.
            Ok(()) | Err(StoreError::Conflict(Conflict::PasswordChanged)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // A new sign-in, a new session: whatever this browser held before ends.
    if let Some(before) = before {
        auth.close_session(&before).await?;
    }
    let session = auth.open_session(user, &origin, control.session_terms()).await?;
    let answer = view(&control, &control.store().member(Actor { user, ip: origin.ip })).await?;
    Ok(([(header::SET_COOKIE, cookie::opened(&control, &session.token))], Json(answer)).into_response())
}

/// Sign out
///
/// Ends the session of the cookie, and forgets the cookie. Signing out twice is no error.
#[utoipa::path(
    post,
    path = "/api/v1/sign-out",
    operation_id = "sign_out",
    tag = "Sessions",
    responses((status = 204, description = "Nobody is signed in any more."), Problems),
    security(()),
)]
pub(crate) async fn sign_out(State(control): State<Control>, Cookie(token): Cookie) -> Result<Response, ControlError> {
    if let Some(token) = token {
        control.store().auth().close_session(&token).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::closed(&control))]).into_response())
}

/// Who is signed in
#[utoipa::path(
    get,
    path = "/api/v1/session",
    operation_id = "get_session",
    tag = "Sessions",
    responses((status = 200, description = "Who it is and what they belong to.", body = SessionView), Problems),
)]
pub(crate) async fn get(
    State(control): State<Control>,
    SignedIn { member }: SignedIn,
) -> Result<Json<SessionView>, ControlError> {
    Ok(Json(view(&control, &member).await?))
}

/// Who a member is and what they belong to.
pub(crate) async fn view(control: &Control, member: &MemberStore) -> Result<SessionView, ControlError> {
    let user = member.profile().await?;
    let tenants = member.memberships().await?.into_iter().map(|membership| TenantView {
        id: membership.tenant,
        name: membership.name,
        role: membership.role,
        apps: membership.apps.into_iter().map(|(id, name)| AppName { id, name }).collect(),
    });
    Ok(SessionView {
        user: UserView { id: user.id, email: user.email },
        tenants: tenants.collect(),
        gateway_url: control.gateway_url(),
    })
}
