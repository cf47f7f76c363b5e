//! Nothing is at this address.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::components::A;
use leptos_router::hooks::use_location;

use crate::components::door::Door;
use crate::components::icon::{Icon, Shape};

/// No route of the dashboard.
#[component]
pub(crate) fn NotFound() -> impl IntoView {
    view! { <Door text=true><Missing/></Door> }
}

/// Nothing is here, or it is not the reader's: the server does not say which.
#[component]
pub(crate) fn Missing() -> impl IntoView {
    let path = use_location().pathname;
    view! {
        <Title text="Not found"/>
        <div class="card state">
            <Icon shape=Shape::SEARCH/>
            <h1>"Not found"</h1>
            <p>
                "Nothing is at "<code>{path}</code>
                ", or it belongs to somebody else: Fanfare does not say which. Check the address, or start from the beginning."
            </p>
            <A href="/" attr:class="button button-primary">"To the dashboard"</A>
        </div>
    }
}
