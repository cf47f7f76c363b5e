//! A field of several lines.

use leptos::html;
use leptos::prelude::*;

use crate::api::ApiError;

/// A labelled field of several lines, in the type of code.
#[component]
pub(crate) fn TextArea(
    /// What it is called.
    label: &'static str,
    /// Its name in the form, unique on the page.
    name: &'static str,
    /// What is typed.
    value: RwSignal<String>,
    /// Where the server's error about it would point to.
    #[prop(optional)]
    pointer: &'static str,
    /// What the server said of the whole form.
    #[prop(optional, into)]
    error: Signal<Option<ApiError>>,
    /// A sentence below.
    #[prop(optional, into)]
    help: Signal<String>,
    /// What an empty one shows.
    #[prop(optional)]
    placeholder: &'static str,
    /// Its height in lines.
    #[prop(default = 4)]
    rows: u32,
    /// Whether it may stay empty.
    #[prop(optional)]
    optional: bool,
    /// Whether typing starts here.
    #[prop(optional)]
    focus: bool,
) -> impl IntoView {
    let wrong = move || error.get().and_then(|error| error.at(pointer));
    let (help_id, error_id) = (format!("{name}-help"), format!("{name}-error"));
    let described = format!("{help_id} {error_id}");
    let area = NodeRef::<html::Textarea>::new();
    Effect::new(move || {
        if focus && let Some(area) = area.get() {
            let _ = area.focus();
        }
    });
    view! {
        <div class="field">
            <label class="field-label" for=name>
                {label}
                {optional.then(|| view! { <span class="muted">" (optional)"</span> })}
            </label>
            <textarea
                class="input area mono"
                node_ref=area
                id=name
                name=name
                rows=rows
                autocomplete="off"
                spellcheck="false"
                placeholder=placeholder
                required=!optional
                aria-describedby=described
                aria-invalid=move || wrong().is_some().to_string()
                prop:value=move || value.get()
                on:input:target=move |event| value.set(event.target().value())
            ></textarea>
            <p class="field-help" id=help_id hidden=move || wrong().is_some() || help.with(String::is_empty)>
                {move || help.get()}
            </p>
            <p class="field-error" id=error_id aria-live="polite">{wrong}</p>
        </div>
    }
}
