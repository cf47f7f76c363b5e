//! The tester: may such a client do this there, and why, by the rules that are in force.

use std::collections::BTreeMap;

use fanfare_api::acl::{ExplainRequest, Explanation};
use fanfare_api::issuer::IssuerView;
use fanfare_api::key::{KeyStatus, KeyView};
use fanfare_core::capability::Operations;
use fanfare_core::id::AppId;
use fanfare_core::{Capabilities, Operation, Pattern};
use leptos::prelude::*;

use super::Draft;
use super::verdict::Verdict;
use crate::api::{ApiError, Member};
use crate::components::attempt::Attempt;
use crate::components::capabilities::{CapabilityFields, CapabilityLines};
use crate::components::field::Field;
use crate::components::icon::{Icon, Shape};
use crate::components::load::Load;
use crate::components::reading::Reading;
use crate::components::snippet::AsCurl;
use crate::components::states::FormError;
use crate::components::text_area::TextArea;
use crate::snippets;

/// The question as typed.
#[derive(Debug, Clone, Copy)]
struct Fields {
    /// Who signed the token: the id of a key or issuer; empty without a token.
    signer: RwSignal<String>,
    sub: RwSignal<String>,
    roles: RwSignal<String>,
    claims: RwSignal<String>,
    has_cap: RwSignal<bool>,
    cap: CapabilityLines,
    operation: RwSignal<Operation>,
    channel: RwSignal<String>,
}

impl Fields {
    fn new() -> Self {
        let empty = || RwSignal::new(String::new());
        let room = Pattern::parse("room:*").expect("a pattern");
        let cap = Capabilities::new(vec![(room, Operations::NONE.with(Operation::Subscribe))]);
        Self {
            signer: empty(),
            sub: empty(),
            roles: empty(),
            claims: empty(),
            has_cap: RwSignal::new(false),
            cap: CapabilityLines::of(&cap),
            operation: RwSignal::new(Operation::Subscribe),
            channel: RwSignal::new("demo:hello".to_owned()),
        }
    }

    fn has_token(self) -> bool {
        self.signer.with(|signer| !signer.is_empty())
    }

    /// The question, tracked. What belongs to a token is left out without one.
    fn read(self) -> Result<ExplainRequest, ApiError> {
        let mut reading = Reading::new();
        let mut request = ExplainRequest {
            channel: self.channel.get().trim().to_owned(),
            operation: self.operation.get(),
            sub: None,
            roles: Vec::new(),
            cap: None,
            key: None,
            issuer: None,
            claims: BTreeMap::new(),
        };
        if self.has_token() {
            let signer = self.signer.get();
            (request.key, request.issuer) = (signer.parse().ok(), signer.parse().ok());
            request.sub = Some(self.sub.get().trim().to_owned()).filter(|sub| !sub.is_empty());
            request.roles = self.roles.with(|text| parts(text));
            let claims = self.claims.with(|text| text.lines().filter_map(claim).collect::<Result<_, _>>());
            request.claims = reading.at("/claims", claims).unwrap_or_default();
            request.cap = self.has_cap.get().then(|| reading.at("/cap", self.cap.read())).flatten();
        }
        if reading.is_whole() { Ok(request) } else { Err(reading.error()) }
    }
}

/// Names parted by commas.
fn parts(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A claim as `name = value`; nothing for an empty line.
fn claim(line: &str) -> Option<Result<(String, String), &'static str>> {
    let line = line.trim();
    let pair = line.split_once(" = ").map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    (!line.is_empty()).then(|| pair.ok_or("one claim a line, as in team = blue"))
}

/// The part of the page.
#[component]
pub(super) fn Tester(app: AppId, draft: Draft) -> impl IntoView {
    let member = expect_context::<Member>();
    let signers = Load::new(move || async move { Ok((member.keys(app).await?, member.issuers(app).await?)) });
    view! {
        {signers.show("Testing access", move |(keys, issuers)| {
            view! { <Question app=app draft=draft keys=keys issuers=issuers/> }
        })}
    }
}

#[component]
fn Question(app: AppId, draft: Draft, keys: Vec<KeyView>, issuers: Vec<IssuerView>) -> impl IntoView {
    let member = expect_context::<Member>();
    let fields = Fields::new();
    let attempt = Attempt::new();
    let error: Signal<Option<ApiError>> = attempt.error.into();
    let answer = RwSignal::new(None::<(ExplainRequest, Explanation)>);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match untrack(|| fields.read()) {
            Ok(request) => {
                let asked = request.clone();
                attempt.run(async move { member.explain(app, &request).await }, move |explained| {
                    answer.set(Some((asked, explained)));
                });
            }
            Err(wrong) => attempt.error.set(Some(wrong)),
        }
    };
    let command = Signal::derive(move || match fields.read() {
        Ok(request) => snippets::control_json("POST", &format!("/api/v1/apps/{app}/acl/explain"), None, &request),
        Err(wrong) => format!("# {}", wrong.detail()),
    });
    view! {
        <div class="halves">
            <form class="card card-pad form" on:submit=submit novalidate=true>
                <h2>"May such a client do this?"</h2>
                <Signer signer=fields.signer keys=keys issuers=issuers/>
                <Show when=move || fields.has_token()><TokenFields fields=fields error=error/></Show>
                <OperationChoice operation=fields.operation/>
                <Field label="Channel" name="test-channel" value=fields.channel pointer="/channel" error=error help="A channel, not a pattern: room:9"/>
                <FormError error=attempt.error/>
                <div class="row-end">
                    <span class="muted small">
                        {move || draft.is_changed().then_some("The saved rules answer, without your unsaved changes.")}
                    </span>
                    <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>"Test"</button>
                </div>
                <AsCurl text=command plain=true/>
            </form>
            <Verdict answer=answer saved=draft.saved/>
        </div>
    }
}

/// Who signed the token.
#[component]
fn Signer(signer: RwSignal<String>, keys: Vec<KeyView>, issuers: Vec<IssuerView>) -> impl IntoView {
    let signs = |key: &KeyView| key.capabilities.anywhere(Operation::Sign) && key.state == KeyStatus::Active;
    let keys: Vec<_> = keys
        .into_iter()
        .filter(signs)
        .map(|key| view! { <option value=key.id.to_string()>{format!("A token of the key {}", key.name)}</option> })
        .collect();
    let issuers: Vec<_> = issuers
        .into_iter()
        .map(|one| view! { <option value=one.id.to_string()>{format!("A token of the issuer {}", one.name)}</option> })
        .collect();
    view! {
        <div class="field">
            <label class="field-label" for="test-signer">"The client has"</label>
            <div class="input-group">
                <select class="input" id="test-signer" on:change:target=move |event| signer.set(event.target().value())>
                    <option value="">"No token: it is anonymous"</option>
                    {keys}
                    {issuers}
                </select>
                <Icon shape=Shape::CHEVRONS/>
            </div>
        </div>
    }
}

#[component]
fn TokenFields(fields: Fields, error: Signal<Option<ApiError>>) -> impl IntoView {
    let cap_error = Signal::derive(move || error.with(|error| error.as_ref().and_then(|error| error.at("/cap"))));
    view! {
        <Field label="User" name="test-sub" value=fields.sub pointer="/sub" error=error optional=true help="The token’s sub."/>
        <Field label="Roles" name="test-roles" value=fields.roles pointer="/roles" error=error optional=true help="Parted by commas."/>
        <TextArea
            label="Other claims"
            name="test-claims"
            value=fields.claims
            pointer="/claims"
            error=error
            rows=2
            optional=true
            help="One a line, as in team = blue: for patterns such as team:{team}."
        />
        <div class="check-row">
            <label>
                <input
                    type="checkbox"
                    prop:checked=move || fields.has_cap.get()
                    on:change=move |_| fields.has_cap.update(|has| *has = !*has)
                />
                "The token has a cap"
            </label>
        </div>
        <Show when=move || fields.has_cap.get()>
            <CapabilityFields
                label="Its cap"
                help="What the token itself says it may do; allow rules do not count then."
                id="test-cap"
                lines=fields.cap
                error=cap_error
            />
        </Show>
    }
}

#[component]
fn OperationChoice(operation: RwSignal<Operation>) -> impl IntoView {
    let choose = move |word: String| {
        operation.set(Operations::CLIENT.iter().find(|one| one.as_str() == word).unwrap_or(Operation::Subscribe));
    };
    let options: Vec<_> =
        Operations::CLIENT.iter().map(|one| view! { <option value=one.as_str()>{one.as_str()}</option> }).collect();
    view! {
        <div class="field">
            <label class="field-label" for="test-operation">"Operation"</label>
            <div class="input-group">
                <select class="input" id="test-operation" on:change:target=move |event| choose(event.target().value())>
                    {options}
                </select>
                <Icon shape=Shape::CHEVRONS/>
            </div>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_claims_read_as_they_are_typed() {
        assert_eq!(parts(" staff, ,night watch "), ["staff", "night watch"]);
        assert_eq!(claim("  "), None);
        assert_eq!(claim("team = a = b"), Some(Ok(("team".to_owned(), "a = b".to_owned()))));
        assert!(claim("team").is_some_and(|read| read.is_err()));
    }
}
