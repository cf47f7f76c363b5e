//! What clients of an app may do: its ACL as one document, a tester that says why, and the versions it had.

mod add;
mod diff;
mod dry_run;
mod editor;
mod rules;
mod tester;
mod verdict;
mod versions;

use fanfare_api::acl::{AclView, RuleDraft, RuleView};
use fanfare_core::id::RuleId;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

use crate::api::Member;
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::sections::Sections;
use crate::session::Here;
use editor::Editor;
use tester::Tester;
use versions::Versions;

/// The parts of the page: their names, and what the URL calls them.
const PARTS: [(&str, &str); 3] = [("Rules", "rules"), ("Tester", "tester"), ("Versions", "versions")];

/// The document under the reader's hands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft {
    /// The rules as they would be saved.
    pub(super) rules: RwSignal<Vec<RuleDraft>>,
    /// The version they were read at.
    pub(super) version: RwSignal<u64>,
    /// The rules as they were read.
    pub(super) saved: RwSignal<Vec<RuleView>>,
}

impl Draft {
    fn new(acl: AclView) -> Self {
        let rules = acl.rules.iter().map(drafted).collect();
        Self { rules: RwSignal::new(rules), version: RwSignal::new(acl.version), saved: RwSignal::new(acl.rules) }
    }

    /// Starts again from what the server has.
    pub(super) fn reset(self, acl: AclView) {
        self.rules.set(acl.rules.iter().map(drafted).collect());
        self.saved.set(acl.rules);
        self.version.set(acl.version);
    }

    /// Forgets what was changed.
    pub(super) fn discard(self) {
        self.rules.set(self.saved.with_untracked(|saved| saved.iter().map(drafted).collect()));
    }

    /// Whether it is other than what was read, tracked.
    pub(super) fn is_changed(self) -> bool {
        self.rules.with(|rules| {
            self.saved.with(|saved| {
                rules.len() != saved.len() || !rules.iter().eq(&saved.iter().map(drafted).collect::<Vec<_>>())
            })
        })
    }
}

fn drafted(rule: &RuleView) -> RuleDraft {
    RuleDraft {
        id: Some(rule.id),
        pattern: rule.pattern.clone(),
        who: rule.who.clone(),
        operations: rule.operations,
        effect: rule.effect,
    }
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
            view! { <Parts here=here.clone() found=found may_edit=may_edit/> }
        })}
    }
}

#[component]
fn Parts(here: Here, found: AclView, may_edit: bool) -> impl IntoView {
    let app = here.app.id;
    let query = use_query_map();
    let chosen = Memo::new(move |_| {
        let wanted = query.with(|query| query.get("part")).unwrap_or_default();
        PARTS.iter().position(|(_, slug)| *slug == wanted).unwrap_or_default()
    });
    let links = PARTS.map(|(name, slug)| (name, format!("/apps/{app}/access?part={slug}"))).to_vec();
    let draft = Draft::new(found);
    view! {
        <Sections label="Parts of access" links=links chosen=chosen/>
        <section aria-label="Rules" hidden=move || chosen.get() != 0><Editor app=app draft=draft may_edit=may_edit/></section>
        <section aria-label="Tester" hidden=move || chosen.get() != 1><Tester app=app draft=draft/></section>
        <section aria-label="Versions" hidden=move || chosen.get() != 2>
            <Versions app=app draft=draft may_edit=may_edit/>
        </section>
    }
}

/// What a rule is known by in the table: its id, or that it has none yet.
pub(super) fn known_as(id: Option<RuleId>) -> String {
    id.map_or_else(|| "new".to_owned(), |id| id.to_string())
}
