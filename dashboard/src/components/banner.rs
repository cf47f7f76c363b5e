//! Something is away: what, since when, and that it is being tried again.

use leptos::prelude::*;

use super::icon::{Icon, Shape};
use super::states::RETRY_EVERY;
use crate::api::{Health, Member};
use crate::browser;

/// Shown above the page while the control plane or its storage is away.
#[component]
pub(crate) fn Banner() -> impl IntoView {
    let health = expect_context::<Health>();
    let member = expect_context::<Member>();
    let check = move || {
        leptos::task::spawn_local(async move {
            // The answer itself does not matter: every call tells `Health` how it ended.
            let _ = member.check().await;
        });
    };
    let is_away = Memo::new(move |_| health.away().is_some());
    Effect::new(move || {
        if is_away.get()
            && let Ok(timer) = set_interval_with_handle(check, RETRY_EVERY)
        {
            on_cleanup(move || timer.clear());
        }
    });
    view! {
        <div role="status">
            {move || health.away().map(|away| {
                let code = away.error.code();
                view! {
                    <div class="banner">
                        <Icon shape=Shape::ALERT/>
                        <p>
                            <strong>{away.error.title()}</strong>
                            {format!(" since {}. ", browser::clock_time(away.since_ms))}
                            {code.map(|_| "Connections and publishing of known apps go on. ")}
                            "What you see here may be old, and changes are refused. Asked again every 5 seconds. "
                            {code.map(|code| view! { <a href=format!("/errors/{code}")>"What this means"</a> })}
                        </p>
                        <button class="button button-small" type="button" on:click=move |_| check()>"Ask now"</button>
                    </div>
                }
            })}
        </div>
    }
}
