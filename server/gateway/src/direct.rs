//! Publishing without the machinery of a general server: what [`crate::publish`] does, for requests of the direct lane.
//!
//! Same checks in the same order, same counts, same answers; a test compares both. A connection's last key is
//! remembered with the snapshot of the app it was checked against, and checked anew when either is another.

use std::io::{self, Write as _};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::to_bytes;
use axum::response::IntoResponse as _;
use fanfare_api::server::ApiProblem;
use fanfare_core::id::AppId;
use fanfare_core::{App, ChannelName, ErrorCode, Limit};
use fanfare_engine::{Caller, Node, Published, Quota};
use fanfare_protocol::draft;
use futures_util::FutureExt as _;
use http::HeaderValue;
use http::header::{CONNECTION, CONTENT_LENGTH};

use crate::caller::{Credential, nothing_left};
use crate::edge::{Gateway, policy_text, settle};
use crate::failure::{Failure, left_text};
use crate::publish::view;
use crate::transport::lane::Direct;

/// The longest problem document that is told.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// The pattern of the path, as the router would name it.
const PATTERN: &str = "/v1/apps/{app}/channels/{channel}/messages";
/// More than a published message is told in.
const ANSWER_BYTES: usize = 512;

/// What a connection's next publish may be spared.
#[derive(Default)]
pub(crate) struct Memory {
    known: Option<Known>,
    /// The last answer's body, for its length stands before it.
    body: Vec<u8>,
    /// The last answer's date, and the second it is of.
    date: (u64, String),
}

/// A key that was checked.
struct Known {
    authorization: Box<str>,
    app: Arc<App>,
    caller: Caller,
}

/// Where a publish goes: `/v1/apps/{app}/channels/{channel}/messages`.
struct Target<'b> {
    app: AppId,
    channel: &'b str,
}

impl<'b> Target<'b> {
    fn read(path: &'b str) -> Option<Self> {
        let (app, rest) = path.strip_prefix("/v1/apps/")?.split_once('/')?;
        let channel = rest.strip_prefix("channels/")?.strip_suffix("/messages")?;
        let app = app.parse().ok().filter(|_| !channel.is_empty() && !channel.contains('/'))?;
        Some(Self { app, channel })
    }
}

/// Whether a request publishes a message with a key.
pub(crate) fn is_publish(request: &Direct<'_>) -> bool {
    Target::read(request.path).is_some() && Credential::is_key(request.authorization)
}

/// Publishes, and writes the whole answer. Answers whether the connection closes behind it.
pub(crate) async fn publish(
    gateway: &Gateway,
    memory: &mut Memory,
    request: &Direct<'_>,
    closes: bool,
    out: &mut Vec<u8>,
) -> bool {
    let mut quota = None;
    let working = attempt(&gateway.node, &mut memory.known, request, &mut quota);
    let outcome = AssertUnwindSafe(working).catch_unwind().await;
    let told = Told { quota: quota.as_ref(), closes, path: request.path };
    let told = match outcome {
        Ok(Ok(published)) => memory.tell(gateway, published, told, out).map(|()| closes),
        Ok(Err(failure)) => tell_failure(gateway, failure, told, out).await,
        Err(_) => {
            // What was being remembered may be half of it.
            *memory = Memory::default();
            tell_failure(gateway, ErrorCode::Internal.into(), told, out).await
        }
    };
    // Half an answer is none: the client learns from the end that it does not know.
    told.unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be written down");
        out.clear();
        true
    })
}

async fn attempt(
    node: &Node,
    known: &mut Option<Known>,
    request: &Direct<'_>,
    quota: &mut Option<Quota>,
) -> Result<Published, Failure> {
    let Some(target) = Target::read(request.path) else { return Err(ErrorCode::NotFound.into()) };
    let app = node.app(target.app)?;
    let holds = |known: &Known| {
        *known.authorization == *request.authorization
            && Arc::ptr_eq(&known.app, &app)
            && node.is_key_valid(&known.caller)
    };
    if !known.as_ref().is_some_and(holds) {
        *known = None;
    }
    let caller = match known {
        Some(known) => &known.caller,
        None => {
            let Some(Credential::Key(printed)) = Credential::parse(request.authorization) else {
                return Err(Credential::missing());
            };
            let caller = node.authenticate_key(&app, &printed)?;
            &known.insert(Known { authorization: request.authorization.into(), app, caller }).caller
        }
    };
    let admitted = node.admit_request(caller);
    *quota = Some(admitted.as_ref().copied().unwrap_or_else(|_| nothing_left(caller)));
    admitted?;
    let channel = ChannelName::parse(target.channel)?;
    Ok(node.publish(caller, &channel, draft::parse(request.body)?).await?)
}

impl Memory {
    /// The answer to a publish that was accepted.
    fn tell(&mut self, gateway: &Gateway, published: Published, told: Told<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        self.body.clear();
        serde_json::to_writer(&mut self.body, &view(published))?;
        out.reserve(ANSWER_BYTES);
        let second = gateway.node.unix_ms() / 1_000;
        if self.date.0 != second {
            self.date = (second, date(second));
        }
        write!(
            out,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: {}\r\ncontent-length: {}\r\ndate: {}\r\n",
            gateway.node.request_id(),
            self.body.len(),
            self.date.1,
        )?;
        if let Some(quota) = told.quota {
            write!(
                out,
                "ratelimit-policy: {}\r\nratelimit: {}\r\n",
                policy_text(quota),
                left_text(Limit::RestRequests, quota.remaining, quota.reset_ms)
            )?;
        }
        out.extend_from_slice(if told.closes { b"connection: close\r\n\r\n" } else { b"\r\n" });
        out.extend_from_slice(&self.body);
        Ok(())
    }
}

/// What every answer says.
#[derive(Debug, Clone, Copy)]
struct Told<'a> {
    quota: Option<&'a Quota>,
    closes: bool,
    /// Where the request went.
    path: &'a str,
}

/// The answer to a publish that was not accepted, as the edge makes it. Answers whether the connection closes behind it.
async fn tell_failure(gateway: &Gateway, failure: Failure, told: Told<'_>, out: &mut Vec<u8>) -> io::Result<bool> {
    let mut response = failure.into_response();
    let id = gateway.node.request_id();
    if let (Some(target), Some(ApiProblem(problem))) = (Target::read(told.path), response.extensions().get()) {
        gateway.node.request_refused(target.app, ("POST", PATTERN), Some(id), problem);
    }
    gateway.edge.finish(&mut response, id);
    settle(&mut response, told.quota);
    let closes = told.closes || response.headers().contains_key(CONNECTION);
    let (mut head, body) = response.into_parts();
    let body = to_bytes(body, PROBLEM_BYTES_MAX).await.map_err(io::Error::other)?;
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    if closes {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    write!(out, "HTTP/1.1 {}\r\ndate: {}\r\n", head.status, date(gateway.node.unix_ms() / 1_000))?;
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
    Ok(closes)
}

/// A second as HTTP says it (RFC 9110 §5.6.7).
fn date(unix_seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_of_a_channel_s_messages_is_published_to() {
        let app = AppId::new(1, 2);
        let target = Target::read(&format!("/v1/apps/{app}/channels/room:9/messages"))
            .map(|target| (target.app, target.channel.to_owned()));
        assert_eq!(target, Some((app, "room:9".to_owned())));
        let paths = [
            format!("/v1/apps/{app}/channels/room:9/messages/"),
            format!("/v1/apps/{app}/channels/a/b/messages"),
            format!("/v1/apps/{app}/channels//messages"),
            format!("/v1/apps/{app}/channels/messages"),
            format!("/v1/apps/{app}/batch"),
            "/v1/apps/app_1/channels/a/messages".to_owned(),
            "/V1/apps".to_owned(),
        ];
        for path in paths {
            assert!(Target::read(&path).is_none(), "{path}");
        }
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
