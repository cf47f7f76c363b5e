//! The list of keys.

use fanfare_api::key::{KeyStatus, KeyView};
use leptos::prelude::*;

use super::Act;
use super::presets::summary;
use crate::components::snippet::CopyButton;
use crate::components::time::Ago;

/// The keys, working ones first.
#[component]
pub(super) fn KeyTable(keys: Vec<KeyView>, may_edit: bool, act: RwSignal<Option<Act>>) -> impl IntoView {
    let mut keys = keys;
    keys.sort_by_key(|key| (key.state != KeyStatus::Active, std::cmp::Reverse(key.created_at)));
    let rows: Vec<_> = keys.into_iter().map(|key| view! { <Row key=key may_edit=may_edit act=act/> }).collect();
    view! {
        <div class="card table-wrap">
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">"Name"</th>
                        <th scope="col" role="columnheader">"Key"</th>
                        <th scope="col" role="columnheader">"May"</th>
                        <th scope="col" role="columnheader">"Created"</th>
                        <th scope="col" role="columnheader">"State"</th>
                        <th scope="col" role="columnheader"><span class="visually-hidden">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody role="rowgroup">{rows}</tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(key: KeyView, may_edit: bool, act: RwSignal<Option<Act>>) -> impl IntoView {
    let id = key.id.to_string();
    let short = format!("{}…{}", &id[..id.len().min(12)], key.last_four);
    let works = key.state == KeyStatus::Active;
    let (rename, revoke) = (key.clone(), key.clone());
    view! {
        <tr role="row" class:row-off=!works>
            <td role="cell" data-label="Name"><strong class="row-name">{key.name.clone()}</strong></td>
            <td role="cell" data-label="Key">
                <span class="row row-tight">
                    <code title=id.clone()>{short}</code><CopyButton text=id what="key id" icon=true/>
                </span>
            </td>
            <td role="cell" data-label="May"><span class="small">{summary(&key.capabilities)}</span></td>
            <td role="cell" data-label="Created"><Ago at=key.created_at/></td>
            <td role="cell" data-label="State">{state(&key)}</td>
            <td role="cell" class="table-actions" data-label="">
                {(may_edit && works).then(|| view! {
                    <span class="row-end row-tight">
                        <button
                            class="button button-small"
                            type="button"
                            on:click=move |_| act.set(Some(Act::Rename(rename.clone())))
                        >
                            "Rename"<span class="visually-hidden">" "{key.name.clone()}</span>
                        </button>
                        <button
                            class="button button-small button-danger"
                            type="button"
                            on:click=move |_| act.set(Some(Act::Revoke(revoke.clone())))
                        >
                            "Revoke"<span class="visually-hidden">" "{key.name.clone()}</span>
                        </button>
                    </span>
                })}
            </td>
        </tr>
    }
}

fn state(key: &KeyView) -> impl IntoView + use<> {
    match key.state {
        KeyStatus::Active => {
            view! { <span class="badge badge-good"><span class="dot" aria-hidden="true"></span>"Works"</span> }
                .into_any()
        }
        KeyStatus::Expired => view! { <span class="badge badge-warn">"Expired"</span> }.into_any(),
        KeyStatus::Revoked => {
            let when = key.revoked_at.map(|at| view! { " "<Ago at=at/> });
            view! { <span class="badge badge-bad">"Revoked"{when}</span> }.into_any()
        }
    }
}
