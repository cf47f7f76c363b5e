//! Signing up, and claiming the tenant of a server's first start.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_api::SecretText;
use fanfare_api::server::StrictJson;
use fanfare_api::session::{SignUpRequest, SignedUp, WelcomeRequest};
use fanfare_core::{ErrorCode, Limit, LimitValue, Limits};
use fanfare_store::{Account, Actor, NewAccount, Origin, StoreError, Token};
use http::{StatusCode, header};

use crate::access::{CameFrom, Cookie};
use crate::check::Checks;
use crate::document::Problems;
use crate::error::ControlError;
use crate::routes::{apps, sessions};
use crate::state::Control;
use crate::{cookie, password};

/// Sign up
///
/// Makes a user, their tenant, an app with a starter ACL and its first key, and signs in. The key's secret is in this
/// answer and nowhere else.
#[utoipa::path(
    post,
    path = "/api/v1/sign-up",
    operation_id = "sign_up",
    tag = "Sessions",
    request_body = SignUpRequest,
    responses((status = 201, description = "What was made. The session is in the cookie.", body = SignedUp), Problems),
    security(()),
)]
pub(crate) async fn sign_up(
    State(control): State<Control>,
    CameFrom(origin): CameFrom,
    Cookie(before): Cookie,
    StrictJson(request): StrictJson<SignUpRequest>,
) -> Result<Response, ControlError> {
    let mut checks = Checks::default();
    let email = checks.email("/email", &request.email);
    let tenant = match &request.tenant {
        Some(name) => checks.name("/tenant", name),
        // As good as the address: where that is wrong, nothing is wrong with what was not sent.
        None => email.split('@').next().unwrap_or_default().to_owned(),
    };
    checks.finish()?;
    password::check(request.password.expose(), &[&email, &tenant])?;
    let password_hash = control.hasher().hash(request.password.expose()).await?;
    let held = control.options().hold_sign_ups.then(held);
    let account = NewAccount { email, password_hash, tenant_name: tenant, held };
    let made = control.store().auth().sign_up(account, &origin, control.session_terms()).await?;
    signed_up(&control, made, origin, before).await
}

/// Claim a new server
///
/// Makes the owner of the tenant that the server made at its first start, and signs in. The code is in the welcome
/// link that the server printed; it works once.
#[utoipa::path(
    post,
    path = "/api/v1/welcome",
    operation_id = "claim_welcome",
    tag = "Sessions",
    request_body = WelcomeRequest,
    responses((status = 201, description = "What is claimed. The session is in the cookie.", body = SignedUp), Problems),
    security(()),
)]
pub(crate) async fn welcome(
    State(control): State<Control>,
    CameFrom(origin): CameFrom,
    Cookie(before): Cookie,
    StrictJson(request): StrictJson<WelcomeRequest>,
) -> Result<Response, ControlError> {
    let mut checks = Checks::default();
    let email = checks.email("/email", &request.email);
    checks.finish()?;
    let code = Token::parse(request.code.expose()).ok_or_else(unknown_code)?;
    password::check(request.password.expose(), &[&email])?;
    let password_hash = control.hasher().hash(request.password.expose()).await?;
    let account = NewAccount { email, password_hash, tenant_name: String::new(), held: None };
    let claimed = control.store().auth().claim_welcome(&code, account, &origin, control.session_terms()).await;
    let made = claimed.map_err(|error| match error {
        StoreError::NotFound => unknown_code(),
        other => other.into(),
    })?;
    signed_up(&control, made, origin, before).await
}

fn unknown_code() -> ControlError {
    let detail =
        "The welcome link was used already, or is not one of this server. Its start prints the one that works.";
    fanfare_core::Problem::new(ErrorCode::NotFound, detail).at("/code", detail).into()
}

/// What holds where the address was not verified, until an operator lifts it.
fn held() -> Limits {
    let mut limits = Limits::default();
    limits.set(Limit::Connections, LimitValue::count(20));
    limits.set(Limit::PublishApp, LimitValue::rate(10, 20));
    limits
}

async fn signed_up(
    control: &Control,
    made: Account,
    origin: Origin,
    before: Option<Token>,
) -> Result<Response, ControlError> {
    // A new sign-in, a new session: whatever this browser held before ends.
    if let Some(before) = before {
        control.store().auth().close_session(&before).await?;
    }
    let member = control.store().member(Actor { user: made.user.id, ip: origin.ip });
    let answer = SignedUp {
        session: sessions::view(control, &member).await?,
        app: apps::view(control, made.app),
        first_key: SecretText::new(made.key.expose()),
    };
    let session = [(header::SET_COOKIE, cookie::opened(control, &made.session.token))];
    Ok((StatusCode::CREATED, session, Json(answer)).into_response())
}
