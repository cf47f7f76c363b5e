//! The limits of an app: the number, what happens at it, how much is used, and lowering one's own.

mod lower;
mod table;
mod words;

use fanfare_api::limits::{LimitList, LowerLimits};
use fanfare_core::{Limit, LimitValue, Limits as Numbers, Role};
use leptos::prelude::*;

use crate::api::Member;
use crate::components::dialog::Dialog;
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::snippet::AsCurl;
use crate::components::time::Ago;
use crate::session::Here;
use crate::snippets;
use lower::LowerForm;
use table::LimitTable;

pub(super) use words::{about, amount};

/// The page.
#[component]
pub(crate) fn Limits(here: Here) -> impl IntoView {
    let member = expect_context::<Member>();
    let app = here.app.id;
    let load = Load::new(move || member.limits(app));
    let about = RwSignal::new(None::<Limit>);
    let may_edit = here.may_edit();
    view! {
        <PageHead
            title="Limits"
            about="What the app may use, what happens when a limit is reached, and how much is used. The plan and the operator set the numbers; you can lower your own."
        >
            <button class="button" type="button" on:click=move |_| load.again()>"Refresh"</button>
        </PageHead>
        {load.show("Seeing limits", move |list| {
            let command = snippets::put_limits(&format!("/api/v1/apps/{app}/limits"), list.version, &lowered(&list));
            view! {
                <div class="stack">
                    <p class="muted small">
                        "Plan " <strong>{list.plan.clone()}</strong> ". "
                        {match list.used_at {
                            Some(at) => view! { "Use is of " <Ago at=at/> ", over all nodes." }.into_any(),
                            None => "No node has told yet what is used; it comes within ten seconds.".into_any(),
                        }}
                    </p>
                    <LimitTable list=list may_edit=may_edit about=about/>
                    <AsCurl text=command/>
                </div>
            }
        })}
        {(!may_edit).then(|| view! {
            <p class="muted small">
                {format!("Lowering limits needs the role {} or above.", Role::Developer.as_str())}
            </p>
        })}
        <LowerDialog here=here about=about load=load/>
    }
}

/// The dialog about one limit.
#[component]
fn LowerDialog(here: Here, about: RwSignal<Option<Limit>>, load: Load<LimitList>) -> impl IntoView {
    let open = RwSignal::new(false);
    Effect::new(move || {
        let is_about_something = about.with(Option::is_some);
        if open.get_untracked() != is_about_something {
            open.set(is_about_something);
        }
    });
    // The dialog's own closing forgets what it was about.
    Effect::new(move || {
        if !open.get() && about.with_untracked(Option::is_some) {
            about.set(None);
        }
    });
    let title =
        Signal::derive(move || about.get().map_or_else(String::new, |limit| format!("Lower {}", limit.as_str())));
    let close = Callback::new(move |()| about.set(None));
    let done = Callback::new(move |()| {
        about.set(None);
        load.again();
    });
    let app = here.app.id;
    view! {
        <Dialog open=open title=title id="lower-limit">
            {move || {
                let (list, limit) = (load.get()?, about.get()?);
                Some(view! { <LowerForm app=app list=list limit=limit on_done=done on_cancel=close/> })
            }}
        </Dialog>
    }
}

/// What the app has lowered for itself.
fn lowered(list: &LimitList) -> LowerLimits {
    let mut lowered = Numbers::default();
    for one in list.limits.iter().filter(|one| one.lowered_from.is_some()) {
        lowered.set(one.name, LimitValue { max: one.max, burst: one.burst.unwrap_or_default() });
    }
    LowerLimits { lowered }
}
