//! Dangerous actions: what will happen, and the name to type before it does.

use leptos::prelude::*;

use super::attempt::Attempt;
use super::field::Field;
use super::states::FormError;

/// The inside of a dialog that asks for a name before it acts.
#[component]
pub(crate) fn ConfirmByName(
    /// The name that has to be typed.
    expected: String,
    /// Whose name that is.
    #[prop(default = "Name of the key")]
    label: &'static str,
    /// What the button says.
    action: &'static str,
    /// The attempt that the button makes.
    attempt: Attempt,
    /// Acts.
    on_confirm: Callback<()>,
    /// Closes without acting.
    on_cancel: Callback<()>,
    /// What will happen.
    children: Children,
) -> impl IntoView {
    let typed = RwSignal::new(String::new());
    let wanted = expected.clone();
    let matches = Memo::new(move |_| typed.with(|typed| *typed == wanted));
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if matches.get_untracked() && !attempt.busy.get_untracked() {
            on_confirm.run(());
        }
    };
    view! {
        <form class="form" on:submit=submit>
            {children()}
            <Field
                label=label
                name="confirm-name"
                value=typed
                focus=true
                help=format!("Type “{expected}” to confirm.")
            />
            <FormError error=attempt.error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_cancel.run(())>"Cancel"</button>
                <button
                    class="button button-danger-solid"
                    type="submit"
                    disabled=move || !matches.get() || attempt.busy.get()
                >
                    {action}
                </button>
            </div>
        </form>
    }
}
