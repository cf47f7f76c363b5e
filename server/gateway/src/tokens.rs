//! `POST /v1/apps/{app}/tokens`: have a key sign a token, for backends without a JWT library; and `…/inspect`, for
//! whoever wonders why one does not hold.

use axum::Json;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use fanfare_api::data::{
    InspectTokenRequest, InspectTokenResponse, MintTokenRequest, MintTokenResponse, TokenClient, TokenProblem,
};
use fanfare_api::server;
use fanfare_api::{ProblemDocument, SecretText};
use fanfare_core::{ErrorCode, Problem, Signer};
use fanfare_engine::MintRequest;
use fanfare_engine::token::{TOKEN_BYTES_MAX, VerifiedToken};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::failure::Failure;

/// How long a token works when the request does not say.
const TTL_S_DEFAULT: u64 = 3_600;
/// The longest life of a token.
const TTL_S_MAX: u64 = 86_400;

/// Sign a token
///
/// The calling key signs, and is the ceiling of what the token may do. Needs a key that may `sign`.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/tokens",
    operation_id = "mint_token",
    tag = "Tokens",
    params(("app" = String, Path, description = "The app's id.")),
    request_body = MintTokenRequest,
    responses(
        (status = 200, description = "The token.", body = MintTokenResponse),
        (status = "default", description = "Nothing was signed.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn mint(
    State(context): State<Context>,
    Caller(caller): Caller,
    request: Request,
) -> Result<Json<MintTokenResponse>, Failure> {
    let body = body::read(request, context.options.body_bytes_max, &context.options).await?;
    let request = parse(&body)?;
    let token = context.node.mint_token(&caller, request)?;
    let expires_at = expiry(&token).ok_or(ErrorCode::Internal)?;
    Ok(Json(MintTokenResponse { token: SecretText::new(token), expires_at }))
}

/// Inspect a token
///
/// Says what a token says, whether it holds here and now, and if not, why. Needs a key that may `sign`. Nothing is kept.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/tokens/inspect",
    operation_id = "inspect_token",
    tag = "Tokens",
    params(("app" = String, Path, description = "The app's id.")),
    request_body = InspectTokenRequest,
    responses(
        (status = 200, description = "What the token says, and whether it holds.", body = InspectTokenResponse),
        (status = "default", description = "Nothing was inspected.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn inspect(
    State(context): State<Context>,
    Caller(caller): Caller,
    request: Request,
) -> Result<Json<InspectTokenResponse>, Failure> {
    let body = body::read(request, context.options.body_bytes_max, &context.options).await?;
    let InspectTokenRequest { token } = server::parse(&body)?;
    let token = token.expose().trim();
    let outcome = context.node.inspect_token(&caller, token).await?;
    let part = |at| token.split('.').nth(at).filter(|_| token.len() <= TOKEN_BYTES_MAX).and_then(unbelieved);
    let (header, claims) = (part(0), part(1));
    let (problem, client) = match outcome {
        Ok(verified) => (None, Some(client(verified).ok_or(ErrorCode::Internal)?)),
        Err(error) => {
            let problem = error.problem();
            (Some(TokenProblem { code: problem.code, detail: problem.detail }), None)
        }
    };
    Ok(Json(InspectTokenResponse { valid: problem.is_none(), problem, header, claims, client }))
}

/// A part of a token as it stands, for people to see.
fn unbelieved(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    fanfare_core::json::check(&bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn client(verified: VerifiedToken) -> Option<TokenClient> {
    let VerifiedToken { subject, expires_ms, signer, .. } = verified;
    Some(TokenClient {
        signer: match signer {
            Signer::Key(key) => key.to_string(),
            Signer::Issuer(issuer) => issuer.to_string(),
        },
        sub: subject.sub.map(Into::into),
        roles: subject.roles.into_iter().map(Into::into).collect(),
        cap: subject.capabilities,
        ceiling: subject.ceiling?.capabilities,
        expires_at: DateTime::from_timestamp_millis(i64::try_from(expires_ms).ok()?)?,
    })
}

fn parse(body: &[u8]) -> Result<MintRequest, Failure> {
    let MintTokenRequest { sub, cap, roles, info, meta, limits, labels, jti, ttl_s } = server::parse(body)?;
    let (info, meta, limits) = (object("/info", info)?, object("/meta", meta)?, object("/limits", limits)?);
    let ttl_s = ttl_s.unwrap_or(TTL_S_DEFAULT);
    if !(1..=TTL_S_MAX).contains(&ttl_s) {
        return Err(wrong("/ttl_s", "A token works for 1 to 86,400 seconds.").into());
    }
    Ok(MintRequest { sub, id: jti, cap, roles, info, meta, limits, labels, ttl_s })
}

fn object(pointer: &str, value: Option<Value>) -> Result<Option<Map<String, Value>>, Failure> {
    match value {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(wrong(pointer, &format!("`{}` is an object.", &pointer[1..])).into()),
    }
}

fn wrong(pointer: &str, detail: &str) -> Problem {
    Problem::new(ErrorCode::InvalidRequest, detail).at(pointer, detail)
}

/// When a token that was just signed stops working, as it says itself.
fn expiry(token: &str) -> Option<DateTime<chrono::Utc>> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    DateTime::from_timestamp(claims.exp, 0)
}
