//! The frame of every page behind the sign-in: navigation, top bar, banner, content.

use fanfare_core::id::AppId;
use leptos::html;
use leptos::prelude::*;
use leptos_router::components::Outlet;
use leptos_router::hooks::{use_location, use_params_map};

use super::account::{Account, ThemeMenu};
use super::banner::Banner;
use super::icon::{Icon, Shape};
use super::line_state::LineState;
use super::nav::Nav;
use super::palette::Palette;
use super::switcher::Switcher;
use crate::api::Member;
use crate::browser;
use crate::figures::Figures;
use crate::live::Live;
use crate::session::{Here, SessionHandle, last_app, remember};

const NARROW: &str = "fanfare.nav";

/// The frame, for somebody who is signed in.
#[component]
pub(crate) fn Frame(
    /// Their client.
    member: Member,
) -> impl IntoView {
    let session = expect_context::<SessionHandle>();
    let here = provide_here(session);
    let app = Memo::new(move |_| here.get().map(|here| here.app.id));
    // Pages of a tenant keep the navigation of the app that was visited last.
    let near = Memo::new(move |_| here.get().or_else(|| session.view().and_then(|view| last_app(&view))));
    provide_context(member);
    let live = Live::following(member, app);
    provide_context(live);
    provide_context(Figures::of(live, app));

    let (nav_open, set_nav_open) = signal(false);
    let narrow = RwSignal::new(browser::stored(NARROW).as_deref() == Some("narrow"));
    Effect::new(move || browser::store(NARROW, narrow.get().then_some("narrow")));
    let main = NodeRef::<html::Main>::new();
    on_navigation(main, set_nav_open);
    let palette = RwSignal::new(false);
    view! {
        <a class="skip" href="#content">"Skip to content"</a>
        <div class="frame" class:frame-narrow=move || narrow.get() class:nav-open=move || nav_open.get()>
            <Nav narrow=narrow here=near/>
            <div class="scrim" on:click=move |_| set_nav_open.set(false)></div>
            <div>
                <header class="bar">
                    <button
                        class="icon-button bar-menu"
                        type="button"
                        aria-label="Navigation"
                        aria-expanded=move || nav_open.get().to_string()
                        on:click=move |_| set_nav_open.update(|open| *open = !*open)
                    >
                        <Icon shape=Shape::MENU/>
                    </button>
                    <Switcher here=here/>
                    <div class="bar-space"></div>
                    <Show when=move || app.get().is_some()><LineState/></Show>
                    <button
                        class="button button-small bar-text"
                        type="button"
                        aria-label="Commands, Ctrl K"
                        on:click=move |_| palette.set(true)
                    >
                        <Icon shape=Shape::SEARCH/>
                        <kbd>"Ctrl K"</kbd>
                    </button>
                    <ThemeMenu/>
                    <Account/>
                </header>
                <Banner/>
                <main class="content" id="content" tabindex="-1" node_ref=main><Outlet/></main>
            </div>
        </div>
        <Palette open=palette here=near/>
    }
}

/// The app that the path names, as far as the session knows it.
fn provide_here(session: SessionHandle) -> Memo<Option<Here>> {
    let params = use_params_map();
    let here = Memo::new(move |_| {
        let id = params.with(|params| params.get("app"))?.parse::<AppId>().ok()?;
        Here::find(&session.view()?, id)
    });
    Effect::new(move || {
        if let Some(here) = here.get() {
            remember(here.app.id);
        }
    });
    provide_context(here);
    here
}

/// After a change of page: closes the sheet, starts reading at the top of the new one.
fn on_navigation(main: NodeRef<html::Main>, set_nav_open: WriteSignal<bool>) {
    let path = use_location().pathname;
    Effect::new(move |before: Option<String>| {
        let now = path.get();
        if before.is_some_and(|before| before != now) {
            set_nav_open.set(false);
            window().scroll_to_with_x_and_y(0.0, 0.0);
            if let Some(main) = main.get_untracked() {
                let _ = main.focus();
            }
        }
        now
    });
}
