//! What goes wrong in the control plane, and the one place where it becomes an answer.

use axum::response::{IntoResponse, Response};
use fanfare_api::server::ApiProblem;
use fanfare_core::{ErrorCode, Problem};
use fanfare_store::{Conflict, StoreError};

/// What is said while Postgres is away.
const AWAY: &str = "The database cannot be reached just now. Connections and publishing of known apps go on; changes must wait for it.";

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// Something to tell whoever asked.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many passwords wait to be hashed.
    #[error("too many passwords wait to be hashed")]
    HashingBusy,
    /// A defect: something that cannot fail did.
    #[error("{0}")]
    Defect(&'static str),
}

impl From<Problem> for ControlError {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<ErrorCode> for ControlError {
    fn from(code: ErrorCode) -> Self {
        Self::from(Problem::of(code))
    }
}

impl From<ApiProblem> for ControlError {
    fn from(ApiProblem(problem): ApiProblem) -> Self {
        Self::Refused(problem)
    }
}

impl ControlError {
    /// What is told outside.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => Problem::clone(problem),
            Self::Store(error) => store_problem(error),
            Self::HashingBusy => {
                let detail = "Too many people sign up or in just now.";
                Problem::new(ErrorCode::Overloaded, detail).retry_after_ms(2_000)
            }
            Self::Defect(_) => Problem::of(ErrorCode::Internal),
        }
    }
}

fn store_problem(error: &StoreError) -> Problem {
    let told = |code| Problem::new(code, sentence(&error.to_string()));
    match error {
        StoreError::NotFound => Problem::of(ErrorCode::NotFound),
        StoreError::Stale { .. } => told(ErrorCode::PreconditionFailed),
        StoreError::Conflict(Conflict::EmailTaken) => told(ErrorCode::SignUpRefused).at("/email", "has an account"),
        StoreError::Conflict(Conflict::AppNameTaken) => told(ErrorCode::Conflict).at("/name", "is taken"),
        StoreError::Conflict(Conflict::KeyRevoked | Conflict::PasswordChanged) => told(ErrorCode::Conflict),
        StoreError::Full { .. } => told(ErrorCode::LimitReached),
        StoreError::UnknownRule { index } => {
            told(ErrorCode::InvalidRequest).at(format!("/rules/{index}/id"), "is no rule of this app")
        }
        StoreError::InvalidCursor | StoreError::NotStorable => told(ErrorCode::InvalidRequest),
        StoreError::IdempotencyReused => told(ErrorCode::IdReused),
        StoreError::IdempotencyBusy => Problem { retryable: true, ..told(ErrorCode::Conflict) }.retry_after_ms(1_000),
        StoreError::Unavailable(_) => Problem::new(ErrorCode::StorageUnavailable, AWAY).retry_after_ms(1_000),
        StoreError::AnswerTooLarge { .. }
        | StoreError::NotPrintable(_)
        | StoreError::Role { .. }
        | StoreError::Url(_)
        | StoreError::Schema { .. }
        | StoreError::Migrate(_)
        | StoreError::Seal { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Database(_) => Problem::of(ErrorCode::Internal),
    }
}

/// Starts with a capital and ends with a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

impl IntoResponse for ControlError {
    /// The inside story goes to the log here and nowhere else; the span has the request's id.
    fn into_response(self) -> Response {
        let problem = self.problem();
        match problem.code {
            ErrorCode::Internal => tracing::error!(error = %self, "a request failed by a defect"),
            ErrorCode::StorageUnavailable => tracing::warn!(error = %self, "storage is away"),
            _ => tracing::debug!(code = %problem.code, "refused"),
        }
        ApiProblem::from(problem).into_response()
    }
}
