//! What a connection is subscribed to, and how far each subscription is.

use fanfare_api::manage::SubscriptionPlace;
use fanfare_core::id::AppId;
use leptos::prelude::*;
use leptos_router::components::A;

use crate::components::snippet::CopyButton;
use crate::pages::channels::href;

/// The subscriptions.
#[component]
pub(super) fn Places(app: AppId, places: Vec<SubscriptionPlace>) -> impl IntoView {
    let count = places.len();
    if places.is_empty() {
        return view! { <p class="card card-pad muted">"It is subscribed to nothing."</p> }.into_any();
    }
    let rows: Vec<_> = places.into_iter().map(|place| view! { <Row app=app place=place/> }).collect();
    view! {
        <section class="card table-wrap" aria-label="Subscriptions">
            <div class="card-head"><h2>{crate::format::counted(count as f64, "subscription")}</h2></div>
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">"Channel"</th>
                        <th scope="col" role="columnheader">"Sent up to"</th>
                        <th scope="col" role="columnheader">"State"</th>
                    </tr>
                </thead>
                <tbody role="rowgroup">{rows}</tbody>
            </table>
        </section>
    }
    .into_any()
}

#[component]
fn Row(app: AppId, place: SubscriptionPlace) -> impl IntoView {
    let SubscriptionPlace { channel, position, live } = place;
    let name = match channel.starts_with('$') {
        true => view! { <code title="Fanfare's own">{channel}</code> }.into_any(),
        false => {
            let href = href(app, &channel);
            view! { <A href=href><code>{channel}</code></A> }.into_any()
        }
    };
    let state = match live {
        true => view! { <span class="badge badge-good"><span class="dot" aria-hidden="true"></span>"Live"</span> }.into_any(),
        false => view! { <span class="badge badge-warn"><span class="dot dot-hollow" aria-hidden="true"></span>"Catching up"</span> }.into_any(),
    };
    let position = position.map_or_else(
        || view! { <span class="muted">"not told yet"</span> }.into_any(),
        |position| {
            view! {
                <span class="row row-tight">
                    <code>{position.clone()}</code><CopyButton text=position what="position" icon=true/>
                </span>
            }
            .into_any()
        },
    );
    view! {
        <tr role="row">
            <td role="cell" data-label="Channel">{name}</td>
            <td role="cell" data-label="Sent up to">{position}</td>
            <td role="cell" data-label="State">{state}</td>
        </tr>
    }
}
