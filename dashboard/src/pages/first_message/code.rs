//! What comes next: the same in a browser, and a backend that signs tokens.

use fanfare_api::SecretText;
use fanfare_api::data::MintTokenRequest;
use fanfare_core::capability::Operations;
use fanfare_core::{Capabilities, Operation, Pattern};
use leptos::prelude::*;

use super::Stage;
use crate::api::{ApiError, Backend};
use crate::components::snippet::Snippet;
use crate::components::states::FormError;
use crate::components::tabs::CodeTabs;
use crate::session::Here;
use crate::snippets;

/// The two halves.
#[component]
pub(super) fn Code(here: Here, stage: Stage) -> impl IntoView {
    let url = here.url.clone();
    view! {
        <div class="halves">
            <section class="card" aria-labelledby="browser-title">
                <div class="card-head"><h2 id="browser-title">"Subscribe in a browser"</h2></div>
                <CodeTabs label="Ways to subscribe" id="browser" tabs=snippets::subscribe(&here.url)/>
            </section>
            <section class="card" aria-labelledby="backend-title">
                <div class="card-head"><h2 id="backend-title">"Sign a token in a backend"</h2></div>
                <CodeTabs label="Languages" id="backend" tabs=snippets::sign()/>
                {move || stage.key().map(|key| view! { <Mint backend=Backend::new(url.clone(), key) stage=stage/> })}
            </section>
        </div>
    }
}

/// Has the gateway sign a token with the key at hand, to look at.
#[component]
fn Mint(backend: Backend, stage: Stage) -> impl IntoView {
    let token = RwSignal::new(None::<SecretText>);
    let error = RwSignal::new(None::<ApiError>);
    let mint = move |_| {
        let backend = backend.clone();
        leptos::task::spawn_local(async move {
            let answer = backend.mint(&request()).await;
            error.try_set(answer.as_ref().err().cloned());
            if let Ok(made) = answer {
                stage.progress.tick(|done| done.token = true);
                token.try_set(Some(made.token));
            }
        });
    };
    view! {
        <div class="tab-panel">
            <div class="row">
                <button class="button" type="button" on:click=mint>"Make one with this key"</button>
                <span class="muted small">"For the user ann, on room:9, for an hour."</span>
            </div>
            {move || {
                let token = token.get()?.expose().to_owned();
                Some(view! { <Snippet text=token what="token" wrap=true/> })
            }}
            <FormError error=error/>
        </div>
    }
}

fn request() -> MintTokenRequest {
    let room = Pattern::parse("room:9").expect("`room:9` is a pattern");
    let both = Operations::NONE.with(Operation::Subscribe).with(Operation::Publish);
    MintTokenRequest {
        sub: Some("ann".to_owned()),
        cap: Some(Capabilities::new(vec![(room, both)])),
        ..MintTokenRequest::default()
    }
}
