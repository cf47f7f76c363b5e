//! The second pane: a curl with the real key, and a button that does the same.

use fanfare_api::SecretText;
use fanfare_api::key::CreateKey;
use fanfare_core::Role;
use leptos::prelude::*;
use serde_json::json;

use super::{CHANNEL, Sent, Stage};
use crate::api::{ApiError, Backend, Member};
use crate::browser;
use crate::components::icon::{Icon, Shape};
use crate::components::secret::SecretOnce;
use crate::components::snippet::Snippet;
use crate::components::states::FormError;
use crate::session::{FreshKey, Here};
use crate::snippets;

/// Offers to send; without a key at hand, to make one first.
#[component]
pub(super) fn SendPane(here: Here, stage: Stage) -> impl IntoView {
    let error = RwSignal::new(None::<ApiError>);
    let url = here.url.clone();
    let curl = Signal::derive(move || {
        let key = stage.key();
        snippets::curl(&url, key.as_ref().map(SecretText::expose), CHANNEL)
    });
    let url = here.url.clone();
    let action = move || match stage.key() {
        Some(key) => view! { <SendButton backend=Backend::new(url.clone(), key) stage=stage error=error/> }.into_any(),
        None if here.may_edit() => view! { <MakeKey here=here.clone() error=error/> }.into_any(),
        None => view! {
            <p class="muted small">{format!("Making a key needs the role {} or above.", Role::Developer.as_str())}</p>
        }
        .into_any(),
    };
    view! {
        <section class="card pane" aria-labelledby="send-title">
            <div class="card-head">
                <h2 id="send-title"><span class="pane-step" aria-hidden="true">"2"</span>"Send"</h2>
            </div>
            <div class="pane-body">
                <p>
                    {move || if stage.key().is_some() {
                        "Paste this into a terminal. Your real key is in it."
                    } else {
                        "Keys are shown once, when they are made. Make one here, or set FANFARE_KEY to one you kept."
                    }}
                </p>
                <Snippet text=curl what="curl command" wrap=true/>
                {action}
                <FormError error=error/>
                {move || stage.key().map(|key| view! { <SecretOnce secret=key/> })}
            </div>
        </section>
    }
}

#[component]
fn SendButton(backend: Backend, stage: Stage, error: RwSignal<Option<ApiError>>) -> impl IntoView {
    let count = RwSignal::new(0_u32);
    let send = move |_| {
        count.update(|count| *count += 1);
        let id = format!("page-{}", browser::unique());
        let text =
            if count.get_untracked() == 1 { "hi".to_owned() } else { format!("hi again, {}", count.get_untracked()) };
        let message = json!({ "id": id, "name": "greet", "data": text });
        stage.sent.set(Some(Sent { id: id.clone(), at_ms: browser::now_ms(), acknowledged_ms: None }));
        let backend = backend.clone();
        leptos::task::spawn_local(async move {
            let answer = backend.publish(CHANNEL, &message).await;
            let now = browser::now_ms();
            error.try_set(answer.err());
            stage.sent.try_update(|sent| {
                if let Some(sent) = sent.as_mut().filter(|sent| sent.id == id) {
                    sent.acknowledged_ms = Some(now);
                }
            });
        });
    };
    view! {
        <div class="row">
            <button
                class="button button-primary"
                type="button"
                on:click=send
            >
                <Icon shape=Shape::SEND/>"Send it from here"
            </button>
            <span class="muted small">"The same request, by this page."</span>
        </div>
    }
}

#[component]
fn MakeKey(here: Here, error: RwSignal<Option<ApiError>>) -> impl IntoView {
    let member = expect_context::<Member>();
    let fresh = expect_context::<FreshKey>();
    let busy = RwSignal::new(false);
    let make = move |_| {
        busy.set(true);
        let app = here.app.id;
        let stamp = browser::full_time(browser::now_ms());
        let key = CreateKey { name: format!("First message, {stamp}"), capabilities: None, expires_at: None };
        leptos::task::spawn_local(async move {
            let answer = member.create_key(app, &key).await;
            busy.try_set(false);
            match answer {
                Ok(made) => fresh.set(app, made.secret),
                Err(refused) => {
                    error.try_set(Some(refused));
                }
            }
        });
    };
    view! {
        <div class="row">
            <button class="button button-primary" type="button" disabled=move || busy.get() on:click=make>
                <Icon shape=Shape::KEY/>
                "Make a key"
            </button>
        </div>
    }
}
