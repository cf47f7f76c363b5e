//! Tabs over code: the same thing in several languages.

use leptos::html;
use leptos::prelude::*;

use super::snippet::Snippet;

/// One text per tab.
#[component]
pub(crate) fn CodeTabs(
    /// What the tabs choose, for those who cannot see them.
    label: &'static str,
    /// Name and code.
    tabs: Vec<(&'static str, String)>,
    /// What their ids start with, unique on the page.
    id: &'static str,
) -> impl IntoView {
    let (chosen, choose) = signal(0_usize);
    let count = tabs.len();
    let list = NodeRef::<html::Div>::new();
    let step = move |event: leptos::ev::KeyboardEvent| {
        let next = match event.key().as_str() {
            "ArrowRight" => (chosen.get_untracked() + 1) % count,
            "ArrowLeft" => (chosen.get_untracked() + count - 1) % count,
            "Home" => 0,
            "End" => count - 1,
            _ => return,
        };
        event.prevent_default();
        choose.set(next);
        focus_child(list, next);
    };
    let names: Vec<&'static str> = tabs.iter().map(|(name, _)| *name).collect();
    let buttons = names.iter().enumerate().map(|(index, name)| {
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
                {*name}
            </button>
        }
    });
    let buttons: Vec<_> = buttons.collect();
    let texts: Vec<String> = tabs.into_iter().map(|(_, text)| text).collect();
    let text = Signal::derive(move || texts[chosen.get()].clone());
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
