//! The data plane's document: `/openapi.json` for machines, `/docs` for people.

use std::sync::OnceLock;

use axum::Json;
use axum::response::{Html, IntoResponse, Response};
use fanfare_api::reference::{self, CONTENT_SECURITY_POLICY};
use http::header::CONTENT_SECURITY_POLICY as CSP;
use utoipa::openapi::OpenApi;

fn document() -> &'static OpenApi {
    static DOCUMENT: OnceLock<OpenApi> = OnceLock::new();
    DOCUMENT.get_or_init(crate::openapi)
}

/// `GET /openapi.json`.
pub(crate) async fn openapi() -> Json<&'static OpenApi> {
    Json(document())
}

/// `GET /docs`.
pub(crate) async fn docs() -> Response {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| reference::page(document())).as_str();
    ([(CSP, CONTENT_SECURITY_POLICY), (http::header::X_CONTENT_TYPE_OPTIONS, "nosniff")], Html(page)).into_response()
}
