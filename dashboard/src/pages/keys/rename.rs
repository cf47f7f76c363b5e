//! Renaming a key.

use fanfare_api::key::KeyView;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::api::Member;
use crate::components::attempt::Attempt;
use crate::components::field::Field;
use crate::components::states::FormError;

/// The inside of the dialog.
#[component]
pub(super) fn RenameForm(app: AppId, key: KeyView, on_done: Callback<()>, on_cancel: Callback<()>) -> impl IntoView {
    let member = expect_context::<Member>();
    let name = RwSignal::new(key.name.clone());
    let attempt = Attempt::new();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let (key, name) = (key.clone(), name.get_untracked().trim().to_owned());
        attempt.run(async move { member.rename_key(app, &key, name).await }, move |_| on_done.run(()));
    };
    view! {
        <form class="form" on:submit=submit>
            <Field label="Name" name="key-new-name" value=name pointer="/name" error=attempt.error focus=true/>
            <FormError error=attempt.error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_cancel.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>"Rename"</button>
            </div>
        </form>
    }
}
