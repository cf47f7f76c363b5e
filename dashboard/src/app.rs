//! The table of routes and of navigation.
//!
//! Pages of an app are made anew when the reader changes to another app; what they share (the signed-in client, the
//! live link) is provided by the frame.

use leptos::prelude::*;
use leptos_meta::provide_meta_context;
use leptos_router::components::{ParentRoute, Route, Router, Routes};
use leptos_router::path;

use crate::api::provide_clients;
use crate::components::gate::Gate;
use crate::components::icon::Shape;
use crate::pages::access::Access;
use crate::pages::apps::Apps;
use crate::pages::channel::Channel;
use crate::pages::channels::Channels;
use crate::pages::connection::Connection;
use crate::pages::connections::Connections;
use crate::pages::console::Console;
use crate::pages::error_code::ErrorCodePage;
use crate::pages::error_codes::ErrorCodes;
use crate::pages::first_message::FirstMessage;
use crate::pages::issuers::Issuers;
use crate::pages::keys::Keys;
use crate::pages::latency::LatencyPage;
use crate::pages::limits::Limits;
use crate::pages::not_found::{Missing, NotFound};
use crate::pages::overview::Overview;
use crate::pages::settings::Settings;
use crate::pages::sign_in::SignIn;
use crate::pages::sign_up::SignUp;
use crate::pages::start::Start;
use crate::pages::tokens::Tokens;
use crate::pages::welcome::Welcome;
use crate::session::{FreshKey, Here};
use crate::theme::provide_theme;

/// One entry of an app's navigation.
pub(crate) struct Entry {
    /// Behind `/apps/<app>`.
    pub(crate) path: &'static str,
    /// The page's name.
    pub(crate) title: &'static str,
    /// Its icon.
    pub(crate) shape: Shape,
}

/// The pages of an app, in the order in which they are shown.
pub(crate) const NAVIGATION: &[Entry] = &[
    Entry { path: "", title: "Overview", shape: Shape::ACTIVITY },
    Entry { path: "/latency", title: "Latency", shape: Shape::TIMER },
    Entry { path: "/channels", title: "Channels", shape: Shape::HASH },
    Entry { path: "/connections", title: "Connections", shape: Shape::PLUG },
    Entry { path: "/console", title: "Console", shape: Shape::TERMINAL },
    Entry { path: "/first-message", title: "First message", shape: Shape::SEND },
    Entry { path: "/keys", title: "Keys", shape: Shape::KEY },
    Entry { path: "/issuers", title: "Issuers", shape: Shape::ID },
    Entry { path: "/tokens", title: "Tokens", shape: Shape::TICKET },
    Entry { path: "/access", title: "Access", shape: Shape::SHIELD },
    Entry { path: "/settings", title: "Settings", shape: Shape::SLIDERS },
    Entry { path: "/limits", title: "Limits", shape: Shape::GAUGE },
];

/// Everything.
#[component]
pub(crate) fn App() -> impl IntoView {
    provide_meta_context();
    provide_theme();
    provide_context(FreshKey::new());
    provide_clients();
    view! {
        <Router>
            <Routes fallback=NotFound>
                <Route path=path!("/") view=Start/>
                <Route path=path!("/sign-up") view=SignUp/>
                <Route path=path!("/sign-in") view=SignIn/>
                <Route path=path!("/welcome") view=Welcome/>
                <Route path=path!("/errors") view=ErrorCodes/>
                <Route path=path!("/errors/:code") view=ErrorCodePage/>
                <ParentRoute path=path!("") view=Gate>
                    <Route path=path!("/tenants/:tenant") view=Apps/>
                    <Route path=path!("/apps/:app") view=|| of_app(|here| view! { <Overview here=here/> }.into_any())/>
                    <Route
                        path=path!("/apps/:app/latency")
                        view=|| of_app(|here| view! { <LatencyPage here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/first-message")
                        view=|| of_app(|here| view! { <FirstMessage here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/channels")
                        view=|| of_app(|here| view! { <Channels here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/channels/one")
                        view=|| of_app(|here| view! { <Channel here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/connections")
                        view=|| of_app(|here| view! { <Connections here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/connections/:connection")
                        view=|| of_app(|here| view! { <Connection here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/console")
                        view=|| of_app(|here| view! { <Console here=here/> }.into_any())
                    />
                    <Route path=path!("/apps/:app/keys") view=|| of_app(|here| view! { <Keys here=here/> }.into_any())/>
                    <Route
                        path=path!("/apps/:app/issuers")
                        view=|| of_app(|here| view! { <Issuers here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/tokens")
                        view=|| of_app(|here| view! { <Tokens here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/access")
                        view=|| of_app(|here| view! { <Access here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/limits")
                        view=|| of_app(|here| view! { <Limits here=here/> }.into_any())
                    />
                    <Route
                        path=path!("/apps/:app/settings")
                        view=|| of_app(|here| view! { <Settings here=here/> }.into_any())
                    />
                </ParentRoute>
            </Routes>
        </Router>
    }
}

/// The page of the app that the path names, or that there is none.
fn of_app(page: fn(Here) -> AnyView) -> impl IntoView {
    let here = expect_context::<Memo<Option<Here>>>();
    let id = Memo::new(move |_| here.get().map(|here| here.app.id));
    move || match id.get().and_then(|_| here.get_untracked()) {
        Some(here) => page(here),
        None => view! { <Missing/> }.into_any(),
    }
}
