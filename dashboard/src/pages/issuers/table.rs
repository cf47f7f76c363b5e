//! The list of issuers.

use fanfare_api::issuer::IssuerView;
use leptos::prelude::*;

use super::Act;
use super::keys::KeyState;
use crate::components::capabilities::in_words;
use crate::components::icon::{Icon, Shape};
use crate::components::time::Ago;

/// The issuers, oldest first.
#[component]
pub(super) fn IssuerTable(issuers: Vec<IssuerView>, may_edit: bool, act: RwSignal<Option<Act>>) -> impl IntoView {
    let rows: Vec<_> =
        issuers.into_iter().map(|issuer| view! { <Row issuer=issuer may_edit=may_edit act=act/> }).collect();
    view! {
        <div class="card table-wrap">
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">"Name"</th>
                        <th scope="col" role="columnheader">"Issuer"</th>
                        <th scope="col" role="columnheader">"Keys"</th>
                        <th scope="col" role="columnheader">"At most"</th>
                        <th scope="col" role="columnheader">"Created"</th>
                        <th scope="col" role="columnheader"><span class="visually-hidden">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody role="rowgroup">{rows}</tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(issuer: IssuerView, may_edit: bool, act: RwSignal<Option<Act>>) -> impl IntoView {
    let name = issuer.name.clone();
    let is_on = issuer.enabled;
    let (see, edit, delete) = (issuer.clone(), issuer.clone(), issuer.clone());
    let change = StoredValue::new(edit);
    let removal = StoredValue::new(delete);
    view! {
        <tr role="row" class:row-off=!is_on>
            <td role="cell" data-label="Name">
                <span class="row">
                    <button
                        class="link-button"
                        type="button"
                        on:click=move |_| act.set(Some(Act::See(Box::new(see.clone()))))
                    >
                        {name.clone()}
                    </button>
                    {(!is_on).then(|| view! { <span class="badge badge-warn">"Off"</span> })}
                </span>
            </td>
            <td role="cell" data-label="Issuer"><code class="breaking">{issuer.iss.clone()}</code></td>
            <td role="cell" data-label="Keys"><KeyState issuer=issuer.clone()/></td>
            <td role="cell" data-label="At most"><span class="small">{in_words(&issuer.ceiling)}</span></td>
            <td role="cell" data-label="Created"><Ago at=issuer.created_at/></td>
            <td role="cell" class="table-actions" data-label="">
                {may_edit.then(|| view! {
                    <span class="row-end row-tight">
                        <button
                            class="button button-small"
                            type="button"
                            on:click=move |_| act.set(Some(Act::Edit(Box::new(change.get_value()))))
                        >
                            "Change"<span class="visually-hidden">" "{name.clone()}</span>
                        </button>
                        <button
                            class="icon-button"
                            type="button"
                            aria-label=format!("Delete {name}")
                            title="Delete"
                            on:click=move |_| act.set(Some(Act::Delete(Box::new(removal.get_value()))))
                        >
                            <Icon shape=Shape::TRASH/>
                        </button>
                    </span>
                })}
            </td>
        </tr>
    }
}
