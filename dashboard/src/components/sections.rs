//! Parts of a page of which one is shown, as links: which one lives in the URL, and the others keep what was typed.

use leptos::prelude::*;

/// The links.
#[component]
pub(crate) fn Sections(
    /// What they are parts of, for those who cannot see it.
    label: &'static str,
    /// Names and where they lead.
    links: Vec<(&'static str, String)>,
    /// Which one is shown.
    #[prop(into)]
    chosen: Signal<usize>,
) -> impl IntoView {
    let items = links.into_iter().enumerate().map(|(at, (name, href))| {
        let current = move || (chosen.get() == at).then_some("page");
        view! { <li><a class="tab" href=href aria-current=current>{name}</a></li> }
    });
    view! { <nav class="sections" aria-label=label><ul class="tabs">{items.collect::<Vec<_>>()}</ul></nav> }
}
