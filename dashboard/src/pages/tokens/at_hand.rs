//! The key at hand: pasted, or made here. It is in this page's memory until the page goes, and nowhere else.

use fanfare_api::SecretText;
use fanfare_api::key::CreateKey;
use fanfare_core::{Capabilities, ErrorCode, Operation, Problem};
use leptos::prelude::*;

use super::Bench;
use crate::api::{ApiError, Member};
use crate::components::attempt::Attempt;
use crate::components::field::Field;
use crate::components::states::FormError;

/// What is shown above whatever needs a key: which one it is, or how to have one.
#[component]
pub(super) fn KeyAtHand(
    bench: Bench,
    /// What it has to be able to do.
    needs: Operation,
    /// Unique on the page.
    id: &'static str,
) -> impl IntoView {
    let asking = RwSignal::new(false);
    view! {
        {move || match bench.key().filter(|_| !asking.get()) {
            Some((key, _)) => {
                let known = bench.known(key);
                let may = known.as_ref().is_none_or(|known| known.capabilities.anywhere(needs));
                let name = known.map_or_else(|| key.to_string(), |known| known.name);
                view! {
                    <p class="note">
                        <span>
                            "Asked with the key "<strong>{name}</strong>", which this page forgets when it goes. "
                            {(!may).then(|| format!("It may not {needs}, which this needs. "))}
                            <button class="link-button" type="button" on:click=move |_| asking.set(true)>"Use another"</button>
                        </span>
                    </p>
                }
                .into_any()
            }
            None => view! { <Ask bench=bench asking=asking id=id/> }.into_any(),
        }}
    }
}

#[component]
fn Ask(bench: Bench, asking: RwSignal<bool>, id: &'static str) -> impl IntoView {
    let member = expect_context::<Member>();
    let attempt = Attempt::new();
    let typed = RwSignal::new(String::new());
    let may_make = bench.here.with_value(|here| here.may_edit());
    let take = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        // A form around this one, if there is one, is not sent.
        event.stop_propagation();
        match read(&typed.get_untracked()) {
            Ok(key) => {
                typed.set(String::new());
                bench.take(key);
                asking.set(false);
            }
            Err(wrong) => attempt.error.set(Some(wrong)),
        }
    };
    let make = move |_| {
        let name = "token workbench".to_owned();
        let key = CreateKey { name, capabilities: Some(Capabilities::everything()), expires_at: None };
        let app = bench.app();
        attempt.run(async move { member.create_key(app, &key).await }, move |made| {
            bench.keys.update_value(|keys| keys.push(made.key));
            bench.take(made.secret);
            asking.set(false);
        });
    };
    view! {
        <form class="form" on:submit=take novalidate=true>
            <Field
                label="Key"
                name=id
                value=typed
                pointer="/key"
                error=attempt.error
                kind="password"
                help="key_…:ffs_…, to ask the data plane with. This page keeps it in memory until it goes."
            />
            <FormError error=attempt.error/>
            <div class="row">
                <button class="button" type="submit">"Use this key"</button>
                {may_make.then(|| view! {
                    <button class="button" type="button" disabled=move || attempt.busy.get() on:click=make>"Make a key"</button>
                })}
            </div>
        </form>
    }
}

/// A key as it is printed.
fn read(typed: &str) -> Result<SecretText, ApiError> {
    let typed = typed.trim();
    let is_key = typed
        .split_once(':')
        .is_some_and(|(id, secret)| id.parse::<fanfare_core::id::KeyId>().is_ok() && secret.starts_with("ffs_"));
    if is_key {
        return Ok(SecretText::new(typed.to_owned()));
    }
    let detail = "A whole key reads key_…:ffs_…; it was shown when it was made.";
    Err(ApiError::local(Problem::new(ErrorCode::InvalidRequest, detail).at("/key", detail)))
}
