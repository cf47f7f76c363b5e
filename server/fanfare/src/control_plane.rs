//! The control plane's listener: open from the start, answering 503 until Postgres has been reached.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use fanfare_core::{ErrorCode, Problem};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::error;

use crate::away;

/// What a browser shows until the dashboard can be served. It asks again by itself.
const AWAY: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="3">
<meta name="color-scheme" content="light dark"><title>Fanfare is waiting for its database</title>
<style>body{font:16px/1.5 system-ui;max-width:34rem;margin:20vh auto;padding:0 1rem}</style>
<h1>Waiting for the database</h1><p>The control plane cannot reach Postgres yet. Apps that are known are served as
before. This page looks again every three seconds.</p></html>"#;

/// The plane, once there is one.
#[derive(Clone, Default)]
pub(crate) struct Plane(Arc<OnceLock<Router>>);

impl Plane {
    /// From now on this router answers.
    pub(crate) fn open(&self, router: Router) {
        // It is opened once, by whoever reaches Postgres.
        let _ = self.0.set(router);
    }
}

#[derive(Clone)]
struct Door {
    plane: Plane,
    away: Router,
}

/// Serves until told to stop, then until the last request is answered.
pub(crate) async fn serve(listener: TcpListener, plane: Plane, site: String, shutdown: CancellationToken) {
    let away = away::router(site, unreached);
    let router = Router::new().fallback(pass).with_state(Door { plane, away });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(failure) = axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned()).await {
        error!(error = %failure, "the control plane's listener ended");
    }
}

async fn pass(State(door): State<Door>, request: Request) -> Response {
    let router = match door.plane.0.get() {
        Some(router) => router.clone(),
        None if wants_page(request.headers()) => {
            let headers = [(header::RETRY_AFTER, "3"), (header::CACHE_CONTROL, "no-store")];
            return (StatusCode::SERVICE_UNAVAILABLE, headers, Html(AWAY)).into_response();
        }
        None => door.away,
    };
    router.oneshot(request).await.unwrap_or_else(|never| match never {})
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn unreached() -> Problem {
    Problem::new(ErrorCode::StorageUnavailable, "Postgres cannot be reached yet; nothing was changed.")
}
