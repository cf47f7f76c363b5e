//! The keys of an app: list, create, rename, revoke.

mod create;
mod presets;
mod rename;
mod revoke;
mod table;

use fanfare_api::key::KeyView;
use fanfare_core::Role;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::api::Member;
use crate::components::dialog::{Dialog, open_about};
use crate::components::icon::{Icon, Shape};
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::states::Empty;
use crate::session::Here;
use create::CreateKeyForm;
use rename::RenameForm;
use revoke::RevokeForm;
use table::KeyTable;

/// What a dialog of the page is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// Change the name of this key.
    Rename(KeyView),
    /// Revoke this key.
    Revoke(KeyView),
}

/// The page.
#[component]
pub(crate) fn Keys(here: Here) -> impl IntoView {
    let member = expect_context::<Member>();
    let app = here.app.id;
    let keys = Load::new(move || member.keys(app));
    let creating = RwSignal::new(false);
    let act = RwSignal::new(None::<Act>);
    let may_edit = here.may_edit();
    view! {
        <PageHead
            title="Keys"
            about="A key calls the REST API and signs tokens for clients. What it may do is the ceiling for every token it signs."
        >
            {may_edit.then(|| view! {
                <button class="button button-primary" type="button" on:click=move |_| creating.set(true)>
                    <Icon shape=Shape::PLUS/>
                    "Create key"
                </button>
            })}
        </PageHead>
        {keys.show("Seeing keys", move |list| {
            if list.is_empty() {
                view! { <NoKeys/> }.into_any()
            } else {
                view! { <KeyTable keys=list may_edit=may_edit act=act/> }.into_any()
            }
        })}
        {(!may_edit).then(|| view! {
            <p class="muted small">
                {format!("Making and revoking keys needs the role {} or above.", Role::Developer.as_str())}
            </p>
        })}
        <Dialog open=creating title="Create key" id="create-key">
            <CreateKeyForm
                app=app
                on_made=Callback::new(move |()| keys.again())
                on_close=Callback::new(move |()| creating.set(false))
            />
        </Dialog>
        <ActDialog app=app act=act on_done=Callback::new(move |()| keys.again())/>
    }
}

/// The dialog about one key.
#[component]
fn ActDialog(app: AppId, act: RwSignal<Option<Act>>, on_done: Callback<()>) -> impl IntoView {
    let acting = open_about(act);
    let title = Signal::derive(move || match act.get() {
        Some(Act::Revoke(key)) => format!("Revoke {}", key.name),
        Some(Act::Rename(_)) | None => "Rename key".to_owned(),
    });
    let cancelled = Callback::new(move |()| act.set(None));
    let done = Callback::new(move |()| {
        act.set(None);
        on_done.run(());
    });
    view! {
        <Dialog open=acting title=title id="key-action">
            {move || match act.get() {
                Some(Act::Rename(key)) => {
                    view! { <RenameForm app=app key=key on_done=done on_cancel=cancelled/> }.into_any()
                }
                Some(Act::Revoke(key)) => {
                    view! { <RevokeForm app=app key=key on_done=done on_cancel=cancelled/> }.into_any()
                }
                None => ().into_any(),
            }}
        </Dialog>
    }
}

#[component]
fn NoKeys() -> impl IntoView {
    view! {
        <div class="card">
            <Empty shape=Shape::KEY title="No keys yet">
                <p>"Without a key no backend can publish and nobody can sign tokens. Create one; its secret is shown once."</p>
            </Empty>
        </div>
    }
}
