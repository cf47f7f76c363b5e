//! The command palette on Ctrl or ⌘ K: pages and apps by name.

mod targets;

use leptos::ev::KeyboardEvent;
use leptos::html;
use leptos::prelude::*;
use leptos_router::hooks::use_navigate;

use crate::session::{Here, SessionHandle};
use targets::{Target, targets};

/// The palette.
#[component]
pub(crate) fn Palette(
    /// Whether it is shown.
    open: RwSignal<bool>,
    /// The app that is shown.
    here: Memo<Option<Here>>,
) -> impl IntoView {
    let session = expect_context::<SessionHandle>();
    let dialog = NodeRef::<html::Dialog>::new();
    let typed = RwSignal::new(String::new());
    let (chosen, choose) = signal(0_usize);
    let found = Memo::new(move |_| {
        let wanted = typed.get().to_lowercase();
        let mut all = targets(here.get(), session);
        all.retain(|target| target.title.to_lowercase().contains(&wanted));
        all
    });
    let keys = window_event_listener(leptos::ev::keydown, move |event: KeyboardEvent| {
        if (event.ctrl_key() || event.meta_key()) && event.key().eq_ignore_ascii_case("k") {
            event.prevent_default();
            open.update(|open| *open = !*open);
        }
    });
    on_cleanup(move || keys.remove());
    Effect::new(move || {
        let Some(dialog) = dialog.get() else { return };
        if open.get() && !dialog.open() {
            typed.set(String::new());
            choose.set(0);
            let _ = dialog.show_modal();
        } else if !open.get() && dialog.open() {
            dialog.close();
        }
    });
    let go = use_navigate();
    let visit = Callback::new(move |index: usize| {
        open.set(false);
        if let Some(target) = found.get_untracked().get(index) {
            go(&target.path, leptos_router::NavigateOptions::default());
        }
    });
    let step = move |event: KeyboardEvent| {
        let count = found.with_untracked(Vec::len).max(1);
        match event.key().as_str() {
            "ArrowDown" => choose.update(|chosen| *chosen = (*chosen + 1) % count),
            "ArrowUp" => choose.update(|chosen| *chosen = (*chosen + count - 1) % count),
            "Enter" => visit.run(chosen.get_untracked()),
            _ => return,
        }
        event.prevent_default();
    };
    view! {
        <dialog class="dialog palette" node_ref=dialog aria-label="Commands" on:close=move |_| open.set(false)>
            <input
                class="palette-input"
                type="text"
                role="combobox"
                aria-expanded="true"
                aria-controls="palette-list"
                aria-activedescendant=move || format!("palette-{}", chosen.get())
                aria-label="Go to a page or an app"
                placeholder="Go to a page or an app"
                autocomplete="off"
                prop:value=move || typed.get()
                on:input:target=move |event| { typed.set(event.target().value()); choose.set(0); }
                on:keydown=step
            />
            <div class="palette-list" id="palette-list" role="listbox" aria-label="Found">
                {move || options(&found.get(), chosen, visit)}
            </div>
        </dialog>
    }
}

fn options(found: &[Target], chosen: ReadSignal<usize>, visit: Callback<usize>) -> impl IntoView + use<> {
    let option = |(index, target): (usize, &Target)| {
        view! {
            <div
                class="menu-item"
                role="option"
                id=format!("palette-{index}")
                aria-selected=move || (chosen.get() == index).to_string()
                on:click=move |_| visit.run(index)
            >
                {target.title.clone()}
                <small>{target.kind}</small>
            </div>
        }
    };
    found.iter().enumerate().map(option).collect::<Vec<_>>()
}
