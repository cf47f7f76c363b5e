//! What went wrong, as told outside: the same object on REST (RFC 9457, with `type`, `title` and `status` added there)
//! and on sockets.

use serde::{Deserialize, Serialize};

use crate::codes::ErrorCode;
use crate::id::{RequestId, RuleId};
use crate::limits::Limit;
use crate::permission::{Layer, Refusal};

/// One wrong place in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where, as a JSON pointer (RFC 6901) into the body or command; `""` for the whole.
    pub pointer: String,
    /// What is wrong there and what would be right.
    pub detail: String,
}

/// An error as told outside. The code is the contract, the rest helps people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What programs compare.
    pub code: ErrorCode,
    /// What happened this time, in a sentence.
    pub detail: String,
    /// Whether the same again may succeed later.
    pub retryable: bool,
    /// How long to wait before, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The limit that was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The layer of permissions that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
    /// The ACL rule that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The request, as found in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Every wrong place of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem with a code and what happened this time.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retryable: code.is_retryable(),
            retry_after_ms: None,
            limit: None,
            layer: None,
            rule: None,
            request_id: None,
            errors: Vec::new(),
        }
    }

    /// A problem with its code's title as the detail.
    #[must_use]
    pub fn of(code: ErrorCode) -> Self {
        Self::new(code, code.title())
    }

    /// One wrong place: also becomes the detail when it is the first.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// When to come back.
    #[must_use]
    pub const fn retry_after_ms(mut self, wait: u64) -> Self {
        self.retry_after_ms = Some(wait);
        self
    }

    /// The limit that was reached.
    #[must_use]
    pub const fn limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { layer: Some(refusal.layer()), rule: refusal.rule(), ..Self::new(refusal.code(), format!("{refusal}.")) }
    }
}
