//! The document, its schemas read as closed ones, and what of it was met.

use std::collections::BTreeSet;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Map, Value};

use crate::native::CommandKind;

const TEXT: &str = include_str!("../../../../../openapi/asyncapi.yaml");
/// Where the document is thought to lie.
const BASE: &str = "http://fanfare.example/asyncapi.json";

pub(super) struct Document {
    root: Value,
    schemas: Schemas,
    payloads: Vec<(String, SchemaIndex)>,
}

impl Document {
    pub(super) fn read() -> Self {
        let root: Value = serde_yaml_ng::from_str(TEXT).expect("the document is YAML");
        let (mut schemas, mut compiler, mut closed) = (Schemas::new(), Compiler::new(), root.clone());
        close(&mut closed["components"]);
        compiler.set_default_draft(Draft::V7);
        compiler.add_resource(BASE, closed).expect("the document is a resource");
        let names: Vec<String> = messages(&root).keys().cloned().collect();
        let payloads = names
            .into_iter()
            .map(|name| {
                let place = format!("{BASE}#/components/messages/{name}/payload");
                let index = compiler.compile(&place, &mut schemas).unwrap_or_else(|error| panic!("{name}: {error}"));
                (name, index)
            })
            .collect();
        Self { root, schemas, payloads }
    }

    pub(super) fn find(&self, place: &str) -> Option<&Value> {
        self.root.pointer(place)
    }

    pub(super) fn at(&self, place: &str) -> &Value {
        self.find(place).unwrap_or_else(|| panic!("the document has no {place}"))
    }

    pub(super) fn commands(&self) -> impl Iterator<Item = &str> {
        self.payloads.iter().map(|(name, _)| name.as_str()).filter(|name| CommandKind::NAMES.contains(name))
    }

    /// What the server says.
    pub(super) fn server(&self) -> impl Iterator<Item = &str> {
        self.payloads.iter().map(|(name, _)| name.as_str()).filter(|name| !CommandKind::NAMES.contains(name))
    }

    pub(super) fn examples(&self, message: &str) -> Vec<Value> {
        let examples = self.at(&format!("/components/messages/{message}/examples")).as_array();
        examples.into_iter().flatten().map(|example| example["payload"].clone()).collect()
    }

    pub(super) fn is_valid(&self, message: &str, value: &Value) -> bool {
        let (_, index) = self.payloads.iter().find(|(name, _)| name == message).expect("it is described");
        self.schemas.validate(value, *index).is_ok()
    }

    /// Notes the properties of a schema that a value has.
    pub(super) fn note(&self, place: &str, value: &Value, seen: &mut BTreeSet<String>) {
        let schema = self.at(place);
        if let Some(to) = reference(schema) {
            return self.note(to, value, seen);
        }
        if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) {
            for name in properties.keys().filter(|name| fields.contains_key(*name)) {
                let place = format!("{place}/properties/{name}");
                self.note(&place, &fields[name], seen);
                seen.insert(place);
            }
        }
        if schema.get("items").is_some() {
            let items = value.as_array().into_iter().flatten();
            items.for_each(|item| self.note(&format!("{place}/items"), item, seen));
        }
    }

    /// Every message of the server and every property in one.
    pub(super) fn described(&self) -> BTreeSet<String> {
        let mut described = BTreeSet::new();
        for name in self.server() {
            described.insert(format!("/components/messages/{name}"));
            self.describe(&format!("/components/messages/{name}/payload"), &mut described);
        }
        described
    }

    fn describe(&self, place: &str, described: &mut BTreeSet<String>) {
        let schema = self.at(place);
        if let Some(to) = reference(schema) {
            return self.describe(to, described);
        }
        for name in schema["properties"].as_object().into_iter().flat_map(Map::keys) {
            let place = format!("{place}/properties/{name}");
            self.describe(&place, described);
            described.insert(place);
        }
        if schema.get("items").is_some() {
            self.describe(&format!("{place}/items"), described);
        }
    }

    /// Where the document refers to within itself.
    pub(super) fn references(&self) -> Vec<String> {
        let mut found = Vec::new();
        refer(&self.root, &mut found);
        found
    }
}

fn messages(root: &Value) -> &Map<String, Value> {
    root["components"]["messages"].as_object().expect("the document has messages")
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'))
}

fn refer(value: &Value, found: &mut Vec<String>) {
    found.extend(reference(value).map(str::to_owned));
    match value {
        Value::Object(fields) => fields.values().for_each(|value| refer(value, found)),
        Value::Array(items) => items.iter().for_each(|value| refer(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Lets no object have fields that are not listed.
fn close(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) && fields.contains_key("type") {
                fields.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
