//! Clients of networks that break WebSockets: each request brings what the client carries, its ticket, and its commands.
//!
//! ```text
//! URL → app ─▶ lines: {"ticket":…}, commands ─▶ ticket or limits ─▶ stream: lines while they come, tickets among them
//!                                                                └▶ poll:   lines once there are some, a ticket last
//! ```
//!
//! Nothing of such a client is kept between its requests but what it has used of its rates, so any node takes the next.
//! What a ticket says is exactly what stood before it: whoever repeats a request is answered with the same again.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use fanfare_api::ProblemDocument;
use fanfare_core::{App, ErrorCode, Limit, Problem};
use fanfare_engine::{ConnectionPermit, Handshake, Wire};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use tokio::time::timeout;

use crate::caller;
use crate::context::Context;
use crate::failure::Failure;
use crate::transport::pipe::{self, Pipe};
use crate::{body, socket};

/// What a body may weigh beside a frame of commands: a ticket and what is around it.
const TICKET_LINE_BYTES: usize = 17 * 1024;
/// How long a poll may take to end when its time is over.
const END_WITHIN: Duration = Duration::from_secs(5);
const LINES: &str = "application/x-ndjson";

/// Open a stream
///
/// Lines of JSON, as long as the client reads: the answers and pushes of the native protocol, and after them `{"ticket":…}`,
/// with which the next request goes on. The body's lines are the client's last ticket, unless it has none, and then its
/// commands, `connect` and `subscribe` for example. See `asyncapi.yaml`.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/stream",
    operation_id = "open_stream",
    tag = "Socket",
    params(("app" = String, Path, description = "The app's id.")),
    request_body(content = String, content_type = "application/x-ndjson", description = "A ticket, and commands, a line each."),
    responses(
        (status = 200, description = "Lines, until either side ends.", body = String, content_type = "application/x-ndjson"),
        (status = "default", description = "The stream is refused.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub(crate) async fn stream(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let Asked { permit, handshake, commands, .. } = Asked::read(&context, request, Wire::Stream).await?;
    let pipe = Pipe::streamed();
    let (reader, sink) = (pipe.reader(commands), pipe.sink());
    context.streams.spawn(context.node.serve_connection(permit, handshake, reader, sink));
    // nginx would wait for a buffer to fill.
    let at_once = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok((head(), [at_once], Body::from_stream(pipe::Body(pipe))).into_response())
}

/// Poll
///
/// As a stream, but the answer ends as soon as there is something in it, and after 25 seconds. Its last line is the ticket for
/// the next poll, or `{"close":…}` where the connection has ended. A poll that is repeated with its ticket is answered with
/// the same messages again.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/poll",
    operation_id = "poll",
    tag = "Socket",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("wait_ms" = Option<u64>, Query, description = "How long to wait at most; 25,000 unasked, and not more."),
    ),
    request_body(content = String, content_type = "application/x-ndjson", description = "A ticket, and commands, a line each."),
    responses(
        (status = 200, description = "Lines.", body = String, content_type = "application/x-ndjson"),
        (status = "default", description = "The poll is refused.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub(crate) async fn poll(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let Asked { permit, handshake, commands, wait } = Asked::read(&context, request, Wire::Poll).await?;
    let pipe = Pipe::polled();
    let (reader, sink) = (pipe.reader(commands), pipe.sink());
    // In a box: it is as large as a connection's task. Dropped with the request, when the client goes.
    let mut served = Box::pin(context.node.serve_connection(permit, handshake, reader, sink));
    if timeout(wait, &mut served).await.is_err() {
        pipe.finish();
        timeout(END_WITHIN, &mut served).await.map_err(|_| {
            Problem::new(ErrorCode::TryAgain, "The channels cannot be read just now; poll again with the same ticket.")
                .retry_after_ms(1_000)
        })?;
    }
    Ok((head(), pipe.take()).into_response())
}

/// Send commands
///
/// `publish`, `history`, `ping` and presence's `get`, a line each, answered in their order. Beside a stream the first line is
/// its last ticket; a client without a connection sends its token as a Bearer credential instead.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/commands",
    operation_id = "send_commands",
    tag = "Socket",
    params(("app" = String, Path, description = "The app's id.")),
    request_body(content = String, content_type = "application/x-ndjson", description = "A ticket, and commands, a line each."),
    responses(
        (status = 200, description = "The answers, a line each.", body = String, content_type = "application/x-ndjson"),
        (status = "default", description = "Nothing was carried out.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub(crate) async fn command(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let (app, node) = (caller::app(&parts, &context)?, &context.node);
    let (origin, bearer) = (origin(&parts), caller::bearer(&parts.headers).map(str::to_owned));
    let body = body::read_lines(Request::from_parts(parts.clone(), body), bytes_max(&app), &context.options).await?;
    let Said { ticket, commands } = Said::read(&body)?;
    let mut client = match (ticket, bearer) {
        (Some(ticket), None) => node.beside_ticket(&app, &ticket, origin.as_deref())?,
        (None, Some(token)) => {
            let client = node.beside_token(&app, &token, origin.as_deref()).await?;
            caller::count(&parts, &context, client.caller())?;
            client
        }
        (Some(_), Some(_)) => return Err(both().into()),
        (None, None) => {
            let detail = "Say who you are: a ticket in the first line, or a token as a Bearer credential.";
            return Err(Problem::new(ErrorCode::TokenMissing, detail).into());
        }
    };
    if commands.is_empty() {
        return Err(Problem::new(ErrorCode::InvalidRequest, "There is no command; send one a line.").into());
    }
    let answers = node.command(&mut client, &commands).await;
    let lines: Vec<_> = answers.iter().map(|answer| answer.line()).collect();
    Ok((head(), lines.concat()).into_response())
}

fn head() -> [(HeaderName, HeaderValue); 2] {
    [(CONTENT_TYPE, HeaderValue::from_static(LINES)), (CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

/// A client that may begin, or go on.
struct Asked {
    permit: ConnectionPermit,
    handshake: Handshake,
    commands: String,
    /// How long a poll waits.
    wait: Duration,
}

impl Asked {
    async fn read(context: &Context, request: Request, wire: Wire) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let (app, node) = (caller::app(&parts, context)?, &context.node);
        let wait = wait(&parts, wire, context.options.poll_wait_ms)?;
        let (origin, token) = (origin(&parts), caller::bearer(&parts.headers).map(str::to_owned));
        let body = body::read_lines(Request::from_parts(parts, body), bytes_max(&app), &context.options).await?;
        let Said { ticket, commands } = Said::read(&body)?;
        let mut handshake = Handshake { origin, token, wire, ticket: None };
        let permit = match &ticket {
            Some(_) if handshake.token.is_some() => return Err(both().into()),
            Some(ticket) => node.admit_ticket(&app, ticket, &mut handshake)?,
            None if commands.is_empty() => {
                let detail = "Begin with {\"id\":1,\"connect\":{}}, or go on with the ticket of the last answer.";
                return Err(Problem::new(ErrorCode::ConnectFirst, detail).into());
            }
            None => node.admit_connection(&app, &handshake)?,
        };
        Ok(Self { permit, handshake, commands, wait })
    }
}

/// Where a page comes from. Two origins are none that an app could list.
fn origin(parts: &Parts) -> Option<String> {
    let origins: Vec<_> = parts.headers.get_all(ORIGIN).iter().map(HeaderValue::as_bytes).collect();
    (!origins.is_empty()).then(|| String::from_utf8_lossy(&origins.join(&b' ')).into_owned())
}

/// A frame of commands, as large as on a socket, and a ticket.
fn bytes_max(app: &App) -> usize {
    socket::frame_bytes_max(app.limits.get(Limit::MessageBytes).max).saturating_add(TICKET_LINE_BYTES)
}

fn both() -> Problem {
    let detail = "The ticket says who you are. A new token goes into the command `refresh`, not into a header.";
    Problem::new(ErrorCode::InvalidRequest, detail)
}

/// How long a poll waits; nothing else can be asked for in a URL.
fn wait(parts: &Parts, wire: Wire, wait_ms_max: u64) -> Result<Duration, Failure> {
    let query = parts.uri.query().unwrap_or_default();
    let asked = match (query, wire) {
        ("", _) => Some(wait_ms_max),
        (query, Wire::Poll) => query.strip_prefix("wait_ms=").and_then(|ms| ms.parse().ok()),
        (_, Wire::NativeJson | Wire::NativeJsonDeflate { .. } | Wire::Events | Wire::Stream) => None,
    };
    match asked.filter(|ms| *ms <= wait_ms_max) {
        Some(ms) => Ok(Duration::from_millis(ms)),
        None if wire == Wire::Poll => {
            let detail = format!("The one parameter is `wait_ms`, from 0 to {wait_ms_max}.");
            Err(Problem::new(ErrorCode::InvalidRequest, detail).into())
        }
        None => Err(Problem::new(ErrorCode::InvalidRequest, "There are no parameters here.").into()),
    }
}

/// What a body says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    ticket: Option<String>,
    commands: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketLine {
    ticket: String,
}

impl Said {
    fn read(body: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(body)
            .map_err(|_| Problem::new(ErrorCode::InvalidJson, "The body is not UTF-8: send lines of JSON."))?;
        let text = text.trim_start();
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        // What is not a ticket is a command, and what is wrong with it is said as the protocol says it.
        if !first.trim_start_matches('{').trim_start().starts_with("\"ticket\"") {
            return Ok(Self { ticket: None, commands: text.trim_end().to_owned() });
        }
        let read: Result<TicketLine, _> = serde_json::from_str(first);
        let TicketLine { ticket } = read.map_err(|_| {
            let detail = "must be a text, alone on its line: {\"ticket\":\"…\"}";
            Problem::new(ErrorCode::InvalidRequest, format!("/ticket: {detail}.")).at("/ticket", detail)
        })?;
        Ok(Self { ticket: Some(ticket), commands: rest.trim().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_may_be_a_ticket_and_the_others_are_commands() {
        let read = |text: &str| Said::read(text.as_bytes()).map(|said| (said.ticket, said.commands)).ok();
        let said = |ticket: Option<&str>, commands: &str| Some((ticket.map(str::to_owned), commands.to_owned()));
        assert_eq!(read(""), said(None, ""));
        assert_eq!(read("{\"id\":1}\n{\"id\":2}\n"), said(None, "{\"id\":1}\n{\"id\":2}"));
        assert_eq!(read("{\"ticket\":\"a\"}"), said(Some("a"), ""));
        assert_eq!(read("\n { \"ticket\" : \"a\" }\r\n\n{\"id\":1}\n"), said(Some("a"), "{\"id\":1}"));
        for wrong in
            ["{\"ticket\":7}", "{\"ticket\":\"a\",\"id\":1}", "{\"ticket\":\"a\"", "{\"ticket\":\"a\"}{\"id\":1}"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(Said::read(&[0xFF]).is_err());
    }

    #[test]
    fn a_poll_waits_as_asked_and_never_longer_than_it_may() {
        let parts = |query: &str| {
            let request = http::Request::builder().uri(format!("/v1/apps/a/poll{query}")).body(()).expect("a request");
            request.into_parts().0
        };
        let ms = |query: &str| wait(&parts(query), Wire::Poll, 25_000).map(|wait| wait.as_millis()).ok();
        assert_eq!((ms(""), ms("?wait_ms=0"), ms("?wait_ms=25000")), (Some(25_000), Some(0), Some(25_000)));
        for wrong in ["?wait_ms=25001", "?wait_ms=-1", "?wait_ms=", "?wait=1", "?wait_ms=1&wait_ms=2"] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
        assert!(wait(&parts("?wait_ms=1"), Wire::Stream, 25_000).is_err());
    }
}
