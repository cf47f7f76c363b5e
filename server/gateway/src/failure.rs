//! How a request fails: every error of this plane becomes an [`ApiProblem`] here.

use axum::response::{IntoResponse, Response};
use fanfare_api::server::ApiProblem;
use fanfare_core::channel::NameError;
use fanfare_core::{ErrorCode, Problem};
use fanfare_engine::NodeError;

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
        self.0.into_response()
    }
}

/// What is wrong with a channel's name, in the words of the name's own error.
pub(crate) fn name_problem(error: &NameError) -> Problem {
    Problem::new(ErrorCode::InvalidChannel, format!("The channel is not valid: {error}."))
}
