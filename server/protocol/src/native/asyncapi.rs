//! Holds `openapi/asyncapi.yaml` to the code, both ways.
//!
//! What the server says is taken from the transcripts, from `PROTOCOL.md`, and from [`samples`], where every field of
//! every answer and push is filled in; what clients may say from the parser's own words. The document leaves what the
//! server says open, because fields may be added in version 1; here it is read as closed, so that one that is added to
//! the code alone does not pass.

mod document;
mod samples;

use std::collections::BTreeSet;

use fanfare_core::limits::Limit;
use fanfare_core::permission::Layer;
use fanfare_core::{ErrorCode, codes::Retry};
use serde_json::{Value, json};

use super::transcripts::exchanges;
use super::{CommandKind, GapReason, parse};
use document::Document;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[test]
fn what_the_server_says_is_described_and_what_is_described_is_said() {
    let document = Document::read();
    let mut seen = BTreeSet::new();
    let transcribed = exchanges().into_iter().flat_map(|(name, text)| {
        let said = text.lines().filter_map(|line| line.strip_prefix("< "));
        said.map(|said| (name.clone(), said.as_bytes().to_vec())).collect::<Vec<_>>()
    });
    let sampled = samples::frames().into_iter().map(|(name, frame)| (name.to_owned(), frame.payload().to_vec()));
    for (name, said) in transcribed.chain(sampled) {
        let said: Value = serde_json::from_slice(&said).expect("the server says JSON");
        let fits: Vec<&str> = document.server().filter(|message| document.is_valid(message, &said)).collect();
        assert_eq!(fits.len(), 1, "{name}: {said} is described as {fits:?}, and should be once");
        document.note(&format!("/components/messages/{}/payload", fits[0]), &said, &mut seen);
        seen.insert(format!("/components/messages/{}", fits[0]));
    }
    let unsaid: Vec<String> = document.described().into_iter().filter(|place| !seen.contains(place)).collect();
    assert_eq!(unsaid, [""; 0], "described, and said nowhere");
}

#[test]
fn the_samples_hold_every_push_there_is() {
    let sources = [include_str!("write.rs"), include_str!("write/presence.rs"), include_str!("control.rs")];
    let written = sources.iter().flat_map(|source| source.lines());
    let written: BTreeSet<&str> = written
        .filter_map(|line| line.trim_start_matches("pub(super) ").trim_start_matches("pub ").strip_prefix("fn push_"))
        .filter_map(|rest| rest.split('(').next())
        .collect();
    let sampled = samples::frames();
    let sampled: BTreeSet<&str> = sampled.iter().filter_map(|(name, _)| name.strip_prefix("push_")).collect();
    assert_eq!(written, sampled);
}

#[test]
fn what_a_client_may_say_is_what_the_parser_takes() {
    let document = Document::read();
    let described: BTreeSet<&str> = document.commands().collect();
    assert_eq!(described, CommandKind::NAMES.into_iter().collect());
    for name in CommandKind::NAMES {
        let place = format!("/components/messages/{name}/payload/properties/{name}");
        assert_eq!(
            keys(&document.at(&place)["properties"]),
            known_fields(&format!(r#""{name}":{{"undescribed":0}}"#)),
            "{name}"
        );
        for example in document.examples(name) {
            let said = example.to_string();
            assert!(document.is_valid(name, &example), "{said} is an example, and against its schema");
            assert!(parse(&said).all(|parsed| parsed.is_ok()), "{said} is an example, and is refused");
            let required = names(&document.at(&place)["required"]);
            for field in keys(&example[name]) {
                let mut less = example.clone();
                less[name].as_object_mut().expect("a command is an object").remove(field);
                let is_taken = parse(&less.to_string()).all(|parsed| parsed.is_ok());
                assert_eq!(is_taken, !required.contains(&field), "{less}, without {field}");
            }
        }
    }
    let rewind = document.at("/components/messages/subscribe/payload/properties/subscribe/properties/rewind");
    let known = known_fields(r#""subscribe":{"channel":"a","rewind":{"undescribed":0}}"#);
    assert_eq!(keys(&rewind["properties"]), known);
}

/// The fields that the parser names where one is not known.
fn known_fields(command: &str) -> BTreeSet<&'static str> {
    let refused = parse(&format!(r#"{{"id":1,{command}}}"#)).next().expect("a line").expect_err("no such field");
    let told =
        refused.problem.errors.iter().find(|error| error.pointer.ends_with("/undescribed")).expect("it is named");
    let known = told.detail.split_once("known are ").map(|(_, known)| known.to_owned()).unwrap_or_default();
    known.leak().split(", ").filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_command_of_the_transcripts_fits_its_description() {
    let document = Document::read();
    let mut tried = 0;
    for (at, text) in exchanges() {
        for line in text.lines().filter_map(|line| line.strip_prefix('>')) {
            let line = line.trim_start_matches('>');
            if line.trim().is_empty() || !parse(line).all(|parsed| parsed.is_ok()) {
                continue;
            }
            let said: Value = serde_json::from_str(line).expect("the parser is the stricter one");
            let name = *keys(&said).iter().find(|name| **name != "id").expect("a command has a name");
            assert!(document.is_valid(name, &said), "{at}: {line}");
            tried += 1;
        }
    }
    assert!(tried > 30, "only {tried} commands were found");
}

#[test]
fn every_word_of_the_code_is_in_the_document_in_its_order() {
    let document = Document::read();
    let schema = |name: &str| document.at(&format!("/components/schemas/{name}"));
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names(&schema("code")["enum"]), codes);
    let limits: Vec<&str> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
    assert_eq!(names(&schema("limit")["enum"]), limits);
    assert_eq!(schema("problem")["properties"]["layer"]["enum"], json!(Layer::ALL));
    let reasons =
        [GapReason::EpochChanged, GapReason::Diverged, GapReason::Truncated, GapReason::Denied, GapReason::TooOld];
    let words = reasons.map(|reason| match reason {
        GapReason::EpochChanged
        | GapReason::Diverged
        | GapReason::Truncated
        | GapReason::Denied
        | GapReason::TooOld => reason.as_str(),
    });
    assert_eq!(names(&schema("subscription")["properties"]["reason"]["enum"]), words);
    let closes = ErrorCode::ALL.iter().map(|code| {
        let then = match code.retry() {
            Retry::Never => "never",
            Retry::Backoff => "back_off",
            Retry::Now => "now",
            Retry::Token => "token",
        };
        json!({ "number": code.close(), "code": code.as_str(), "then": then })
    });
    assert_eq!(*document.at("/x-close-codes"), closes.collect::<Value>());
}

#[test]
fn the_document_holds_together() {
    let document = Document::read();
    assert_eq!(document.at("/asyncapi"), "3.0.0");
    let lost: Vec<String> = document.references().into_iter().filter(|to| document.find(to).is_none()).collect();
    assert_eq!(lost, [""; 0], "references to nothing");
    // Whatever is described is said on some channel, and by some operation or as the answer to one.
    let used: BTreeSet<String> = document.references().into_iter().collect();
    for name in document.commands().chain(document.server()) {
        assert!(used.contains(&format!("/components/messages/{name}")), "{name} is on no channel");
        let operated = used.iter().any(|to| to.starts_with("/channels/") && to.ends_with(&format!("/messages/{name}")));
        // Operations of these channels take all of their messages.
        let streamed = ["events", "stream"]
            .iter()
            .any(|channel| document.at(&format!("/channels/{channel}/messages")).get(name).is_some());
        assert!(operated || streamed, "{name} belongs to no operation");
    }
    for name in keys(document.at("/components/schemas")) {
        assert!(used.contains(&format!("/components/schemas/{name}")), "{name} is used nowhere");
    }
}
