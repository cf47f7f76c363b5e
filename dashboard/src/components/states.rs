//! The states a page can be in besides showing its things: loading, empty, failed, forbidden.

use std::time::Duration;

use fanfare_core::Role;
use leptos::prelude::*;

use super::icon::{Icon, Shape};
use crate::api::ApiError;

/// How often storage or a server is asked for while it is away.
pub(crate) const RETRY_EVERY: Duration = Duration::from_secs(5);

/// The page's own outline, shown when loading takes longer than a blink.
#[component]
pub(crate) fn Outline() -> impl IntoView {
    view! {
        <div class="outline" role="status">
            <span class="visually-hidden">"Loading"</span>
            <div class="outline-bar outline-short"></div>
            <div class="outline-block"></div>
            <div class="outline-block"></div>
        </div>
    }
}

/// Nothing is here yet: says what would be, and how it comes.
#[component]
pub(crate) fn Empty(
    /// The picture.
    shape: Shape,
    /// What is not here.
    title: &'static str,
    /// One sentence, and one action.
    children: Children,
) -> impl IntoView {
    view! {
        <div class="state">
            <Icon shape=shape/>
            <h2>{title}</h2>
            {children()}
        </div>
    }
}

/// Loading failed: what, why, where to read about it, and again; by itself where something is only away.
#[component]
pub(crate) fn Failure(
    /// What the server said.
    error: ApiError,
    /// Tries again.
    retry: Callback<()>,
) -> impl IntoView {
    let code = error.code();
    let request = error.request_id();
    let is_away = error.is_away();
    if is_away && let Ok(timer) = set_interval_with_handle(move || retry.run(()), RETRY_EVERY) {
        on_cleanup(move || timer.clear());
    }
    view! {
        <div class="card state state-bad" role="alert">
            <Icon shape=Shape::ALERT/>
            <h2>{error.title()}</h2>
            <p>{error.detail()} {is_away.then_some(" Asked again every 5 seconds.")}</p>
            <dl class="facts">
                {code.map(|code| view! {
                    <dt>"Code"</dt>
                    <dd><a href=format!("/errors/{code}")><code>{code.as_str()}</code></a></dd>
                })}
                {request.map(|request| view! { <dt>"Request"</dt><dd><code>{request}</code></dd> })}
            </dl>
            <button class="button" type="button" on:click=move |_| retry.run(())>"Try again"</button>
        </div>
    }
}

/// The reader's role does not see this, or may not do it.
#[component]
pub(crate) fn Forbidden(
    /// The role that would.
    needs: Role,
    /// What it would see or do.
    what: &'static str,
) -> impl IntoView {
    view! {
        <div class="card state">
            <Icon shape=Shape::LOCK/>
            <h2>"Not for your role"</h2>
            <p>{format!("{what} needs the role {} or above in this tenant. An owner can give it to you.", needs.as_str())}</p>
        </div>
    }
}

/// A form was refused as a whole.
#[component]
pub(crate) fn FormError(
    /// What the server said; nothing while there is nothing.
    #[prop(into)]
    error: Signal<Option<ApiError>>,
) -> impl IntoView {
    view! {
        <div role="alert">
            {move || error.get().map(|error| {
                let code = error.code();
                view! {
                    <p class="note note-bad">
                        <Icon shape=Shape::ALERT/>
                        <span>
                            {error.detail()}
                            {code.map(|code| view! { " " <a href=format!("/errors/{code}")>"What this means"</a> })}
                        </span>
                    </p>
                }
            })}
        </div>
    }
}
