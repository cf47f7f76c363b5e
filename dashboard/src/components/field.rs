//! Form fields: label above, help below, what the server says of a field at the field.

use leptos::html;
use leptos::prelude::*;

use crate::api::ApiError;

/// A labelled text field.
#[component]
pub(crate) fn Field(
    /// What it is called; also how it is found.
    label: &'static str,
    /// Its name in the form, unique on the page.
    name: &'static str,
    /// What is typed.
    value: RwSignal<String>,
    /// Where the server's error about it would point to, `/email`.
    #[prop(optional)]
    pointer: &'static str,
    /// What the server said of the whole form.
    #[prop(optional, into)]
    error: Signal<Option<ApiError>>,
    /// `text`, `email` or `password`.
    #[prop(default = "text")]
    kind: &'static str,
    /// What browsers may fill in.
    #[prop(default = "off")]
    autocomplete: &'static str,
    /// A sentence below.
    #[prop(optional, into)]
    help: Signal<String>,
    /// Whether it may stay empty.
    #[prop(optional)]
    optional: bool,
    /// Whether typing starts here.
    #[prop(optional)]
    focus: bool,
) -> impl IntoView {
    let wrong = move || error.get().and_then(|error| error.at(pointer));
    let shown = RwSignal::new(false);
    let (help_id, error_id) = (format!("{name}-help"), format!("{name}-error"));
    let described = format!("{help_id} {error_id}");
    let input = NodeRef::<html::Input>::new();
    Effect::new(move || {
        if focus && let Some(input) = input.get() {
            let _ = input.focus();
        }
    });
    let kind_now = move || if kind == "password" && shown.get() { "text" } else { kind };
    view! {
        <div class="field">
            <label class="field-label" for=name>
                {label}
                {optional.then(|| view! { <span class="muted">" (optional)"</span> })}
            </label>
            <div class="input-group">
                <input
                    class="input"
                    node_ref=input
                    id=name
                    name=name
                    type=kind_now
                    autocomplete=autocomplete
                    spellcheck="false"
                    required=!optional
                    aria-describedby=described
                    aria-invalid=move || wrong().is_some().to_string()
                    prop:value=move || value.get()
                    on:input:target=move |event| value.set(event.target().value())
                />
                {(kind == "password").then(|| view! {
                    <button
                        class="link-button"
                        type="button"
                        aria-pressed=move || shown.get().to_string()
                        aria-label=format!("Show {}", label.to_lowercase())
                        on:click=move |_| shown.update(|shown| *shown = !*shown)
                    >
                        {move || if shown.get() { "Hide" } else { "Show" }}
                    </button>
                })}
            </div>
            <p
                class="field-help"
                id=help_id
                hidden=move || wrong().is_some() || help.with(String::is_empty)
            >
                {move || help.get()}
            </p>
            <p class="field-error" id=error_id aria-live="polite">{wrong}</p>
        </div>
    }
}
