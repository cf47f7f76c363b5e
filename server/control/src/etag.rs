//! Versions of documents that people edit: `ETag: "v7"` on the answer, `If-Match: "v7"` with the change.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use fanfare_core::{ErrorCode, Problem};
use http::request::Parts;
use http::{HeaderValue, header};
use serde::Serialize;

use crate::error::ControlError;

/// An answer with a version.
pub(crate) struct Versioned<T>(pub(crate) u64, pub(crate) T);

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let tag = HeaderValue::try_from(format!("\"v{}\"", self.0)).expect("a number is printable");
        ([(header::ETAG, tag)], Json(self.1)).into_response()
    }
}

/// The version that the change was made on.
pub(crate) struct IfMatch(pub(crate) u64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ControlError> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(ErrorCode::PreconditionRequired.into());
        };
        let version = value.to_str().ok().and_then(version);
        let unreadable =
            || Problem::new(ErrorCode::PreconditionFailed, "If-Match is not an ETag that was given out here.");
        Ok(Self(version.ok_or_else(unreadable)?))
    }
}

/// Exactly the form that is given out: no lists, no weak tags and no `*`, which would overwrite unseen.
fn version(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix("\"v")?.strip_suffix('"')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_etag_that_was_given_out_is_read() {
        assert_eq!(version("\"v12\""), Some(12));
        for bad in ["", "*", "v12", "12", "W/\"v12\"", "\"v12\", \"v13\"", "\"v\"", "\"v-1\"", "\"v+1\"", "\"12\""] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }
}
