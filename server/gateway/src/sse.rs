//! `GET /v1/apps/{app}/sse`: the pushes of the native protocol as an event stream.
//!
//! ```text
//! URL → app ─▶ ticket or token ─▶ channels, positions ─▶ origin ─▶ limits ─▶ 200 ─▶ Node::serve_connection
//! ```
//!
//! The request says all that a client of a socket would say in commands: who it is, its channels, and where it was.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fanfare_api::ProblemDocument;
use fanfare_core::id::AppId;
use fanfare_core::position::GROUP_MAX;
use fanfare_core::{ChannelName, ErrorCode, Problem};
use fanfare_engine::{Handshake, Wire};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::caller::{self, Exchange};
use crate::context::Context;
use crate::failure::Failure;
use crate::socket::{Accepted, Entry, Kind};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The longest `Last-Event-ID`: longer than any that Fanfare gives out.
const EVENT_ID_BYTES_MAX: usize = 4_096;

/// An event stream that may begin.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) app: AppId,
    /// Sorted, each once.
    pub(crate) names: Vec<ChannelName>,
    /// The frames that the client would have sent.
    pub(crate) commands: Vec<String>,
    /// The answer's head, once it is known.
    pub(crate) head: Bytes,
}

/// Open an event stream
///
/// Each event's `data` is an answer or push of the native protocol; its `id`, sent back as `Last-Event-ID`, continues every
/// channel where it was. Name 1 to 64 channels. A client sends its token as a Bearer credential, or a `ticket` where it can
/// send no headers, and is anonymous without either.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/sse",
    operation_id = "open_event_stream",
    tag = "Socket",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channels" = Vec<String>, Query, description = "A channel; repeat it for each."),
        ("ticket" = Option<String>, Query, description = "What `create_ticket` answered."),
        ("last_event_id" = Option<String>, Query, description = "As the header, for clients that cannot send it."),
        ("Last-Event-ID" = Option<String>, Header, description = "The last `id` that was received."),
    ),
    responses(
        (status = 200, description = "Events, until either side ends the connection.", body = String, content_type = "text/event-stream"),
        (status = "default", description = "The stream is refused.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub(crate) async fn open(
    State(context): State<Context>,
    Extension(exchange): Extension<Arc<Exchange>>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _body) = request.into_parts();
    let (app, node) = (caller::app(&parts, &context)?, &context.node);
    if parts.method != Method::GET {
        return Err(Problem::new(ErrorCode::MethodNotAllowed, "An event stream is asked for by GET.").into());
    }
    let asked = Asked::read(parts.uri.query().unwrap_or_default(), &parts.headers)?;
    let token = match &asked.ticket {
        Some(ticket) => {
            let token = context.tickets.redeem(app.id, ticket, node.unix_ms());
            let unknown = || Problem::new(ErrorCode::TokenInvalid, "The ticket was used, is too old, or is none.");
            Some(token.ok_or_else(unknown)?.expose().to_owned())
        }
        None => caller::bearer(&parts.headers).map(str::to_owned),
    };
    node.check_client(&app, token.as_deref()).await?;
    let positions = match &asked.last_event_id {
        Some(text) => node.open_group(app.id, &asked.channels, text)?,
        None => vec![None; asked.channels.len()],
    };
    let origin = parts.headers.get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
    let client = Handshake { origin, token, wire: Wire::Events, ticket: None };
    let permit = node.admit_connection(&app, &client)?;
    let commands = commands(&asked.channels, &positions);
    let events = Events { app: app.id, names: asked.channels, commands, head: Bytes::new() };
    let entry = Entry::Open { permit, handshake: client };
    exchange.slot.put(Accepted { entry, kind: Kind::Events(Box::new(events)) });
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx would wait for a buffer to fill.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((head, Body::empty()).into_response())
}

/// What a client on a socket would say. Names and positions hold nothing that JSON would escape.
fn commands(names: &[ChannelName], positions: &[Option<String>]) -> Vec<String> {
    let subscribe = names.iter().zip(positions).enumerate().map(|(index, (name, position))| {
        let position = position.as_ref().map(|text| format!(r#","position":"{text}""#)).unwrap_or_default();
        format!(r#"{{"id":{},"subscribe":{{"channel":"{name}"{position}}}}}"#, index + 2)
    });
    vec![r#"{"id":1,"connect":{}}"#.to_owned(), subscribe.collect::<Vec<_>>().join("\n")]
}

/// The head of an answer whose body ends with the connection.
pub(crate) fn head(response: &Response) -> Bytes {
    let mut out = b"HTTP/1.1 200 OK\r\nconnection: close\r\n".to_vec();
    // The body that the framework knows of is empty; the one that comes has no length.
    for (name, value) in response.headers().iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.into()
}

/// What a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    /// Sorted, each once.
    channels: Vec<ChannelName>,
    ticket: Option<String>,
    last_event_id: Option<String>,
}

impl Asked {
    fn read(query: &str, headers: &HeaderMap) -> Result<Self, Failure> {
        let mut asked = Self::default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = decode(value).ok_or_else(|| wrong("A parameter is not UTF-8, percent-encoded once."))?;
            let again = match name {
                "channels" => {
                    asked.channels.push(ChannelName::parse_any(&value)?);
                    false
                }
                "ticket" => asked.ticket.replace(value).is_some(),
                "last_event_id" => asked.last_event_id.replace(value).is_some(),
                _ => return Err(wrong("The parameters are `channels`, `ticket` and `last_event_id`.").into()),
            };
            if again {
                return Err(wrong("`ticket` and `last_event_id` stand once.").into());
            }
        }
        asked.channels.sort();
        asked.channels.dedup();
        if asked.channels.is_empty() || asked.channels.len() > GROUP_MAX {
            return Err(wrong("Name 1 to 64 channels, each as `channels=…`.").into());
        }
        // A client that came back by itself knows better than the URL it was given at first.
        if let Some(header) = headers.get(&LAST_EVENT_ID).and_then(|header| header.to_str().ok()) {
            asked.last_event_id = Some(header.to_owned());
        }
        asked.last_event_id = asked.last_event_id.filter(|text| !text.is_empty());
        if asked.last_event_id.as_ref().is_some_and(|text| text.len() > EVENT_ID_BYTES_MAX) {
            return Err(Problem::new(ErrorCode::InvalidPosition, "That is no `id` that was received here.").into());
        }
        Ok(asked)
    }
}

fn wrong(detail: &str) -> Problem {
    Problem::new(ErrorCode::InvalidRequest, detail)
}

/// Percent-decodes once, as a form does.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
                out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = &rest[2..];
            }
            plain => out.push(plain),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Option<Asked> {
        Asked::read(query, &HeaderMap::new()).ok()
    }

    #[test]
    fn channels_are_read_sorted_and_once_each() {
        let asked = read("channels=b%3Ac&channels=a&channels=b:c&ticket=t").expect("is right");
        let names: Vec<&str> = asked.channels.iter().map(ChannelName::as_str).collect();
        assert_eq!((names, asked.ticket.as_deref()), (vec!["a", "b:c"], Some("t")));
        let many = |count: usize| (0..count).map(|index| format!("channels=c:{index}&")).collect::<String>();
        assert!(read(&many(64)).is_some() && read(&many(65)).is_none());
        for wrong in ["", "channels=", "channels=a+b", "channels=%2", "channels=%ff", "channels=a&token=x", "channel=a"]
        {
            assert!(read(wrong).is_none(), "{wrong}");
        }
        assert!(read("channels=a&ticket=1&ticket=2").is_none());
    }

    #[test]
    fn a_header_goes_before_the_url_and_nothing_is_nothing() {
        let with = |value: &'static str| {
            let headers = HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_static(value))]);
            Asked::read("channels=a&last_event_id=old", &headers).expect("is right").last_event_id
        };
        assert_eq!((with("new").as_deref(), with("")), (Some("new"), None));
    }

    #[test]
    fn the_commands_are_those_of_the_protocol() {
        let names = ["a", "b:c"].map(|name| ChannelName::parse(name).expect("a name"));
        let said = commands(&names, &[None, Some("k3Zx.12".to_owned())]);
        let parsed: Vec<_> = said.iter().flat_map(|frame| fanfare_protocol::native::parse(frame)).collect();
        assert!(parsed.len() == 3 && parsed.iter().all(Result::is_ok), "{said:?}");
    }
}
