//! How members look at an app's connections and channels, which only the data plane knows: by short tokens of the
//! platform's own hidden key. One that lets something be done is made for that alone, and leaves a row in the audit log.

use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use fanfare_api::SecretText;
use fanfare_api::inspector::{ActRequest, InspectorToken};
use fanfare_api::server::StrictJson;
use fanfare_core::{Act, ErrorCode, Problem};
use fanfare_store::SigningKey;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::access::{AppPath, Developer, InApp, Least, Viewer};
use crate::document::Problems;
use crate::error::ControlError;
use crate::state::Control;

/// What the data plane takes these tokens by.
const TYPE: &str = "ff-inspector+jwt";
const LOOK_LIFETIME: TimeDelta = TimeDelta::minutes(5);
/// Long enough for one request. Who loses their role a moment later has done it a moment before.
const ACT_LIFETIME: TimeDelta = TimeDelta::seconds(30);

/// Get an inspector token
///
/// With it, REST on the data plane lists the app's connections and channels and reads history and presence; it changes
/// nothing. It works for five minutes; get another one in time.
#[utoipa::path(
    post,
    path = "/api/v1/apps/{app}/inspector-token",
    operation_id = "create_inspector_token",
    tag = "Live",
    params(AppPath),
    responses((status = 200, description = "The token and the app's URL.", body = InspectorToken), Problems),
)]
pub(crate) async fn look(
    State(control): State<Control>,
    access: InApp<Viewer>,
) -> Result<Json<InspectorToken>, ControlError> {
    let key = access.app.platform_key().await?;
    signed(&control, &access, &key, None).map(Json)
}

/// Get a token for one act
///
/// Takes the role developer. For half a minute, the token does on the data plane the one thing that is asked for, and
/// nothing else: `disconnect`, or deleting a channel's history. The audit log tells who was let do what.
#[utoipa::path(
    post,
    path = "/api/v1/apps/{app}/act-token",
    operation_id = "create_act_token",
    tag = "Live",
    params(AppPath),
    request_body = ActRequest,
    responses((status = 200, description = "The token and the app's URL.", body = InspectorToken), Problems),
)]
pub(crate) async fn act(
    State(control): State<Control>,
    access: InApp<Developer>,
    StrictJson(request): StrictJson<ActRequest>,
) -> Result<Json<InspectorToken>, ControlError> {
    let one =
        "Name exactly one of `disconnect_connection`, `disconnect_user`, `disconnect_channel` and `delete_history`.";
    let act = request.into_act().ok_or_else(|| Problem::new(ErrorCode::InvalidRequest, one).at("", one))?;
    if !act.is_sound() {
        let wrong = "A user is a text of 1 to 255 bytes without U+0000, the `sub` of tokens.";
        return Err(Problem::new(ErrorCode::InvalidRequest, wrong).at("/disconnect_user", wrong).into());
    }
    let key = access.app.platform_key().await?;
    access.app.note_act(&act).await?;
    signed(&control, &access, &key, Some(act)).map(Json)
}

fn signed<R: Least>(
    control: &Control,
    access: &InApp<R>,
    key: &SigningKey,
    act: Option<Act>,
) -> Result<InspectorToken, ControlError> {
    let lifetime = if act.is_some() { ACT_LIFETIME } else { LOOK_LIFETIME };
    let (now, expires_at) = (control.now(), control.now() + lifetime);
    let claims = Claims {
        sub: access.member.user().to_string(),
        aud: access.app.id().to_string(),
        iat: now.timestamp(),
        exp: expires_at.timestamp(),
        act,
    };
    let header = Header { typ: Some(TYPE.to_owned()), kid: Some(key.id.to_string()), ..Header::new(Algorithm::HS256) };
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key.secret.expose()))
        .map_err(|_| ControlError::Defect("a token of plain claims could not be signed"))?;
    Ok(InspectorToken { token: SecretText::new(token), url: control.app_url(access.app.id()), expires_at })
}

#[derive(Serialize)]
struct Claims {
    sub: String,
    aud: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Act>,
}
