//! Making an app.

use fanfare_api::session::AppName;
use fanfare_core::id::TenantId;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::use_navigate;

use crate::api::Member;
use crate::components::attempt::Attempt;
use crate::components::field::Field;
use crate::components::states::FormError;
use crate::session::SessionHandle;

/// The inside of the dialog.
#[component]
pub(super) fn CreateAppForm(tenant: TenantId, on_close: Callback<()>) -> impl IntoView {
    let member = expect_context::<Member>();
    let session = expect_context::<SessionHandle>();
    let name = RwSignal::new(String::new());
    let attempt = Attempt::new();
    let go = use_navigate();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let go = go.clone();
        let name = name.get_untracked().trim().to_owned();
        attempt.run(member.create_app(tenant, name), move |app| {
            on_close.run(());
            session.update(|view| {
                if let Some(tenant) = view.tenants.iter_mut().find(|known| known.id == tenant) {
                    tenant.apps.push(AppName { id: app.id, name: app.name.clone() });
                }
            });
            go(&format!("/apps/{}/first-message", app.id), NavigateOptions::default());
        });
    };
    view! {
        <form class="form" on:submit=submit>
            <Field
                label="Name"
                name="app-name"
                value=name
                pointer="/name"
                error=attempt.error
                focus=true
                help="Such as production or staging. It starts with one rule: everyone may use demo:**."
            />
            <FormError error=attempt.error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_close.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>"Create app"</button>
            </div>
        </form>
    }
}
