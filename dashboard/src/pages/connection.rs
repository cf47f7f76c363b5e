//! One connection, from near, as it goes on.

mod places;

use std::time::Duration;

use fanfare_api::manage::{ConnectionDetail, ConnectionLimit};
use fanfare_core::id::{AppId, ConnectionId};
use fanfare_core::{Act, ErrorCode, Role};
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_params_map;

use super::connections::Disconnect;
use super::limits::{about, amount};
use super::not_found::Missing;
use crate::api::{Inspector, Member};
use crate::components::dialog::Dialog;
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::share::Share;
use crate::components::snippet::{CopyButton, Snippet};
use crate::components::time::Ago;
use crate::session::Here;
use crate::{browser, format, snippets};
use places::Places;

/// How often it is looked at again.
const AGAIN_EVERY: Duration = Duration::from_secs(2);

/// The page.
#[component]
pub(crate) fn Connection(here: Here) -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.with(|params| params.get("connection"))?.parse::<ConnectionId>().ok());
    move || match id.get() {
        Some(id) => view! { <One here=here.clone() id=id/> }.into_any(),
        None => view! { <Missing/> }.into_any(),
    }
}

#[component]
fn One(here: Here, id: ConnectionId) -> impl IntoView {
    let inspector = Inspector::new(expect_context::<Member>(), &here);
    let load = Load::new(move || inspector.connection(id));
    let is_gone = Memo::new(move |_| load.error().is_some_and(|error| error.code() == Some(ErrorCode::NotFound)));
    if let Ok(timer) = set_interval_with_handle(
        move || {
            if !is_gone.get_untracked() {
                load.again()
            }
        },
        AGAIN_EVERY,
    ) {
        on_cleanup(move || timer.clear());
    }
    let (app, may_edit) = (here.app.id, here.may_edit());
    let url = here.url.clone();
    let asking = RwSignal::new(false);
    let done = Callback::new(move |_| {
        asking.set(false);
        load.again();
    });
    let number = move || {
        let on = load.get().map_or(0, |detail| detail.connection.subscriptions.len());
        format!("1 connection, which has {},", format::counted(on as f64, "subscription"))
    };
    let curl = format!(
        "{}\n\n{}",
        snippets::get(&url, &format!("/connections/{id}")),
        snippets::post(&url, "/disconnect", &serde_json::json!({ "connection": id }))
    );
    view! {
        <PageHead title="Connection" about="As its node sees it, looked at again every two seconds.">
            <A href=format!("/apps/{app}/connections") attr:class="button">"All connections"</A>
            <Show when=move || may_edit && load.get().is_some() && !is_gone.get()>
                <button class="button button-danger" type="button" on:click=move |_| asking.set(true)>
                    "Disconnect"
                </button>
            </Show>
        </PageHead>
        <div class="stack">
            <p class="row"><code>{id.to_string()}</code><CopyButton text=id.to_string() what="connection id" icon=true/></p>
            <Ended load=load is_gone=is_gone/>
            <Show when=move || !(is_gone.get() && load.get().is_none())>
                {load.show("Seeing connections", move |detail| view! { <Detail app=app detail=detail/> })}
            </Show>
            {(!may_edit).then(|| view! {
                <p class="muted small">
                    {format!("Disconnecting needs the role {} or above.", Role::Developer.as_str())}
                </p>
            })}
            <details class="card card-pad">
                <summary>"As curl"</summary>
                <Snippet text=curl what="curl commands"/>
            </details>
        </div>
        <Dialog open=asking title="Disconnect" id="disconnect-one">
            {move || view! {
                <Disconnect
                    inspector=inspector
                    act=Act::DisconnectConnection(id)
                    number=number()
                    expected=None
                    on_done=done
                    on_cancel=Callback::new(move |()| asking.set(false))
                />
            }}
        </Dialog>
    }
}

/// Says that the connection is no more, or why nothing new is heard of it.
#[component]
fn Ended(load: Load<ConnectionDetail>, is_gone: Memo<bool>) -> impl IntoView {
    let words = move || match (is_gone.get(), load.get().is_some(), load.error()) {
        (true, true, _) => Some("This connection has ended. Below is what was seen last.".to_owned()),
        (true, false, _) => {
            Some("There is no such connection: it has ended, never was, or is on another node.".to_owned())
        }
        (false, true, Some(error)) => Some(format!("Nothing new is heard: {}", error.detail())),
        (..) => None,
    };
    view! { <div role="status">{move || words().map(|words| view! { <p class="note">{words}</p> })}</div> }
}

#[component]
fn Detail(app: AppId, detail: ConnectionDetail) -> impl IntoView {
    let ConnectionDetail { connection, places, limits } = detail;
    let user = connection.user.clone().map_or_else(
        || view! { <span class="muted">"anonymous"</span> }.into_any(),
        |user| {
            let href = browser::with_query(&format!("/apps/{app}/connections"), &[("user", &user)]);
            view! { <A href=href>{user}</A> }.into_any()
        },
    );
    let meta = connection.meta.as_ref().map(|meta| serde_json::to_string_pretty(meta).unwrap_or_default());
    let trip = connection.round_trip_ms.map_or_else(
        || "not measured yet: a link is probed when it has been silent for a heartbeat".to_owned(),
        |ms| format!("{} ms", format::millis(ms)),
    );
    let limits: Vec<_> = limits.into_iter().map(|limit| view! { <Near limit=limit/> }).collect();
    view! {
        <div class="halves">
            <section class="card card-pad stack" aria-labelledby="connection-who">
                <h2 id="connection-who">"Who"</h2>
                <dl class="facts">
                    <dt>"User"</dt><dd>{user}</dd>
                    <dt>"Since"</dt><dd><Ago at=connection.since/></dd>
                    <dt>"Connected by"</dt><dd>{connection.transport}</dd>
                    <dt>"Round trip"</dt><dd>{trip}</dd>
                    {meta.map(|meta| view! { <dt>"Token's meta"</dt><dd><pre><code>{meta}</code></pre></dd> })}
                </dl>
            </section>
            <section class="card card-pad stack" aria-labelledby="connection-limits">
                <h2 id="connection-limits">"Its own limits"</h2>
                <div class="stack">{limits}</div>
            </section>
        </div>
        <Places app=app places=places/>
    }
}

/// How near a limit is.
#[component]
fn Near(limit: ConnectionLimit) -> impl IntoView {
    let ConnectionLimit { name, used, max } = limit;
    let text = format!("{} of {}", amount(used, name.unit()), amount(max, name.unit()));
    view! {
        <div>
            <p><code>{name.as_str()}</code> " " <span class="muted small">{about(name)}</span></p>
            <Share used=used max=max text=text/>
        </div>
    }
}
