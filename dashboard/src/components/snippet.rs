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
    /// Whether only its picture is shown, beside an id in a table.
    #[prop(optional)]
    icon: bool,
) -> impl IntoView {
    // `None` before, then whether it worked, for two seconds.
    let outcome = RwSignal::new(None::<bool>);
    let copy = move |_| {
        let text = text.get_untracked();
        leptos::task::spawn_local(async move {
            let copied = browser::copy(&text).await;
            outcome.try_set(Some(copied));
            set_timeout(
                move || {
                    outcome.try_set(None);
                },
                Duration::from_secs(2),
            );
        });
    };
    let shape = Signal::derive(move || if outcome.get() == Some(true) { Shape::CHECK } else { Shape::COPY });
    let word = move || match outcome.get() {
        None => "Copy",
        Some(true) => "Copied",
        Some(false) => "Select it",
    };
    let class = if icon { "icon-button icon-button-small" } else { "button button-small" };
    view! {
        <button class=class type="button" aria-label=move || format!("{} {what}", word()) on:click=copy>
            <Icon shape=shape/>
            <span aria-live="polite" class:visually-hidden=icon>{word}</span>
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
) -> impl IntoView {
    view! {
        <div class="snippet" class:snippet-wrap=wrap>
            <div class="snippet-head"><span aria-hidden="true">{what}</span><CopyButton text=text what=what/></div>
            <pre tabindex="0" role="group" aria-label=what><code>{move || text.get()}</code></pre>
        </div>
    }
}

/// What a page or a form does, as a command, behind a summary.
#[component]
pub(crate) fn AsCurl(
    /// The command.
    #[prop(into)]
    text: Signal<String>,
    /// Whether it stands in a dialog or card of its own already.
    #[prop(optional)]
    plain: bool,
) -> impl IntoView {
    let class = if plain { "field-more" } else { "card card-pad field-more" };
    view! {
        <details class=class>
            <summary>"As curl"</summary>
            <Snippet text=text what="curl command" wrap=true/>
        </details>
    }
}
