//! Renaming a key.

use fanfare_api::key::KeyView;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::api::{ApiError, Member};
use crate::components::field::Field;
use crate::components::states::FormError;

/// The inside of the dialog.
#[component]
pub(super) fn RenameForm(app: AppId, key: KeyView, on_done: Callback<()>, on_cancel: Callback<()>) -> impl IntoView {
    let member = expect_context::<Member>();
    let name = RwSignal::new(key.name.clone());
    let error = RwSignal::new(None::<ApiError>);
    let busy = RwSignal::new(false);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        busy.set(true);
        let key = key.clone();
        leptos::task::spawn_local(async move {
            let answer = member.rename_key(app, &key, name.get_untracked().trim().to_owned()).await;
            busy.set(false);
            match answer {
                Ok(_) => on_done.run(()),
                Err(refused) => error.set(Some(refused)),
            }
        });
    };
    view! {
        <form class="form" on:submit=submit>
            <Field label="Name" name="key-new-name" value=name pointer="/name" error=error focus=true/>
            <FormError error=error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_cancel.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || busy.get()>"Rename"</button>
            </div>
        </form>
    }
}
