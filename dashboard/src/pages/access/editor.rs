//! The rules, edited as one document: nothing is saved until it is, and nobody overwrites another unseen.

use fanfare_api::acl::ReplaceAcl;
use fanfare_core::id::AppId;
use fanfare_core::{ErrorCode, Role};
use leptos::prelude::*;

use super::Draft;
use super::add::AddRule;
use super::dry_run::OnLastDay;
use super::rules::RuleTable;
use crate::api::{ApiError, Member};
use crate::components::attempt::Attempt;
use crate::components::snippet::AsCurl;
use crate::components::states::FormError;
use crate::snippets;

/// The table, the form below it, and saving.
#[component]
pub(super) fn Editor(app: AppId, draft: Draft, may_edit: bool) -> impl IntoView {
    let member = expect_context::<Member>();
    let attempt = Attempt::new();
    let saved = RwSignal::new(false);
    let error = attempt.error;
    let replace = move || ReplaceAcl { rules: draft.rules.get() };
    let save = Callback::new(move |()| {
        saved.set(false);
        let (version, replace) = (draft.version.get_untracked(), untrack(replace));
        attempt.run(async move { member.replace_acl(app, version, &replace).await }, move |acl| {
            draft.reset(acl);
            saved.set(true);
        });
    });
    let reload = move |_| attempt.run(member.acl(app), move |acl| draft.reset(acl));
    let conflict =
        move || error.with(|error| error.as_ref().and_then(ApiError::code) == Some(ErrorCode::PreconditionFailed));
    let command = Signal::derive(move || {
        snippets::control_json("PUT", &format!("/api/v1/apps/{app}/acl"), Some(draft.version.get()), &replace())
    });
    view! {
        <div class="stack">
            <RuleTable draft=draft may_edit=may_edit error=error/>
            {may_edit.then(|| view! { <AddRule draft=draft/> })}
            <Show when=conflict fallback=move || view! { <FormError error=error/> }>
                <div class="note note-bad" role="alert">
                    <span>
                        "Somebody else saved other rules since you read them. Yours are still here and not saved. "
                        <button class="link-button" type="button" on:click=reload>"Discard mine and read theirs"</button>
                    </span>
                </div>
            </Show>
            {may_edit.then(|| view! { <OnLastDay app=app draft=draft/> })}
            {may_edit.then(|| view! { <Saving draft=draft saved=saved busy=attempt.busy on_save=save/> })}
            {(!may_edit).then(|| view! {
                <p class="muted small">
                    {format!("Changing rules needs the role {} or above.", Role::Developer.as_str())}
                </p>
            })}
            <AsCurl text=command/>
        </div>
    }
}

#[component]
fn Saving(draft: Draft, saved: RwSignal<bool>, busy: RwSignal<bool>, on_save: Callback<()>) -> impl IntoView {
    let changed = Memo::new(move |_| draft.is_changed());
    view! {
        <div class="row-end">
            <span class="muted" role="status">
                {move || match (changed.get(), saved.get()) {
                    (true, _) => "Not saved yet.",
                    (false, true) => "Saved. Live connections follow within a second.",
                    (false, false) => "",
                }}
            </span>
            <button class="button" type="button" disabled=move || !changed.get() on:click=move |_| draft.discard()>
                "Discard changes"
            </button>
            <button
                class="button button-primary"
                type="button"
                disabled=move || !changed.get() || busy.get()
                on:click=move |_| on_save.run(())
            >
                "Save rules"
            </button>
        </div>
    }
}
