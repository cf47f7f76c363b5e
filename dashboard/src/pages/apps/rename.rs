//! Renaming an app.

use fanfare_api::session::AppName;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::api::{Answer, Member};
use crate::components::attempt::Attempt;
use crate::components::field::Field;
use crate::components::states::FormError;
use crate::session::SessionHandle;

/// The inside of the dialog.
#[component]
pub(super) fn RenameAppForm(app: AppName, on_close: Callback<()>) -> impl IntoView {
    let member = expect_context::<Member>();
    let session = expect_context::<SessionHandle>();
    let name = RwSignal::new(app.name.clone());
    let attempt = Attempt::new();
    let id = app.id;
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let name = name.get_untracked().trim().to_owned();
        attempt.run(rename(member, id, name), move |name| {
            on_close.run(());
            session.update(|view| {
                let apps = view.tenants.iter_mut().flat_map(|tenant| &mut tenant.apps);
                for known in apps.filter(|known| known.id == id) {
                    known.name.clone_from(&name);
                }
            });
        });
    };
    view! {
        <form class="form" on:submit=submit>
            <Field label="Name" name="app-new-name" value=name pointer="/name" error=attempt.error focus=true/>
            <FormError error=attempt.error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_close.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>"Rename"</button>
            </div>
        </form>
    }
}

/// Changes the name of the app as it stands at this moment.
async fn rename(member: Member, app: AppId, name: String) -> Answer<String> {
    let current = member.app(app).await?;
    Ok(member.rename_app(app, current.version, name).await?.name)
}
