//! The browser's own modal dialog: it keeps the focus, closes on Escape and gives the focus back.

use leptos::html;
use leptos::prelude::*;

use super::icon::{Icon, Shape};

/// A dialog that is there while `open` is.
#[component]
pub(crate) fn Dialog(
    /// Whether it is shown; the reader's closing sets it back.
    open: RwSignal<bool>,
    /// Its heading.
    #[prop(into)]
    title: Signal<String>,
    /// Its id, unique on the page.
    id: &'static str,
    /// What is in it, made anew for each opening.
    children: ChildrenFn,
) -> impl IntoView {
    let dialog = NodeRef::<html::Dialog>::new();
    Effect::new(move || {
        let Some(dialog) = dialog.get() else { return };
        match (open.get(), dialog.open()) {
            (true, false) => {
                let _ = dialog.show_modal();
            }
            (false, true) => dialog.close(),
            (true, true) | (false, false) => {}
        }
    });
    let children = StoredValue::new(children);
    let title_id = StoredValue::new(format!("{id}-title"));
    view! {
        <dialog class="dialog" node_ref=dialog aria-labelledby=title_id.get_value() on:close=move |_| open.set(false)>
            <Show when=move || open.get()>
                <div class="dialog-head">
                    <h2 id=title_id.get_value()>{move || title.get()}</h2>
                    <button class="icon-button" type="button" aria-label="Close" on:click=move |_| open.set(false)>
                        <Icon shape=Shape::CLOSE/>
                    </button>
                </div>
                <div class="dialog-body">{children.with_value(|children| children())}</div>
            </Show>
        </dialog>
    }
}

/// Whether a dialog about something is open: while there is something, and closing it forgets that.
pub(crate) fn open_about<T: Clone + Send + Sync + 'static>(about: RwSignal<Option<T>>) -> RwSignal<bool> {
    let open = RwSignal::new(false);
    Effect::new(move || {
        let is_about_something = about.with(Option::is_some);
        if open.get_untracked() != is_about_something {
            open.set(is_about_something);
        }
    });
    Effect::new(move || {
        if !open.get() && about.with_untracked(Option::is_some) {
            about.set(None);
        }
    });
    open
}
