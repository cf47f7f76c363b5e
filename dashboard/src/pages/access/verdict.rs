//! What the tester answers: allowed or refused, and each layer's word.

use fanfare_api::acl::{ExplainRequest, Explanation, LayerWord, RuleView};
use fanfare_core::permission::Layer;
use leptos::prelude::*;

use super::diff::RuleText;
use crate::components::icon::{Icon, Shape};
use crate::components::states::Empty;

/// What a layer is called; the rules are asked twice, the second time for what they deny.
const fn name(layer: Layer, is_last: bool) -> &'static str {
    match layer {
        Layer::Tenant => "Tenant",
        Layer::Key => "Key",
        Layer::Issuer => "Issuer",
        Layer::Token => "Token’s cap",
        Layer::Acl if is_last => "Deny rules",
        Layer::Acl => "Allow rules",
    }
}

/// The card beside the question.
#[component]
pub(super) fn Verdict(
    answer: RwSignal<Option<(ExplainRequest, Explanation)>>,
    saved: RwSignal<Vec<RuleView>>,
) -> impl IntoView {
    move || {
        match answer.get() {
        None => view! {
            <div class="card">
                <Empty shape=Shape::SHIELD title="Nothing asked yet">
                    <p>"Every layer answers: the tenant’s state, the ceiling of who signed, the token’s cap, allow rules, deny rules. It may if all of them let it pass."</p>
                </Empty>
            </div>
        }
        .into_any(),
        Some((asked, explained)) => view! { <Answer asked=asked explained=explained saved=saved/> }.into_any(),
    }
    }
}

#[component]
fn Answer(asked: ExplainRequest, explained: Explanation, saved: RwSignal<Vec<RuleView>>) -> impl IntoView {
    let who = match (&asked.sub, asked.key.is_some() || asked.issuer.is_some()) {
        (Some(sub), _) => format!("The user {sub}"),
        (None, true) => "A client whose token has no user".to_owned(),
        (None, false) => "A client without a token".to_owned(),
    };
    let last = explained.layers.len().saturating_sub(1);
    let refused = explained.layers.iter().enumerate().find(|(_, word)| !word.allows);
    let (class, shape, word) = match refused {
        None => ("note note-good", Shape::DONE, "may"),
        Some(_) => ("note note-bad", Shape::ALERT, "may not"),
    };
    let why = refused.map_or_else(
        || "Every layer lets it pass.".to_owned(),
        |(at, word)| format!("Refused by {}: {}", name(word.layer, at == last).to_lowercase(), word.detail),
    );
    let row = |(at, word): (usize, LayerWord)| {
        let called = name(word.layer, at == last);
        view! { <LayerRow called=called word=word saved=saved/> }
    };
    let rows: Vec<_> = explained.layers.into_iter().enumerate().map(row).collect();
    view! {
        <div class="card">
            <div class="card-pad" role="status">
                <div class=class data-testid="verdict">
                    <Icon shape=shape/>
                    <span>
                        <strong>{format!("{who} {word} {} on ", asked.operation)}<code>{asked.channel}</code>"."</strong>
                        " "
                        {why}
                    </span>
                </div>
            </div>
            <div class="table-wrap">
                <table class="table table-cards" role="table">
                    <thead role="rowgroup">
                        <tr role="row">
                            <th scope="col" role="columnheader">"Layer"</th>
                            <th scope="col" role="columnheader">"Says"</th>
                            <th scope="col" role="columnheader">"Why"</th>
                        </tr>
                    </thead>
                    <tbody role="rowgroup">{rows}</tbody>
                </table>
            </div>
        </div>
    }
}

#[component]
fn LayerRow(called: &'static str, word: LayerWord, saved: RwSignal<Vec<RuleView>>) -> impl IntoView {
    let (class, says) = if word.allows { ("badge badge-good", "Passes") } else { ("badge badge-bad", "Refuses") };
    let rule = word.rule.and_then(|id| saved.with_untracked(|saved| saved.iter().find(|rule| rule.id == id).cloned()));
    view! {
        <tr role="row">
            <td role="cell" data-label="Layer">{called}</td>
            <td role="cell" data-label="Says"><span class=class>{says}</span></td>
            <td role="cell" data-label="Why">
                <div>
                    <span class="small">{word.detail}</span>
                    {rule.map(|rule| view! { <p class="small muted"><RuleText rule=rule/></p> })}
                </div>
            </td>
        </tr>
    }
}
