//! What a call can end with instead of its answer.

use fanfare_api::ProblemDocument;
use fanfare_core::{ErrorCode, Problem};

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ApiError {
    /// The server answered with a problem document.
    Problem(Box<ProblemDocument>),
    /// The server cannot be reached.
    Unreachable,
    /// The gateway cannot be reached, or a proxy before it keeps this page from reading its answers.
    GatewayUnreachable,
    /// Something answered, but not in the API's words: a proxy's page, or a newer server.
    Unreadable {
        /// The HTTP status.
        status: u16,
    },
}

impl ApiError {
    /// One line.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Problem(problem) => problem.title.clone(),
            Self::Unreachable => "The server cannot be reached".to_owned(),
            Self::GatewayUnreachable => "The gateway cannot be reached".to_owned(),
            Self::Unreadable { .. } => "The answer could not be read".to_owned(),
        }
    }

    /// What happened, in a sentence.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Problem(problem) => problem.detail.clone(),
            Self::Unreachable => {
                "No answer came from the control plane: it may be restarting, or this device is offline.".to_owned()
            }
            Self::GatewayUnreachable => "No answer came from the gateway, which knows who is connected: it may be restarting, this device is offline, or a proxy before it keeps this page out.".to_owned(),
            Self::Unreadable { status } => format!(
                "Status {status} came without a problem document. A proxy may have answered, or the server was updated: reload the page."
            ),
        }
    }

    /// The code, where the server gave one.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            Self::Unreachable | Self::GatewayUnreachable | Self::Unreadable { .. } => None,
        }
    }

    /// The HTTP status, where there was an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            Self::Unreadable { status } => Some(*status),
            Self::Unreachable | Self::GatewayUnreachable => None,
        }
    }

    /// The request, as found in the server's logs.
    pub(crate) fn request_id(&self) -> Option<String> {
        match self {
            Self::Problem(problem) => problem.request_id.map(|id| id.to_string()),
            Self::Unreachable | Self::GatewayUnreachable | Self::Unreadable { .. } => None,
        }
    }

    /// What is wrong at this place of the request.
    pub(crate) fn at(&self, pointer: &str) -> Option<String> {
        match self {
            Self::Problem(problem) => {
                problem.errors.iter().find(|place| place.pointer == pointer).map(|place| place.detail.clone())
            }
            Self::Unreachable | Self::GatewayUnreachable | Self::Unreadable { .. } => None,
        }
    }

    /// Whether something is wrong at this place of the request or inside it.
    pub(crate) fn is_below(&self, pointer: &str) -> bool {
        match self {
            Self::Problem(problem) => problem.errors.iter().any(|place| place.pointer.starts_with(pointer)),
            Self::Unreachable | Self::GatewayUnreachable | Self::Unreadable { .. } => false,
        }
    }

    /// What a form finds wrong before it asks the server.
    pub(crate) fn local(problem: Problem) -> Self {
        Self::Problem(Box::new(ProblemDocument::new(problem, "")))
    }

    /// The same about a part of the request, so that its fields are found by their own names.
    pub(crate) fn below(&self, pointer: &str) -> Self {
        let mut error = self.clone();
        if let Self::Problem(problem) = &mut error {
            for place in &mut problem.errors {
                if let Some(rest) = place.pointer.strip_prefix(pointer) {
                    place.pointer = rest.to_owned();
                }
            }
        }
        error
    }

    /// Whether nothing is wrong with the request: the server, or what it stores in, is away.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            Self::Problem(problem) => problem.code == ErrorCode::StorageUnavailable,
            Self::Unreachable | Self::GatewayUnreachable => true,
            Self::Unreadable { status } => matches!(status, 502..=504),
        }
    }
}
