//! `GET /v1/apps/{app}/socket`: the native protocol over WebSocket.
//!
//! ```text
//! URL → app ─▶ handshake ─▶ origin ─▶ limits ─▶ 101 ─▶ Node::serve_connection
//!                             └─────────┴─ no ─▶ 101 ─▶ the error, and the close with its number
//! ```
//!
//! The app is known before a byte of the tenant's is parsed. A token may come along as a subprotocol
//! (`fanfare.token.<token>`, all that browsers can send) or as a Bearer credential; its place is the first frame.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use fanfare_api::ProblemDocument;
use fanfare_core::{App, Limit};
use fanfare_engine::{ConnectionPermit, Handshake, Wire};
use fanfare_protocol::websocket;
use fanfare_protocol::websocket::handshake::Spoken;

use crate::caller::{self, Exchange};
use crate::context::Context;
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::sse::Events;
use crate::transport::handshake;

/// The subprotocols spoken here, the preferred first.
const SUBPROTOCOLS: &[&str] = &["fanfare.v1.json"];
/// What a frame may weigh beyond the largest message: the command around it, and several small ones in one frame.
const ENVELOPE_BYTES: u64 = 16 * 1024;

/// A request whose connection is taken from HTTP.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) entry: Entry,
    pub(crate) kind: Kind,
}

/// What a client is connected by.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A WebSocket, and what may come over it.
    WebSocket(websocket::Options),
    /// An event stream.
    Events(Box<Events>),
}

/// What becomes of its socket.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It is a connection.
    Open { permit: ConnectionPermit, handshake: Handshake },
    /// It is told why not.
    Refused(Refusal),
}

/// Open a socket
///
/// The native protocol, specified in `PROTOCOL.md`. Offer the subprotocol `fanfare.v1.json`, or none. The first frame
/// is `{"id":1,"connect":{"token":"…"}}`; without a token the app's ACL says what anonymous clients may do.
///
/// A handshake that is in order is answered with 101 also where an origin, a limit or the node's state refuses it: the
/// first frame then is the error, `{"error":{…}}`, and the close frame has its number. Browsers show pages nothing else.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/socket",
    operation_id = "open_socket",
    tag = "Socket",
    params(("app" = String, Path, description = "The app's id.")),
    responses(
        (status = 101, description = "The connection is a WebSocket from here on."),
        (status = "default", description = "The socket is refused.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub(crate) async fn open(
    State(context): State<Context>,
    Extension(exchange): Extension<Arc<Exchange>>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _body) = request.into_parts();
    let app = caller::app(&parts, &context)?;
    let request = Request::from_parts(parts, Body::empty());
    let spoken = Spoken { subprotocols: SUBPROTOCOLS, deflate: context.options.compression };
    let accepted = match handshake::judge(&request, spoken) {
        Ok(accepted) => accepted,
        Err(error) => {
            let mut response = Failure::from(error.problem()).into_response();
            handshake::explain(&error, &mut response);
            return Ok(response);
        }
    };
    let token = accepted.token.or_else(|| caller::bearer(request.headers()));
    let wire = accepted
        .deflate
        .map_or(Wire::NativeJson, |deflate| Wire::NativeJsonDeflate { window_bits: deflate.window_bits() });
    let client =
        Handshake { origin: accepted.origin.map(str::to_owned), token: token.map(str::to_owned), wire, ticket: None };
    let entry = match context.node.admit_connection(&app, &client) {
        Ok(permit) => Entry::Open { permit, handshake: client },
        Err(refused) => {
            let problem = Box::new(refused.problem());
            context.node.request_refused(app.id, ("GET", "/v1/apps/{app}/socket"), None, &problem);
            Entry::Refused(context.lingering.take(problem)?)
        }
    };
    let bounds =
        websocket::Options { deflate: accepted.deflate.is_some(), ..bounds(&app, context.options.fragments_max) };
    exchange.slot.put(Accepted { entry, kind: Kind::WebSocket(bounds) });
    Ok(handshake::switching(&accepted))
}

/// What a client of this app may send: the largest message, whose bytes grow by a third as base64, and what is around.
fn bounds(app: &App, fragments_max: u32) -> websocket::Options {
    websocket::Options {
        message_bytes_max: frame_bytes_max(app.limits.get(Limit::MessageBytes).max),
        fragments_max: Some(fragments_max),
        deflate: false,
    }
}

/// What a frame of commands may weigh where a message may weigh so much.
pub(crate) fn frame_bytes_max(message: u64) -> usize {
    usize::try_from(message + message.div_ceil(3) + ENVELOPE_BYTES).unwrap_or(usize::MAX)
}
