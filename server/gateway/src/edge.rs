//! The gateway's edge: what happens around every request, whichever handler answers it.
//!
//! Inside stands `fanfare_api::server::Edge` (request ids, problem documents); here are what only this plane has: origins
//! of browsers by the app's list, the quota headers, and the hand-over of sockets.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{self, MatchedPath, State};
use axum::middleware::Next;
use fanfare_api::server::ApiProblem;
use fanfare_api::server::Edge;
use fanfare_core::Limit;
use fanfare_core::id::RequestId;
use fanfare_engine::{Node, Quota, Sink};
use futures_util::future::Either;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tower::ServiceExt as _;

use crate::caller::{Exchange, app_id};
use crate::direct;
use crate::failure::tell_left;
use crate::socket::{Accepted, Entry, Kind};
use crate::sse::{self, Events};
use crate::transport::Link;
use crate::transport::carrier::Carrier;
use crate::transport::events::{EventReader, EventSink, Places};
use crate::transport::lane::Direct;
use crate::transport::listener::{Endpoint, Slot};
use crate::transport::websocket::WebSocketReader;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The data plane as the listener serves it.
pub(crate) struct Gateway {
    pub(crate) node: Arc<Node>,
    pub(crate) router: Router,
    /// What the router is inside of, for answers that are made outside of it.
    pub(crate) edge: Edge,
    /// The longest body of a publish, in bytes.
    pub(crate) body_bytes_max: usize,
}

impl Endpoint for Gateway {
    type Accepted = Accepted;
    type Memory = direct::Memory;

    fn direct_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    fn is_direct(&self, request: &Direct<'_>) -> bool {
        direct::is_publish(request)
    }

    fn respond_directly(
        &self,
        memory: &mut direct::Memory,
        request: &Direct<'_>,
        closes: bool,
        out: &mut Vec<u8>,
    ) -> impl Future<Output = bool> + Send {
        direct::publish(self, memory, request, closes, out)
    }

    async fn respond(&self, mut request: Request<Body>, slot: &Arc<Slot<Accepted>>) -> Response<Body> {
        let cors = Cors::of(&request, &self.node);
        if request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return cors.preflight();
        }
        let exchange = Arc::new(Exchange { slot: Arc::clone(slot), quota: OnceLock::new() });
        request.extensions_mut().insert(Arc::clone(&exchange));
        let Ok(mut response) = self.router.clone().oneshot(request).await;
        settle(&mut response, exchange.quota.get());
        cors.allow(response.headers_mut());
        let begins = slot.seize(|accepted| match &mut accepted.kind {
            Kind::WebSocket(_) => false,
            Kind::Events(events) => {
                events.head = sse::head(&response);
                true
            }
        });
        if begins {
            // The answer goes out with the first event: the listener takes the connection and drops this future.
            std::future::pending::<()>().await;
        }
        response
    }

    fn converse<L: Link>(
        &self,
        accepted: Accepted,
        link: L,
        early: Vec<u8>,
        sink: Box<dyn Sink>,
    ) -> impl Future<Output = ()> + Send + use<L> {
        let Accepted { entry, kind } = accepted;
        let (reader, sink) = match kind {
            Kind::WebSocket(bounds) => (Carrier::WebSocket(WebSocketReader::new(link, early, bounds)), sink),
            Kind::Events(events) => {
                let Events { app, names, commands, head } = *events;
                let known = vec![None; names.len()];
                let places = Places { node: Arc::clone(&self.node), app, names, known };
                let sink: Box<dyn Sink> = Box::new(EventSink::new(sink, head, places));
                (Carrier::Events(EventReader::new(link, commands)), sink)
            }
        };
        match entry {
            Entry::Open { permit, handshake } => {
                Either::Left(self.node.serve_connection(permit, handshake, reader, sink))
            }
            // In a box, so that it adds nothing to what an open connection weighs.
            Entry::Refused(refusal) => Either::Right(Box::pin(refusal.tell(reader, sink))),
        }
    }
}

/// What an answer says beside what its handler said.
pub(crate) fn settle(response: &mut Response<Body>, quota: Option<&Quota>) {
    if let Some(quota) = quota {
        tell_quota(response.headers_mut(), quota);
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"fanfare\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
}

/// Tells whoever watches the app's events of a request that was refused: with the pattern of its path, because what
/// stands in the path itself may be anything.
pub(crate) async fn tell_refusals(
    State(node): State<Arc<Node>>,
    request: extract::Request,
    next: Next,
) -> Response<Body> {
    let app = app_id(request.uri().path());
    let (method, id) = (request.method().clone(), request.extensions().get::<RequestId>().copied());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    if let (Some(app), Some(ApiProblem(problem))) = (app, response.extensions().get::<ApiProblem>()) {
        let path = matched.as_ref().map_or("", MatchedPath::as_str);
        node.request_refused(app, (method.as_str(), path), id, problem);
    }
    response
}

/// Says how much of the key's rate is left. The policy is the burst and the time in which the rate refills it.
fn tell_quota(headers: &mut HeaderMap, quota: &Quota) {
    let policy = policy_text(quota);
    headers.insert(RATE_LIMIT_POLICY, HeaderValue::try_from(policy).expect("names and numbers are a header's value"));
    // A refusal has said it of the limit that was reached.
    if !headers.contains_key(RATE_LIMIT) {
        tell_left(headers, Limit::RestRequests, quota.remaining, quota.reset_ms);
    }
}

/// A key's policy as text.
pub(crate) fn policy_text(quota: &Quota) -> String {
    let burst = quota.burst.max(1);
    let window = burst.div_ceil(quota.limit.max(1));
    format!("\"{}\";q={burst};w={window}", Limit::RestRequests.as_str())
}

/// Which pages of which origin may read an answer. No credentials: nothing a browser adds by itself is ever read.
enum Cors {
    /// No browser asks across origins.
    SameOrigin,
    /// Every page may.
    Any,
    /// This page may: the app lists its origin, or it is the dashboard.
    Listed(HeaderValue),
    /// The app lists origins, and not this one.
    Unlisted,
}

impl Cors {
    fn of(request: &Request<Body>, node: &Node) -> Self {
        let Some(origin) = request.headers().get(ORIGIN) else { return Self::SameOrigin };
        // What belongs to no app is public: the time, the SDK, the documents.
        let Some(app) = app_id(request.uri().path()).and_then(|id| node.app(id).ok()) else { return Self::Any };
        if app.origins.is_empty() {
            return Self::Any;
        }
        let listed = origin.to_str().is_ok_and(|origin| node.admits_origin(&app, origin));
        if listed { Self::Listed(origin.clone()) } else { Self::Unlisted }
    }

    fn allow(self, headers: &mut HeaderMap) {
        let origin = match self {
            Self::SameOrigin => return,
            Self::Any => HeaderValue::from_static("*"),
            Self::Listed(origin) => origin,
            Self::Unlisted => {
                headers.append(VARY, HeaderValue::from_static("origin"));
                return;
            }
        };
        headers.append(VARY, HeaderValue::from_static("origin"));
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("ratelimit, ratelimit-policy, retry-after, x-request-id");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }

    fn preflight(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.allow(headers);
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
            let named = HeaderValue::from_static("authorization, content-type, last-event-id");
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, named);
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
        response
    }
}
