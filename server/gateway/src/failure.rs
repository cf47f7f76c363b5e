//! How a request fails: every error of this plane becomes an [`ApiProblem`] here.

use axum::response::{IntoResponse, Response};
use fanfare_api::server::ApiProblem;
use fanfare_core::channel::NameError;
use fanfare_core::{ErrorCode, Limit, Problem};
use fanfare_engine::NodeError;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A request that fails, with what is told outside.
#[derive(Debug)]
pub(crate) struct Failure(ApiProblem);

impl From<ApiProblem> for Failure {
    fn from(problem: ApiProblem) -> Self {
        Self(problem)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem.into())
    }
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self(ApiProblem(problem))
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self(code.into())
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        Self(error.problem().into())
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        name_problem(&error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Problem { limit, retry_after_ms, .. } = *self.0.0;
        let mut response = self.0.into_response();
        if let (Some(limit), Some(wait_ms)) = (limit, retry_after_ms) {
            tell_left(response.headers_mut(), limit, 0, wait_ms);
        }
        response
    }
}

/// draft-ietf-httpapi-ratelimit-headers-11: how many more may come now, and when all of the policy's may again.
pub(crate) fn tell_left(headers: &mut HeaderMap, limit: Limit, left: u64, reset_ms: u64) {
    let text = left_text(limit, left, reset_ms);
    let value = HeaderValue::try_from(text).expect("names and numbers are a header's value");
    headers.insert(HeaderName::from_static("ratelimit"), value);
}

/// The same as text.
pub(crate) fn left_text(limit: Limit, left: u64, reset_ms: u64) -> String {
    format!("\"{}\";r={left};t={}", limit.as_str(), reset_ms.div_ceil(1_000))
}

/// What is wrong with a channel's name, in the words of the name's own error.
pub(crate) fn name_problem(error: &NameError) -> Problem {
    Problem::new(ErrorCode::InvalidChannel, format!("The channel is not valid: {error}."))
}
