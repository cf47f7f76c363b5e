//! Signing in.

use fanfare_api::SecretText;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::NavigateOptions;
use leptos_router::components::A;
use leptos_router::hooks::{use_navigate, use_query_map};

use crate::api::{ApiError, Guest};
use crate::components::door::Door;
use crate::components::field::Field;
use crate::components::states::FormError;
use crate::session::{Session, SessionHandle, home};

/// The form.
#[component]
pub(crate) fn SignIn() -> impl IntoView {
    let guest = expect_context::<Guest>();
    let session = expect_context::<SessionHandle>();
    let (email, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let error = RwSignal::new(None::<ApiError>);
    let busy = RwSignal::new(false);
    let ended = move || matches!(session.get(), Session::SignedOut { ended: true });
    forward_members(session);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        leptos::task::spawn_local(async move {
            let answer = guest.sign_in(email.get_untracked(), SecretText::new(password.get_untracked())).await;
            busy.set(false);
            match answer {
                Ok((member, view)) => session.set(Session::SignedIn(member, view)),
                Err(refused) => error.set(Some(refused)),
            }
        });
    };
    view! {
        <Title text="Sign in"/>
        <Door>
            <div class="door-card">
                <header>
                    <h1>"Sign in"</h1>
                    <p>"New here? "<A href="/sign-up">"Sign up"</A></p>
                </header>
                <Show when=ended><p class="note" role="status">"Your session ended. Sign in to go on where you were."</p></Show>
                <form class="form" on:submit=submit>
                    <Field label="E-mail" name="email" kind="email" autocomplete="username" value=email pointer="/email" error=error focus=true/>
                    <Field label="Password" name="password" kind="password" autocomplete="current-password" value=password pointer="/password" error=error/>
                    <FormError error=error/>
                    <button class="button button-primary button-wide" type="submit" disabled=move || busy.get()>
                        {move || if busy.get() { "Signing in" } else { "Sign in" }}
                    </button>
                </form>
            </div>
        </Door>
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
