//! Where an issuer's keys are, as typed: one public key, or a URL.

use fanfare_api::issuer::CreateIssuer;
use fanfare_core::TokenAlgorithm;
use leptos::prelude::*;
use serde_json::Value;

use crate::api::ApiError;
use crate::components::field::Field;
use crate::components::text_area::TextArea;

/// The source as typed.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceFields {
    /// Whether the keys are at a URL.
    pub(super) is_url: RwSignal<bool>,
    /// The URL.
    pub(super) url: RwSignal<String>,
    algorithms: RwSignal<Vec<TokenAlgorithm>>,
    key: RwSignal<String>,
    kid: RwSignal<String>,
}

impl SourceFields {
    /// Nothing typed yet: keys at a URL, of any algorithm.
    pub(super) fn new() -> Self {
        let empty = || RwSignal::new(String::new());
        let algorithms = RwSignal::new(TokenAlgorithm::ALL.to_vec());
        Self { is_url: RwSignal::new(true), url: empty(), algorithms, key: empty(), kid: empty() }
    }

    /// Puts what is typed into the request, tracked. A key that reads as JSON is a JWK, anything else is PEM.
    pub(super) fn put_into(self, request: &mut CreateIssuer) {
        let filled = |typed: RwSignal<String>| Some(typed.get().trim().to_owned()).filter(|text| !text.is_empty());
        if self.is_url.get() {
            request.jwks_url = filled(self.url);
            let algorithms = self.algorithms.get();
            request.algorithms = (algorithms.len() < TokenAlgorithm::ALL.len()).then_some(algorithms);
        } else {
            request.key = filled(self.key).map(|text| match serde_json::from_str::<Value>(&text) {
                Ok(jwk @ Value::Object(_)) => jwk,
                _ => Value::String(text),
            });
            request.kid = filled(self.kid);
        }
    }
}

/// The fields.
#[component]
pub(super) fn SourceInputs(fields: SourceFields, error: Signal<Option<ApiError>>) -> impl IntoView {
    let choice = move |is_url: bool, id: &'static str, title: &'static str, about: &'static str| {
        view! {
            <div class="choice">
                <input
                    type="radio"
                    name="issuer-source"
                    id=id
                    aria-describedby=format!("{id}-about")
                    prop:checked=move || fields.is_url.get() == is_url
                    on:change=move |_| fields.is_url.set(is_url)
                />
                <label for=id>{title}</label>
                <span id=format!("{id}-about")>{about}</span>
            </div>
        }
    };
    view! {
        <fieldset class="field">
            <legend class="field-label legend-gap">"Its public keys"</legend>
            <div class="choices">
                {choice(true, "source-url", "At a URL", "A JWKS: fetched in the background, followed when keys change.")}
                {choice(false, "source-key", "One key", "PEM or JWK: for a service of your own.")}
            </div>
        </fieldset>
        <Show when=move || fields.is_url.get() fallback=move || view! { <KeyInputs fields=fields error=error/> }>
            <Field
                label="JWKS URL"
                name="issuer-url"
                value=fields.url
                pointer="/jwks_url"
                error=error
                help="https on port 443, at a public address: exactly this is asked, nothing of a token is put into it."
            />
            <Algorithms fields=fields error=error/>
        </Show>
    }
}

#[component]
fn Algorithms(fields: SourceFields, error: Signal<Option<ApiError>>) -> impl IntoView {
    let one = move |algorithm: TokenAlgorithm| {
        let has = move || fields.algorithms.with(|all| all.contains(&algorithm));
        let toggle = move |_| {
            fields.algorithms.update(|all| {
                if all.contains(&algorithm) {
                    all.retain(|one| *one != algorithm);
                } else {
                    all.push(algorithm);
                }
            });
        };
        view! { <label><input type="checkbox" prop:checked=has on:change=toggle/>{algorithm.as_str()}</label> }
    };
    view! {
        <fieldset class="field">
            <legend class="field-label">"Algorithms taken from there"</legend>
            <div class="check-row">{TokenAlgorithm::ALL.map(one).into_iter().collect::<Vec<_>>()}</div>
            <p class="field-error" aria-live="polite">
                {move || error.with(|error| error.as_ref().and_then(|error| error.at("/algorithms")))}
            </p>
        </fieldset>
    }
}

#[component]
fn KeyInputs(fields: SourceFields, error: Signal<Option<ApiError>>) -> impl IntoView {
    view! {
        <TextArea
            label="Public key"
            name="issuer-key"
            value=fields.key
            pointer="/key"
            error=error
            rows=5
            placeholder="-----BEGIN PUBLIC KEY-----"
            help="P-256 (ES256), Ed25519 (EdDSA) or RSA of 2048 to 4096 bits (RS256): the algorithm is that of the key."
        />
        <Field
            label="Key id"
            name="issuer-kid"
            value=fields.kid
            pointer="/kid"
            error=error
            optional=true
            help="What its tokens’ header calls the key, where the JWK does not say. Without one it verifies tokens without kid."
        />
    }
}
