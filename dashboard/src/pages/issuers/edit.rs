//! Changing an issuer: its name, ceiling, claim map, and whether its tokens are taken. What pins its tokens never changes.

use fanfare_api::issuer::{IssuerView, UpdateIssuer};
use fanfare_core::id::AppId;
use leptos::prelude::*;

use super::claims::{ClaimFields, ClaimInputs};
use super::path;
use crate::api::{ApiError, Member};
use crate::components::attempt::Attempt;
use crate::components::capabilities::{CapabilityFields, CapabilityLines};
use crate::components::field::Field;
use crate::components::reading::Reading;
use crate::components::snippet::AsCurl;
use crate::components::states::FormError;
use crate::snippets;

/// The fields as typed.
#[derive(Debug, Clone, Copy)]
struct Fields {
    name: RwSignal<String>,
    enabled: RwSignal<bool>,
    ceiling: CapabilityLines,
    claims: ClaimFields,
}

impl Fields {
    /// What is other than it was, tracked, or every field that cannot be read.
    fn read(self, was: &IssuerView) -> Result<UpdateIssuer, ApiError> {
        let mut reading = Reading::new();
        let name = self.name.get().trim().to_owned();
        let ceiling = reading.at("/ceiling", self.ceiling.read());
        let claims = self.claims.read(&mut reading);
        let enabled = self.enabled.get();
        if !reading.is_whole() {
            return Err(reading.error());
        }
        Ok(UpdateIssuer {
            name: (name != was.name).then_some(name),
            ceiling: ceiling.filter(|ceiling| *ceiling != was.ceiling),
            claims: (claims != was.claims).then_some(claims),
            enabled: (enabled != was.enabled).then_some(enabled),
        })
    }
}

/// The inside of the dialog.
#[component]
pub(super) fn EditForm(
    app: AppId,
    issuer: IssuerView,
    on_done: Callback<()>,
    on_cancel: Callback<()>,
) -> impl IntoView {
    let member = expect_context::<Member>();
    let attempt = Attempt::new();
    let fields = Fields {
        name: RwSignal::new(issuer.name.clone()),
        enabled: RwSignal::new(issuer.enabled),
        ceiling: CapabilityLines::of(&issuer.ceiling),
        claims: ClaimFields::of(&issuer.claims),
    };
    let error: Signal<Option<ApiError>> = attempt.error.into();
    let (id, version) = (issuer.id, issuer.version);
    let is_on = issuer.enabled;
    let issuer = StoredValue::new(issuer);
    let read = move || issuer.with_value(|issuer| fields.read(issuer));
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match untrack(read) {
            Ok(change) => {
                attempt.run(async move { member.update_issuer(app, id, version, &change).await }, move |_| {
                    on_done.run(())
                });
            }
            Err(wrong) => attempt.error.set(Some(wrong)),
        }
    };
    let command = Signal::derive(move || match read() {
        Ok(change) => snippets::control_json("PATCH", &format!("{}/{id}", path(app)), Some(version), &change),
        Err(wrong) => format!("# {}", wrong.detail()),
    });
    let ceiling_error = Signal::derive(move || error.with(|error| error.as_ref().and_then(|it| it.at("/ceiling"))));
    view! {
        <form class="form" on:submit=submit novalidate=true>
            <Field label="Name" name="issuer-name" value=fields.name pointer="/name" error=error focus=true/>
            <Switch on=fields.enabled was=is_on/>
            <CapabilityFields
                label="What its tokens may do at most"
                help="Acts on live connections within a second: what they hold beyond it is taken away."
                id="issuer-ceiling"
                lines=fields.ceiling
                error=ceiling_error
            />
            <ClaimInputs fields=fields.claims error=error/>
            <p class="field-help">
                "Keys, iss and aud never change. Add a second issuer, let both live as long as tokens do, and delete the first."
            </p>
            <AsCurl text=command plain=true/>
            <FormError error=attempt.error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_cancel.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>"Save issuer"</button>
            </div>
        </form>
    }
}

/// Whether its tokens are taken.
#[component]
fn Switch(on: RwSignal<bool>, was: bool) -> impl IntoView {
    view! {
        <div class="field">
            <div class="check-row">
                <label>
                    <input
                        type="checkbox"
                        aria-describedby="issuer-enabled-help"
                        prop:checked=move || on.get()
                        on:change=move |_| on.update(|on| *on = !*on)
                    />
                    "Take its tokens"
                </label>
            </div>
            <p class="field-help" id="issuer-enabled-help" aria-live="polite">
                {move || match (was, on.get()) {
                    (true, false) => "Saving refuses its tokens and closes every connection made with one, within a second.",
                    (false, true) => "Saving lets clients in with its tokens again.",
                    (true, true) => "Clients come in with its tokens.",
                    (false, false) => "Its tokens are refused.",
                }}
            </p>
        </div>
    }
}
