//! Tabs over code: the same thing in several languages.

use leptos::html;
use leptos::prelude::*;

use super::snippet::Snippet;

/// One text per tab.
#[component]
pub(crate) fn CodeTabs(
    /// What the tabs choose, for those who cannot see them.
    label: &'static str,
    /// Name and code; the names stay, the code may change.
    #[prop(into)]
    tabs: Signal<Vec<(&'static str, String)>>,
    /// What their ids start with, unique on the page.
    id: &'static str,
) -> impl IntoView {
    let (chosen, choose) = signal(0_usize);
    let count = move || tabs.with_untracked(Vec::len).max(1);
    let list = NodeRef::<html::Div>::new();
    let step = move |event: leptos::ev::KeyboardEvent| {
        let next = match event.key().as_str() {
            "ArrowRight" => (chosen.get_untracked() + 1) % count(),
            "ArrowLeft" => (chosen.get_untracked() + count() - 1) % count(),
            "Home" => 0,
            "End" => count() - 1,
            _ => return,
        };
        event.prevent_default();
        choose.set(next);
        focus_child(list, next);
    };
    let names = Memo::new(move |_| tabs.with(|tabs| tabs.iter().map(|(name, _)| *name).collect::<Vec<_>>()));
    let button = move |(index, name): (usize, &'static str)| {
        let is_chosen = move || chosen.get() == index;
        view! {
            <button
                class="tab"
                type="button"
                role="tab"
                id=format!("{id}-tab-{index}")
                aria-controls=format!("{id}-panel")
                aria-selected=move || is_chosen().to_string()
                tabindex=move || if is_chosen() { "0" } else { "-1" }
                on:click=move |_| choose.set(index)
            >
                {name}
            </button>
        }
    };
    let buttons = move || names.get().into_iter().enumerate().map(button).collect::<Vec<_>>();
    let text = Signal::derive(move || {
        let chosen = chosen.get();
        // Where only one text is left, it says why.
        tabs.with(|tabs| tabs.get(chosen).or_else(|| tabs.first()).map(|(_, text)| text.clone()).unwrap_or_default())
    });
    view! {
        <div class="tabs" role="tablist" aria-label=label node_ref=list on:keydown=step>{buttons}</div>
        <div
            class="tab-panel"
            role="tabpanel"
            id=format!("{id}-panel")
            aria-labelledby=move || format!("{id}-tab-{}", chosen.get())
        >
            <Snippet text=text what="code"/>
        </div>
    }
}

fn focus_child(list: NodeRef<html::Div>, index: usize) {
    use wasm_bindgen::JsCast;
    let child = list.get_untracked().and_then(|list| list.children().item(u32::try_from(index).unwrap_or(0)));
    if let Some(child) = child.and_then(|child| child.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = child.focus();
    }
}
