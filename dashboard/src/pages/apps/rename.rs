//! Renaming an app.

use fanfare_api::session::AppName;
use leptos::prelude::*;

use crate::api::{Answer, ApiError, Member};
use crate::components::field::Field;
use crate::components::states::FormError;
use crate::session::SessionHandle;

/// The inside of the dialog.
#[component]
pub(super) fn RenameAppForm(app: AppName, on_close: Callback<()>) -> impl IntoView {
    let member = expect_context::<Member>();
    let session = expect_context::<SessionHandle>();
    let name = RwSignal::new(app.name.clone());
    let error = RwSignal::new(None::<ApiError>);
    let busy = RwSignal::new(false);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        busy.set(true);
        let app = app.clone();
        leptos::task::spawn_local(async move {
            let answer = rename(member, &app, name.get_untracked().trim().to_owned()).await;
            busy.set(false);
            match answer {
                Ok(name) => {
                    on_close.run(());
                    session.update(|view| {
                        let apps = view.tenants.iter_mut().flat_map(|tenant| &mut tenant.apps);
                        for known in apps.filter(|known| known.id == app.id) {
                            known.name.clone_from(&name);
                        }
                    });
                }
                Err(refused) => error.set(Some(refused)),
            }
        });
    };
    view! {
        <form class="form" on:submit=submit>
            <Field label="Name" name="app-new-name" value=name pointer="/name" error=error focus=true/>
            <FormError error=error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_close.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || busy.get()>"Rename"</button>
            </div>
        </form>
    }
}

/// Changes the name of the app as it stands at this moment.
async fn rename(member: Member, app: &AppName, name: String) -> Answer<String> {
    let current = member.app(app.id).await?;
    Ok(member.rename_app(app.id, current.version, name).await?.name)
}
