//! Who calls: extractors that authenticate a request before anything else of it is read.
//!
//! The app is known from the path before any credential is looked at, and a credential counts on that app only.

use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, RawPathParams};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_core::id::AppId;
use fanfare_core::{App, ChannelName, ErrorCode, Limit, LimitValue, Problem};
use fanfare_engine::Quota;
use http::request::Parts;
use http::{HeaderMap, header};

use crate::context::Context;
use crate::failure::Failure;
use crate::socket::Accepted;
use crate::transport::listener::Slot;

/// What the layers around a handler and the handler tell each other about one request.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Where an accepted socket goes.
    pub(crate) slot: Arc<Slot<Accepted>>,
    /// What is left of the key's requests.
    pub(crate) quota: OnceLock<Quota>,
}

/// Somebody with a key, or a token, of the app in the path. The request is counted.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) fanfare_engine::Caller);

impl FromRequestParts<Context> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Failure> {
        let node = &context.node;
        let app = app(parts, context)?;
        let caller = match Credential::read(&parts.headers)? {
            Credential::Key(printed) => node.authenticate_key(&app, &printed)?,
            Credential::Token(token) => node.authenticate_token(&app, &token).await?,
        };
        count(parts, context, &caller)?;
        Ok(Self(caller))
    }
}

/// What a refused request is told of its key's policy.
pub(crate) fn nothing_left(caller: &fanfare_engine::Caller) -> Quota {
    let LimitValue { max, burst } = caller.app().limits.get(Limit::RestRequests);
    Quota { limit: max, burst, remaining: 0, reset_ms: 0 }
}

/// Counts a request of a caller.
pub(crate) fn count(parts: &Parts, context: &Context, caller: &fanfare_engine::Caller) -> Result<(), Failure> {
    let admitted = context.node.admit_request(caller);
    if let Some(exchange) = parts.extensions.get::<Arc<Exchange>>() {
        // A request is counted once. One that is refused is told the policy too; its refusal says when to come back.
        exchange.quota.get_or_init(|| admitted.as_ref().copied().unwrap_or_else(|_| nothing_left(caller)));
    }
    admitted?;
    Ok(())
}

/// The app in the path.
pub(crate) fn app(parts: &Parts, context: &Context) -> Result<Arc<App>, Failure> {
    let id = app_id(parts.uri.path()).ok_or_else(|| {
        Problem::new(ErrorCode::NotFound, "There is no such app: the path holds no app's id, `app_…`.")
    })?;
    Ok(context.node.app(id)?)
}

/// The id in `/v1/apps/{app}/…`.
pub(crate) fn app_id(path: &str) -> Option<AppId> {
    path.strip_prefix("/v1/apps/")?.split('/').next()?.parse().ok()
}

/// A Bearer credential, whatever it is.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// How somebody says who they are.
pub(crate) enum Credential {
    Key(String),
    Token(String),
}

impl Credential {
    fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        value.and_then(Self::parse).ok_or_else(Self::missing)
    }

    /// What is answered without one.
    pub(crate) fn missing() -> Failure {
        let detail = "The request has no credential: send `key_…:ffs_…` by Basic (`curl -u`) or as a Bearer credential, or \
                      a channel token as a Bearer credential.";
        Problem::new(ErrorCode::KeyInvalid, detail).into()
    }

    /// Whether the value of the header is meant to be a key, without reading it.
    pub(crate) fn is_key(value: &str) -> bool {
        value.split_once(' ').is_some_and(|(scheme, rest)| {
            scheme.eq_ignore_ascii_case("basic")
                || scheme.eq_ignore_ascii_case("bearer") && rest.trim().starts_with("key_")
        })
    }

    /// Reads the value of the header; nothing where it is none.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("basic") {
            let pair = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            return pair.map(Self::Key);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Some(if rest.starts_with("key_") { Self::Key(rest.to_owned()) } else { Self::Token(rest.to_owned()) })
    }
}

/// A channel in the path that may be published to.
#[derive(Debug)]
pub(crate) struct Channel(pub(crate) ChannelName);

/// A channel in the path, one of Fanfare's own included.
#[derive(Debug)]
pub(crate) struct AnyChannel(pub(crate) ChannelName);

impl FromRequestParts<Context> for Channel {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Failure> {
        let AnyChannel(name) = AnyChannel::from_request_parts(parts, context).await?;
        Ok(Self(ChannelName::parse(name.as_str())?))
    }
}

impl FromRequestParts<Context> for AnyChannel {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Failure> {
        // The framework has decoded the path once; a name holds no percent sign, so twice-encoded ones end here.
        let params = RawPathParams::from_request_parts(parts, context).await.map_err(|_| {
            Problem::new(ErrorCode::InvalidChannel, "The channel in the path is not UTF-8 when decoded.")
        })?;
        let name = params.iter().find_map(|(name, value)| (name == "channel").then_some(value)).unwrap_or_default();
        Ok(Self(ChannelName::parse_any(name)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(value: &str) -> Option<Credential> {
        let value = HeaderValue::from_str(value).expect("a header");
        Credential::read(&HeaderMap::from_iter([(header::AUTHORIZATION, value)])).ok()
    }

    #[test]
    fn a_key_comes_by_basic_or_bearer_and_everything_else_borne_is_a_token() {
        let basic = format!("bAsIc {}", STANDARD.encode("key_1:ffs_2"));
        for value in [&*basic, "Bearer key_1:ffs_2", "bearer  key_1:ffs_2"] {
            assert!(matches!(read(value), Some(Credential::Key(key)) if key == "key_1:ffs_2"), "{value}");
        }
        assert!(matches!(read("Bearer a.b.c"), Some(Credential::Token(token)) if token == "a.b.c"));
        for value in ["", "Bearer", "Basic !!!", "Digest a", "key_1:ffs_2"] {
            assert!(read(value).is_none(), "{value}");
        }
    }

    #[test]
    fn the_app_is_read_from_the_path_alone() {
        let id = AppId::new(1, 2);
        assert_eq!(app_id(&format!("/v1/apps/{id}/socket")), Some(id));
        assert_eq!(app_id(&format!("/v1/apps/{id}")), Some(id));
        for path in ["/v1/time", "/v1/apps/", "/v1/apps/app_1/socket", "/V1/apps/x"] {
            assert_eq!(app_id(path), None, "{path}");
        }
    }
}
