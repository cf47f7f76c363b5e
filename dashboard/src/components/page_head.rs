//! The top of a page: what it is, a sentence about it, its one primary action.

use leptos::prelude::*;
use leptos_meta::Title;

/// Heading, title of the window, and what stands at the right.
#[component]
pub(crate) fn PageHead(
    /// The page's name.
    #[prop(into)]
    title: String,
    /// A sentence.
    #[prop(optional, into)]
    about: String,
    /// The primary action.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    view! {
        <Title text=title.clone()/>
        <header class="page-head">
            <div>
                <h1>{title}</h1>
                {(!about.is_empty()).then(|| view! { <p>{about}</p> })}
            </div>
            {children.map(|children| view! { <div class="row-end">{children()}</div> })}
        </header>
    }
}
