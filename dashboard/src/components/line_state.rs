//! How the page's live link is doing, in a word and a shape; a click pauses or resumes it.

use leptos::prelude::*;

use crate::browser;
use crate::live::{Link, Live};

/// The state of the live link.
#[component]
pub(crate) fn LineState() -> impl IntoView {
    let live = expect_context::<Live>();
    let word = move || match live.link() {
        Link::Connecting => "Connecting",
        Link::Live => "Live",
        Link::Reconnecting { .. } => "Reconnecting",
        Link::Paused => "Paused",
        Link::Refused(_) => "Refused",
    };
    let class = move || match live.link() {
        Link::Live => "badge badge-good",
        Link::Connecting | Link::Paused => "badge",
        Link::Reconnecting { .. } => "badge badge-warn",
        Link::Refused(_) => "badge badge-bad",
    };
    let dot = move || match live.link() {
        Link::Live => "dot",
        Link::Paused => "dot dot-bars",
        Link::Connecting | Link::Reconnecting { .. } | Link::Refused(_) => "dot dot-hollow",
    };
    let about = move || match live.link() {
        Link::Connecting => "The live link is being made.".to_owned(),
        Link::Live => "Figures and messages arrive as they happen. Click to pause.".to_owned(),
        Link::Reconnecting { since_ms, why } => {
            format!("Lost at {}: {why} Click to try now.", browser::clock_time(since_ms))
        }
        Link::Paused => "Nothing new is shown. Click to resume.".to_owned(),
        Link::Refused(problem) => format!("{} Click to try again.", problem.detail),
    };
    let act = move |_| match live.link() {
        Link::Live | Link::Connecting => live.pause(),
        Link::Reconnecting { .. } | Link::Paused | Link::Refused(_) => live.resume(),
    };
    view! {
        <button class=class type="button" title=about on:click=act>
            <span class=dot aria-hidden="true"></span>
            <span class="visually-hidden">"Live link: "</span>
            <span aria-live="polite">{word}</span>
        </button>
    }
}
