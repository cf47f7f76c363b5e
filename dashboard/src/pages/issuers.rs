//! The issuers of an app: identity providers whose tokens it trusts. List, make, change, delete, and how fetching their
//! keys goes.

mod claims;
mod create;
mod edit;
mod keys;
mod remove;
mod source;
mod table;

use std::time::Duration;

use fanfare_api::issuer::IssuerView;
use fanfare_core::Role;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::api::Member;
use crate::components::dialog::{Dialog, open_about};
use crate::components::icon::{Icon, Shape};
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::snippet::{AsCurl, Snippet};
use crate::components::states::Empty;
use crate::session::Here;
use crate::snippets;
use create::CreateForm;
use edit::EditForm;
use keys::Details;
use remove::RemoveForm;
use table::IssuerTable;

/// What a dialog of the page is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// Make one.
    Create,
    /// All that is known of this one.
    See(Box<IssuerView>),
    /// Change this one.
    Edit(Box<IssuerView>),
    /// Delete this one.
    Delete(Box<IssuerView>),
}

/// How soon the list is read again while keys of a new issuer are on their way, and how often at most.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const LOOKS_MAX: u32 = 10;

/// The page.
#[component]
pub(crate) fn Issuers(here: Here) -> impl IntoView {
    let member = expect_context::<Member>();
    let app = here.app.id;
    let issuers = Load::new(move || member.issuers(app));
    follow_first_fetch(issuers);
    let act = RwSignal::new(None::<Act>);
    let may_edit = here.may_edit();
    let list = snippets::control("GET", &path(app), None, None);
    view! {
        <PageHead
            title="Issuers"
            about="An issuer is an identity provider whose tokens clients may connect with: no secret is shared, and your backend signs nothing."
        >
            {may_edit.then(|| view! {
                <button class="button button-primary" type="button" on:click=move |_| act.set(Some(Act::Create))>
                    <Icon shape=Shape::PLUS/>
                    "Add issuer"
                </button>
            })}
        </PageHead>
        <div class="stack">
            {issuers.show("Seeing issuers", move |list| {
                if list.is_empty() {
                    view! { <NoIssuers app=app/> }.into_any()
                } else {
                    view! { <IssuerTable issuers=list may_edit=may_edit act=act/> }.into_any()
                }
            })}
            <AsCurl text=list/>
            {(!may_edit).then(|| view! {
                <p class="muted small">
                    {format!("Making, changing and deleting issuers needs the role {} or above.", Role::Developer.as_str())}
                </p>
            })}
        </div>
        <ActDialog app=app act=act on_done=Callback::new(move |()| issuers.again())/>
    }
}

/// Where issuers of the app are in the API.
pub(super) fn path(app: AppId) -> String {
    format!("/api/v1/apps/{app}/issuers")
}

/// Reads the list again while there is an issuer whose keys nobody has tried to fetch yet. That takes a moment, not
/// minutes: whoever still waits after that reads the page again.
fn follow_first_fetch(issuers: Load<Vec<IssuerView>>) {
    Effect::new(move |looks: Option<u32>| {
        let is_new = |issuer: &IssuerView| issuer.jwks.as_ref().is_some_and(|jwks| jwks.attempted_at.is_none());
        if !issuers.get().is_some_and(|issuers| issuers.iter().any(is_new)) {
            return 0;
        }
        let looks = looks.unwrap_or_default() + 1;
        if looks <= LOOKS_MAX
            && let Ok(timer) = set_timeout_with_handle(move || issuers.again(), LOOK_AGAIN)
        {
            on_cleanup(move || timer.clear());
        }
        looks
    });
}

/// The dialog about an issuer.
#[component]
fn ActDialog(app: AppId, act: RwSignal<Option<Act>>, on_done: Callback<()>) -> impl IntoView {
    let acting = open_about(act);
    let title = Signal::derive(move || match act.get() {
        Some(Act::See(issuer)) => issuer.name.clone(),
        Some(Act::Edit(issuer)) => format!("Change {}", issuer.name),
        Some(Act::Delete(issuer)) => format!("Delete {}", issuer.name),
        Some(Act::Create) | None => "Add issuer".to_owned(),
    });
    let close = Callback::new(move |()| act.set(None));
    let done = Callback::new(move |()| {
        act.set(None);
        on_done.run(());
    });
    view! {
        <Dialog open=acting title=title id="issuer-action">
            {move || match act.get() {
                Some(Act::Create) => view! { <CreateForm app=app on_done=done on_cancel=close/> }.into_any(),
                Some(Act::See(issuer)) => view! { <Details issuer=*issuer/> }.into_any(),
                Some(Act::Edit(issuer)) => {
                    view! { <EditForm app=app issuer=*issuer on_done=done on_cancel=close/> }.into_any()
                }
                Some(Act::Delete(issuer)) => {
                    view! { <RemoveForm app=app issuer=*issuer on_done=done on_cancel=close/> }.into_any()
                }
                None => ().into_any(),
            }}
        </Dialog>
    }
}

#[component]
fn NoIssuers(app: AppId) -> impl IntoView {
    let body = r#"{"name":"Auth0","iss":"https://TENANT.auth0.com/","aud":"YOUR-API","jwks_url":"https://TENANT.auth0.com/.well-known/jwks.json"}"#;
    let command = snippets::control("POST", &path(app), None, Some(body));
    view! {
        <div class="card">
            <Empty shape=Shape::ID title="No issuers yet">
                <p>
                    "Tokens of this app are signed with its keys alone. Add an issuer to let clients in with the tokens that Auth0, Clerk, Cognito, Supabase or a service of your own gives them."
                </p>
                <Snippet text=command what="curl command" wrap=true/>
            </Empty>
        </div>
    }
}
