//! What a change of the rules would have done in the last day: each decision that nodes have kept is judged again, by the
//! rules in force and by those that are proposed, with the one function that decides everywhere.

use axum::Json;
use axum::extract::State;
use fanfare_api::acl::ReplaceAcl;
use fanfare_api::dry_run::{Changed, DecisionSample, DryRun};
use fanfare_api::server::StrictJson;
use fanfare_core::decision::named_claims;
use fanfare_core::id::RuleId;
use fanfare_core::{Asked, Refusal, Rule};
use fanfare_store::{DecisionRecord, LastDay, RuleDraft};

use super::checked;
use crate::access::{AppPath, InApp, Viewer};
use crate::document::Problems;
use crate::error::ControlError;
use crate::state::Control;

/// Different decisions that are judged, the most frequent ones. With a thousand rules that is a quarter of a second.
const JUDGED_MAX: u32 = 2_000;
const SAMPLES_MAX: usize = 20;

/// Try rules on the last day
///
/// What the proposed rules would have refused, and what they would have allowed, of what clients asked for in the last
/// day. Nothing is changed. What is judged are decisions that rules took part in, each with how often it was made;
/// nodes keep at most 500 different ones of an app and hour, and tell them every few seconds.
#[utoipa::path(
    post,
    path = "/api/v1/apps/{app}/acl/dry-run",
    operation_id = "dry_run_acl",
    tag = "Access",
    params(AppPath),
    request_body = ReplaceAcl,
    responses((status = 200, description = "What would be other.", body = DryRun), Problems),
)]
pub(crate) async fn post(
    State(control): State<Control>,
    access: InApp<Viewer>,
    StrictJson(request): StrictJson<ReplaceAcl>,
) -> Result<Json<DryRun>, ControlError> {
    let proposed = numbered(checked(request)?);
    let now = access.app.acl().await?.rules;
    let day = access.app.decisions(JUDGED_MAX).await?;
    let to = control.now();
    let judging = tokio::task::spawn_blocking(move || judged(&now, &proposed, day));
    let judged = judging.await.map_err(|_| ControlError::Defect("judging decisions panicked"))?;
    Ok(Json(DryRun { to, ..judged }))
}

/// The proposed rules, known by their places.
fn numbered(drafts: Vec<RuleDraft>) -> Vec<Rule> {
    let rule = |(at, draft): (usize, RuleDraft)| {
        let RuleDraft { pattern, who, operations, effect, .. } = draft;
        Rule { id: RuleId::new(0, at as u128), pattern, who, operations, effect }
    };
    drafts.into_iter().enumerate().map(rule).collect()
}

fn judged(now: &[Rule], proposed: &[Rule], day: LastDay) -> DryRun {
    let (mut refused, mut allowed, mut judged) = (Changed::default(), Changed::default(), 0);
    for record in &day.decisions {
        judged += record.count;
        match (record.decision.judge(now), record.decision.judge(proposed)) {
            (Ok(()), Err(refusal)) => add(&mut refused, record, Some(refusal), proposed),
            (Err(_), Ok(())) => add(&mut allowed, record, None, proposed),
            (Ok(()), Ok(())) | (Err(_), Err(_)) => {}
        }
    }
    let known = named_claims(now);
    let unknown_claims = named_claims(proposed).difference(&known).map(|name| (*name).to_owned()).collect();
    DryRun { from: day.from, to: day.from, judged, left_out: day.left_out, refused, allowed, unknown_claims }
}

/// Counts a decision that would be another. They come in the order of how often they were made.
fn add(to: &mut Changed, record: &DecisionRecord, refusal: Option<Refusal>, proposed: &[Rule]) {
    to.count += record.count;
    to.kinds += 1;
    if to.samples.len() == SAMPLES_MAX {
        return;
    }
    let decision = &record.decision;
    let (operation, channel) = match &decision.asked {
        Asked::Connect => (None, None),
        Asked::Channel { operation, channel } => (Some(*operation), Some(channel.clone())),
    };
    let denying = refusal.and_then(|refusal| refusal.rule());
    let rule = denying.and_then(|id| proposed.iter().position(|rule| rule.id == id));
    to.samples.push(DecisionSample {
        sub: decision.sub.as_deref().map(Into::into),
        roles: decision.roles.iter().map(|role| (**role).into()).collect(),
        has_cap: decision.has_cap,
        operation,
        channel,
        count: record.count,
        last_at: record.last_at,
        rule: rule.and_then(|at| u32::try_from(at).ok()),
    });
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use fanfare_core::{ChannelName, Decision, Effect, Operation, Operations, Pattern, Who};

    use super::*;

    fn rule(n: u128, effect: Effect, who: &str, pattern: &str) -> Rule {
        let (pattern, who) = (Pattern::parse(pattern).expect("a pattern"), who.parse::<Who>().expect("who"));
        Rule { id: RuleId::new(0, n), pattern, who, operations: Operations::CLIENT, effect }
    }

    fn record(sub: &str, name: &str, count: u64) -> DecisionRecord {
        let channel = ChannelName::parse(name).expect("a name");
        let decision = Decision {
            sub: Some(sub.into()),
            roles: Vec::new(),
            claims: Default::default(),
            has_cap: false,
            asked: Asked::Channel { operation: Operation::Subscribe, channel },
            // What was answered then does not count: the rules may have changed since.
            allowed: false,
        };
        DecisionRecord { decision, count, last_at: DateTime::<Utc>::UNIX_EPOCH }
    }

    #[test]
    fn what_would_become_another_is_counted_and_names_its_rule() {
        let now = [rule(9, Effect::Allow, "identified", "room:*")];
        let proposed = [
            rule(0, Effect::Allow, "identified", "room:*"),
            rule(1, Effect::Deny, "user:ann", "room:9"),
            rule(2, Effect::Allow, "everyone", "hall:{team}"),
            rule(3, Effect::Allow, "everyone", "hall:1"),
        ];
        let decisions = vec![record("bob", "room:9", 5), record("ann", "room:9", 3), record("bob", "hall:1", 2)];
        let day = LastDay { from: DateTime::<Utc>::UNIX_EPOCH, decisions, left_out: 4 };
        let run = judged(&now, &proposed, day.clone());
        assert_eq!((run.judged, run.left_out, &*run.unknown_claims), (10, 4, &["team".to_owned()][..]));
        assert_eq!((run.refused.count, run.refused.kinds, run.refused.samples[0].rule), (3, 1, Some(1)));
        assert_eq!((run.allowed.count, run.allowed.samples[0].sub.as_deref()), (2, Some("bob")));
        let nothing = judged(&now, &[], day);
        assert_eq!((nothing.refused.count, nothing.refused.samples[0].rule), (8, None));
    }

    #[test]
    fn samples_are_bounded_and_counts_are_not() {
        let decisions = (0..50).map(|n| record(&format!("user{n}"), "room:9", 2)).collect();
        let day = LastDay { from: DateTime::<Utc>::UNIX_EPOCH, decisions, left_out: 0 };
        let run = judged(&[rule(9, Effect::Allow, "everyone", "**")], &[], day);
        assert_eq!((run.refused.count, run.refused.kinds, run.refused.samples.len()), (100, 50, SAMPLES_MAX));
    }
}
