//! The navigation at the left: 220 pixels, icons alone, or a sheet on phones. Its entries are `app::NAVIGATION`.

use leptos::prelude::*;
use leptos_router::components::A;

use super::icon::{Icon, Mark, Shape};
use crate::app::{Entry, NAVIGATION};
use crate::session::Here;

/// The navigation.
#[component]
pub(crate) fn Nav(
    /// Whether it shows icons alone.
    narrow: RwSignal<bool>,
    /// The app that is shown.
    here: Memo<Option<Here>>,
) -> impl IntoView {
    let entries = move || {
        here.get().map(|here| {
            let links: Vec<_> = NAVIGATION
                .iter()
                .map(|Entry { path, title, shape }| {
                    let href = format!("/apps/{}{path}", here.app.id);
                    view! { <li><NavLink href=href title=title shape=*shape exact=path.is_empty()/></li> }
                })
                .collect();
            view! {
                <div>
                    <h2 class="nav-title">{here.app.name.clone()}</h2>
                    <ul class="nav-list">{links}</ul>
                </div>
                <div>
                    <h2 class="nav-title">{here.tenant.name.clone()}</h2>
                    <ul class="nav-list">
                        <li>
                            <NavLink
                                href=format!("/tenants/{}", here.tenant.id)
                                title="Apps"
                                shape=Shape::GRID
                                exact=true
                            />
                        </li>
                    </ul>
                </div>
            }
        })
    };
    view! {
        <nav class="nav" aria-label="Main">
            <A href="/" attr:class="brand"><Mark/><span>"Fanfare"</span></A>
            {entries}
            <div class="nav-foot">
                <ul class="nav-list">
                    <li><NavLink href="/errors".to_owned() title="Error codes" shape=Shape::BOOK exact=false/></li>
                    <li class="nav-collapse">
                        <button
                            class="nav-link"
                            type="button"
                            aria-pressed=move || narrow.get().to_string()
                            title=move || if narrow.get() { "Widen navigation" } else { "" }
                            on:click=move |_| narrow.update(|narrow| *narrow = !*narrow)
                        >
                            <Icon shape=Shape::PANEL/>
                            <span>"Narrow navigation"</span>
                        </button>
                    </li>
                </ul>
            </div>
        </nav>
    }
}

#[component]
fn NavLink(href: String, title: &'static str, shape: Shape, exact: bool) -> impl IntoView {
    view! {
        <A href=href exact=exact attr:class="nav-link" attr:title=title>
            <Icon shape=shape/>
            <span>{title}</span>
        </A>
    }
}
