//! Limits of an app.

use axum::Json;
use fanfare_api::limits::{LimitList, LimitView};
use fanfare_core::Limit;
use fanfare_core::limits::Unit;
use fanfare_store::LimitsRecord;

use crate::access::{AppPath, InApp, Viewer};
use crate::document::Problems;
use crate::error::ControlError;

/// Read the limits
///
/// Every limit with the number in force: the plan's or the operator's, never above the bounds that protect the server.
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/limits",
    operation_id = "get_limits",
    tag = "Limits",
    params(AppPath),
    responses((status = 200, description = "The limits.", body = LimitList), Problems),
)]
pub(crate) async fn get(access: InApp<Viewer>) -> Result<Json<LimitList>, ControlError> {
    Ok(Json(view(&access.app.limits().await?)))
}

fn view(record: &LimitsRecord) -> LimitList {
    let limits = Limit::ALL.iter().map(|limit| {
        let value = record.effective.get(*limit);
        LimitView {
            name: *limit,
            scope: limit.scope(),
            unit: limit.unit(),
            effect: limit.effect(),
            max: value.max,
            burst: (limit.unit() == Unit::PerSecond).then_some(value.burst),
            set_by_plan: record.effective.is_set(*limit),
        }
    });
    LimitList { plan: record.plan.clone(), limits: limits.collect() }
}
