//! The frame of pages that need no session.

use leptos::prelude::*;
use leptos_router::components::A;

use super::account::ThemeMenu;
use super::icon::Mark;
use crate::session::{Phase, SessionHandle};

/// Mark and colour scheme above, the page below.
#[component]
pub(crate) fn Door(
    /// Whether the page is a text rather than a card in the middle.
    #[prop(optional)]
    text: bool,
    /// The page.
    children: Children,
) -> impl IntoView {
    let phase = expect_context::<SessionHandle>().phase();
    let way_in = move || match phase.get() {
        Phase::SignedIn => view! { <A href="/" attr:class="button">"Dashboard"</A> }.into_any(),
        Phase::SignedOut | Phase::Failed if text => {
            view! { <A href="/sign-in" attr:class="button">"Sign in"</A> }.into_any()
        }
        Phase::SignedOut | Phase::Failed | Phase::Unknown => ().into_any(),
    };
    view! {
        <a class="skip" href="#content">"Skip to content"</a>
        <div class="door">
            <header class="door-bar">
                <A href="/" attr:class="brand"><Mark/><span>"Fanfare"</span></A>
                <div class="row">{way_in}<ThemeMenu/></div>
            </header>
            <main class=if text { "public" } else { "door-main" } id="content" tabindex="-1">{children()}</main>
        </div>
    }
}
