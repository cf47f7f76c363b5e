//! The control plane's HTTP: sign-up and sessions, tenants' apps and keys, access, settings, limits, audit, and the
//! dashboard's files.
//!
//! Start with the table of contents, `operations` in this file: each line is an operation, declared once for
//! the router and the OpenAPI document. A resource is a file under `routes/`: documents, checks, handlers, tests.
//! `access.rs` says who may call what: a handler's arguments are its permissions.
//!
//! ```text
//! Edge (request id, problem documents) → headers → trace → panics → timeout → CSRF → limit on attempts → handler
//!   handler: access (session → member → tenant or app → role) → body → checks → store → view
//! ```
//!
//! What must never happen here: SQL (that is the store's), anything of the data plane (engine, broker: they hear of
//! changes through the store's feed), a rule about who may do what on a channel (that is the core's), a secret in a log
//! or in a second answer.

mod access;
mod assets;
mod chance;
mod check;
mod cookie;
mod csrf;
mod document;
mod error;
mod etag;
mod hasher;
mod headers;
mod idempotency;
mod limiter;
mod options;
mod page;
mod password;
mod proxy;
mod routes;
mod state;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use fanfare_api::reference;
use fanfare_api::server::{ApiProblem, Edge};
use fanfare_core::ErrorCode;
use fanfare_core::id::RequestId;
use http::{HeaderValue, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

pub use csrf::dashboard_origins;
pub use options::{Options, Rate};
pub use proxy::{Network, NetworkError};
pub use state::{Control, Setup};

use routes::{acl, apps, audit, inspector, issuers, keys, limits, live, sessions, settings, sign_up, statistics};

/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Every operation.
fn operations(options: &Options) -> OpenApiRouter<Control> {
    let (signing_up, signing_in) = (options.sign_up, options.sign_in);
    OpenApiRouter::with_openapi(document::base())
        .routes(routes!(sign_up::sign_up).map(|route| limiter::limited(route, signing_up, options)))
        .routes(routes!(sign_up::welcome).map(|route| limiter::limited(route, signing_in, options)))
        .routes(routes!(sessions::sign_in).map(|route| limiter::limited(route, signing_in, options)))
        .routes(routes!(sessions::sign_out))
        .routes(routes!(sessions::get))
        .routes(routes!(apps::list, apps::create))
        .routes(routes!(apps::get, apps::update))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::update))
        .routes(routes!(keys::revoke))
        .routes(routes!(issuers::list, issuers::create))
        .routes(routes!(issuers::get, issuers::update, issuers::delete))
        .routes(routes!(acl::get, acl::replace))
        .routes(routes!(acl::versions::list))
        .routes(routes!(acl::versions::get))
        .routes(routes!(acl::versions::restore))
        .routes(routes!(acl::explain::post))
        .routes(routes!(acl::dry_run::post))
        .routes(routes!(settings::get, settings::replace))
        .routes(routes!(limits::get, limits::lower))
        .routes(routes!(statistics::get))
        .routes(routes!(statistics::usage))
        .routes(routes!(live::create))
        .routes(routes!(inspector::look))
        .routes(routes!(inspector::act))
        .routes(routes!(audit::list))
}

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> OpenApi {
    document::complete(operations(&Options::default()).into_openapi())
}

/// The whole plane, ready to be served. The server has to tell peers' addresses
/// (`into_make_service_with_connect_info::<SocketAddr>`); without them all clients share the limits on attempts.
pub fn router(control: Control) -> Router {
    let (operations, document) = operations(control.options()).split_for_parts();
    let document = Arc::new(document::complete(document));
    let page: Arc<str> = reference::page(&document).into();
    let site = control.public_url();
    let clock = control.clone();
    let plane = operations
        .layer(from_fn_with_state(control.clone(), csrf::guard))
        .route("/openapi.json", get(async move || axum::Json(OpenApi::clone(&document))))
        .route("/docs", get(async move || docs(&page)))
        .fallback(assets::serve)
        .with_state(control.clone())
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(
            // Only the span: what there is to say of a request is said once, where it is handled.
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_request(())
                .on_response(())
                .on_body_chunk(())
                .on_eos(())
                .on_failure(()),
        )
        .layer(from_fn_with_state(control, headers::secure));
    Edge::new(site, move || RequestId::new(clock.unix_ms(), chance::id_bits())).around(plane)
}

fn docs(page: &str) -> Response {
    let policy = HeaderValue::from_static(reference::CONTENT_SECURITY_POLICY);
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page.to_owned())).into_response()
}

fn span(request: &Request) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().map(tracing::field::debug);
    tracing::info_span!("control", id, method = %request.method(), path = request.uri().path())
}

fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
    tracing::error!(panic = text, "a handler panicked");
    ApiProblem::from(ErrorCode::Internal).into_response()
}
