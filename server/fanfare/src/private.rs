//! The private listener: whether the process lives, whether it can take work, and its numbers.
//!
//! It has no password and must not be reachable from outside. `/ready` answers 503 only where sending clients elsewhere
//! would help. That Postgres is away does not: every node would go not ready at once, and known apps are served as
//! before. It is said in `degraded`, and counted.

mod metrics;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fanfare_broker_redis::RedisBroker;
use fanfare_engine::{Membership, Node, NodeInfo};
use fanfare_store::Store;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::metrics::Metrics;
use crate::config::Role;
use crate::feed::FeedStatus;
use crate::figures::FiguresStatus;
use crate::jwks::JwksStatus;

/// A node that has heard nothing of apps for this long says so.
const SILENT_MAX: Duration = Duration::from_secs(5);
/// Clocks further apart than this judge tokens differently: valid ones are refused, and ended ones taken. Which of both is
/// wrong cannot be told from here, but a node that agrees with Postgres serves better. Where none does, balancers go on
/// with what they have, and somebody is told.
const SKEW_MS_MAX: i64 = 5_000;
const PING_WITHIN: Duration = Duration::from_secs(1);

/// What the listener looks at.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) role: Role,
    /// The data plane, once it takes connections.
    pub(crate) node: Arc<OnceLock<Arc<Node>>>,
    pub(crate) feed: Arc<FeedStatus>,
    pub(crate) figures: Arc<FiguresStatus>,
    pub(crate) jwks: Arc<JwksStatus>,
    /// The broker over Redis, where there is one.
    pub(crate) redis: Arc<OnceLock<Arc<RedisBroker>>>,
    pub(crate) store: watch::Receiver<Option<Store>>,
    pub(crate) stopping: CancellationToken,
}

/// Whether work should be sent here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Readiness {
    /// Why not.
    reasons: Vec<String>,
    /// What is not as it should be, though work can be sent.
    degraded: Vec<String>,
}

/// Serves until told to stop.
pub(crate) async fn serve(listener: TcpListener, health: Health, shutdown: CancellationToken) {
    let registry = Arc::new(registry(&health));
    let router = Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/nodes", get(nodes))
        .with_state(health)
        .route("/metrics", get(async move || scraped(&registry)));
    if let Err(failure) = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await {
        error!(error = %failure, "the private listener ended");
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let readiness = health.readiness().await;
    let ready = readiness.reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ready": ready, "reasons": readiness.reasons, "degraded": readiness.degraded});
    (status, Json(body)).into_response()
}

/// All nodes, as any of them that serves clients knows them.
async fn nodes(State(health): State<Health>) -> Response {
    let Some(node) = health.node.get() else {
        let reason = if health.role.has_gateway() { "the node does not serve clients yet" } else { "ask a gateway" };
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "reason": reason }))).into_response();
    };
    let Membership { nodes, missing } = node.nodes().await;
    let told = |(info, is_this): (NodeInfo, bool)| {
        let mut told = json!(info);
        told["this"] = is_this.into();
        told
    };
    let nodes: Vec<_> = nodes.into_iter().map(told).collect();
    Json(json!({ "nodes": nodes, "missing_nodes": missing })).into_response()
}

impl Health {
    async fn readiness(&self) -> Readiness {
        let mut readiness = Readiness::default();
        if self.stopping.is_cancelled() {
            readiness.reasons.push("the process is stopping".to_owned());
        }
        if self.role.has_gateway() {
            self.gateway(&mut readiness);
        }
        if self.role.has_control() && !self.has_postgres().await {
            let told = "the control plane cannot reach Postgres".to_owned();
            // Alone, it has nothing to offer then.
            if self.role.has_gateway() { readiness.degraded.push(told) } else { readiness.reasons.push(told) }
        }
        readiness
    }

    fn gateway(&self, readiness: &mut Readiness) {
        let Some(node) = self.node.get() else {
            readiness
                .reasons
                .push("no app is known: Postgres has not been reached, and there is no snapshot".to_owned());
            return;
        };
        if node.is_draining() {
            readiness.reasons.push("the node is draining".to_owned());
        }
        let silent = self.feed.silent_for();
        if silent > SILENT_MAX {
            readiness.degraded.push(format!("nothing has been heard of changes for {} s", silent.as_secs()));
        }
        let skew_ms = self.feed.skew_ms();
        if skew_ms.abs() >= SKEW_MS_MAX {
            readiness
                .reasons
                .push(format!("this machine's clock and Postgres's are {} s apart", skew_ms.abs() / 1_000));
        }
        if self.redis.get().is_some_and(|redis| !redis.health().is_up) {
            // Whoever connects here would hear nothing of what is published.
            readiness.reasons.push("Redis does not tell this node of messages".to_owned());
        }
        if self.feed.snapshot_fails() {
            readiness.degraded.push("the snapshot of apps cannot be written; the one before is kept".to_owned());
        }
        if !node.directory().is_complete() {
            readiness.degraded.push("only the apps of the snapshot are known".to_owned());
        }
    }

    async fn has_postgres(&self) -> bool {
        let store = self.store.borrow().clone();
        match store {
            Some(store) => timeout(PING_WITHIN, store.ping()).await.is_ok_and(|answer| answer.is_ok()),
            None => false,
        }
    }
}

fn scraped(registry: &Registry) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn registry(health: &Health) -> Registry {
    let mut registry = Registry::with_prefix("fanfare");
    registry.register_collector(Box::new(Metrics {
        node: Arc::clone(&health.node),
        feed: Arc::clone(&health.feed),
        figures: Arc::clone(&health.figures),
        jwks: Arc::clone(&health.jwks),
        redis: Arc::clone(&health.redis),
    }));
    registry
}
