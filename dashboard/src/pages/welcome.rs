//! The welcome link of a server's first start: whoever has its one-time code claims the first tenant.

use fanfare_api::SecretText;
use fanfare_api::session::WelcomeRequest;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::NavigateOptions;
use leptos_router::components::A;
use leptos_router::hooks::{use_location, use_navigate};

use super::sign_up::password_help;
use crate::api::{ApiError, Guest};
use crate::components::door::Door;
use crate::components::field::Field;
use crate::components::states::FormError;
use crate::session::{FreshKey, Session, SessionHandle};

/// The form.
#[component]
pub(crate) fn Welcome() -> impl IntoView {
    let guest = expect_context::<Guest>();
    let session = expect_context::<SessionHandle>();
    let fresh = expect_context::<FreshKey>();
    let code = RwSignal::new(code_of_link());
    let (email, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let error = RwSignal::new(None::<ApiError>);
    let busy = RwSignal::new(false);
    let go = use_navigate();
    let has_code = code.with_untracked(|code| !code.is_empty());
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        let go = go.clone();
        leptos::task::spawn_local(async move {
            let request = WelcomeRequest {
                code: SecretText::new(code.get_untracked().trim().to_owned()),
                email: email.get_untracked(),
                password: SecretText::new(password.get_untracked()),
            };
            match guest.welcome(&request).await {
                Ok((member, made)) => {
                    let path = format!("/apps/{}/first-message", made.app.id);
                    fresh.set(made.app.id, made.first_key);
                    session.set(Session::SignedIn(member, made.session));
                    go(&path, NavigateOptions { replace: true, ..NavigateOptions::default() });
                }
                Err(refused) => {
                    busy.set(false);
                    error.set(Some(refused));
                }
            }
        });
    };
    view! {
        <Title text="Welcome"/>
        <Door>
            <div class="door-card">
                <header>
                    <h1>"Welcome"</h1>
                    <p>"This server has a tenant and an app ready. Choose how you sign in, and they are yours. Claimed already? "<A href="/sign-in">"Sign in"</A></p>
                </header>
                <form class="form" on:submit=submit>
                    {(!has_code).then(|| view! {
                        <Field label="Code" name="code" value=code pointer="/code" error=error focus=true help="It stands in the link that the server printed at its first start."/>
                    })}
                    <Field label="E-mail" name="email" kind="email" autocomplete="username" value=email pointer="/email" error=error focus=has_code/>
                    <Field label="Password" name="password" kind="password" autocomplete="new-password" value=password pointer="/password" error=error help=password_help(password)/>
                    <FormError error=error/>
                    <button class="button button-primary button-wide" type="submit" disabled=move || busy.get()>
                        {move || if busy.get() { "Claiming" } else { "Claim this server" }}
                    </button>
                </form>
            </div>
        </Door>
    }
}

/// The code behind `#` (which no server and no log sees) or in `?code=`.
fn code_of_link() -> String {
    let here = use_location();
    let fragment = here.hash.get_untracked();
    let fragment = fragment.trim_start_matches('#');
    let fragment = fragment.strip_prefix("code=").unwrap_or(fragment);
    if fragment.is_empty() { here.query.with_untracked(|query| query.get("code").unwrap_or_default()) } else { fragment.to_owned() }
}
