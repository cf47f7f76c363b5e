//! The welcome link of a server's first start: whoever has its one-time code claims the first tenant.

use fanfare_api::SecretText;
use fanfare_api::session::WelcomeRequest;
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_location;

use super::sign_up::{Credentials, enter};
use crate::api::Guest;
use crate::components::attempt::Attempt;
use crate::components::door_form::DoorForm;
use crate::components::field::Field;

/// The form.
#[component]
pub(crate) fn Welcome() -> impl IntoView {
    let guest = expect_context::<Guest>();
    let code = RwSignal::new(code_of_link());
    let (email, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let attempt = Attempt::new();
    let enter = StoredValue::new_local(enter());
    let has_code = code.with_untracked(|code| !code.is_empty());
    let submit = Callback::new(move |()| {
        let request = WelcomeRequest {
            code: SecretText::new(code.get_untracked().trim().to_owned()),
            email: email.get_untracked(),
            password: SecretText::new(password.get_untracked()),
        };
        let enter = enter.get_value();
        attempt.run(async move { guest.welcome(&request).await }, enter);
    });
    let lead = || {
        view! {
            <p>
                "This server has a tenant and an app ready. Choose how you sign in, and they are yours. "
                "Claimed already? "<A href="/sign-in">"Sign in"</A>
            </p>
        }
    };
    view! {
        <DoorForm title="Welcome" lead=lead action=("Claim this server", "Claiming") attempt=attempt on_submit=submit>
            {(!has_code).then(|| view! {
                <Field
                    label="Code"
                    name="code"
                    value=code
                    pointer="/code"
                    error=attempt.error
                    help="It stands in the link that the server printed at its first start."
                />
            })}
            <Credentials email=email password=password attempt=attempt/>
        </DoorForm>
    }
}

/// The code behind `#` (which no server and no log sees) or in `?code=`.
fn code_of_link() -> String {
    let here = use_location();
    let fragment = here.hash.get_untracked();
    let fragment = fragment.trim_start_matches('#');
    let fragment = fragment.strip_prefix("code=").unwrap_or(fragment);
    if fragment.is_empty() {
        here.query.with_untracked(|query| query.get("code").unwrap_or_default())
    } else {
        fragment.to_owned()
    }
}
