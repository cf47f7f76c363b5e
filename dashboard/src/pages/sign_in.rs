//! Signing in.

use fanfare_api::SecretText;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::components::A;
use leptos_router::hooks::{use_navigate, use_query_map};

use crate::api::Guest;
use crate::components::attempt::Attempt;
use crate::components::door_form::DoorForm;
use crate::components::field::Field;
use crate::session::{Session, SessionHandle, home};

/// The form.
#[component]
pub(crate) fn SignIn() -> impl IntoView {
    let guest = expect_context::<Guest>();
    let session = expect_context::<SessionHandle>();
    let (email, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let attempt = Attempt::new();
    forward_members(session);
    let submit = Callback::new(move |()| {
        let password = SecretText::new(password.get_untracked());
        attempt.run(guest.sign_in(email.get_untracked(), password), move |(member, view)| {
            session.set(Session::SignedIn(member, view));
        });
    });
    let ended = move || matches!(session.get(), Session::SignedOut { ended: true });
    let lead = move || {
        view! {
            <p>"New here? "<A href="/sign-up">"Sign up"</A></p>
            <Show when=ended>
                <p class="note" role="status">"Your session ended. Sign in to go on where you were."</p>
            </Show>
        }
    };
    view! {
        <DoorForm title="Sign in" lead=lead action=("Sign in", "Signing in") attempt=attempt on_submit=submit>
            <Field
                label="E-mail"
                name="email"
                kind="email"
                autocomplete="username"
                value=email
                pointer="/email"
                error=attempt.error
                focus=true
            />
            <Field
                label="Password"
                name="password"
                kind="password"
                autocomplete="current-password"
                value=password
                pointer="/password"
                error=attempt.error
            />
        </DoorForm>
    }
}

/// Sends whoever is, or becomes, signed in to where they wanted to go.
fn forward_members(session: SessionHandle) {
    let query = use_query_map();
    let go = use_navigate();
    Effect::new(move || {
        if let Some(view) = session.view() {
            // Only paths of this site: an address elsewhere must not be reached through ours.
            let next = query.with_untracked(|query| query.get("next"));
            let next = next.filter(|next| next.starts_with('/') && !next.starts_with("//") && !next.contains('\\'));
            go(&next.unwrap_or_else(|| home(&view)), NavigateOptions { replace: true, ..NavigateOptions::default() });
        }
    });
}
