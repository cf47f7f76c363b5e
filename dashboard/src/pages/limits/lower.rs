//! Lowering one limit, or taking that back.

use fanfare_api::limits::{LimitList, LimitNumber};
use fanfare_core::id::AppId;
use fanfare_core::{ErrorCode, Limit, LimitValue, Problem};
use leptos::prelude::*;

use super::lowered;
use super::words::{about, effect};
use crate::api::{ApiError, Member};
use crate::components::attempt::Attempt;
use crate::components::field::Field;
use crate::components::states::FormError;

/// The inside of the dialog.
#[component]
pub(super) fn LowerForm(
    app: AppId,
    list: LimitList,
    limit: Limit,
    on_done: Callback<()>,
    on_cancel: Callback<()>,
) -> impl IntoView {
    let member = expect_context::<Member>();
    let attempt = Attempt::new();
    let one = list.limits.iter().find(|one| one.name == limit).cloned();
    let (max, burst) = one.as_ref().map_or((0, None), |one| (one.max, one.burst));
    let most = one.as_ref().and_then(|one| one.lowered_from).unwrap_or(LimitNumber { max, burst });
    let is_lowered = one.as_ref().is_some_and(|one| one.lowered_from.is_some());
    let at_limit = one.map_or("", |one| effect(one.effect));
    let (typed_max, typed_burst) =
        (RwSignal::new(max.to_string()), RwSignal::new(burst.map_or_else(String::new, |burst| burst.to_string())));
    let save = Callback::new(move |value: Option<LimitValue>| {
        let (version, mut all) = (list.version, lowered(&list));
        // What is left out is no longer lowered.
        let mut kept = fanfare_core::Limits::default();
        for (name, number) in all.lowered.all().filter(|(name, _)| *name != limit) {
            kept.set(name, number);
        }
        if let Some(value) = value {
            kept.set(limit, value);
        }
        all.lowered = kept;
        attempt.run(async move { member.lower_limits(app, version, &all).await }, move |_| on_done.run(()));
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match read(&typed_max.get_untracked(), burst.map(|_| typed_burst.get_untracked())) {
            Ok(value) => save.run(Some(value)),
            Err(wrong) => attempt.error.set(Some(wrong)),
        }
    };
    let error = Signal::derive(move || {
        let below = format!("/lowered/{}", limit.as_str());
        attempt.error.with(|error| error.as_ref().map(|error| error.below(&below)))
    });
    view! {
        <form class="form" on:submit=submit novalidate=true>
            <p>{about(limit)}"; at the limit: "{at_limit}". Live connections follow within a second."</p>
            <Field
                label="Number"
                name="limit-max"
                value=typed_max
                pointer="/max"
                error=error
                focus=true
                help=format!("At most {}.", most.max)
            />
            {most.burst.map(|most| view! {
                <Field
                    label="At once after a quiet time"
                    name="limit-burst"
                    value=typed_burst
                    pointer="/burst"
                    error=error
                    help=format!("At most {most}.")
                />
            })}
            <FormError error=attempt.error/>
            <div class="row-end">
                {is_lowered.then(|| view! {
                    <button class="button" type="button" disabled=move || attempt.busy.get() on:click=move |_| save.run(None)>
                        "Take back"
                    </button>
                })}
                <button class="button" type="button" on:click=move |_| on_cancel.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>"Lower limit"</button>
            </div>
        </form>
    }
}

fn read(max: &str, burst: Option<String>) -> Result<LimitValue, ApiError> {
    let mut problem = Problem::new(ErrorCode::InvalidRequest, "Some fields cannot be read.");
    let mut number = |place: &str, text: &str| {
        let digits: String = text.chars().filter(|digit| !matches!(digit, ' ' | ',' | '_')).collect();
        digits.parse::<u64>().unwrap_or_else(|_| {
            let so_far = std::mem::replace(&mut problem, Problem::of(ErrorCode::InvalidRequest));
            problem = so_far.at(place, "a whole number");
            0
        })
    };
    let value = LimitValue { max: number("/max", max), burst: burst.map_or(0, |burst| number("/burst", &burst)) };
    if problem.errors.is_empty() { Ok(value) } else { Err(ApiError::local(problem)) }
}
