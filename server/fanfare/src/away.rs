//! What a plane says while it cannot be served yet: a problem document that says when to come back.

use axum::Router;
use fanfare_api::server::{ApiProblem, Edge};
use fanfare_core::id::RequestId;
use fanfare_core::{Clock as _, Problem};
use fanfare_engine::SystemClock;
use rand::TryRng as _;
use rand::rngs::SysRng;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// When whoever was turned away may come back.
const RETRY_AFTER_MS: u64 = 2_000;

/// Answers every request with this problem.
pub(crate) fn router(site: String, problem: fn() -> Problem) -> Router {
    let clock = SystemClock::new();
    let next_id = move || {
        let (high, low) = (SysRng.try_next_u64().unwrap_or_default(), SysRng.try_next_u64().unwrap_or_default());
        RequestId::new(clock.unix_ms(), u128::from(high) << 64 | u128::from(low))
    };
    let answer = move || async move { ApiProblem::from(problem().retry_after_ms(RETRY_AFTER_MS)) };
    Edge::new(site, next_id).around(Router::new().fallback(answer))
}

/// Answers every request on this listener so, until told to stop.
pub(crate) async fn serve(listener: TcpListener, site: String, problem: fn() -> Problem, until: CancellationToken) {
    let served = axum::serve(listener, router(site, problem)).with_graceful_shutdown(until.cancelled_owned());
    if let Err(failure) = served.await {
        error!(error = %failure, "nobody can be told to come back later");
    }
}
