//! The data plane's doors: REST for backends, WebSockets for clients, and what both need to be found.
//!
//! Start with [`serve`] and the table of routes below it. A request comes through [`transport::listener`] (accept, TLS,
//! HTTP), the edge (`edge.rs`: origins, quotas; `fanfare_api::server`: request ids, problem documents), an extractor that
//! proves who calls (`caller.rs`), and one file per resource. No rule lives in a handler: it reads the request, calls the
//! [`Node`], and writes the answer.
//!
//! A request for a socket (`socket.rs`) leaves HTTP behind: the listener takes the bare stream back, with whatever came
//! right behind the request, and [`transport::websocket`] carries it into the node, over TCP or TLS, without a buffer
//! while nothing comes and without a task of its own for writing.
//!
//! What this crate must never do: read a cookie, look at anything of a tenant's before the app of the path is known,
//! wait for a client without a deadline or keep anything of it without a bound, know how a frame is encoded outside of
//! [`transport::websocket`].

mod batch;
mod body;
mod caller;
mod carried;
mod channels;
mod connections;
mod context;
mod direct;
mod disconnect;
mod docs;
mod edge;
mod failure;
mod history;
mod messages;
mod metrics;
mod options;
mod path;
mod presence;
mod publish;
mod refusal;
mod revocations;
mod sdk;
mod socket;
mod sse;
mod tickets;
mod time;
mod tokens;
pub mod transport;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use fanfare_api::server::Edge;
use fanfare_engine::Node;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::context::Context;
use crate::edge::Gateway;
use crate::refusal::Lingering;

pub use options::{HttpOptions, Options};
pub use transport::listener::bind;
pub use transport::tls::TlsError;

/// Why the gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// One of the two files is not named.
    #[error("TLS needs both `tls_certificate` and `tls_key`")]
    HalfTls,
    /// They cannot be used.
    #[error("TLS cannot be offered: {0}")]
    Tls(#[from] TlsError),
}

/// Serves the data plane until told to stop, then until the last connection has ended. Sockets are ended by
/// [`Node::drain`], which whoever stops this calls.
///
/// # Errors
/// When TLS is set up wrong; nothing is served then.
pub async fn serve(
    listener: TcpListener,
    node: Arc<Node>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), GatewayError> {
    let tls = match (&options.tls_certificate, &options.tls_key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(transport::tls::acceptor(certificate, key)?),
        _ => return Err(GatewayError::HalfTls),
    };
    let http = options.http;
    let ids = Arc::clone(&node);
    let edge = Edge::new(options.docs_url.as_str(), move || ids.request_id());
    let body_bytes_max = options.body_bytes_max;
    let streams = TaskTracker::new();
    let gateway = Gateway { router: router(&node, options, edge.clone(), streams.clone()), node, edge, body_bytes_max };
    transport::listener::listen(listener, gateway, tls, http, shutdown).await;
    streams.close();
    streams.wait().await;
    Ok(())
}

fn router(node: &Arc<Node>, options: Options, edge: Edge, streams: TaskTracker) -> Router {
    let context = Context {
        node: Arc::clone(node),
        options: Arc::new(options),
        lingering: Lingering::default(),
        tickets: Arc::default(),
        streams,
    };
    let router = documented().split_for_parts().0.merge(undocumented()).with_state(context);
    let router = router.layer(from_fn_with_state(Arc::clone(node), edge::tell_refusals));
    guarded(edge, router)
}

/// Whatever a handler does, even panic, the edge answers with a document and the request's id.
fn guarded(edge: Edge, router: Router) -> Router {
    edge.around(router.layer(CatchPanicLayer::new()))
}

/// The data plane's OpenAPI document.
#[must_use]
pub fn openapi() -> OpenApi {
    documented().split_for_parts().1
}

/// Every operation of the data plane.
fn documented() -> OpenApiRouter<Context> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(socket::open))
        .routes(routes!(sse::open))
        .routes(routes!(carried::stream))
        .routes(routes!(carried::poll))
        .routes(routes!(carried::command))
        .routes(routes!(tickets::create))
        .routes(routes!(publish::publish, history::history, messages::delete_history))
        .routes(routes!(messages::message, messages::delete_message))
        .routes(routes!(presence::read))
        .routes(routes!(presence::enter, presence::remove))
        .routes(routes!(batch::batch))
        .routes(routes!(channels::channels))
        .routes(routes!(messages::channel))
        .routes(routes!(connections::list))
        .routes(routes!(connections::get))
        .routes(routes!(connections::subscribe_connection, connections::unsubscribe_connection))
        .routes(routes!(connections::user))
        .routes(routes!(connections::send))
        .routes(routes!(connections::subscribe_user, connections::unsubscribe_user))
        .routes(routes!(metrics::metrics))
        .routes(routes!(disconnect::disconnect))
        .routes(routes!(revocations::revoke, revocations::list))
        .routes(routes!(revocations::end))
        .routes(routes!(tokens::mint))
        .routes(routes!(tokens::inspect))
        .routes(routes!(time::time))
}

/// What describes and serves the operations, and is none.
fn undocumented() -> Router<Context> {
    Router::new()
        .route("/openapi.json", get(docs::openapi))
        .route("/asyncapi.yaml", get(docs::asyncapi))
        .route("/docs", get(docs::docs))
        .route("/sdk/v1.js", get(sdk::sdk))
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Fanfare data plane",
        description = "Publish, read and subscribe, with an app's keys and tokens.\n\nEvery URL names its app. A key is \
                       sent as `key_…:ffs_…` by Basic, which is what `curl -u` does, or as a Bearer credential; a channel \
                       token as a Bearer credential. Errors are problem documents of RFC 9457 whose `code` is the \
                       contract; unknown fields are refused. Answers to counted requests carry `RateLimit` and \
                       `RateLimit-Policy`.\n\nWhat is said over connections is described by `/asyncapi.yaml`.",
        license(name = "Apache-2.0"),
    ),
    modifiers(&Security),
    security(("key" = []), ("token" = [])),
)]
struct Document;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let components = document.components.get_or_insert_default();
        let key = HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some("A key, `key_…:ffs_…`."));
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("A channel token, or a key."));
        components.add_security_scheme("key", SecurityScheme::Http(key.build()));
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use fanfare_core::id::RequestId;
    use http::Request;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn a_panic_is_told_as_an_error_of_ours() {
        let broken = get(async || -> &'static str { panic!("a defect") });
        let edge = Edge::new("http://errors.example", || RequestId::new(1, 1));
        let router = guarded(edge, Router::new().route("/", broken));
        let Ok(response) = router.oneshot(Request::new(Body::empty())).await;
        assert_eq!(response.status(), 500);
        let body = to_bytes(response.into_body(), 10_000).await.expect("is short");
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("is a document");
        assert_eq!(
            (&problem["code"], &problem["request_id"]),
            (&"internal".into(), &RequestId::new(1, 1).to_string().into())
        );
        assert!(!String::from_utf8_lossy(&body).contains("a defect"), "what broke is not told");
    }

    #[test]
    fn every_operation_has_an_id_a_summary_and_a_problem() {
        let document = serde_json::to_value(openapi()).expect("prints");
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let named = ["operationId", "summary"].iter().all(|field| operation[field].is_string());
                let fails = path == "/v1/time" || operation["responses"]["default"].is_object();
                assert!(named && fails, "{method} {path}");
            }
        }
    }
}
