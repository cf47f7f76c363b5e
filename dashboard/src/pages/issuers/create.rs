//! Making an issuer: a setup that is known, or everything by hand.

use fanfare_api::issuer::{CreateIssuer, PRESETS, Preset};
use fanfare_core::capability::Operations;
use fanfare_core::id::AppId;
use fanfare_core::{Capabilities, Pattern};
use leptos::prelude::*;

use super::claims::{ClaimFields, ClaimInputs};
use super::path;
use super::source::{SourceFields, SourceInputs};
use crate::api::{ApiError, Member};
use crate::components::attempt::Attempt;
use crate::components::capabilities::{CapabilityFields, CapabilityLines};
use crate::components::field::Field;
use crate::components::icon::{Icon, Shape};
use crate::components::reading::Reading;
use crate::components::snippet::AsCurl;
use crate::components::states::FormError;
use crate::snippets;

/// What an issuer's tokens may do unless somebody says less.
fn everything_of_clients() -> Capabilities {
    let everywhere = Pattern::parse("**").expect("`**` is a pattern");
    Capabilities::new(vec![(everywhere, Operations::CLIENT)])
}

/// The fields as typed.
#[derive(Debug, Clone, Copy)]
struct Fields {
    name: RwSignal<String>,
    iss: RwSignal<String>,
    aud: RwSignal<String>,
    aud_help: RwSignal<&'static str>,
    source: SourceFields,
    ceiling: CapabilityLines,
    claims: ClaimFields,
}

impl Fields {
    fn new() -> Self {
        let empty = || RwSignal::new(String::new());
        Self {
            name: empty(),
            iss: empty(),
            aud: empty(),
            aud_help: RwSignal::new("What aud must hold. Empty: a token that has an aud must name the app."),
            source: SourceFields::new(),
            ceiling: CapabilityLines::of(&everything_of_clients()),
            claims: ClaimFields::of(&Default::default()),
        }
    }

    fn fill(self, preset: &Preset) {
        self.name.set(preset.name.to_owned());
        self.iss.set(preset.iss.to_owned());
        self.aud.set(String::new());
        self.aud_help.set(preset.aud);
        self.source.is_url.set(true);
        self.source.url.set(preset.jwks_url.to_owned());
        self.claims.fill(&serde_json::from_str(preset.claims).expect("presets have a claim map"));
    }

    /// The request, tracked, or every field that cannot be read.
    fn read(self) -> Result<CreateIssuer, ApiError> {
        let mut reading = Reading::new();
        let aud = self.aud.get().trim().to_owned();
        let mut request = CreateIssuer {
            name: self.name.get().trim().to_owned(),
            iss: self.iss.get().trim().to_owned(),
            aud: (!aud.is_empty()).then_some(aud),
            ceiling: reading.at("/ceiling", self.ceiling.read()),
            claims: Some(self.claims.read(&mut reading)),
            ..CreateIssuer::default()
        };
        self.source.put_into(&mut request);
        if reading.is_whole() { Ok(request) } else { Err(reading.error()) }
    }
}

/// The inside of the dialog.
#[component]
pub(super) fn CreateForm(app: AppId, on_done: Callback<()>, on_cancel: Callback<()>) -> impl IntoView {
    let member = expect_context::<Member>();
    let attempt = Attempt::new();
    let fields = Fields::new();
    let error: Signal<Option<ApiError>> = attempt.error.into();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match untrack(|| fields.read()) {
            Ok(request) => {
                attempt.run(async move { member.create_issuer(app, &request).await }, move |_| on_done.run(()))
            }
            Err(wrong) => attempt.error.set(Some(wrong)),
        }
    };
    let command = Signal::derive(move || match fields.read() {
        Ok(request) => snippets::control_json("POST", &path(app), None, &request),
        Err(wrong) => format!("# {}", wrong.detail()),
    });
    let ceiling_error = Signal::derive(move || error.with(|error| error.as_ref().and_then(|it| it.at("/ceiling"))));
    view! {
        <form class="form" on:submit=submit novalidate=true>
            <Setups fields=fields/>
            <Field
                label="Name"
                name="issuer-name"
                value=fields.name
                pointer="/name"
                error=error
                focus=true
                help="For people: “Auth0”, “our login service”."
            />
            <Field
                label="Issuer"
                name="issuer-iss"
                value=fields.iss
                pointer="/iss"
                error=error
                help="What iss of its tokens is, exactly, often with a slash at the end."
            />
            <Field label="Audience" name="issuer-aud" value=fields.aud pointer="/aud" error=error optional=true help=fields.aud_help_text()/>
            <SourceInputs fields=fields.source error=error/>
            <CapabilityFields
                label="What its tokens may do at most"
                help="The ceiling: a token’s own cap, and the access rules, give only what is inside it."
                id="issuer-ceiling"
                lines=fields.ceiling
                error=ceiling_error
            />
            <ClaimInputs fields=fields.claims error=error/>
            <AsCurl text=command plain=true/>
            <FormError error=attempt.error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_cancel.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>"Add issuer"</button>
            </div>
        </form>
    }
}

impl Fields {
    fn aud_help_text(self) -> Signal<String> {
        Signal::derive(move || self.aud_help.get().to_owned())
    }
}

/// Setups that many people use.
#[component]
fn Setups(fields: Fields) -> impl IntoView {
    let options: Vec<_> =
        PRESETS.iter().map(|preset| view! { <option value=preset.name>{preset.name}</option> }).collect();
    let choose = move |name: String| {
        if let Some(preset) = PRESETS.iter().find(|preset| preset.name == name) {
            fields.fill(preset);
        }
    };
    view! {
        <div class="field">
            <label class="field-label" for="issuer-setup">"Fill in for"</label>
            <div class="input-group">
                <select
                    class="input"
                    id="issuer-setup"
                    aria-describedby="issuer-setup-help"
                    on:change:target=move |event| choose(event.target().value())
                >
                    <option value="">"Something else"</option>
                    {options}
                </select>
                <Icon shape=Shape::CHEVRONS/>
            </div>
            <p class="field-help" id="issuer-setup-help">"Replace what is in capitals by your own."</p>
        </div>
    }
}
