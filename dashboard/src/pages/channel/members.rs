//! Who is present on a channel, looked at again every two seconds: a look counts as no subscription.

use std::time::Duration;

use fanfare_api::presence::{MemberView, PresenceView};
use fanfare_core::id::AppId;
use fanfare_core::{ChannelName, ErrorCode};
use leptos::prelude::*;
use leptos_router::components::A;

use crate::api::Inspector;
use crate::components::load::Load;
use crate::components::time::Ago;
use crate::format;

const AGAIN_EVERY: Duration = Duration::from_secs(2);

/// The members.
#[component]
pub(super) fn Members(inspector: Inspector, app: AppId, name: ChannelName) -> impl IntoView {
    let load = Load::new(move || inspector.presence(&name));
    if let Ok(timer) = set_interval_with_handle(move || load.again(), AGAIN_EVERY) {
        on_cleanup(move || timer.clear());
    }
    let is_off = move || load.error().is_some_and(|error| error.code() == Some(ErrorCode::PresenceOff));
    view! {
        <section class="card" aria-labelledby="channel-members">
            <div class="card-head">
                <h2 id="channel-members">"Present"</h2>
                <span class="muted">{move || load.get().map(|view| counted(view.count))}</span>
            </div>
            <Show
                when=is_off
                fallback=move || load.show("Seeing presence", move |view| view! { <List app=app found=view/> })
            >
                <p class="card-pad muted">"The channel's settings switch presence off."</p>
            </Show>
        </section>
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to people")]
fn counted(count: u64) -> String {
    format::counted(count as f64, "member")
}

#[component]
fn List(app: AppId, found: PresenceView) -> impl IntoView {
    let Some(members) = found.members else {
        return view! {
            <p class="card-pad muted">"Crowded: there are more members than are listed, so they are counted alone."</p>
        }
        .into_any();
    };
    if members.is_empty() {
        return view! { <p class="card-pad muted">"Nobody has entered."</p> }.into_any();
    }
    let listed = members.len() as u64;
    let more = found.count.saturating_sub(listed);
    let rows: Vec<_> = members.into_iter().map(|one| view! { <Row app=app one=one/> }).collect();
    view! {
        <ul class="members" tabindex="0" aria-label="Members">{rows}</ul>
        {(more > 0).then(|| view! { <p class="card-pad muted small">{format!("and {} more", counted(more))}</p> })}
    }
    .into_any()
}

#[component]
fn Row(app: AppId, one: MemberView) -> impl IntoView {
    let user = one.user.clone().unwrap_or_else(|| "anonymous".to_owned());
    let name = match &one.connection {
        Some(connection) => {
            let href = format!("/apps/{app}/connections/{connection}");
            view! { <A href=href attr:title=connection.clone()>{user}</A> }.into_any()
        }
        None => view! { <span>{user}" " <span class="badge">"by a backend"</span></span> }.into_any(),
    };
    let said = [one.info, one.data].into_iter().flatten();
    let said: Vec<_> = said.map(|json| view! { <code class="clip">{json.get().to_owned()}</code> }).collect();
    view! {
        <li>
            <span class="row">{name}{said}</span>
            <span class="muted small"><Ago at=one.since/></span>
        </li>
    }
}
