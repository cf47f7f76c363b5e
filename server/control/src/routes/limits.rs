//! Limits of an app.

use fanfare_api::limits::{LimitList, LimitNumber, LimitUsed, LimitView, LowerLimits};
use fanfare_api::server::StrictJson;
use fanfare_core::limits::{Scope, Unit};
use fanfare_core::{Limit, LimitValue, Limits};
use fanfare_store::{LimitsRecord, UseRecord, Used};

use crate::access::{AppPath, Developer, InApp, Viewer};
use crate::check::Checks;
use crate::document::Problems;
use crate::error::ControlError;
use crate::etag::{IfMatch, Versioned};

/// Read the limits
///
/// Every limit with the number in force (the plan's or the operator's, never above the bounds that protect the server),
/// and how much of it is used, over all nodes, some seconds old.
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/limits",
    operation_id = "get_limits",
    tag = "Limits",
    params(AppPath),
    responses((status = 200, description = "The limits.", body = LimitList, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn get(access: InApp<Viewer>) -> Result<Versioned<LimitList>, ControlError> {
    let record = access.app.limits().await?;
    Ok(view(&record, &access.app.limit_use().await?))
}

/// Lower the limits
///
/// Takes the role developer. Replaces what the app has lowered for itself: an app can have less than its plan gives, for
/// a test or a guard of its own, and take that back, never more.
#[utoipa::path(
    put,
    path = "/api/v1/apps/{app}/limits",
    operation_id = "lower_limits",
    tag = "Limits",
    params(AppPath, ("If-Match" = String, Header, description = "The ETag of the last read.")),
    request_body = LowerLimits,
    responses((status = 200, description = "The limits as they are now.", body = LimitList, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn lower(
    access: InApp<Developer>,
    IfMatch(version): IfMatch,
    StrictJson(request): StrictJson<LowerLimits>,
) -> Result<Versioned<LimitList>, ControlError> {
    let before = access.app.limits().await?;
    check(&request.lowered, &before)?;
    let record = access.app.lower_limits(version, request.lowered).await?;
    Ok(view(&record, &access.app.limit_use().await?))
}

/// What an app has without its own lowering.
fn ceiling(record: &LimitsRecord) -> Limits {
    record.planned.clone().overridden_by(&record.overridden)
}

fn check(lowered: &Limits, record: &LimitsRecord) -> Result<(), ControlError> {
    let (mut checks, ceiling) = (Checks::default(), ceiling(record));
    for limit in Limit::ALL.iter().copied().filter(|limit| lowered.is_set(*limit)) {
        // Read as it was sent: `get` would hide what lies above the safety bound.
        let (own, most) = (lowered.own(limit).unwrap_or(limit.safety()), ceiling.get(limit));
        let mut within = |field: &str, number: u64, most: u64| {
            if !(1..=most).contains(&number) {
                checks.wrong(
                    format!("/lowered/{limit}/{field}", limit = limit.as_str()),
                    format!("1 to {most}: limits are lowered here, not raised"),
                );
            }
        };
        within("max", own.max, most.max);
        if limit.unit() == Unit::PerSecond {
            within("burst", own.burst, most.burst);
        } else if own.burst != 0 {
            checks.wrong(format!("/lowered/{}/burst", limit.as_str()), "only rates have a burst");
        }
    }
    checks.finish()
}

fn view(record: &LimitsRecord, used: &UseRecord) -> Versioned<LimitList> {
    let ceiling = ceiling(record);
    let limits = Limit::ALL.iter().map(|limit| {
        let value = record.effective.get(*limit);
        let lowered = record.lowered.is_set(*limit) && value != ceiling.get(*limit);
        LimitView {
            name: *limit,
            scope: limit.scope(),
            unit: limit.unit(),
            effect: limit.effect(),
            max: value.max,
            burst: burst(*limit, value),
            set_by_plan: record.effective.is_set(*limit),
            lowered_from: lowered.then(|| {
                let value = ceiling.get(*limit);
                LimitNumber { max: value.max, burst: burst(*limit, value) }
            }),
            used: used.used.get(limit).map(|used| seen(*limit, value, used)),
        }
    });
    let list = LimitList {
        version: record.version,
        plan: record.plan.clone(),
        used_at: used.told_at,
        limits: limits.collect(),
    };
    Versioned(record.version, list)
}

fn burst(limit: Limit, value: LimitValue) -> Option<u64> {
    (limit.unit() == Unit::PerSecond).then_some(value.burst)
}

fn seen(limit: Limit, value: LimitValue, used: &Used) -> LimitUsed {
    let of =
        if limit.unit() == Unit::PerSecond && limit.scope() != Scope::App { value.burst.max(1) } else { value.max };
    let Used { now, peak_minute, peak_today, rejected_today, near_today } = *used;
    LimitUsed { of, now, peak_minute, peak_today, rejected_today, near_today }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(planned: &str) -> LimitsRecord {
        let planned: Limits = serde_json::from_str(planned).expect("limits");
        LimitsRecord {
            version: 1,
            plan: "free".into(),
            effective: planned.clone(),
            planned,
            overridden: Limits::default(),
            overridden_until: None,
            lowered: Limits::default(),
        }
    }

    #[test]
    fn limits_are_lowered_and_not_raised() {
        let record = record(r#"{"connections":{"max":100},"publish_app":{"max":10,"burst":30}}"#);
        let places = |lowered: &str| match check(&serde_json::from_str(lowered).expect("limits"), &record) {
            Ok(()) => Vec::new(),
            Err(error) => error.problem().errors.into_iter().map(|error| error.pointer).collect(),
        };
        assert!(
            places(r#"{"connections":{"max":100},"publish_app":{"max":1,"burst":1},"channels":{"max":5}}"#).is_empty()
        );
        assert_eq!(places(r#"{"connections":{"max":101}}"#), ["/lowered/connections/max"]);
        assert_eq!(places(r#"{"connections":{"max":0}}"#), ["/lowered/connections/max"]);
        assert_eq!(places(r#"{"publish_app":{"max":5}}"#), ["/lowered/publish_app/burst"]);
        assert_eq!(places(r#"{"connections":{"max":1,"burst":1}}"#), ["/lowered/connections/burst"]);
        assert_eq!(places(r#"{"channels":{"max":18446744073709551615}}"#), ["/lowered/channels/max"]);
    }
}
