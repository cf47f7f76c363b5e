//! A form in the middle of a page of its own: signing up, in, and claiming a server.

use leptos::prelude::*;
use leptos_meta::Title;

use super::attempt::Attempt;
use super::door::Door;
use super::states::FormError;

/// Heading, lead, fields, what was refused, one button.
#[component]
pub(crate) fn DoorForm(
    /// The page's name.
    title: &'static str,
    /// What stands below the heading.
    #[prop(into)]
    lead: ViewFn,
    /// What the button says, and what while it is under way.
    action: (&'static str, &'static str),
    /// The attempt that the button makes.
    attempt: Attempt,
    /// Makes it.
    on_submit: Callback<()>,
    /// The fields.
    children: Children,
) -> impl IntoView {
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        on_submit.run(());
    };
    let word = move || if attempt.busy.get() { action.1 } else { action.0 };
    view! {
        <Title text=title/>
        <Door>
            <div class="door-card">
                <header>
                    <h1>{title}</h1>
                    {lead.run()}
                </header>
                <form class="form" on:submit=submit>
                    {children()}
                    <FormError error=attempt.error/>
                    <button class="button button-primary button-wide" type="submit" disabled=move || attempt.busy.get()>
                        {word}
                    </button>
                </form>
            </div>
        </Door>
    }
}
