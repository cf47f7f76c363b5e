//! Making a token: the form at the left, the code that makes such a token at the right, and the token itself.

use fanfare_api::data::MintTokenResponse;
use fanfare_core::Operation;
use leptos::prelude::*;

use super::Bench;
use super::at_hand::KeyAtHand;
use super::limits::LimitInputs;
use super::typed::{Fields, LIFETIMES};
use crate::api::ApiError;
use crate::components::attempt::Attempt;
use crate::components::capabilities::{CapabilityFields, in_words};
use crate::components::field::Field;
use crate::components::icon::{Icon, Shape};
use crate::components::snippet::Snippet;
use crate::components::states::FormError;
use crate::components::tabs::CodeTabs;
use crate::components::text_area::TextArea;
use crate::components::time::Until;
use crate::snippets;

/// The part of the page.
#[component]
pub(super) fn Make(bench: Bench) -> impl IntoView {
    let fields = Fields::new();
    let attempt = Attempt::new();
    let made = RwSignal::new(None::<MintTokenResponse>);
    let error: Signal<Option<ApiError>> = attempt.error.into();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match (untrack(|| fields.read()), untrack(|| bench.backend())) {
            (Ok(request), Some(backend)) => {
                attempt.run(async move { backend.mint(&request).await }, move |token| made.set(Some(token)));
            }
            (Err(wrong), _) => attempt.error.set(Some(wrong)),
            (Ok(_), None) => {}
        }
    };
    let url = bench.url();
    let code = Signal::derive(move || match fields.read() {
        Ok(request) => snippets::tokens::make(&url, &request),
        Err(wrong) => vec![("REST", format!("# {}", wrong.detail()))],
    });
    view! {
        <div class="halves">
            <form class="card card-pad form" on:submit=submit novalidate=true>
                <h2>"What it says"</h2>
                <Claims fields=fields error=error/>
                <Lifetime ttl_s=fields.ttl_s/>
                <More fields=fields error=error/>
                <FormError error=attempt.error/>
                <div class="row-end">
                    <span class="muted small">
                        {move || bench.key().is_none().then_some("The code works as it is; to make one here, take a key to hand.")}
                    </span>
                    <button
                        class="button button-primary"
                        type="submit"
                        disabled=move || bench.key().is_none() || attempt.busy.get()
                    >
                        "Make token"
                    </button>
                </div>
            </form>
            <div class="stack">
                <section class="card card-pad stack" aria-label="Key that signs">
                    <h2>"Signed by"</h2>
                    <KeyAtHand bench=bench needs=Operation::Sign id="make-key"/>
                    <Ceiling bench=bench/>
                </section>
                {move || made.get().map(|token| view! { <Made bench=bench token=token/> })}
                <section class="card" aria-label="Code">
                    <CodeTabs label="Languages" id="token-code" tabs=code/>
                </section>
            </div>
        </div>
    }
}

/// What the key at hand may hand on.
#[component]
fn Ceiling(bench: Bench) -> impl IntoView {
    move || {
        let key = bench.key().and_then(|(id, _)| bench.known(id))?;
        Some(view! {
            <p class="muted small">{format!("Its tokens may do at most: {}.", in_words(&key.capabilities))}</p>
        })
    }
}

#[component]
fn Made(bench: Bench, token: MintTokenResponse) -> impl IntoView {
    let text = StoredValue::new(token.token.expose().to_owned());
    let app = bench.app();
    view! {
        <section class="card card-pad stack" aria-label="The token">
            <p role="status">"It works, and stops "<Until at=token.expires_at/>"."</p>
            <Snippet text=text.get_value() what="token" wrap=true/>
            <div class="row">
                // The token goes through the page's memory, not through the address.
                <a
                    class="button"
                    href=format!("/apps/{app}/tokens?part=inspect")
                    on:click=move |_| bench.token.set(text.get_value())
                >
                    "Look into it"
                </a>
            </div>
        </section>
    }
}

#[component]
fn Claims(fields: Fields, error: Signal<Option<ApiError>>) -> impl IntoView {
    let cap_error = Signal::derive(move || error.with(|error| error.as_ref().and_then(|error| error.at("/cap"))));
    view! {
        <Field label="User" name="token-sub" value=fields.sub pointer="/sub" error=error optional=true help="sub; without one the client is anonymous."/>
        <div class="check-row">
            <label>
                <input
                    type="checkbox"
                    prop:checked=move || fields.has_cap.get()
                    on:change=move |_| fields.has_cap.update(|has| *has = !*has)
                />
                "It says itself what it may do (cap)"
            </label>
        </div>
        <Show
            when=move || fields.has_cap.get()
            fallback=|| view! { <p class="field-help">"The app’s access rules decide, by user and role."</p> }
        >
            <CapabilityFields
                label="What it may do"
                help="Inside the ceiling of the key; deny rules of the app still count."
                id="token-cap"
                lines=fields.cap
                error=cap_error
            />
        </Show>
        <Field label="Roles" name="token-roles" value=fields.roles pointer="/roles" error=error optional=true help="Parted by commas; access rules speak of them."/>
    }
}

#[component]
fn Lifetime(ttl_s: RwSignal<u64>) -> impl IntoView {
    let options: Vec<_> = LIFETIMES
        .into_iter()
        .map(|(name, seconds)| view! { <option value=seconds.to_string() selected=move || ttl_s.get() == seconds>{name}</option> })
        .collect();
    view! {
        <div class="field">
            <label class="field-label" for="token-ttl">"Lives for"</label>
            <div class="input-group">
                <select
                    class="input"
                    id="token-ttl"
                    on:change:target=move |event| ttl_s.set(event.target().value().parse().unwrap_or(3_600))
                >
                    {options}
                </select>
                <Icon shape=Shape::CHEVRONS/>
            </div>
        </div>
    }
}

/// What few tokens need, behind a summary.
#[component]
fn More(fields: Fields, error: Signal<Option<ApiError>>) -> impl IntoView {
    let is_wrong = move || {
        error.with(|error| {
            error.as_ref().is_some_and(|error| {
                ["/info", "/meta", "/labels", "/jti", "/limits"].into_iter().any(|place| error.is_below(place))
            })
        })
    };
    let is_open = Memo::new(move |was: Option<&bool>| was.copied().unwrap_or_default() || is_wrong());
    view! {
        <details class="field-more" open=move || is_open.get()>
            <summary>"Info, labels, its own id, limits"</summary>
            <div class="form">
                <TextArea label="Info" name="token-info" value=fields.info pointer="/info" error=error rows=2 optional=true help="A JSON object that others on a channel may see, at most 1 KiB."/>
                <TextArea label="Meta" name="token-meta" value=fields.meta pointer="/meta" error=error rows=2 optional=true help="A JSON object that backends may see, and no client."/>
                <Field label="Labels" name="token-labels" value=fields.labels pointer="/labels" error=error optional=true help="Parted by commas: tokens can be revoked together by them."/>
                <Field label="Own id" name="token-jti" value=fields.jti pointer="/jti" error=error optional=true help="jti: the token can be revoked alone by it."/>
                <LimitInputs fields=fields.limits error=error/>
            </div>
        </details>
    }
}
