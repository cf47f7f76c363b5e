//! The token workbench: make one by form, look into one, take some back before their time.
//!
//! A token never goes into a URL, and nothing of one is stored. What only the data plane can do is asked with a key that
//! the reader has at hand: known to the page until it goes.

mod at_hand;
mod checks;
mod inspect;
mod limits;
mod make;
mod revoke;
mod revoked;
mod typed;

use fanfare_api::SecretText;
use fanfare_api::issuer::IssuerView;
use fanfare_api::key::KeyView;
use fanfare_core::id::{AppId, KeyId};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

use crate::api::{Backend, Member};
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::sections::Sections;
use crate::session::{FreshKey, Here};
use inspect::Inspect;
use make::Make;
use revoke::Revoke;

/// The parts of the page: their names, and what the URL calls them.
const PARTS: [(&str, &str); 3] = [("Make", "make"), ("Inspect", "inspect"), ("Revoke", "revoke")];

/// What the parts share.
#[derive(Clone, Copy)]
pub(super) struct Bench {
    pub(super) here: StoredValue<Here>,
    /// The app's keys.
    pub(super) keys: StoredValue<Vec<KeyView>>,
    /// Its issuers.
    pub(super) issuers: StoredValue<Vec<IssuerView>>,
    fresh: FreshKey,
    /// The token that is looked into, as pasted or just made.
    pub(super) token: RwSignal<String>,
}

impl Bench {
    pub(super) fn app(self) -> AppId {
        self.here.with_value(|here| here.app.id)
    }

    pub(super) fn url(self) -> String {
        self.here.with_value(|here| here.url.clone())
    }

    /// The key at hand and its id, tracked.
    pub(super) fn key(self) -> Option<(KeyId, SecretText)> {
        let key = self.fresh.of(self.app())?;
        let id = key.expose().split(':').next()?.parse().ok()?;
        Some((id, key))
    }

    /// Takes a key to hand.
    pub(super) fn take(self, key: SecretText) {
        self.fresh.set(self.app(), key);
    }

    /// The client that calls with the key at hand; tracked.
    pub(super) fn backend(self) -> Option<Backend> {
        self.key().map(|(_, key)| Backend::new(self.url(), key))
    }

    /// What is known of a key.
    pub(super) fn known(self, id: KeyId) -> Option<KeyView> {
        self.keys.with_value(|keys| keys.iter().find(|key| key.id == id).cloned())
    }
}

/// The page.
#[component]
pub(crate) fn Tokens(here: Here) -> impl IntoView {
    let member = expect_context::<Member>();
    let app = here.app.id;
    let signers = Load::new(move || async move { Ok((member.keys(app).await?, member.issuers(app).await?)) });
    view! {
        <PageHead
            title="Tokens"
            about="A token says who a client is and what it may do, signed by one of your keys or issuers. Make one, look into one, or take some back."
        />
        {signers.show("Working with tokens", move |(keys, issuers)| {
            view! { <Parts here=here.clone() keys=keys issuers=issuers/> }
        })}
    }
}

#[component]
fn Parts(here: Here, keys: Vec<KeyView>, issuers: Vec<IssuerView>) -> impl IntoView {
    let app = here.app.id;
    let query = use_query_map();
    let chosen = Memo::new(move |_| {
        let wanted = query.with(|query| query.get("part")).unwrap_or_default();
        PARTS.iter().position(|(_, slug)| *slug == wanted).unwrap_or_default()
    });
    let links = PARTS.map(|(name, slug)| (name, format!("/apps/{app}/tokens?part={slug}"))).to_vec();
    let bench = Bench {
        here: StoredValue::new(here),
        keys: StoredValue::new(keys),
        issuers: StoredValue::new(issuers),
        fresh: expect_context::<FreshKey>(),
        token: RwSignal::new(String::new()),
    };
    view! {
        <Sections label="Parts of tokens" links=links chosen=chosen/>
        <section aria-label="Make" hidden=move || chosen.get() != 0><Make bench=bench/></section>
        <section aria-label="Inspect" hidden=move || chosen.get() != 1><Inspect bench=bench/></section>
        <section aria-label="Revoke" hidden=move || chosen.get() != 2>
            // Its list is asked for when somebody looks.
            <Show when=move || chosen.get() == 2><Revoke bench=bench/></Show>
        </section>
    }
}
