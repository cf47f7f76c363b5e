//! `GET /v1/apps/{app}/metrics`: an app's own figures, as OpenMetrics, for the tenant's Prometheus.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_api::ProblemDocument;
use fanfare_engine::AppMetrics;
use http::{HeaderValue, header};

use crate::caller::Caller;
use crate::context::Context;
use crate::failure::Failure;

/// Read the app's metrics
///
/// OpenMetrics text of what the app does on this node: scrape every node. Counters grow from the node's start. Needs a key
/// that has `stats`.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/metrics",
    operation_id = "read_metrics",
    tag = "Metrics",
    params(("app" = String, Path, description = "The app's id.")),
    responses(
        (status = 200, description = "The metrics.", body = String, content_type = "application/openmetrics-text"),
        (status = "default", description = "They were not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn metrics(State(context): State<Context>, Caller(caller): Caller) -> Result<Response, Failure> {
    let text = write(&context.node.app_metrics(&caller)?);
    let form = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, form)], text).into_response())
}

fn write(metrics: &AppMetrics) -> String {
    let flow = &metrics.flow;
    let gauges = [
        ("fanfare_connections", "Open connections.", metrics.connections),
        ("fanfare_subscriptions", "Subscriptions of open connections.", metrics.subscriptions),
    ];
    let counters = [
        ("fanfare_connects", "Connections opened.", flow.connects),
        ("fanfare_messages_in", "Messages published.", flow.messages_in),
        ("fanfare_bytes_in", "Their bytes.", flow.bytes_in),
        ("fanfare_messages_out", "Messages delivered.", flow.messages_out),
        ("fanfare_bytes_out", "Their bytes.", flow.bytes_out),
        ("fanfare_resumed", "Connections that went on with a ticket.", flow.resumed),
        ("fanfare_not_resumed", "Connections whose ticket did not hold.", flow.not_resumed),
        ("fanfare_recovered", "Subscriptions resumed without loss.", flow.recovered),
        ("fanfare_not_recovered", "Subscriptions told that something is lost.", flow.not_recovered),
    ];
    let mut out = String::with_capacity(1_024);
    for (name, help, value) in gauges {
        let _written = writeln!(out, "# TYPE {name} gauge\n# HELP {name} {help}\n{name} {value}");
    }
    for (name, help, value) in counters {
        let _written = writeln!(out, "# TYPE {name} counter\n# HELP {name} {help}\n{name}_total {value}");
    }
    out.push_str("# EOF\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_read_as_the_standard_has_them() {
        let flow = fanfare_core::measures::Flow { messages_in: 7, ..Default::default() };
        let text = write(&AppMetrics { connections: 3, subscriptions: 0, flow });
        assert!(text.contains("# TYPE fanfare_connections gauge\n") && text.contains("\nfanfare_connections 3\n"));
        assert!(
            text.contains("# TYPE fanfare_messages_in counter\n") && text.contains("\nfanfare_messages_in_total 7\n")
        );
        assert!(text.ends_with("\n# EOF\n"));
        assert!(!text.contains("\n\n"), "no blank lines");
    }
}
