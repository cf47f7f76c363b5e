//! The dashboard's way onto the data plane: a short token of the platform's own hidden key.

use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use fanfare_api::SecretText;
use fanfare_api::live::LiveToken;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::json;

use crate::access::{AppPath, InApp, Viewer};
use crate::document::Problems;
use crate::error::ControlError;
use crate::state::Control;

const LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// Get a live token
///
/// Reads the app's live figures on `$stats:*`, what happens in it on `$debug:*`, and its messages; it changes nothing. It works for five minutes; get
/// another one in time.
#[utoipa::path(
    post,
    path = "/api/v1/apps/{app}/live-token",
    operation_id = "create_live_token",
    tag = "Live",
    params(AppPath),
    responses((status = 200, description = "The token and where to connect.", body = LiveToken), Problems),
)]
pub(crate) async fn create(
    State(control): State<Control>,
    access: InApp<Viewer>,
) -> Result<Json<LiveToken>, ControlError> {
    let key = access.app.platform_key().await?;
    let (now, expires_at) = (control.now(), control.now() + LIFETIME);
    let claims = Claims {
        sub: access.member.user().to_string(),
        iat: now.timestamp(),
        exp: expires_at.timestamp(),
        ff: json!({ "cap": { "$stats:*": ["subscribe"], "$debug:*": ["subscribe", "history"], "**": ["subscribe", "history"] } }),
    };
    let header = Header { kid: Some(key.id.to_string()), ..Header::new(Algorithm::HS256) };
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key.secret.expose()))
        .map_err(|_| ControlError::Defect("a token of plain claims could not be signed"))?;
    let url = format!("{}/v1/apps/{}/socket", control.gateway_socket_url(), access.app.id());
    Ok(Json(LiveToken { token: SecretText::new(token), url, expires_at }))
}

#[derive(Serialize)]
struct Claims {
    sub: String,
    iat: i64,
    exp: i64,
    ff: serde_json::Value,
}
