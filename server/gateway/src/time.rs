//! `GET /v1/time`: the server's time, for clients whose clock cannot be trusted.

use axum::Json;
use axum::extract::State;
use fanfare_api::data::TimeResponse;

use crate::context::Context;

/// Read the time
#[utoipa::path(
    get,
    path = "/v1/time",
    operation_id = "read_time",
    tag = "Time",
    responses((status = 200, description = "The time.", body = TimeResponse)),
    security(()),
)]
pub(crate) async fn time(State(context): State<Context>) -> Json<TimeResponse> {
    Json(TimeResponse { time: context.node.unix_ms() })
}
