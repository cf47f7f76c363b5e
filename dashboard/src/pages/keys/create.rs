//! Making a key: a name, what it is for, and then its secret, once.

use fanfare_api::key::{CreateKey, KeyCreated};
use fanfare_core::capability::Operations;
use fanfare_core::id::AppId;
use fanfare_core::{Capabilities, Pattern};
use leptos::prelude::*;

use super::presets::Preset;
use crate::api::Member;
use crate::components::attempt::Attempt;
use crate::components::field::Field;
use crate::components::operations::OperationBoxes;
use crate::components::secret::SecretOnce;
use crate::components::states::FormError;

/// The inside of the dialog.
#[component]
pub(super) fn CreateKeyForm(app: AppId, on_made: Callback<()>, on_close: Callback<()>) -> impl IntoView {
    let made = RwSignal::new(None::<KeyCreated>);
    move || match made.get() {
        None => view! { <Form app=app made=made on_made=on_made on_close=on_close/> }.into_any(),
        Some(created) => view! {
            <p>"The key "<strong>{created.key.name}</strong>" works from now on."</p>
            <SecretOnce secret=created.secret/>
            <div class="row-end">
                <button
                    class="button button-primary"
                    type="button"
                    on:click=move |_| on_close.run(())
                >
                    "I have kept it"
                </button>
            </div>
        }
        .into_any(),
    }
}

#[component]
fn Form(
    app: AppId,
    made: RwSignal<Option<KeyCreated>>,
    on_made: Callback<()>,
    on_close: Callback<()>,
) -> impl IntoView {
    let member = expect_context::<Member>();
    let name = RwSignal::new(String::new());
    let preset = RwSignal::new(Preset::Everything);
    let custom = Custom {
        pattern: RwSignal::new("room:*".to_owned()),
        operations: RwSignal::new(Operations::NONE),
        wrong: RwSignal::new(None),
    };
    let attempt = Attempt::new();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let capabilities = match preset.get_untracked() {
            Preset::Custom => custom.read(),
            usual => Some(usual.capabilities()),
        };
        let Some(capabilities) = capabilities else { return };
        let name = name.get_untracked().trim().to_owned();
        let key = CreateKey { name, capabilities: Some(capabilities), expires_at: None };
        attempt.run(async move { member.create_key(app, &key).await }, move |created| {
            made.set(Some(created));
            on_made.run(());
        });
    };
    view! {
        <form class="form" on:submit=submit>
            <Field
                label="Name"
                name="key-name"
                value=name
                pointer="/name"
                error=attempt.error
                focus=true
                help="Say who uses it: “orders service”, “staging”."
            />
            <Choices preset=preset/>
            <Show when=move || preset.get() == Preset::Custom><CustomFields custom=custom/></Show>
            <FormError error=attempt.error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_close.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>"Create key"</button>
            </div>
        </form>
    }
}

#[component]
fn Choices(preset: RwSignal<Preset>) -> impl IntoView {
    let choice = |option: Preset| {
        let (id, about) = (format!("preset-{}", option.word()), format!("preset-{}-about", option.word()));
        view! {
            <div class="choice">
                <input
                    type="radio"
                    name="preset"
                    id=id.clone()
                    value=option.word()
                    aria-describedby=about.clone()
                    prop:checked=move || preset.get() == option
                    on:change=move |_| preset.set(option)
                />
                <label for=id>{option.title()}</label>
                <span id=about>{option.about()}</span>
            </div>
        }
    };
    view! {
        <fieldset class="field">
            <legend class="field-label legend-gap">"What it may do"</legend>
            <div class="choices">{Preset::ALL.map(choice).into_iter().collect::<Vec<_>>()}</div>
        </fieldset>
    }
}

/// What is chosen by hand.
#[derive(Debug, Clone, Copy)]
struct Custom {
    pattern: RwSignal<String>,
    operations: RwSignal<Operations>,
    wrong: RwSignal<Option<String>>,
}

impl Custom {
    /// The capabilities as chosen, or nothing after saying what is wrong.
    fn read(self) -> Option<Capabilities> {
        let operations = self.operations.get_untracked();
        let read = match Pattern::parse(self.pattern.get_untracked().trim()) {
            Ok(_) if operations.is_empty() => Err("Choose at least one operation.".to_owned()),
            Ok(pattern) => Ok(Capabilities::new(vec![(pattern, operations)])),
            Err(wrong) => Err(format!("Channels: {wrong}.")),
        };
        self.wrong.set(read.as_ref().err().cloned());
        read.ok()
    }
}

#[component]
fn CustomFields(custom: Custom) -> impl IntoView {
    let tick = Callback::new(move |operations| custom.operations.set(operations));
    view! {
        <Field
            label="Channels"
            name="key-pattern"
            value=custom.pattern
            help="A pattern: room:9, room:* for one segment, room:** for all below."
        />
        <fieldset class="field">
            <legend class="field-label">"Operations"</legend>
            <OperationBoxes ticked=custom.operations on_change=tick among=Operations::ALL/>
        </fieldset>
        <p class="field-error" role="alert">{move || custom.wrong.get()}</p>
    }
}
