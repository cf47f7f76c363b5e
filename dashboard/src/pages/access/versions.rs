//! The versions that the rules had, what is other in each, and the way back to one.

use fanfare_api::acl::{AclVersion, AclVersions};
use fanfare_core::id::{AppId, UserId};
use leptos::prelude::*;

use super::Draft;
use super::diff::{Differences, differences};
use crate::api::Member;
use crate::components::attempt::Attempt;
use crate::components::dialog::{Dialog, open_about};
use crate::components::load::Load;
use crate::components::snippet::AsCurl;
use crate::components::states::FormError;
use crate::components::time::Ago;
use crate::session::SessionHandle;
use crate::{format, snippets};

/// The part of the page.
#[component]
pub(super) fn Versions(app: AppId, draft: Draft, may_edit: bool) -> impl IntoView {
    let member = expect_context::<Member>();
    let versions = Load::new(move || {
        // A version that was just saved belongs to the list.
        draft.version.track();
        member.acl_versions(app)
    });
    let about = RwSignal::new(None::<u64>);
    let open = open_about(about);
    let title = Signal::derive(move || about.get().map_or_else(String::new, |version| format!("Version {version}")));
    let list = snippets::control("GET", &format!("/api/v1/apps/{app}/acl/versions"), None, None);
    view! {
        <div class="stack">
            {versions.show("Seeing versions", move |found| view! { <List found=found draft=draft about=about/> })}
            <AsCurl text=list/>
        </div>
        <Dialog open=open title=title id="acl-version">
            {move || about.get().map(|version| {
                view! { <Compared app=app version=version draft=draft may_edit=may_edit about=about/> }
            })}
        </Dialog>
    }
}

#[component]
fn List(found: AclVersions, draft: Draft, about: RwSignal<Option<u64>>) -> impl IntoView {
    let rows: Vec<_> =
        found.items.into_iter().map(|version| view! { <Row version=version draft=draft about=about/> }).collect();
    view! {
        <div class="card table-wrap">
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">"Version"</th>
                        <th scope="col" role="columnheader">"In force since"</th>
                        <th scope="col" role="columnheader">"By"</th>
                        <th scope="col" role="columnheader">"Rules"</th>
                        <th scope="col" role="columnheader"><span class="visually-hidden">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody role="rowgroup">{rows}</tbody>
            </table>
        </div>
        <p class="muted small">"The last fifty versions are kept."</p>
    }
}

#[component]
fn Row(version: AclVersion, draft: Draft, about: RwSignal<Option<u64>>) -> impl IntoView {
    let number = version.version;
    let is_current = move || draft.version.get() == number;
    view! {
        <tr role="row">
            <td role="cell" data-label="Version">
                <span class="row">
                    <strong>{number}</strong>
                    {move || is_current().then(|| view! { <span class="badge badge-good">"In force"</span> })}
                </span>
            </td>
            <td role="cell" data-label="In force since"><Ago at=version.created_at/></td>
            <td role="cell" data-label="By">{by(version.created_by)}</td>
            <td role="cell" data-label="Rules">{format::counted(f64::from(version.rules), "rule")}</td>
            <td role="cell" class="table-actions" data-label="">
                <Show when=move || !is_current()>
                    <button class="button button-small" type="button" on:click=move |_| about.set(Some(number))>
                        "Compare"<span class="visually-hidden">{format!(" version {number}")}</span>
                    </button>
                </Show>
            </td>
        </tr>
    }
}

/// Who put a version in force, as far as the session knows them.
fn by(user: Option<UserId>) -> AnyView {
    let reader = untrack(|| expect_context::<SessionHandle>().view()).map(|view| view.user.id);
    match user {
        None => view! { <span class="muted">"Fanfare"</span> }.into_any(),
        Some(user) if Some(user) == reader => "You".into_any(),
        Some(user) => view! { <code class="small">{user.to_string()}</code> }.into_any(),
    }
}

/// What going back would change, and going back.
#[component]
fn Compared(app: AppId, version: u64, draft: Draft, may_edit: bool, about: RwSignal<Option<u64>>) -> impl IntoView {
    let member = expect_context::<Member>();
    let earlier = Load::new(move || member.acl_version(app, version));
    let attempt = Attempt::new();
    let restore = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let expected = draft.version.get_untracked();
        attempt.run(async move { member.restore_acl(app, expected, version).await }, move |acl| {
            draft.reset(acl);
            about.set(None);
        });
    };
    let command = Signal::derive(move || {
        let path = format!("/api/v1/apps/{app}/acl/versions/{version}/restore");
        snippets::control("POST", &path, Some(draft.version.get()), None)
    });
    view! {
        {earlier.show("Seeing versions", move |earlier| {
            let changes = draft.saved.with(|saved| differences(saved, &earlier.rules));
            let is_same = changes.is_empty();
            view! {
                <form class="form" on:submit=restore>
                    {match is_same {
                        true => view! { <p>"It says the same as the rules in force."</p> }.into_any(),
                        false => view! { <p>"Going back to it changes what is in force:"</p><Differences changes=changes/> }.into_any(),
                    }}
                    {move || draft.is_changed().then(|| view! {
                        <p class="note">"Your unsaved changes to the rules are discarded by going back."</p>
                    })}
                    <AsCurl text=command plain=true/>
                    <FormError error=attempt.error/>
                    <div class="row-end">
                        <button class="button" type="button" on:click=move |_| about.set(None)>"Close"</button>
                        {(may_edit && !is_same).then(|| view! {
                            <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>
                                "Put in force again"
                            </button>
                        })}
                    </div>
                </form>
            }
        })}
    }
}
