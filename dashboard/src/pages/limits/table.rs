//! The limits as a table.

use fanfare_api::limits::{LimitList, LimitUsed, LimitView};
use fanfare_core::Limit;
use leptos::prelude::*;

use super::words::{about, amount, effect, scope};
use crate::components::share::Share;
use crate::format;

/// Every limit with how much of it is used.
#[component]
pub(super) fn LimitTable(list: LimitList, may_edit: bool, about: RwSignal<Option<Limit>>) -> impl IntoView {
    let rows: Vec<_> =
        list.limits.into_iter().map(|one| view! { <Row one=one may_edit=may_edit open=about/> }).collect();
    view! {
        <div class="card table-wrap">
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">"Limit"</th>
                        <th scope="col" role="columnheader" class="number">"Number"</th>
                        <th scope="col" role="columnheader">"At the limit"</th>
                        <th scope="col" role="columnheader" class="number">"Now"</th>
                        <th scope="col" role="columnheader">"Peak, last minute"</th>
                        <th scope="col" role="columnheader" class="number">"Today"</th>
                        <th scope="col" role="columnheader"><span class="visually-hidden">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody role="rowgroup">{rows}</tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(one: LimitView, may_edit: bool, open: RwSignal<Option<Limit>>) -> impl IntoView {
    let name = one.name;
    let (unit, used) = (one.unit, one.used);
    let number = match one.burst {
        Some(burst) => format!("{}/s, {} at once", short(one.max), short(burst)),
        None => amount(one.max, unit),
    };
    let set_by = match (one.lowered_from.is_some(), one.set_by_plan) {
        (true, _) => Some("lowered by you"),
        (false, true) => None,
        (false, false) => Some("server's bound"),
    };
    let now = used.and_then(|used| used.now).map_or_else(|| "–".to_owned(), |now| amount_of(now, &one));
    let today = used.map_or_else(|| "–".to_owned(), |used| format!("peak {}", amount_of(used.peak_today, &one)));
    let refused = used.map(|used| used.rejected_today).filter(|refused| *refused > 0);
    view! {
        <tr role="row">
            <td role="cell" data-label="Limit">
                <span>
                    <code>{name.as_str()}</code>
                    <br/>
                    <span class="muted small">{about(name)} ", of " {scope(one.scope)}</span>
                </span>
            </td>
            <td role="cell" data-label="Number" class="number">
                <span>
                    <span class="nowrap" title=exact(&one)>{number}</span>
                    {set_by.map(|word| view! { <br/><span class="badge">{word}</span> })}
                </span>
            </td>
            <td role="cell" data-label="At the limit"><span class="small">{effect(one.effect)}</span></td>
            <td role="cell" data-label="Now" class="number">{now}</td>
            <td role="cell" data-label="Peak, last minute">{bar(used, &one)}</td>
            <td role="cell" data-label="Today" class="number">
                <span class="small nowrap">
                    {today} {refused.map(|refused| view! { <br/><span class="bad">{short(refused)} " refused"</span> })}
                </span>
            </td>
            <td role="cell" class="table-actions" data-label="">
                {may_edit.then(|| view! {
                    <button class="button button-small" type="button" on:click=move |_| open.set(Some(name))>
                        "Lower"<span class="visually-hidden">" "{name.as_str()}</span>
                    </button>
                })}
            </td>
        </tr>
    }
}

/// How much of it was used, as a bar with its words.
fn bar(used: Option<LimitUsed>, one: &LimitView) -> AnyView {
    let Some(used) = used else { return view! { <span class="muted">"–"</span> }.into_any() };
    let text = amount_of(used.peak_minute, one);
    view! { <Share used=used.peak_minute max=used.of text=text/> }.into_any()
}

/// A number that is compared with the limit: of rates, messages.
fn amount_of(number: u64, one: &LimitView) -> String {
    if one.burst.is_some() { short(number) } else { amount(number, one.unit) }
}

fn exact(one: &LimitView) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    let exact = |number: u64| format::exact(number as f64);
    match one.burst {
        Some(burst) => format!("{} a second, {} at once after a quiet time", exact(one.max), exact(burst)),
        None => exact(one.max),
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn short(number: u64) -> String {
    format::short(number as f64)
}
