//! Code to be copied as it stands.

use std::time::Duration;

use leptos::prelude::*;

use super::icon::{Icon, Shape};
use crate::browser;

/// A button that copies a text and says so.
#[component]
pub(crate) fn CopyButton(
    /// What is copied.
    #[prop(into)]
    text: Signal<String>,
    /// What it is, for those who do not see where the button stands: "Copy <what>".
    what: &'static str,
    /// Called after it was copied.
    #[prop(optional)]
    on_copy: Option<Callback<()>>,
) -> impl IntoView {
    // `None` before, then whether it worked, for two seconds.
    let outcome = RwSignal::new(None::<bool>);
    let copy = move |_| {
        let text = text.get_untracked();
        leptos::task::spawn_local(async move {
            let copied = browser::copy(&text).await;
            outcome.try_set(Some(copied));
            if copied && let Some(on_copy) = on_copy {
                on_copy.try_run(());
            }
            set_timeout(move || { outcome.try_set(None); }, Duration::from_secs(2));
        });
    };
    let shape = Signal::derive(move || if outcome.get() == Some(true) { Shape::CHECK } else { Shape::COPY });
    let word = move || match outcome.get() {
        None => "Copy",
        Some(true) => "Copied",
        Some(false) => "Select it",
    };
    view! {
        <button class="button button-small" type="button" aria-label=move || format!("{} {what}", word()) on:click=copy>
            <Icon shape=shape/>
            <span aria-live="polite">{word}</span>
        </button>
    }
}

/// A block of code with a button that copies it.
#[component]
pub(crate) fn Snippet(
    /// The code.
    #[prop(into)]
    text: Signal<String>,
    /// What it is: "Copy <what>".
    what: &'static str,
    /// Whether long lines are wrapped rather than scrolled.
    #[prop(optional)]
    wrap: bool,
    /// Called after it was copied.
    #[prop(optional)]
    on_copy: Option<Callback<()>>,
) -> impl IntoView {
    let copy = match on_copy {
        Some(on_copy) => view! { <CopyButton text=text what=what on_copy=on_copy/> }.into_any(),
        None => view! { <CopyButton text=text what=what/> }.into_any(),
    };
    view! {
        <div class="snippet" class:snippet-wrap=wrap>
            <pre tabindex="0" role="group" aria-label=what><code>{move || text.get()}</code></pre>
            {copy}
        </div>
    }
}
