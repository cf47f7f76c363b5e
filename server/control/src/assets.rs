//! The dashboard's files, and its page for every path that is not something else.
//!
//! Debug builds read them from disk on each request, so that `cargo xtask dash` needs no new server; release builds
//! carry them. Files under `assets/` have a hash of their content in their names and are kept for ever; everything else
//! is asked for again each time.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use fanfare_api::server::ApiProblem;
use fanfare_core::{ErrorCode, Problem};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use rust_embed::{EmbeddedFile, RustEmbed};

/// What `cargo xtask dash` built.
#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../dashboard/dist"]
struct Dist;

const PAGE: &str = "index.html";
const DATA_PLANE: &str = "This is the control plane: paths under /v1 are the gateway's, which has another address.";
const MISSING: &str = include_str!("assets/missing.html");

/// Answers whatever no route answers.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.split('/').next() == Some("v1") {
        // Whoever took this plane's address for the other's must not be given a page.
        return ApiProblem::from(Problem::new(ErrorCode::NotFound, DATA_PLANE)).into_response();
    }
    if path == "api" || path.starts_with("api/") || !matches!(method, Method::GET | Method::HEAD) {
        return ApiProblem::from(ErrorCode::NotFound).into_response();
    }
    match file(path, &headers) {
        Some(found) => found,
        // A file that is not there is not there; any other path is a page of the single-page application.
        None if path.starts_with("assets/") => ApiProblem::from(ErrorCode::NotFound).into_response(),
        None => file(PAGE, &headers).unwrap_or_else(missing),
    }
}

fn file(path: &str, headers: &HeaderMap) -> Option<Response> {
    // The compressed twins are no files of their own.
    let plain = Dist::get(path).filter(|_| !path.is_empty() && !path.ends_with(".br"))?;
    let tag = etag(&plain);
    let caching = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let common = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|known| *known == tag) {
        return Some((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let kind = HeaderValue::try_from(plain.metadata.mimetype()).expect("media types are printable ASCII");
    let twin = takes_brotli(headers).then(|| Dist::get(&format!("{path}.br"))).flatten();
    let encoding = twin.is_some().then(|| [(header::CONTENT_ENCODING, HeaderValue::from_static("br"))]);
    let body = Body::from(twin.unwrap_or(plain).data.into_owned());
    let mut response = (common, [(header::CONTENT_TYPE, kind)], body).into_response();
    response.headers_mut().extend(encoding.into_iter().flatten());
    Some(response)
}

fn etag(file: &EmbeddedFile) -> HeaderValue {
    let hash: String = file.metadata.sha256_hash()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{hash}\"")).expect("hexadecimal digits are printable")
}

fn takes_brotli(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| {
        let (coding, weight) = one.split_once(';').unwrap_or((one, "q=1"));
        let refused = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok()) == Some(0.0_f32);
        coding.trim().eq_ignore_ascii_case("br") && !refused
    })
}

fn missing() -> Response {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    ([(header::CONTENT_TYPE, html)], MISSING).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_is_sent_to_whoever_takes_it() {
        for (value, takes) in [
            ("br", true),
            ("gzip, deflate, br, zstd", true),
            ("gzip, BR;q=0.8", true),
            ("br;q=0", false),
            ("gzip", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(takes_brotli(&headers), takes, "{value}");
        }
    }

    #[tokio::test]
    async fn what_is_no_page_is_a_problem_and_never_the_page() {
        for (method, path) in [
            (Method::GET, "/api/v1/nothing"),
            (Method::GET, "/api"),
            (Method::GET, "/v1/apps/app_0/socket"),
            (Method::POST, "/v1/apps/app_0/channels/demo:hello/messages"),
            (Method::GET, "/assets/dash-0.js"),
            (Method::POST, "/sign-in"),
            (Method::GET, "/assets/../../Cargo.toml"),
        ] {
            let answer = serve(method, Uri::from_static(path), HeaderMap::new()).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
            assert!(!answer.headers().contains_key(header::CONTENT_TYPE), "{path}: the edge writes the document");
        }
    }
}
