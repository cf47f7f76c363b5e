//! The apps of a tenant: list, create, rename.

mod create;
mod rename;

use fanfare_api::session::{AppName, TenantView};
use fanfare_core::Role;
use fanfare_core::id::TenantId;
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_params_map;

use super::not_found::Missing;
use crate::components::dialog::Dialog;
use crate::components::icon::{Icon, Shape};
use crate::components::page_head::PageHead;
use crate::components::snippet::CopyButton;
use crate::components::states::Empty;
use crate::session::SessionHandle;
use create::CreateAppForm;
use rename::RenameAppForm;

/// The page of the tenant that the path names.
#[component]
pub(crate) fn Apps() -> impl IntoView {
    let params = use_params_map();
    let session = expect_context::<SessionHandle>();
    let tenant = Memo::new(move |_| {
        let id = params.with(|params| params.get("tenant"))?.parse::<TenantId>().ok()?;
        session.view()?.tenants.into_iter().find(|tenant| tenant.id == id)
    });
    let id = Memo::new(move |_| tenant.get().map(|tenant| tenant.id));
    move || match id.get().and_then(|_| tenant.get_untracked()) {
        Some(_) => view! { <OfTenant tenant=Signal::derive(move || tenant.get())/> }.into_any(),
        None => view! { <Missing/> }.into_any(),
    }
}

#[component]
fn OfTenant(tenant: Signal<Option<TenantView>>) -> impl IntoView {
    let (creating, renaming) = (RwSignal::new(false), RwSignal::new(false));
    let chosen = RwSignal::new(None::<AppName>);
    let created = Callback::new(move |()| creating.set(false));
    let renamed = Callback::new(move |()| renaming.set(false));
    let first = tenant.get_untracked();
    let may_create = first.as_ref().is_some_and(|tenant| tenant.role >= Role::Admin);
    let name = first.map(|tenant| tenant.name).unwrap_or_default();
    let rows = move || {
        let apps = tenant.get().map(|tenant| tenant.apps).unwrap_or_default();
        if apps.is_empty() {
            return view! {
                <Empty shape=Shape::INBOX title="No apps yet">
                    <p>"An app is a world of its own for channels, such as production or staging, with its own keys and access rules."</p>
                </Empty>
            }
            .into_any();
        }
        let rows: Vec<_> = apps
            .into_iter()
            .map(|app| {
                row(
                    app,
                    may_create,
                    Callback::new(move |app| {
                        chosen.set(Some(app));
                        renaming.set(true);
                    }),
                )
            })
            .collect();
        view! {
            <table class="table">
                <thead>
                    <tr>
                        <th scope="col">"Name"</th>
                        <th scope="col">"Id"</th>
                        <th scope="col"><span class="visually-hidden">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        }
        .into_any()
    };
    view! {
        <PageHead
            title="Apps"
            about=format!("The apps of {name}. Each is a world of its own: channels, keys and access rules are not shared.")
        >
            {may_create.then(|| view! {
                <button class="button button-primary" type="button" on:click=move |_| creating.set(true)>
                    <Icon shape=Shape::PLUS/>
                    "Create app"
                </button>
            })}
        </PageHead>
        <div class="card table-wrap">{rows}</div>
        {(!may_create).then(|| view! { <p class="muted small">"Making apps needs the role admin or above."</p> })}
        <Dialog open=creating title="Create app" id="create-app">
            {move || tenant.get_untracked().map(|tenant| view! { <CreateAppForm tenant=tenant.id on_close=created/> })}
        </Dialog>
        <Dialog open=renaming title="Rename app" id="rename-app">
            {move || chosen.get().map(|app| view! { <RenameAppForm app=app on_close=renamed/> })}
        </Dialog>
    }
}

fn row(app: AppName, may_rename: bool, rename: Callback<AppName>) -> impl IntoView {
    let id = app.id.to_string();
    let (name, shown) = (app.name.clone(), app.name.clone());
    view! {
        <tr>
            <td><A href=format!("/apps/{id}")><strong>{shown}</strong></A></td>
            <td><span class="row"><code>{id.clone()}</code><CopyButton text=id what="app id" icon=true/></span></td>
            <td class="table-actions">
                {may_rename.then(|| view! {
                    <button class="button button-small" type="button" on:click=move |_| rename.run(app.clone())>
                        "Rename"<span class="visually-hidden">" "{name}</span>
                    </button>
                })}
            </td>
        </tr>
    }
}
