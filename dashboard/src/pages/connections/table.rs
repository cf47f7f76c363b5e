//! Connections as a table.

use fanfare_api::manage::ConnectionView;
use fanfare_core::id::AppId;
use leptos::prelude::*;
use leptos_router::components::A;

use crate::components::rows;
use crate::components::snippet::CopyButton;
use crate::components::time::Ago;
use crate::{browser, format};

/// How many channels of a connection are named in its row.
const NAMED: usize = 2;

/// The connections, each a link to what is known of it.
#[component]
pub(super) fn ConnectionTable(app: AppId, items: Signal<Vec<ConnectionView>>, me: Option<String>) -> impl IntoView {
    let me = StoredValue::new(me);
    view! {
        <div class="card table-wrap">
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">"Connection"</th>
                        <th scope="col" role="columnheader">"User"</th>
                        <th scope="col" role="columnheader">"Since"</th>
                        <th scope="col" role="columnheader">"By"</th>
                        <th scope="col" role="columnheader">"Subscriptions"</th>
                        <th scope="col" role="columnheader" class="number">"Buffered"</th>
                        <th scope="col" role="columnheader" class="number">"Round trip"</th>
                    </tr>
                </thead>
                <tbody role="rowgroup" on:keydown=|event| rows::step(&event, "row-link")>
                    <For
                        each=move || items.get()
                        key=|one| (one.id, one.subscriptions.clone(), one.bytes_waiting)
                        let:one
                    >
                        <Row app=app one=one me=me/>
                    </For>
                </tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(app: AppId, one: ConnectionView, me: StoredValue<Option<String>>) -> impl IntoView {
    let id = one.id.to_string();
    let user = one.user.clone();
    let is_me = me.with_value(|me| me.is_some() && *me == user);
    let href = format!("/apps/{app}/connections/{id}");
    let short = format!("{}…{}", &id[..id.len().min(8)], &id[id.len().saturating_sub(6)..]);
    view! {
        <tr role="row">
            <td role="cell" data-label="Connection">
                <span class="row row-tight">
                    <A href=href attr:class="row-link" attr:title=id.clone()><code>{short}</code></A>
                    <CopyButton text=id what="connection id" icon=true/>
                </span>
            </td>
            <td role="cell" data-label="User">{who(app, user, is_me)}</td>
            <td role="cell" data-label="Since"><Ago at=one.since/></td>
            <td role="cell" data-label="By">{one.transport.clone()}</td>
            <td role="cell" data-label="Subscriptions">{channels(&one.subscriptions)}</td>
            <td role="cell" data-label="Buffered" class="number">{buffered(one.bytes_waiting)}</td>
            <td role="cell" data-label="Round trip" class="number">{round_trip(one.round_trip_ms)}</td>
        </tr>
    }
}

fn who(app: AppId, user: Option<String>, is_me: bool) -> AnyView {
    match user {
        Some(_) if is_me => view! { <span class="muted">"you, in this dashboard"</span> }.into_any(),
        Some(user) => {
            let href = browser::with_query(&format!("/apps/{app}/connections"), &[("user", &user)]);
            view! { <A href=href attr:title="Connections of this user">{user}</A> }.into_any()
        }
        None => view! { <span class="muted">"anonymous"</span> }.into_any(),
    }
}

fn channels(names: &[String]) -> AnyView {
    let more = names.len().saturating_sub(NAMED);
    let all = names.join(", ");
    let named: Vec<_> =
        names.iter().take(NAMED).map(|name| view! { <code class="clip">{name.clone()}</code> }).collect();
    match names.is_empty() {
        true => view! { <span class="muted">"none"</span> }.into_any(),
        false => view! {
            <span class="chip-list" title=all>
                {named}
                {(more > 0).then(|| view! { <span class="muted small">{format!("and {more} more")}</span> })}
            </span>
        }
        .into_any(),
    }
}

/// Bytes that wait, said louder when there are many.
#[expect(clippy::cast_precision_loss, reason = "shown to people")]
pub(super) fn buffered(bytes: u64) -> AnyView {
    let exact = format!("{} bytes", format::exact(bytes as f64));
    let class = if bytes >= 128 * 1024 { "nowrap warn" } else { "nowrap" };
    view! { <span class=class title=exact>{format::bytes(bytes as f64)}</span> }.into_any()
}

/// How long the last probe took.
pub(super) fn round_trip(ms: Option<f64>) -> AnyView {
    match ms {
        Some(ms) => view! { <span class="nowrap">{format!("{} ms", format::millis(ms))}</span> }.into_any(),
        None => {
            let why = "Not measured yet: the node probes a link that has been silent for a heartbeat.";
            view! { <span class="muted" title=why>"–"</span> }.into_any()
        }
    }
}
