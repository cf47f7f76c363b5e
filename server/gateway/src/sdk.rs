//! `GET /sdk/v1.js`: the browser SDK as one module, embedded in the binary.

use std::fmt::Write as _;

use axum::response::{IntoResponse, Response};
use fanfare_core::{ErrorCode, Problem};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use rust_embed::Embed;

use crate::failure::Failure;

#[derive(Embed)]
#[folder = "$CARGO_MANIFEST_DIR/../../clients/typescript/dist"]
struct Sdk;

/// Serves the SDK. Its name stays when it changes, so browsers ask each time whether it did.
pub(crate) async fn sdk(headers: HeaderMap) -> Result<Response, Failure> {
    let file = Sdk::get("v1.js").ok_or_else(|| {
        Problem::new(ErrorCode::NotFound, "The SDK is not in this build: `cargo xtask sdk` builds it.")
    })?;
    let mut tag = String::from("\"");
    for byte in &file.metadata.sha256_hash()[..16] {
        write!(tag, "{byte:02x}").expect("writing to a text does not fail");
    }
    tag.push('"');
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|value| value.as_bytes() == tag.as_bytes());
    let tag = HeaderValue::try_from(tag).expect("hexadecimal digits are a header's value");
    let common = [
        (ETAG, tag),
        (CACHE_CONTROL, HeaderValue::from_static("public, no-cache")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let script = HeaderValue::from_static("text/javascript; charset=utf-8");
    Ok((common, [(CONTENT_TYPE, script)], file.data).into_response())
}
