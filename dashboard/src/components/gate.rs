//! The way to the pages behind the sign-in.

use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate};

use super::door::Door;
use super::frame::Frame;
use super::states::{Failure, Outline};
use crate::api::{Guest, encoded};
use crate::session::{Phase, Session, SessionHandle};

/// Lets members in, sends everybody else to sign in.
#[component]
pub(crate) fn Gate() -> impl IntoView {
    let session = expect_context::<SessionHandle>();
    let guest = expect_context::<Guest>();
    let phase = session.phase();
    // Only the phase is tracked: a name that changes must not make the whole frame anew.
    move || match phase.get() {
        Phase::Unknown => view! { <Door text=true><Outline/></Door> }.into_any(),
        Phase::SignedOut => view! { <ToSignIn/> }.into_any(),
        Phase::Failed => {
            let Session::Failed(error) = untrack(|| session.get()) else { return ().into_any() };
            let retry = Callback::new(move |()| session.resume(guest));
            view! {
                <Door text=true>
                    <h1 class="visually-hidden">"Fanfare"</h1>
                    <Failure error=error retry=retry/>
                </Door>
            }
            .into_any()
        }
        Phase::SignedIn => untrack(|| session.member()).map(|member| view! { <Frame member=member/> }).into_any(),
    }
}

/// Goes to the sign-in page, which comes back here.
#[component]
fn ToSignIn() -> impl IntoView {
    let here = use_location();
    let go = use_navigate();
    Effect::new(move || {
        let back = here.pathname.get_untracked();
        let path = if back == "/" { "/sign-in".to_owned() } else { format!("/sign-in?next={}", encoded(&back)) };
        go(&path, NavigateOptions { replace: true, ..NavigateOptions::default() });
    });
}
