//! The rules as a table.

use fanfare_api::acl::RuleDraft;
use fanfare_core::{Effect as Gives, Operation};
use leptos::prelude::*;

use super::{Draft, known_as};
use crate::api::ApiError;
use crate::components::icon::{Icon, Shape};
use crate::components::states::Empty;

/// The rules, each with a button that takes it out.
#[component]
pub(super) fn RuleTable(draft: Draft, may_edit: bool, error: RwSignal<Option<ApiError>>) -> impl IntoView {
    let rows = move || {
        let rules = draft.rules.get();
        rules
            .into_iter()
            .enumerate()
            .map(|(index, rule)| view! { <Row draft=draft index=index rule=rule may_edit=may_edit error=error/> })
            .collect::<Vec<_>>()
    };
    let is_empty = move || draft.rules.with(Vec::is_empty);
    view! {
        <div class="card table-wrap">
            <Show
                when=move || !is_empty()
                fallback=|| view! {
                    <Empty shape=Shape::SHIELD title="No rules">
                        <p>"Clients may do what the cap of their token says, and nothing else. Connecting without a token is refused."</p>
                    </Empty>
                }
            >
                <table class="table table-cards" role="table">
                    <thead role="rowgroup">
                        <tr role="row">
                            <th scope="col" role="columnheader">"Effect"</th>
                            <th scope="col" role="columnheader">"Who"</th>
                            <th scope="col" role="columnheader">"Operations"</th>
                            <th scope="col" role="columnheader">"Channels"</th>
                            <th scope="col" role="columnheader">"Rule"</th>
                            <th scope="col" role="columnheader"><span class="visually-hidden">"Actions"</span></th>
                        </tr>
                    </thead>
                    <tbody role="rowgroup">{rows}</tbody>
                </table>
            </Show>
        </div>
    }
}

#[component]
fn Row(
    draft: Draft,
    index: usize,
    rule: RuleDraft,
    may_edit: bool,
    error: RwSignal<Option<ApiError>>,
) -> impl IntoView {
    let RuleDraft { id, pattern, who, operations, effect } = rule;
    let (badge, word) = match effect {
        Gives::Allow => ("badge badge-good", "Allow"),
        Gives::Deny => ("badge badge-bad", "Deny"),
    };
    let chips: Vec<_> =
        operations.iter().map(|operation: Operation| view! { <li class="badge">{operation.as_str()}</li> }).collect();
    let pattern = pattern.to_string();
    let said = format!("Remove the rule on {pattern}");
    let wrong = move || {
        let places = ["", "/pattern", "/who", "/operations", "/effect"];
        error.with(|error| places.iter().find_map(|place| error.as_ref()?.at(&format!("/rules/{index}{place}"))))
    };
    let remove = move |_| {
        draft.rules.update(|rules| {
            rules.remove(index);
        })
    };
    view! {
        <tr role="row">
            <td role="cell" data-label="Effect"><span class=badge>{word}</span></td>
            <td role="cell" data-label="Who">{who.to_string()}</td>
            <td role="cell" data-label="Operations"><ul class="chip-list">{chips}</ul></td>
            <td role="cell" data-label="Channels"><code>{pattern}</code><p class="field-error">{wrong}</p></td>
            <td role="cell" data-label="Rule"><code class="small muted">{known_as(id)}</code></td>
            <td role="cell" class="table-actions" data-label="">
                {may_edit.then(|| view! {
                    <button
                        class="icon-button"
                        type="button"
                        aria-label=said
                        title="Remove"
                        on:click=remove
                    >
                        <Icon shape=Shape::TRASH/>
                    </button>
                })}
            </td>
        </tr>
    }
}
