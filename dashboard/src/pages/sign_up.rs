//! Signing up: makes a user, a tenant, an app and its first key, and goes to the first message.

use fanfare_api::SecretText;
use fanfare_api::session::SignUpRequest;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::NavigateOptions;
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;

use crate::api::{ApiError, Guest};
use crate::components::door::Door;
use crate::components::field::Field;
use crate::components::states::FormError;
use crate::session::{FreshKey, Session, SessionHandle, home};

/// The fewest characters of a password.
pub(crate) const PASSWORD_MIN: usize = 15;

/// What stands below a password that is being chosen.
pub(crate) fn password_help(password: RwSignal<String>) -> Signal<String> {
    Signal::derive(move || {
        let length = password.with(|password| password.chars().count());
        match PASSWORD_MIN.saturating_sub(length) {
            0 => "Long enough. Passphrases of several words are good.".to_owned(),
            _ if length == 0 => "15 to 128 characters of any kind, such as four or five words.".to_owned(),
            1 => "One more character.".to_owned(),
            missing => format!("{missing} more characters."),
        }
    })
}

/// The form.
#[component]
pub(crate) fn SignUp() -> impl IntoView {
    let guest = expect_context::<Guest>();
    let session = expect_context::<SessionHandle>();
    let fresh = expect_context::<FreshKey>();
    let [email, password, tenant] = std::array::from_fn(|_| RwSignal::new(String::new()));
    let error = RwSignal::new(None::<ApiError>);
    let busy = RwSignal::new(false);
    let go = use_navigate();
    let forward = use_navigate();
    Effect::new(move || {
        // Somebody who is signed in already has nothing to do here.
        if let Some(view) = session.view()
            && !busy.get_untracked()
        {
            forward(&home(&view), NavigateOptions { replace: true, ..NavigateOptions::default() });
        }
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        let go = go.clone();
        leptos::task::spawn_local(async move {
            let named = tenant.get_untracked();
            let request = SignUpRequest {
                email: email.get_untracked(),
                password: SecretText::new(password.get_untracked()),
                tenant: Some(named.trim().to_owned()).filter(|name| !name.is_empty()),
            };
            match guest.sign_up(&request).await {
                Ok((member, made)) => {
                    fresh.set(made.app.id, made.first_key);
                    session.set(Session::SignedIn(member, made.session));
                    go(&format!("/apps/{}/first-message", made.app.id), NavigateOptions::default());
                }
                Err(refused) => {
                    busy.set(false);
                    error.set(Some(refused));
                }
            }
        });
    };
    view! {
        <Title text="Sign up"/>
        <Door>
            <div class="door-card">
                <header>
                    <h1>"Sign up"</h1>
                    <p>"You get an app, a key, and a first message in under a minute. Have an account? "<A href="/sign-in">"Sign in"</A></p>
                </header>
                <form class="form" on:submit=submit>
                    <Field label="E-mail" name="email" kind="email" autocomplete="username" value=email pointer="/email" error=error focus=true/>
                    <Field label="Password" name="password" kind="password" autocomplete="new-password" value=password pointer="/password" error=error help=password_help(password)/>
                    <Field label="Team or company" name="tenant" autocomplete="organization" value=tenant pointer="/tenant" error=error optional=true/>
                    <FormError error=error/>
                    <button class="button button-primary button-wide" type="submit" disabled=move || busy.get()>
                        {move || if busy.get() { "Signing up" } else { "Sign up" }}
                    </button>
                </form>
            </div>
        </Door>
    }
}
