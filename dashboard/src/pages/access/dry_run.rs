//! What the unsaved rules would have done in the last day, asked by itself a moment after they were changed.

use std::time::Duration;

use fanfare_api::acl::ReplaceAcl;
use fanfare_api::dry_run::{Changed, DecisionSample, DryRun};
use fanfare_core::id::AppId;
use leptos::prelude::*;

use super::Draft;
use crate::api::{Answer, Member};
use crate::components::snippet::AsCurl;
use crate::components::states::FormError;
use crate::components::time::Ago;
use crate::{format, snippets};

/// How long the reader has to leave the rules alone before they are tried.
const QUIET: Duration = Duration::from_millis(400);

/// The card above the button that saves.
#[component]
pub(super) fn OnLastDay(app: AppId, draft: Draft) -> impl IntoView {
    let member = expect_context::<Member>();
    let answer = RwSignal::new(None::<Answer<DryRun>>);
    let round = StoredValue::new(0_u32);
    Effect::new(move || {
        let rules = draft.rules.get();
        // An answer to what was asked before this is nobody's any more.
        round.update_value(|round| *round += 1);
        if !draft.is_changed() {
            answer.set(None);
            return;
        }
        let asked = round.get_value();
        let ask = move || {
            leptos::task::spawn_local(async move {
                let got = member.dry_run(app, &ReplaceAcl { rules }).await;
                if round.try_get_value() == Some(asked) {
                    answer.set(Some(got));
                }
            });
        };
        if let Ok(timer) = set_timeout_with_handle(ask, QUIET) {
            on_cleanup(move || timer.clear());
        }
    });
    let is_changed = Memo::new(move |_| draft.is_changed());
    let command = Signal::derive(move || {
        let replace = ReplaceAcl { rules: draft.rules.get() };
        snippets::control_json("POST", &format!("/api/v1/apps/{app}/acl/dry-run"), None, &replace)
    });
    view! {
        <Show when=move || is_changed.get()>
            <section class="card" aria-label="On the last day">
                <div class="card-pad stack">
                    <h2>"What this would have done in the last day"</h2>
                    {move || match answer.get() {
                        None => view! { <p class="muted" role="status">"Trying the change…"</p> }.into_any(),
                        Some(Err(error)) => view! { <FormError error=Signal::stored(Some(error))/> }.into_any(),
                        Some(Ok(run)) => view! { <Outcome run=run/> }.into_any(),
                    }}
                    <AsCurl text=command plain=true/>
                </div>
            </section>
        </Show>
    }
}

#[component]
fn Outcome(run: DryRun) -> impl IntoView {
    let times = |number: u64| format::exact(number as f64);
    let summary = match (run.judged, run.refused.count, run.allowed.count) {
        (0, ..) => "No client asked the rules for anything that was kept: there is nothing to try it on.".to_owned(),
        (judged, 0, 0) => format!("All of {} decisions would have been the same.", times(judged)),
        (judged, refused, allowed) => format!(
            "Of {} decisions, {} would have been refused that are allowed now, and {} allowed that are refused now.",
            times(judged),
            times(refused),
            times(allowed)
        ),
    };
    let class = if run.refused.count > 0 { "note note-bad" } else { "note" };
    let left_out = (run.left_out > 0).then(|| {
        format!("{} more decisions found no room when they were made, and are not judged.", times(run.left_out))
    });
    let unknown = (!run.unknown_claims.is_empty()).then(|| {
        format!(
            "No rule in force names {}, so it was not kept: patterns with it were taken to match nobody.",
            run.unknown_claims.join(", ")
        )
    });
    view! {
        <p class=class role="status" data-testid="dry-run">{summary}</p>
        <Kinds what="Would be refused" changed=run.refused refused=true/>
        <Kinds what="Would be allowed" changed=run.allowed refused=false/>
        {[left_out, unknown].into_iter().flatten().map(|text| view! { <p class="muted small">{text}</p> }).collect::<Vec<_>>()}
    }
}

/// The most frequent decisions that would be others.
#[component]
fn Kinds(what: &'static str, changed: Changed, refused: bool) -> impl IntoView {
    let more = changed.kinds.saturating_sub(changed.samples.len() as u64);
    let is_empty = changed.samples.is_empty();
    let rows: Vec<_> =
        changed.samples.into_iter().map(|sample| view! { <Row sample=sample refused=refused/> }).collect();
    (!is_empty).then(|| {
        view! {
            <div class="table-wrap">
                <table class="table table-cards" role="table" aria-label=what>
                    <thead role="rowgroup">
                        <tr role="row">
                            <th scope="col" role="columnheader">{what}</th>
                            <th scope="col" role="columnheader">"To"</th>
                            <th scope="col" role="columnheader" class="number">"Times"</th>
                            <th scope="col" role="columnheader">"Last"</th>
                            <th scope="col" role="columnheader">"Because"</th>
                        </tr>
                    </thead>
                    <tbody role="rowgroup">{rows}</tbody>
                </table>
            </div>
            {(more > 0).then(|| view! {
                <p class="muted small">{format!("And {} of other kinds, less often.", format::exact(more as f64))}</p>
            })}
        }
    })
}

#[component]
fn Row(sample: DecisionSample, refused: bool) -> impl IntoView {
    let who = sample.sub.clone().map_or_else(|| "anonymous".to_owned(), |sub| format!("user:{sub}"));
    let roles: Vec<_> = sample.roles.iter().map(|role| view! { <li class="badge">{role.clone()}</li> }).collect();
    let asked = match (sample.operation, sample.channel) {
        (Some(operation), Some(channel)) => {
            view! { {format!("{operation} on ")}<code class="breaking">{channel.to_string()}</code> }.into_any()
        }
        _ => "connect without a token".into_any(),
    };
    let because = match (sample.rule, refused, sample.has_cap) {
        (Some(rule), ..) => format!("rule {} denies it", rule + 1),
        (None, true, _) => "no rule allows it".to_owned(),
        (None, false, true) => "no rule denies it any more".to_owned(),
        (None, false, false) => "a rule allows it".to_owned(),
    };
    view! {
        <tr role="row">
            <td role="cell" data-label="Client"><span class="row">{who}<ul class="chip-list">{roles}</ul></span></td>
            <td role="cell" data-label="To"><span>{asked}</span></td>
            <td role="cell" class="number" data-label="Times">{format::exact(sample.count as f64)}</td>
            <td role="cell" data-label="Last"><Ago at=sample.last_at/></td>
            <td role="cell" data-label="Because"><span class="small">{because}</span></td>
        </tr>
    }
}
