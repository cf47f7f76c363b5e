//! What there is to do before real users come; it ticks itself.

use fanfare_core::Effect as Gives;
use fanfare_core::id::AppId;
use leptos::prelude::*;
use leptos_router::components::A;

use crate::api::Member;
use crate::browser;
use crate::components::icon::{Icon, Shape};
use crate::components::load::Load;
use crate::session::Here;

/// What was seen to happen. Remembered in this browser; what only the server knows is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Something was published.
    pub(super) published: bool,
    /// Something arrived.
    pub(super) received: bool,
    /// A token was signed.
    pub(super) token: bool,
}

/// The ticks of an app.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    app: AppId,
    done: RwSignal<Done>,
}

impl Progress {
    /// What this browser remembers of the app.
    pub(super) fn of(app: AppId) -> Self {
        let stored = browser::stored(&name(app)).unwrap_or_default();
        let has = |word: &str| stored.split(',').any(|known| known == word);
        let done = Done { published: has("published"), received: has("received"), token: has("token") };
        Self { app, done: RwSignal::new(done) }
    }

    /// Ticks something.
    pub(super) fn tick(self, change: impl FnOnce(&mut Done)) {
        let mut done = self.done.get_untracked();
        change(&mut done);
        if done != self.done.get_untracked() {
            self.done.set(done);
            let words = [("published", done.published), ("received", done.received), ("token", done.token)];
            let words: Vec<&str> = words.into_iter().filter(|(_, is)| *is).map(|(word, _)| word).collect();
            browser::store(&name(self.app), Some(&words.join(",")));
        }
    }
}

fn name(app: AppId) -> String {
    format!("fanfare.first.{app}")
}

/// The list.
#[component]
pub(super) fn Checklist(here: Here, progress: Progress) -> impl IntoView {
    let member = expect_context::<Member>();
    let app = here.app.id;
    let acl = Load::new(move || member.acl(app));
    let closed = Signal::derive(move || {
        acl.get().is_some_and(|acl| !acl.rules.iter().any(|rule| admits_anonymous(rule.effect, &rule.who)))
    });
    let done = progress.done;
    let access = format!("/apps/{app}/access");
    view! {
        <section class="card card-pad stack" aria-labelledby="checklist-title">
            <h2 id="checklist-title">"Before real users come"</h2>
            <ul class="checklist">
                <Check
                    done=Signal::derive(move || done.get().published)
                    title="Published"
                >
                    "A message was accepted."
                </Check>
                <Check
                    done=Signal::derive(move || done.get().received)
                    title="Received"
                >
                    "It arrived in this page."
                </Check>
                <Check
                    done=Signal::derive(move || done.get().token)
                    title="Token made"
                >
                    "A backend says who its users are; see below."
                </Check>
                <Check done=closed title="Anonymous access closed">
                    "Nobody without a token. "<A href=access.clone()>"Access"</A>
                </Check>
            </ul>
        </section>
    }
}

fn admits_anonymous(effect: Gives, who: &fanfare_core::Who) -> bool {
    effect == Gives::Allow && who.covers(None, &[])
}

#[component]
fn Check(done: Signal<bool>, title: &'static str, children: Children) -> impl IntoView {
    let shape = Signal::derive(move || if done.get() { Shape::DONE } else { Shape::CIRCLE });
    view! {
        <li class="check" class:check-done=move || done.get()>
            <Icon shape=shape/>
            <div>
                <strong>{title}</strong>
                <span class="visually-hidden">{move || if done.get() { ": done" } else { ": to do" }}</span>
                <p>{children()}</p>
            </div>
        </li>
    }
}
