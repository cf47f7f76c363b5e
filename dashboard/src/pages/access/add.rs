//! Adding a rule.

use fanfare_api::acl::RuleDraft;
use fanfare_core::capability::Operations;
use fanfare_core::{Effect as Gives, Operation, Pattern, Who};
use leptos::prelude::*;

use super::Draft;
use crate::components::field::Field;
use crate::components::icon::{Icon, Shape};
use crate::components::operations::OperationBoxes;

/// The form below the table. It adds to the document; saving is another step.
#[component]
pub(super) fn AddRule(draft: Draft) -> impl IntoView {
    let pattern = RwSignal::new(String::new());
    let who = RwSignal::new("everyone".to_owned());
    let effect = RwSignal::new(Gives::Allow);
    let operations = RwSignal::new(Operations::NONE.with(Operation::Subscribe));
    let wrong = RwSignal::new(None::<String>);
    let add = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match read(&pattern.get_untracked(), &who.get_untracked(), operations.get_untracked()) {
            Ok((on, whom)) => {
                let rule = RuleDraft {
                    id: None,
                    pattern: on,
                    who: whom,
                    operations: operations.get_untracked(),
                    effect: effect.get_untracked(),
                };
                draft.rules.update(|rules| rules.push(rule));
                pattern.set(String::new());
                wrong.set(None);
            }
            Err(why) => wrong.set(Some(why)),
        }
    };
    let tick = Callback::new(move |ticked| operations.set(ticked));
    view! {
        <form class="card card-pad form" on:submit=add>
            <h2>"Add a rule"</h2>
            <div class="form-columns">
                <div class="field">
                    <label class="field-label" for="rule-effect">"Effect"</label>
                    <div class="input-group"><select
                        class="input"
                        id="rule-effect"
                        on:change:target=move |event| effect.set(effect_of(&event.target().value()))
                    >
                        <option value="allow">"Allow"</option>
                        <option value="deny">"Deny"</option>
                    </select><Icon shape=Shape::CHEVRONS/></div>
                </div>
                <Field
                    label="Who"
                    name="rule-who"
                    value=who
                    help="anonymous, identified, everyone, user:<sub> or role:<name>"
                />
                <Field label="Channels" name="rule-pattern" value=pattern help="room:9, room:*, room:** or user:{sub}"/>
            </div>
            <fieldset class="field">
                <legend class="field-label">"Operations"</legend>
                <OperationBoxes ticked=operations on_change=tick among=Operations::CLIENT/>
            </fieldset>
            <p class="field-error" role="alert">{move || wrong.get()}</p>
            <div class="row-end"><button class="button" type="submit">"Add rule"</button></div>
        </form>
    }
}

fn effect_of(word: &str) -> Gives {
    if word == "deny" { Gives::Deny } else { Gives::Allow }
}

fn read(pattern: &str, who: &str, operations: Operations) -> Result<(Pattern, Who), String> {
    let on = Pattern::parse(pattern.trim()).map_err(|wrong| format!("Channels: {wrong}."))?;
    let whom = who.trim().parse::<Who>().map_err(|wrong| format!("Who: {wrong}."))?;
    if operations.is_empty() {
        return Err("Choose at least one operation.".to_owned());
    }
    Ok((on, whom))
}
