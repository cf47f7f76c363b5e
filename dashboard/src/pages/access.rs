//! The ACL of an app, edited as one document: nothing is saved until it is, and nobody overwrites another unseen.

mod add;
mod rules;

use fanfare_api::acl::{AclView, ReplaceAcl, RuleDraft};
use fanfare_core::id::RuleId;
use fanfare_core::{ErrorCode, Role};
use leptos::prelude::*;

use crate::api::{ApiError, Member};
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::states::FormError;
use crate::session::Here;
use add::AddRule;
use rules::RuleTable;

/// The document under the reader's hands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft {
    /// The rules as they would be saved.
    pub(super) rules: RwSignal<Vec<RuleDraft>>,
    /// The version they were read at.
    version: RwSignal<u64>,
    /// The rules as they were read.
    saved: RwSignal<Vec<RuleDraft>>,
}

impl Draft {
    fn new(acl: AclView) -> Self {
        let rules = drafts(&acl);
        Self { rules: RwSignal::new(rules.clone()), version: RwSignal::new(acl.version), saved: RwSignal::new(rules) }
    }

    /// Starts again from what the server has.
    fn reset(self, acl: &AclView) {
        let rules = drafts(acl);
        self.saved.set(rules.clone());
        self.rules.set(rules);
        self.version.set(acl.version);
    }

    fn is_changed(self) -> bool {
        self.rules.with(|rules| self.saved.with(|saved| rules != saved))
    }
}

fn drafts(acl: &AclView) -> Vec<RuleDraft> {
    let draft = |rule: &fanfare_api::acl::RuleView| RuleDraft {
        id: Some(rule.id),
        pattern: rule.pattern.clone(),
        who: rule.who.clone(),
        operations: rule.operations,
        effect: rule.effect,
    };
    acl.rules.iter().map(draft).collect()
}

/// The page.
#[component]
pub(crate) fn Access(here: Here) -> impl IntoView {
    let member = expect_context::<Member>();
    let app = here.app.id;
    let acl = Load::new(move || member.acl(app));
    let may_edit = here.may_edit();
    view! {
        <PageHead
            title="Access"
            about="What clients may do. An allow rule speaks to clients whose token has no cap; a deny rule beats every token and every other rule. Order does not matter."
        />
        {acl.show("Seeing access rules", move |found| {
            view! { <Editor here=here.clone() found=found may_edit=may_edit/> }
        })}
    }
}

#[component]
fn Editor(here: Here, found: AclView, may_edit: bool) -> impl IntoView {
    let member = expect_context::<Member>();
    let app = here.app.id;
    let draft = Draft::new(found);
    let error = RwSignal::new(None::<ApiError>);
    let saved = RwSignal::new(false);
    let busy = RwSignal::new(false);
    let save = move |_| {
        busy.set(true);
        saved.set(false);
        let replace = ReplaceAcl { rules: draft.rules.get_untracked() };
        let version = draft.version.get_untracked();
        leptos::task::spawn_local(async move {
            let answer = member.replace_acl(app, version, &replace).await;
            busy.set(false);
            error.set(answer.as_ref().err().cloned());
            if let Ok(acl) = answer {
                draft.reset(&acl);
                saved.set(true);
            }
        });
    };
    let reload = move |_| {
        leptos::task::spawn_local(async move {
            let answer = member.acl(app).await;
            error.set(answer.as_ref().err().cloned());
            if let Ok(acl) = answer {
                draft.reset(&acl);
            }
        });
    };
    let conflict =
        move || error.with(|error| error.as_ref().and_then(ApiError::code) == Some(ErrorCode::PreconditionFailed));
    let changed = Memo::new(move |_| draft.is_changed());
    view! {
        <div class="stack">
            <RuleTable draft=draft may_edit=may_edit error=error/>
            {may_edit.then(|| view! { <AddRule draft=draft/> })}
            <Show when=conflict fallback=move || view! { <FormError error=error/> }>
                <div class="note note-bad" role="alert">
                    <span>
                        "Somebody else saved other rules since you read them. Yours are still here and not saved. "
                        <button
                            class="link-button"
                            type="button"
                            on:click=reload
                        >
                            "Discard mine and read theirs"
                        </button>
                    </span>
                </div>
            </Show>
            {may_edit.then(|| view! {
                <div class="row-end">
                    <span class="muted" role="status">
                        {move || match (changed.get(), saved.get()) {
                            (true, _) => "Not saved yet.",
                            (false, true) => "Saved. Live connections follow within a second.",
                            (false, false) => "",
                        }}
                    </span>
                    <button
                        class="button"
                        type="button"
                        disabled=move || !changed.get()
                        on:click=move |_| draft.rules.set(draft.saved.get_untracked())
                    >
                        "Discard changes"
                    </button>
                    <button
                        class="button button-primary"
                        type="button"
                        disabled=move || !changed.get() || busy.get()
                        on:click=save
                    >
                        "Save rules"
                    </button>
                </div>
            })}
            {(!may_edit).then(|| view! {
                <p class="muted small">
                    {format!("Changing rules needs the role {} or above.", Role::Developer.as_str())}
                </p>
            })}
        </div>
    }
}

/// What a rule is known by in the table: its id, or that it has none yet.
pub(super) fn known_as(id: Option<RuleId>) -> String {
    id.map_or_else(|| "new".to_owned(), |id| id.to_string())
}
