//! What both planes share on axum: request ids, problem documents as answers, strict JSON bodies.
//!
//! A handler answers an error with [`ApiProblem`]. The answer's body is written by [`Edge`], the outermost layer of
//! a plane: it alone knows the request's id and where the codes have their pages. It also turns whatever the
//! framework refused by itself (no such route, wrong method, a caught panic) into the same documents.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fanfare_core::id::RequestId;
use fanfare_core::{ErrorCode, Problem, json};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::problem::{PROBLEM_JSON, ProblemDocument};

/// The header that tells a request's id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The largest body of a request that says nothing else.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The outermost layer of a plane.
#[derive(Clone)]
pub struct Edge {
    site: Arc<str>,
    next_id: Arc<dyn Fn() -> RequestId + Send + Sync>,
}

impl fmt::Debug for Edge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Edge").field("site", &self.site).finish_non_exhaustive()
    }
}

impl Edge {
    /// An edge that points to error pages on `site`, the control plane's public URL, and takes ids from `next_id`.
    pub fn new(site: impl Into<Arc<str>>, next_id: impl Fn() -> RequestId + Send + Sync + 'static) -> Self {
        Self { site: site.into(), next_id: Arc::new(next_id) }
    }

    /// Puts the edge around a plane. Handlers find the [`RequestId`] in the request's extensions.
    pub fn around(self, router: Router) -> Router {
        router.layer(axum::middleware::from_fn_with_state(self, pass))
    }

    /// What the edge does to an answer, for one that is made outside of the router: writes the problem document that it
    /// tells, and the request's id.
    pub fn finish(&self, response: &mut Response, id: RequestId) {
        let told = response.extensions_mut().remove::<ApiProblem>();
        // Who told it may have set a more exact status than the code's own.
        let exact = told.as_ref().map(|_| response.status());
        if let Some(ApiProblem(mut problem)) = told.or_else(|| untold(response)) {
            problem.request_id = Some(id);
            *response.status_mut() = exact.unwrap_or_else(|| status(problem.code));
            write(response, *problem, &self.site);
        }
        let id = HeaderValue::try_from(id.to_string()).expect("ids are printable ASCII");
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
}

async fn pass(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let id = (edge.next_id)();
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    edge.finish(&mut response, id);
    response
}

/// What the framework refused by itself, as a problem.
fn untold(response: &Response) -> Option<ApiProblem> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let code = match status {
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ErrorCode::MethodNotAllowed,
        StatusCode::NOT_ACCEPTABLE => ErrorCode::NotAcceptable,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::MessageTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimited,
        StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ErrorCode::Overloaded
        }
        status if status.is_server_error() => ErrorCode::Internal,
        _ => ErrorCode::InvalidRequest,
    };
    Some(ApiProblem::from(Problem::of(code)))
}

fn write(response: &mut Response, problem: Problem, site: &str) {
    let status = response.status().as_u16();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.remove(header::CONTENT_LENGTH);
    if problem.code == ErrorCode::MessageTooLarge {
        // The rest of the body may be unread, and the connection ends with it: say so, or a client puts its next
        // request on a connection that is about to close.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(wait) = problem.retry_after_ms {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.div_ceil(1_000)));
    }
    let document = ProblemDocument { status, ..ProblemDocument::new(problem, site) };
    let body = serde_json::to_vec(&document).expect("a document is made of texts");
    *response.body_mut() = Body::from(body);
}

fn status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).expect("the table holds statuses")
}

/// An error as a handler answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiProblem(pub Box<Problem>);

impl From<Problem> for ApiProblem {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<ErrorCode> for ApiProblem {
    fn from(code: ErrorCode) -> Self {
        Self::from(Problem::of(code))
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let mut response = status(self.0.code).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A body that is JSON by the rules of [`json::check`] and has exactly the fields of `T`.
#[derive(Debug, Clone, Copy)]
pub struct StrictJson<T>(pub T);

impl<T: DeserializeOwned + Serialize, S: Send + Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiProblem> {
        let bytes = json_body(request, BODY_BYTES_MAX).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// Reads a body that says it is JSON and has at most so many bytes.
///
/// # Errors
/// When its type is another, or it is larger, or the client went away.
pub async fn json_body(request: Request, bytes_max: usize) -> Result<bytes::Bytes, ApiProblem> {
    require(request.headers(), &["application/json"])?;
    whole_body(request, bytes_max).await
}

/// Reads a body of lines of JSON that has at most so many bytes.
///
/// # Errors
/// When it says it is something else, has more bytes, or breaks off.
pub async fn json_lines_body(request: Request, bytes_max: usize) -> Result<bytes::Bytes, ApiProblem> {
    require(request.headers(), &["application/x-ndjson", "application/json"])?;
    whole_body(request, bytes_max).await
}

/// What is read of a body beyond its bound, and dropped: whoever still writes when the connection ends may never read why
/// (RFC 9112 §9.6).
const DROPPED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long that may take.
const DROPPED_WITHIN: Duration = Duration::from_secs(1);

async fn whole_body(request: Request, bytes_max: usize) -> Result<bytes::Bytes, ApiProblem> {
    let too_large = || {
        let detail = format!("The body has more than {bytes_max} bytes.");
        ApiProblem::from(Problem::new(ErrorCode::MessageTooLarge, detail))
    };
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    // Whoever waits to be told to go on writes nothing, and must not be told so.
    let waits = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    if declared.is_some_and(|bytes: usize| bytes > bytes_max) {
        if !waits {
            drop_rest(&mut body).await;
        }
        return Err(too_large());
    }
    match Limited::new(&mut body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drop_rest(&mut body).await;
            Err(too_large())
        }
        Err(_) => Err(Problem::new(ErrorCode::InvalidRequest, "The body ended before it was complete.").into()),
    }
}

/// Reads on, a bounded part, for nothing.
async fn drop_rest(body: &mut Body) {
    let mut dropped = 0;
    let rest = async {
        while dropped < DROPPED_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            dropped += frame.data_ref().map_or(0, bytes::Bytes::len);
        }
    };
    // What does not come in time is not waited for.
    let _ = timeout(DROPPED_WITHIN, rest).await;
}

fn require(headers: &HeaderMap, accepted: &[&str]) -> Result<(), ApiProblem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim();
    if accepted.iter().any(|accepted| media.eq_ignore_ascii_case(accepted)) {
        return Ok(());
    }
    let detail = format!("The body is read as JSON only: send it with `Content-Type: {}`.", accepted[0]);
    Err(Problem::new(ErrorCode::UnsupportedMediaType, detail).into())
}

/// Reads strict JSON into a type; the error points to the wrong place. Objects are objects: serde would also take an
/// array of a type's fields in their order, which nothing documents, so that is refused by how the type prints.
///
/// # Errors
/// When the bytes are no strict JSON, or not of this type.
pub fn parse<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, ApiProblem> {
    json::check(bytes).map_err(|error| Problem::new(ErrorCode::InvalidJson, format!("Reading stopped: {error}.")))?;
    let read = read(bytes)?;
    if bytes.contains(&b'[')
        && let (Ok(sent), Ok(meant)) = (serde_json::from_slice(bytes), serde_json::to_value(&read))
        && let Some(place) = array_for_object(&sent, &meant)
    {
        return Err(wrong_place(place, "invalid type: sequence, expected an object"));
    }
    Ok(read)
}

fn wrong_place(pointer: String, text: &str) -> ApiProblem {
    let detail = "The body is not what this operation takes; `errors` says where.";
    Problem::new(ErrorCode::InvalidRequest, detail).at(pointer, text).into()
}

/// The first place at which an array was sent for what prints as an object.
fn array_for_object(sent: &Value, meant: &Value) -> Option<String> {
    let inside = |name: &str, sent, meant| Some(format!("{}{}", step(name), array_for_object(sent, meant)?));
    match (sent, meant) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(sent), Value::Array(meant)) => {
            let mut pairs = sent.iter().zip(meant).enumerate();
            pairs.find_map(|(at, (sent, meant))| inside(&at.to_string(), sent, meant))
        }
        (Value::Object(sent), Value::Object(meant)) => {
            sent.iter().find_map(|(name, sent)| inside(name, sent, meant.get(name)?))
        }
        _ => None,
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiProblem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let mut pointer = pointer(error.path());
        let text = error.into_inner().to_string();
        let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
        // How we call our types is not for outside.
        let plain = text.split_once("expected struct ").map(|(text, _)| format!("{text}expected an object"));
        let text = plain.as_deref().unwrap_or(text);
        // serde tells these two at the object; the field itself is the better place.
        for prefix in ["missing field `", "unknown field `"] {
            let field = text.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
            if let Some(step) = field.map(step).filter(|step| !pointer.ends_with(&**step)) {
                pointer.push_str(&step);
            }
        }
        wrong_place(pointer, text)
    })
}

fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => step(key),
            Segment::Enum { variant } => step(variant),
            Segment::Unknown => String::new(),
        })
        .collect()
}

/// Query parameters with exactly the fields of `T`.
#[derive(Debug, Clone, Copy)]
pub struct StrictQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiProblem> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        read.map(|Query(query)| Self(query)).map_err(|error| {
            let text = error.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Problem::new(ErrorCode::InvalidRequest, format!("The query is not what this operation takes: {text}."))
                .into()
        })
    }
}

/// Whether a limit's number fits a query's `limit`, and the default where none is given.
///
/// # Errors
/// When it is 0 or over the bound.
pub fn page_limit(asked: Option<u32>, default: u32, max: u32) -> Result<u32, ApiProblem> {
    match asked {
        None => Ok(default),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(Problem::new(ErrorCode::InvalidRequest, format!("`limit` is 1 to {max}, not {limit}.")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::ReplaceAcl;

    fn wrong(body: &str) -> (ErrorCode, String) {
        let ApiProblem(problem) = parse::<ReplaceAcl>(body.as_bytes()).expect_err(body);
        (problem.code, problem.errors.first().map(|error| error.pointer.clone()).unwrap_or_default())
    }

    #[test]
    fn the_wrong_place_of_a_body_is_named() {
        let rule = r#""pattern":"a","who":"everyone","effect":"allow""#;
        let cases = [
            (r#"{"rules":[],"ruels":[]}"#.to_owned(), "/ruels"),
            ("{}".to_owned(), "/rules"),
            (r#"{"rules":7}"#.to_owned(), "/rules"),
            (format!(r#"{{"rules":[{{{rule}}}]}}"#), "/rules/0/operations"),
            (format!(r#"{{"rules":[{{{rule},"operations":["fly"]}}]}}"#), "/rules/0/operations/0"),
            (format!(r#"{{"rules":[{{{rule},"operations":[],"a/b":1}}]}}"#), "/rules/0/a~1b"),
            (r#"{"rules":[{"pattern":"a b"}]}"#.to_owned(), "/rules/0/pattern"),
            ("[]".to_owned(), ""),
            ("[[]]".to_owned(), ""),
            (r#"{"rules":[[null,"a","everyone",["publish"],"allow"]]}"#.to_owned(), "/rules/0"),
            (format!(r#"{{"rules":[{{{rule},"operations":["publish"]}},[]]}}"#), "/rules/1"),
        ];
        for (body, place) in cases {
            assert_eq!(wrong(&body), (ErrorCode::InvalidRequest, place.to_owned()), "{body}");
        }
    }

    #[test]
    fn types_are_not_called_by_their_names_in_here() {
        for body in ["[]", "7", r#"{"rules":[7]}"#] {
            let ApiProblem(problem) = parse::<ReplaceAcl>(body.as_bytes()).expect_err(body);
            assert!(problem.errors[0].detail.ends_with("expected an object"), "{problem:?}");
        }
    }

    #[test]
    fn what_is_not_strict_json_is_told_apart() {
        for body in ["", "{", r#"{"rules":[],"rules":[]}"#, r#"{"rules":[]} x"#] {
            assert_eq!(wrong(body).0, ErrorCode::InvalidJson, "{body}");
        }
    }

    #[test]
    fn only_the_type_json_is_json() {
        for (value, good) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(require(&headers, &["application/json"]).is_ok(), good, "{value}");
        }
    }
}
