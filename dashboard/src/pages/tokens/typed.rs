//! What is typed into the form that makes a token, and the request it stands for.

use fanfare_api::data::MintTokenRequest;
use fanfare_core::capability::Operations;
use fanfare_core::{Capabilities, Operation, Pattern};
use leptos::prelude::*;
use serde_json::Value;

use super::limits::LimitFields;
use crate::api::ApiError;
use crate::components::capabilities::CapabilityLines;
use crate::components::reading::Reading;

/// The lifetimes that are offered: what they are called, and seconds.
pub(super) const LIFETIMES: [(&str, u64); 6] = [
    ("5 minutes", 300),
    ("15 minutes", 900),
    ("1 hour", 3_600),
    ("4 hours", 14_400),
    ("12 hours", 43_200),
    ("24 hours", 86_400),
];

/// The fields as typed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) sub: RwSignal<String>,
    pub(super) has_cap: RwSignal<bool>,
    pub(super) cap: CapabilityLines,
    pub(super) roles: RwSignal<String>,
    pub(super) info: RwSignal<String>,
    pub(super) meta: RwSignal<String>,
    pub(super) labels: RwSignal<String>,
    pub(super) jti: RwSignal<String>,
    pub(super) limits: LimitFields,
    pub(super) ttl_s: RwSignal<u64>,
}

impl Fields {
    /// What most tokens are: a user, two rights in a room, an hour.
    pub(super) fn new() -> Self {
        let text = |text: &str| RwSignal::new(text.to_owned());
        let room = Pattern::parse("room:9").expect("`room:9` is a pattern");
        let both = Operations::NONE.with(Operation::Subscribe).with(Operation::Publish);
        Self {
            sub: text("ann"),
            has_cap: RwSignal::new(true),
            cap: CapabilityLines::of(&Capabilities::new(vec![(room, both)])),
            roles: text(""),
            info: text(""),
            meta: text(""),
            labels: text(""),
            jti: text(""),
            limits: LimitFields::new(),
            ttl_s: RwSignal::new(3_600),
        }
    }

    /// The request, tracked, or every field that cannot be read.
    pub(super) fn read(self) -> Result<MintTokenRequest, ApiError> {
        let mut reading = Reading::new();
        let cap = self.has_cap.get().then(|| reading.at("/cap", self.cap.read())).flatten();
        let info = self.info.with(|text| object(text));
        let meta = self.meta.with(|text| object(text));
        let request = MintTokenRequest {
            sub: self.sub.with(|text| filled(text)),
            cap,
            roles: self.roles.with(|text| parts(text)),
            info: reading.at("/info", info).flatten(),
            meta: reading.at("/meta", meta).flatten(),
            limits: self.limits.read(&mut reading),
            labels: self.labels.with(|text| parts(text)),
            jti: self.jti.with(|text| filled(text)),
            ttl_s: Some(self.ttl_s.get()),
        };
        if reading.is_whole() { Ok(request) } else { Err(reading.error()) }
    }
}

fn filled(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Names parted by commas.
fn parts(text: &str) -> Vec<String> {
    text.split(',').filter_map(filled).collect()
}

/// A JSON object; nothing where nothing is typed.
fn object(text: &str) -> Result<Option<Value>, String> {
    let Some(text) = filled(text) else { return Ok(None) };
    match serde_json::from_str(&text) {
        Ok(object @ Value::Object(_)) => Ok(Some(object)),
        Ok(_) => Err("a JSON object, as in {\"name\": \"Ann\"}".to_owned()),
        Err(wrong) => Err(format!("not JSON: {wrong}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_lists_read_as_they_are_typed() {
        assert_eq!(parts(" a, ,b c "), ["a", "b c"]);
        assert_eq!(object("  "), Ok(None));
        assert_eq!(object(r#"{"a":1}"#), Ok(Some(serde_json::json!({ "a": 1 }))));
        for wrong in ["[1]", "{", "ann"] {
            assert!(object(wrong).is_err(), "{wrong}");
        }
    }
}
