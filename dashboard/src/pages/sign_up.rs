//! Signing up: makes a user, a tenant, an app and its first key, and goes to the first message.

use fanfare_api::SecretText;
use fanfare_api::session::{SignUpRequest, SignedUp};
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;

use crate::api::{Guest, Member};
use crate::components::attempt::Attempt;
use crate::components::door_form::DoorForm;
use crate::components::field::Field;
use crate::session::{FreshKey, Phase, Session, SessionHandle, home};

/// The fewest characters of a password.
const PASSWORD_MIN: usize = 15;

/// What stands below a password that is being chosen.
pub(super) fn password_help(password: RwSignal<String>) -> Signal<String> {
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

/// What follows signing up and claiming a server: signed in, the key at hand, at the first message.
pub(super) fn enter() -> impl Fn((Member, SignedUp)) + Clone + 'static {
    let (session, fresh) = (expect_context::<SessionHandle>(), expect_context::<FreshKey>());
    let go = use_navigate();
    move |(member, made)| {
        let path = format!("/apps/{}/first-message", made.app.id);
        fresh.set(made.app.id, made.first_key);
        session.set(Session::SignedIn(member, made.session));
        go(&path, NavigateOptions { replace: true, ..NavigateOptions::default() });
    }
}

/// The form.
#[component]
pub(crate) fn SignUp() -> impl IntoView {
    let guest = expect_context::<Guest>();
    let [email, password, tenant] = std::array::from_fn(|_| RwSignal::new(String::new()));
    let attempt = Attempt::new();
    let enter = StoredValue::new_local(enter());
    forward_members(expect_context::<SessionHandle>());
    let submit = Callback::new(move |()| {
        let named = tenant.get_untracked();
        let request = SignUpRequest {
            email: email.get_untracked(),
            password: SecretText::new(password.get_untracked()),
            tenant: Some(named.trim().to_owned()).filter(|name| !name.is_empty()),
        };
        let enter = enter.get_value();
        attempt.run(async move { guest.sign_up(&request).await }, enter);
    });
    let lead = || {
        view! {
            <p>
                "You get an app, a key, and a first message in under a minute. "
                "Have an account? "<A href="/sign-in">"Sign in"</A>
            </p>
        }
    };
    view! {
        <DoorForm title="Sign up" lead=lead action=("Sign up", "Signing up") attempt=attempt on_submit=submit>
            <Credentials email=email password=password attempt=attempt/>
            <Field
                label="Team or company"
                name="tenant"
                autocomplete="organization"
                value=tenant
                pointer="/tenant"
                error=attempt.error
                optional=true
            />
        </DoorForm>
    }
}

/// The fields for an address and a new password.
#[component]
pub(super) fn Credentials(email: RwSignal<String>, password: RwSignal<String>, attempt: Attempt) -> impl IntoView {
    view! {
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
            autocomplete="new-password"
            value=password
            pointer="/password"
            error=attempt.error
            help=password_help(password)
        />
    }
}

/// Somebody who is signed in already when the page opens has nothing to do here. Whoever signs up here goes on by
/// [`enter`] instead.
fn forward_members(session: SessionHandle) {
    let go = use_navigate();
    let phase = session.phase();
    Effect::new(move |was_signed_out: Option<bool>| {
        let is_signed_out = was_signed_out == Some(true) || phase.get() == Phase::SignedOut;
        if !is_signed_out && let Some(view) = session.view() {
            go(&home(&view), NavigateOptions { replace: true, ..NavigateOptions::default() });
        }
        is_signed_out
    });
}
