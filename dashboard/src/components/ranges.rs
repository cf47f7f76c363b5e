//! A row of links of which one is chosen: ranges of time. The choice lives in the URL.

use leptos::prelude::*;

/// The links.
#[component]
pub(crate) fn Ranges(
    /// What is chosen between, for those who cannot see it.
    label: &'static str,
    /// Names and where they lead.
    #[prop(into)]
    links: Signal<Vec<(&'static str, String)>>,
    /// The name of the chosen one.
    #[prop(into)]
    chosen: Signal<&'static str>,
) -> impl IntoView {
    let items = move || {
        let link = |(name, href): (&'static str, String)| {
            let current = move || (chosen.get() == name).then_some("true");
            view! { <li><a class="range" href=href aria-current=current>{name}</a></li> }
        };
        links.get().into_iter().map(link).collect::<Vec<_>>()
    };
    view! { <nav aria-label=label><ul class="ranges">{items}</ul></nav> }
}
