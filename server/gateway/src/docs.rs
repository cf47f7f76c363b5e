//! The data plane's documents: `/openapi.json` and `/asyncapi.yaml` for machines, `/docs` for people.

use std::sync::OnceLock;

use axum::Json;
use axum::response::{Html, IntoResponse, Response};
use fanfare_api::reference::{self, CONTENT_SECURITY_POLICY};
use http::header::{CONTENT_SECURITY_POLICY as CSP, CONTENT_TYPE};
use utoipa::openapi::OpenApi;

fn document() -> &'static OpenApi {
    static DOCUMENT: OnceLock<OpenApi> = OnceLock::new();
    DOCUMENT.get_or_init(crate::openapi)
}

/// `GET /openapi.json`.
pub(crate) async fn openapi() -> Json<&'static OpenApi> {
    Json(document())
}

/// `GET /asyncapi.yaml`: what is said over connections. A test of the protocol holds it to the code.
pub(crate) async fn asyncapi() -> Response {
    // RFC 9512.
    ([(CONTENT_TYPE, "application/yaml")], include_str!("../../../openapi/asyncapi.yaml")).into_response()
}

/// `GET /docs`.
pub(crate) async fn docs() -> Response {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| reference::page(document())).as_str();
    ([(CSP, CONTENT_SECURITY_POLICY), (http::header::X_CONTENT_TYPE_OPTIONS, "nosniff")], Html(page)).into_response()
}
