//! Revoking a key, for good.

use fanfare_api::key::KeyView;
use fanfare_core::Operation;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::api::{ApiError, Member};
use crate::components::confirm::ConfirmByName;

/// The inside of the dialog.
#[component]
pub(super) fn RevokeForm(app: AppId, key: KeyView, on_done: Callback<()>, on_cancel: Callback<()>) -> impl IntoView {
    let member = expect_context::<Member>();
    let error = RwSignal::new(None::<ApiError>);
    let busy = RwSignal::new(false);
    let id = key.id;
    let confirm = Callback::new(move |()| {
        busy.set(true);
        leptos::task::spawn_local(async move {
            let answer = member.revoke_key(app, id).await;
            busy.set(false);
            match answer {
                Ok(_) => on_done.run(()),
                Err(refused) => error.set(Some(refused)),
            }
        });
    });
    let signs = key.capabilities.anywhere(Operation::Sign);
    view! {
        <ConfirmByName expected=key.name.clone() action="Revoke key" busy=busy error=error on_confirm=confirm on_cancel=on_cancel>
            <p>"From the moment you revoke "<strong>{key.name.clone()}</strong>":"</p>
            <ul class="bullets">
                <li>"REST calls with it are refused."</li>
                {signs.then(|| view! {
                    <li>"Every connection with a token it signed is closed, usually within a second."</li>
                    <li>"Clients cannot come back until a backend signs with another key."</li>
                })}
                <li>"It cannot be undone. Create and roll out another key first."</li>
            </ul>
        </ConfirmByName>
    }
}
