//! What a path names beside the app and the channel: extractors that take it apart.

use axum::extract::{FromRequestParts, RawPathParams};
use fanfare_core::id::{ConnectionId, RevocationId};
use fanfare_core::{ErrorCode, Problem};
use http::request::Parts;

use crate::context::Context;
use crate::failure::Failure;

/// A revocation.
#[derive(Debug)]
pub(crate) struct RevocationPath(pub(crate) RevocationId);

impl FromRequestParts<Context> for RevocationPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Failure> {
        let text = param(parts, context, "revocation").await?;
        // What is no id is the id of nothing.
        let id = text.parse().map_err(|_| Problem::new(ErrorCode::NotFound, "There is no such revocation."))?;
        Ok(Self(id))
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct ConnectionPath(pub(crate) ConnectionId);

impl FromRequestParts<Context> for ConnectionPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Failure> {
        let text = param(parts, context, "connection").await?;
        let id = text.parse().map_err(|_| Problem::new(ErrorCode::NotFound, "There is no such connection."))?;
        Ok(Self(id))
    }
}

/// A user, whatever is in their name.
#[derive(Debug)]
pub(crate) struct UserPath(pub(crate) String);

impl FromRequestParts<Context> for UserPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Failure> {
        Ok(Self(param(parts, context, "user").await?))
    }
}

/// The id of a message, the publisher's own perhaps.
#[derive(Debug)]
pub(crate) struct MessagePath(pub(crate) String);

impl FromRequestParts<Context> for MessagePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Failure> {
        Ok(Self(param(parts, context, "message").await?))
    }
}

/// A part of the path, percent-decoded once.
async fn param(parts: &mut Parts, context: &Context, wanted: &str) -> Result<String, Failure> {
    let wrong =
        || Problem::new(ErrorCode::InvalidRequest, format!("The {wanted} in the path is not UTF-8 when decoded."));
    let params = RawPathParams::from_request_parts(parts, context).await.map_err(|_| wrong())?;
    let found = params.iter().find_map(|(name, value)| (name == wanted).then(|| value.to_owned()));
    Ok(found.unwrap_or_default())
}
