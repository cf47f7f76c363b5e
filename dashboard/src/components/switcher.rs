//! The switcher of tenants and apps.

use leptos::prelude::*;

use super::icon::{Icon, Shape};
use super::menu::Menu;
use crate::session::{Here, SessionHandle};

/// Shows where the reader is, and goes to their other apps.
#[component]
pub(crate) fn Switcher(
    /// The app that is shown.
    here: Memo<Option<Here>>,
) -> impl IntoView {
    let session = expect_context::<SessionHandle>();
    let label = Signal::derive(move || {
        here.get().map_or_else(
            || "Choose an app".to_owned(),
            |here| format!("{} / {}, change app", here.tenant.name, here.app.name),
        )
    });
    let button = move || {
        let text = move || match here.get() {
            Some(here) => view! {
                <span><span class="muted bar-text">{here.tenant.name}" / "</span><strong>{here.app.name}</strong></span>
            }
            .into_any(),
            None => view! { <span>"Choose an app"</span> }.into_any(),
        };
        view! { {text} <Icon shape=Shape::CHEVRONS/> }
    };
    let items = move || {
        let current = here.get().map(|here| here.app.id);
        let tenants = session.view().map(|view| view.tenants).unwrap_or_default();
        let section =
            |tenant: fanfare_api::session::TenantView| {
                let apps: Vec<_> = tenant.apps.into_iter().map(|app| {
                let is_current = current == Some(app.id);
                view! {
                    <a class="menu-item" href=format!("/apps/{}", app.id) aria-current=is_current.then_some("true")>
                        {app.name}
                    </a>
                }
            }).collect();
                view! {
                    <p class="menu-label">{tenant.name}</p>
                    {apps}
                    <a class="menu-item" href=format!("/tenants/{}", tenant.id)><Icon shape=Shape::GRID/>"All apps"</a>
                }
            };
        tenants.into_iter().map(section).collect::<Vec<_>>()
    };
    view! { <Menu label=label button=button class="switcher">{items}</Menu> }
}
