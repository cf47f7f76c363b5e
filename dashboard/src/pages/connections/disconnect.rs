//! Closing connections: one, or all that the filters leave, after saying how many that is.

use std::time::Duration;

use fanfare_api::manage::{ConnectionView, Reach};
use fanfare_core::{Act, ChannelName};
use leptos::prelude::*;

use crate::api::{ApiError, Inspector};
use crate::components::attempt::Attempt;
use crate::components::confirm::ConfirmByName;
use crate::components::dialog::Dialog;
use crate::components::paged::Paged;
use crate::components::states::FormError;
use crate::format;

/// When the list is read anew after connections were told to end.
const AGAIN_AFTER: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// Closes every connection of the chosen user or channel. Nothing while none or both are chosen.
#[component]
pub(super) fn DisconnectAll(
    inspector: Inspector,
    list: Paged<ConnectionView>,
    user: Memo<String>,
    channel: Memo<String>,
) -> impl IntoView {
    let open = RwSignal::new(false);
    let wanted = Memo::new(move |_| match (user.get(), channel.get()) {
        (user, channel) if channel.is_empty() && !user.is_empty() => Some(Act::DisconnectUser(user.into())),
        (user, channel) if user.is_empty() => ChannelName::parse(&channel).ok().map(Act::DisconnectChannel),
        (..) => None,
    });
    let done = Callback::new(move |_: Reach| {
        open.set(false);
        // Each connection ends itself, a moment after it was told.
        for wait in AGAIN_AFTER {
            set_timeout(move || list.again(), wait);
        }
    });
    let count = move || list.items().get().len();
    // What is shown may be a part of them: the server says how many it were.
    let number = move || match (count(), list.has_more()) {
        (count, true) => format!("more than {} connections", format::exact(count as f64)),
        (count, false) => format::counted(count as f64, "connection"),
    };
    view! {
        <Show when=move || wanted.get().is_some() && count() != 0>
            <button class="button button-danger" type="button" on:click=move |_| open.set(true)>
                "Disconnect all"
            </button>
        </Show>
        <Dialog open=open title="Disconnect" id="disconnect-all">
            {move || wanted.get().map(|act| view! {
                <Disconnect
                    inspector=inspector
                    number=number()
                    expected=Some(act.target())
                    act=act
                    on_done=done
                    on_cancel=Callback::new(move |()| open.set(false))
                />
            })}
        </Dialog>
    }
}

/// The inside of the dialog: what will happen, and the button that does it.
#[component]
pub(crate) fn Disconnect(
    inspector: Inspector,
    /// What is closed.
    act: Act,
    /// How many connections that is, in words.
    number: String,
    /// What has to be typed before, where it is more than one connection.
    expected: Option<String>,
    on_done: Callback<Reach>,
    on_cancel: Callback<()>,
) -> impl IntoView {
    let attempt = Attempt::new();
    let label = match &act {
        Act::DisconnectUser(_) => "Name of the user",
        Act::DisconnectChannel(_) | Act::DeleteHistory(_) => "Name of the channel",
        Act::DisconnectConnection(_) => "Connection",
    };
    let whose = match &act {
        Act::DisconnectUser(user) => format!(" of {user}"),
        Act::DisconnectChannel(channel) | Act::DeleteHistory(channel) => format!(" on {channel}"),
        Act::DisconnectConnection(_) => String::new(),
    };
    let confirm = Callback::new(move |()| {
        let act = act.clone();
        attempt.run(inspector.disconnect(act), move |reach| on_done.run(reach));
    });
    let about = move || {
        let text = format!("This closes {number}{whose} with ");
        view! {
            <p>
                <strong>{text}<a href="/errors/disconnected">"disconnected"</a></strong>
                ". Clients come back at once if they still may: to keep somebody out, revoke their tokens or change the ACL."
            </p>
        }
    };
    match expected {
        Some(expected) => view! {
            <ConfirmByName
                expected=expected
                label=label
                action="Disconnect"
                attempt=attempt
                on_confirm=confirm
                on_cancel=on_cancel
            >
                {about()}
            </ConfirmByName>
        }
        .into_any(),
        None => {
            view! { <div class="form">{about()}<Buttons attempt=attempt on_confirm=confirm on_cancel=on_cancel/></div> }
                .into_any()
        }
    }
}

#[component]
fn Buttons(attempt: Attempt, on_confirm: Callback<()>, on_cancel: Callback<()>) -> impl IntoView {
    let error: RwSignal<Option<ApiError>> = attempt.error;
    view! {
        <FormError error=error/>
        <div class="row-end">
            <button class="button" type="button" autofocus on:click=move |_| on_cancel.run(())>"Cancel"</button>
            <button
                class="button button-danger-solid"
                type="button"
                disabled=move || attempt.busy.get()
                on:click=move |_| on_confirm.run(())
            >
                "Disconnect"
            </button>
        </div>
    }
}
