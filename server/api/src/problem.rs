//! Errors as REST answers them: problem documents of RFC 9457.

use fanfare_core::id::{RequestId, RuleId};
use fanfare_core::permission::Layer;
use fanfare_core::{ErrorCode, FieldError, Limit, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// The content type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error. `code` is the contract, the rest helps people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDocument {
    /// The page of this code.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "http://localhost:8001/errors/rate_limited")]
    pub page: String,
    /// The code in one line.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What programs compare.
    #[schema(schema_with = schema::error_code)]
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
    #[schema(schema_with = schema::limit)]
    pub limit: Option<Limit>,
    /// The layer of permissions that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::layer)]
    pub layer: Option<Layer>,
    /// The ACL rule that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::rule_id)]
    pub rule: Option<RuleId>,
    /// The request, as found in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::request_id)]
    pub request_id: Option<RequestId>,
    /// Every wrong place of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<WrongPlace>)]
    pub errors: Vec<FieldError>,
}

/// One wrong place in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrongPlace {
    /// Where, as a JSON pointer into the body; `""` for the whole.
    #[schema(example = "/rules/0/pattern")]
    pub pointer: String,
    /// What is wrong there and what would be right.
    pub detail: String,
}

impl ProblemDocument {
    /// The document of a problem; `site` is the control plane's public URL, where the codes have their pages.
    #[must_use]
    pub fn new(problem: Problem, site: &str) -> Self {
        let Problem { code, detail, retryable, retry_after_ms, limit, layer, rule, request_id, errors } = problem;
        Self {
            page: format!("{}/errors/{code}", site.trim_end_matches('/')),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail,
            retryable,
            retry_after_ms,
            limit,
            layer,
            rule,
            request_id,
            errors,
        }
    }
}

impl From<ProblemDocument> for Problem {
    fn from(document: ProblemDocument) -> Self {
        let ProblemDocument { code, detail, retryable, retry_after_ms, limit, layer, rule, request_id, errors, .. } =
            document;
        Self { code, detail, retryable, retry_after_ms, limit, layer, rule, request_id, errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_its_problem_with_a_page_a_title_and_a_status() {
        let problem = Problem::of(ErrorCode::RateLimited).limit(Limit::RestRequests).retry_after_ms(20);
        let document = ProblemDocument::new(problem.clone(), "http://localhost:8001/");
        assert_eq!(document.page, "http://localhost:8001/errors/rate_limited");
        let mut json = serde_json::to_value(&document).expect("prints");
        let object = json.as_object_mut().expect("is an object");
        for added in ["type", "title", "status"] {
            assert!(object.remove(added).is_some(), "{added}");
        }
        assert_eq!(json, serde_json::to_value(&problem).expect("prints"));
        assert_eq!(Problem::from(document), problem);
    }
}
