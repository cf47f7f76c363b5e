//! The root: goes on to where the reader was, or to signing in.

use leptos::prelude::*;
use leptos_router::components::Redirect;

use crate::api::Guest;
use crate::components::door::Door;
use crate::components::states::{Failure, Outline};
use crate::session::{Session, SessionHandle, home};

/// Decides where to go.
#[component]
pub(crate) fn Start() -> impl IntoView {
    let session = expect_context::<SessionHandle>();
    let guest = expect_context::<Guest>();
    move || match session.get() {
        Session::Unknown => view! { <Door text=true><Outline/></Door> }.into_any(),
        Session::SignedOut { .. } => view! { <Redirect path="/sign-in"/> }.into_any(),
        Session::SignedIn(_, view) => view! { <Redirect path=home(&view)/> }.into_any(),
        Session::Failed(error) => {
            let retry = Callback::new(move |()| session.resume(guest));
            view! {
                <Door text=true>
                    <h1 class="visually-hidden">"Fanfare"</h1>
                    <Failure error=error retry=retry/>
                </Door>
            }
            .into_any()
        }
    }
}
