//! The account menu and the switch of the colour scheme.

use leptos::prelude::*;

use super::icon::{Icon, Shape};
use super::menu::Menu;
use crate::api::Member;
use crate::session::SessionHandle;
use crate::theme::Theme;

/// Who is signed in, and signing out.
#[component]
pub(crate) fn Account() -> impl IntoView {
    let session = expect_context::<SessionHandle>();
    let member = expect_context::<Member>();
    let email = move || session.view().map(|view| view.user.email).unwrap_or_default();
    let sign_out = move |_| {
        leptos::task::spawn_local(async move {
            // Signed out here in any case; a session that the server could not be told of ends by itself.
            let _ = member.sign_out().await;
        });
    };
    view! {
        <Menu label="Account" button=|| view! { <Icon shape=Shape::USER/> } button_class="icon-button" end=true>
            <p class="menu-label">{email}</p>
            <button class="menu-item" type="button" on:click=sign_out><Icon shape=Shape::LEAVE/>"Sign out"</button>
        </Menu>
    }
}

/// System, light or dark.
#[component]
pub(crate) fn ThemeMenu() -> impl IntoView {
    let theme = expect_context::<RwSignal<Theme>>();
    let shape = |theme: Theme| match theme {
        Theme::System => Shape::MONITOR,
        Theme::Light => Shape::SUN,
        Theme::Dark => Shape::MOON,
    };
    let current = Signal::derive(move || shape(theme.get()));
    let items = move || {
        let item = |choice: Theme| {
            let pressed = move || (theme.get() == choice).to_string();
            let class = move || if theme.get() == choice { "menu-item menu-chosen" } else { "menu-item" };
            view! {
                <button class=class type="button" aria-pressed=pressed on:click=move |_| theme.set(choice)>
                    <Icon shape=shape(choice)/>
                    {choice.title()}
                </button>
            }
        };
        Theme::ALL.into_iter().map(item).collect::<Vec<_>>()
    };
    view! {
        <Menu
            label="Colour scheme"
            button=move || view! { <Icon shape=current/> }
            button_class="icon-button"
            end=true
        >
            {items}
        </Menu>
    }
}
