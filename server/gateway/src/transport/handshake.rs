//! The request that asks for a WebSocket, and its answers, as HTTP messages.

use axum::body::Body;
use fanfare_protocol::websocket::handshake::{Accepted, HandshakeError, Spoken, accept};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};

/// Judges a request.
///
/// # Errors
/// The first rule of RFC 6455 §4.2 that it breaks.
pub fn judge<'a, B>(request: &'a Request<B>, spoken: Spoken<'_>) -> Result<Accepted<'a>, HandshakeError> {
    let version = if request.version() == Version::HTTP_11 { "HTTP/1.1" } else { "" };
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    accept(request.method().as_str(), version, headers.into_iter(), spoken)
}

/// The answer that turns the connection into a WebSocket.
///
/// # Panics
/// Never: the headers of an acceptance are words and base64.
#[must_use]
pub fn switching(accepted: &Accepted<'_>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in accepted.headers() {
        let value = HeaderValue::from_str(&value).expect("words and base64 are a header's value");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

/// Gives a refusal its status, and the headers that tell the client what would be right.
///
/// # Panics
/// Never: the table holds statuses.
pub fn explain(error: &HandshakeError, response: &mut Response<Body>) {
    *response.status_mut() = StatusCode::from_u16(error.status()).expect("the table holds statuses");
    for (name, value) in error.headers() {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
