//! Revoking a key, for good.

use fanfare_api::key::KeyView;
use fanfare_core::Operation;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::api::Member;
use crate::components::attempt::Attempt;
use crate::components::confirm::ConfirmByName;

/// The inside of the dialog.
#[component]
pub(super) fn RevokeForm(app: AppId, key: KeyView, on_done: Callback<()>, on_cancel: Callback<()>) -> impl IntoView {
    let member = expect_context::<Member>();
    let attempt = Attempt::new();
    let id = key.id;
    let confirm = Callback::new(move |()| attempt.run(member.revoke_key(app, id), move |_| on_done.run(())));
    let signs = key.capabilities.anywhere(Operation::Sign);
    view! {
        <ConfirmByName
            expected=key.name.clone()
            action="Revoke key"
            attempt=attempt
            on_confirm=confirm
            on_cancel=on_cancel
        >
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
