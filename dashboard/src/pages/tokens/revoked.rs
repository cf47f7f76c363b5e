//! What is revoked now, and letting such tokens work again.

use fanfare_api::manage::Revocation;
use leptos::prelude::*;

use super::Bench;
use crate::components::attempt::Attempt;
use crate::components::icon::Shape;
use crate::components::load::Load;
use crate::components::states::{Empty, FormError};
use crate::components::time::{Ago, Until};

/// The list, asked for with the key at hand.
#[component]
pub(super) fn Revoked(bench: Bench, round: RwSignal<u32>) -> impl IntoView {
    let has_key = Memo::new(move |_| bench.key().map(|(id, _)| id));
    view! {
        {move || has_key.get().map(|_| view! { <List bench=bench round=round/> })}
    }
}

#[component]
fn List(bench: Bench, round: RwSignal<u32>) -> impl IntoView {
    let found = Load::new(move || {
        round.track();
        let backend = untrack(|| bench.backend());
        async move {
            match backend {
                Some(backend) => backend.revocations().await,
                None => Ok(Vec::new()),
            }
        }
    });
    let attempt = Attempt::new();
    view! {
        <section class="card" aria-label="Revoked now">
            <div class="card-head"><h2>"Revoked now"</h2></div>
            <FormError error=attempt.error/>
            {found.show("Seeing revocations", move |all| {
                if all.is_empty() {
                    view! {
                        <Empty shape=Shape::TICKET title="Nothing is revoked">
                            <p>"A revocation stays until no token that it meant can live any more, a day at most."</p>
                        </Empty>
                    }
                    .into_any()
                } else {
                    let rows: Vec<_> = all
                        .into_iter()
                        .map(|one| view! { <Row bench=bench one=one attempt=attempt round=round/> })
                        .collect();
                    view! { <Table rows=rows.into_any()/> }.into_any()
                }
            })}
        </section>
    }
}

#[component]
fn Table(rows: AnyView) -> impl IntoView {
    view! {
        <div class="table-wrap">
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">"Tokens"</th>
                        <th scope="col" role="columnheader">"Issued until"</th>
                        <th scope="col" role="columnheader">"Forgotten"</th>
                        <th scope="col" role="columnheader"><span class="visually-hidden">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody role="rowgroup">{rows}</tbody>
            </table>
        </div>
    }
}

/// Which tokens a revocation means.
fn meant(one: &Revocation) -> String {
    let Revocation { token, user, label, key, .. } = one;
    let texts = [
        ("token", token.clone()),
        ("user", user.clone()),
        ("label", label.clone()),
        ("key", key.map(|key| key.to_string())),
    ];
    let named = texts.into_iter().find_map(|(what, text)| Some(format!("{what} {}", text?)));
    named.unwrap_or_else(|| "all of the app".to_owned())
}

#[component]
fn Row(bench: Bench, one: Revocation, attempt: Attempt, round: RwSignal<u32>) -> impl IntoView {
    let what = meant(&one);
    let said = format!(" {what}");
    let id = one.id;
    let end = move |_| {
        if let Some(backend) = untrack(|| bench.backend()) {
            attempt.run(async move { backend.end_revocation(id).await }, move |()| round.update(|round| *round += 1));
        }
    };
    view! {
        <tr role="row">
            <td role="cell" data-label="Tokens">{what}</td>
            <td role="cell" data-label="Issued until"><Ago at=one.issued_until/></td>
            <td role="cell" data-label="Forgotten"><Until at=one.ends_at/></td>
            <td role="cell" class="table-actions" data-label="">
                <button class="button button-small" type="button" on:click=end>
                    "Let work again"<span class="visually-hidden">{said}</span>
                </button>
            </td>
        </tr>
    }
}
