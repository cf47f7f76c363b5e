//! A button that opens a list of links and actions.

use leptos::ev::{FocusEvent, KeyboardEvent};
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

/// A menu. It closes on Escape, on a choice, and when the focus leaves it.
#[component]
pub(crate) fn Menu(
    /// What the button does, for those who cannot see it.
    #[prop(into)]
    label: Signal<String>,
    /// What the button shows.
    #[prop(into)]
    button: ViewFn,
    /// Whether the list hangs from the button's far end.
    #[prop(optional)]
    end: bool,
    /// More classes of the whole.
    #[prop(optional)]
    class: &'static str,
    /// More classes of the button instead of the usual ones.
    #[prop(default = "menu-button")]
    button_class: &'static str,
    /// The items: elements of class `menu-item`.
    children: ChildrenFn,
) -> impl IntoView {
    let (open, set_open) = signal(false);
    let (root, opener) = (NodeRef::<html::Div>::new(), NodeRef::<html::Button>::new());
    let left = move |event: FocusEvent| {
        let to = event.related_target().and_then(|target| target.dyn_into::<web_sys::Node>().ok());
        let inside = root.get_untracked().is_some_and(|root| to.is_some_and(|to| root.contains(Some(&to))));
        if !inside {
            set_open.set(false);
        }
    };
    let key = move |event: KeyboardEvent| match event.key().as_str() {
        "Escape" if open.get_untracked() => {
            event.stop_propagation();
            set_open.set(false);
            if let Some(opener) = opener.get_untracked() {
                let _ = opener.focus();
            }
        }
        "ArrowDown" | "ArrowUp" => {
            event.prevent_default();
            set_open.set(true);
            let forward = event.key() == "ArrowDown";
            request_animation_frame(move || move_focus(root, forward));
        }
        _ => {}
    };
    let children = StoredValue::new(children);
    view! {
        <div class=format!("menu {class}") class:menu-end=end node_ref=root on:focusout=left on:keydown=key>
            <button
                class=button_class
                type="button"
                node_ref=opener
                aria-label=move || label.get()
                aria-expanded=move || open.get().to_string()
                on:click=move |_| set_open.update(|open| *open = !*open)
            >
                {button.run()}
            </button>
            <Show when=move || open.get()>
                <div class="menu-list" tabindex="-1" on:click=move |_| set_open.set(false)>
                    {children.with_value(|children| children())}
                </div>
            </Show>
        </div>
    }
}

fn move_focus(root: NodeRef<html::Div>, forward: bool) {
    let Some(root) = root.get_untracked() else { return };
    let Ok(items) = root.query_selector_all(".menu-item") else { return };
    let count = items.length();
    if count == 0 {
        return;
    }
    let active = document().active_element();
    let current = (0..count).find(|index| {
        let item = items.item(*index).and_then(|item| item.dyn_into::<web_sys::Element>().ok());
        item.is_some() && item == active
    });
    let next = match (current, forward) {
        (None, true) => 0,
        (None, false) => count - 1,
        (Some(index), true) => (index + 1) % count,
        (Some(index), false) => (index + count - 1) % count,
    };
    if let Some(item) = items.item(next).and_then(|item| item.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = item.focus();
    }
}
