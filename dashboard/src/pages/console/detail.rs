//! One event, whole, with its link.

use fanfare_core::debug::{DebugEvent, Happened};
use fanfare_core::id::AppId;
use leptos::prelude::*;
use leptos_router::components::A;

use super::memory::Memory;
use super::{rows, words};
use crate::browser;
use crate::components::icon::{Icon, Shape};
use crate::components::snippet::{CopyButton, Snippet};
use crate::pages::channels;

/// The chosen event; nothing while none is.
#[component]
pub(super) fn Detail(app: AppId, shown: Memo<Memory>, event: Memo<String>, close: Signal<String>) -> impl IntoView {
    let found = Memo::new(move |_| event.with(|id| shown.with(|shown| shown.find(id).cloned())));
    view! {
        <Show when=move || !event.with(String::is_empty)>
            <aside class="card event" aria-label="Event">
                <div class="card-head">
                    <h2>"Event"</h2>
                    <a href=move || close.get() class="icon-button" aria-label="Close the event">
                        <Icon shape=Shape::CLOSE/>
                    </a>
                </div>
                {move || match found.get() {
                    Some(event) => view! { <Whole app=app event=event/> }.into_any(),
                    None => view! {
                        <p class="card-pad muted">
                            "This event is not here: events are kept for five minutes, while somebody watches."
                        </p>
                    }
                    .into_any(),
                }}
            </aside>
        </Show>
    }
}

#[component]
fn Whole(app: AppId, event: DebugEvent) -> impl IntoView {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are exact for the next 285,000 years")]
    let time = browser::full_time(event.time as f64);
    let link = format!("{}/apps/{app}/console?event={}", browser::origin(), event.id);
    let code = match &event.what {
        Happened::Refused(refused) => Some(refused.code),
        Happened::Unsubscribed { reason, .. } => *reason,
        Happened::Connected { .. }
        | Happened::Disconnected { .. }
        | Happened::Subscribed { .. }
        | Happened::Published { .. } => None,
    };
    let layer = match &event.what {
        Happened::Refused(refused) => refused.layer.and_then(|layer| serde_json::to_value(layer).ok()),
        Happened::Connected { .. }
        | Happened::Disconnected { .. }
        | Happened::Subscribed { .. }
        | Happened::Unsubscribed { .. }
        | Happened::Published { .. } => None,
    };
    let layer = layer.and_then(|layer| layer.as_str().map(str::to_owned));
    let message = match &event.what {
        Happened::Published { channel, .. } => Some(channels::href(app, channel)),
        Happened::Connected { .. }
        | Happened::Disconnected { .. }
        | Happened::Subscribed { .. }
        | Happened::Unsubscribed { .. }
        | Happened::Refused(_) => None,
    };
    let json = serde_json::to_string_pretty(&event).unwrap_or_default();
    view! {
        <div class="card-pad stack">
            <dl class="facts facts-narrow">
                <dt>"When"</dt><dd>{time}</dd>
                <dt>"Who"</dt><dd>{rows::who(app, &event.what)}</dd>
                <dt>"What"</dt><dd>{words(&event)}</dd>
                {code.map(|code| view! {
                    <dt>"Code"</dt>
                    <dd><A href=format!("/errors/{code}")><code>{code.as_str()}</code></A></dd>
                })}
                {layer.map(|layer| view! { <dt>"Refused by"</dt><dd>{layer}</dd> })}
                <dt>"Link"</dt>
                <dd class="row"><code class="clip">{event.id.clone()}</code><CopyButton text=link what="link to this event"/></dd>
            </dl>
            {message.map(|href| view! { <p><A href=href>"See what the channel keeps"</A></p> })}
            <Snippet text=json what="event" wrap=true/>
        </div>
    }
}
