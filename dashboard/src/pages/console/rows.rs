//! Events as a table, the newest first.

use fanfare_core::debug::{DebugEvent, Happened};
use fanfare_core::id::AppId;
use leptos::prelude::*;
use leptos_router::components::A;

use super::words;
use crate::components::rows;
use crate::pages::channels;
use crate::{browser, format};

/// How many rows are drawn; what is older is in memory and found by filters.
const DRAWN: usize = 200;

/// The rows.
#[component]
pub(super) fn Rows(
    app: AppId,
    found: Memo<Vec<DebugEvent>>,
    chosen: Memo<String>,
    href: Callback<String, String>,
) -> impl IntoView {
    let drawn = move || found.with(|found| found.iter().take(DRAWN).cloned().collect::<Vec<_>>());
    let older = move || found.with(|found| found.len().saturating_sub(DRAWN));
    view! {
        <div class="card">
            <div class="table-wrap">
                <table class="table table-cards events" role="table">
                    <thead role="rowgroup">
                        <tr role="row">
                            <th scope="col" role="columnheader">"When"</th>
                            <th scope="col" role="columnheader">"Kind"</th>
                            <th scope="col" role="columnheader">"Who"</th>
                            <th scope="col" role="columnheader">"What"</th>
                            <th scope="col" role="columnheader">"Channel"</th>
                        </tr>
                    </thead>
                    <tbody role="rowgroup" on:keydown=|event| rows::step(&event, "row-link")>
                        <For each=drawn key=|event| event.id.clone() let:event>
                            <Row app=app event=event chosen=chosen href=href/>
                        </For>
                    </tbody>
                </table>
            </div>
            <Show when=move || older() != 0>
                <p class="card-pad muted small">
                    {move || {
                        #[expect(clippy::cast_precision_loss, reason = "the page keeps two thousand")]
                        let older = format::counted(older() as f64, "older event");
                        format!("{older} in memory: narrow the list to see them.")
                    }}
                </p>
            </Show>
        </div>
    }
}

#[component]
fn Row(app: AppId, event: DebugEvent, chosen: Memo<String>, href: Callback<String, String>) -> impl IntoView {
    let id = event.id.clone();
    let is_chosen = Memo::new(move |_| chosen.with(|chosen| *chosen == id));
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are exact for the next 285,000 years")]
    let (time, full) = (event.time as f64, browser::full_time(event.time as f64));
    let id = event.id.clone();
    let link = move || href.run(id.clone());
    let channel = event.what.channel().map(str::to_owned).map(|name| match name.starts_with('$') {
        true => view! { <code>{name}</code> }.into_any(),
        false => view! { <A href=channels::href(app, &name)><code>{name}</code></A> }.into_any(),
    });
    let class = match &event.what {
        Happened::Refused(_) => "badge badge-bad",
        Happened::Published { .. } => "badge badge-good",
        Happened::Connected { .. }
        | Happened::Disconnected { .. }
        | Happened::Subscribed { .. }
        | Happened::Unsubscribed { .. } => "badge",
    };
    view! {
        <tr role="row" class:row-chosen=move || is_chosen.get()>
            <td role="cell" data-label="When">
                <a
                    class="row-link nowrap"
                    href=link
                    title=full
                    aria-current=move || is_chosen.get().then_some("true")
                >
                    {browser::clock_time_ms(time)}
                </a>
            </td>
            <td role="cell" data-label="Kind"><span class=class>{event.what.kind()}</span></td>
            <td role="cell" data-label="Who">{who(app, &event.what)}</td>
            <td role="cell" data-label="What"><span class="small">{words(&event)}</span></td>
            <td role="cell" data-label="Channel">{channel}</td>
        </tr>
    }
}

/// Whom it concerns: a user, a connection, a key, or nobody who is known.
pub(super) fn who(app: AppId, what: &Happened) -> AnyView {
    let user = what.user().map(Into::into);
    if let Some(connection) = what.connection() {
        let id = connection.to_string();
        let name: String = user.unwrap_or_else(|| format!("…{}", &id[id.len().saturating_sub(6)..]));
        let href = format!("/apps/{app}/connections/{id}");
        return view! { <A href=href attr:title=id>{name}</A> }.into_any();
    }
    let key = match what {
        Happened::Published { by, .. } => by.key,
        Happened::Refused(refused) => refused.by.key,
        Happened::Connected { .. }
        | Happened::Disconnected { .. }
        | Happened::Subscribed { .. }
        | Happened::Unsubscribed { .. } => None,
    };
    match (key, user) {
        (Some(key), _) => {
            let key = key.to_string();
            let short = format!("key …{}", &key[key.len().saturating_sub(6)..]);
            view! { <A href=format!("/apps/{app}/keys") attr:title=key>{short}</A> }.into_any()
        }
        (None, Some(user)) => view! { <span>{user}</span> }.into_any(),
        (None, None) => view! { <span class="muted">"–"</span> }.into_any(),
    }
}
