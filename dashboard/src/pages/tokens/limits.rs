//! Limits that a token lowers for its connection.

use fanfare_core::Limit;
use leptos::prelude::*;
use serde_json::{Map, Value, json};

use crate::api::ApiError;
use crate::components::field::Field;
use crate::components::reading::Reading;

/// Those that a token may lower; the second is the name of its field, the third where it lies in the request.
const LIMITS: [(Limit, &str, &str, &str); 4] = [
    (Limit::MessageBytes, "token-message-bytes", "/limits/message_bytes", "Message bytes"),
    (Limit::PublishConnection, "token-publishes", "/limits/publish_connection", "Publishes a second"),
    (Limit::CommandRate, "token-commands", "/limits/command_rate", "Commands a second"),
    (Limit::Subscriptions, "token-subscriptions", "/limits/subscriptions", "Subscriptions"),
];

/// The numbers as typed.
#[derive(Debug, Clone, Copy)]
pub(super) struct LimitFields([RwSignal<String>; 4]);

impl LimitFields {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| RwSignal::new(String::new())))
    }

    /// The limits, tracked; nothing where none is typed.
    pub(super) fn read(self, reading: &mut Reading) -> Option<Value> {
        let mut limits = Map::new();
        for ((limit, _, pointer, _), typed) in LIMITS.iter().zip(self.0) {
            let text = typed.get();
            if text.trim().is_empty() {
                continue;
            }
            let number = text.trim().parse::<u64>().map_err(|_| "a whole number");
            if let Some(number) = reading.at(pointer, number) {
                limits.insert(limit.as_str().to_owned(), json!(number));
            }
        }
        (!limits.is_empty()).then_some(Value::Object(limits))
    }
}

/// The fields.
#[component]
pub(super) fn LimitInputs(fields: LimitFields, error: Signal<Option<ApiError>>) -> impl IntoView {
    let inputs = LIMITS.into_iter().zip(fields.0).map(|((_, name, pointer, label), typed)| {
        view! { <Field label=label name=name value=typed pointer=pointer error=error optional=true/> }
    });
    view! {
        <fieldset class="field">
            <legend class="field-label legend-gap">"Limits of its connection: they lower the app’s, and never raise one"</legend>
            <div class="form-pairs">{inputs.collect::<Vec<_>>()}</div>
        </fieldset>
    }
}
