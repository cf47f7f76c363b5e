//! Messages as JSON.

use std::io::Write as _;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use fanfare_core::{Data, Message};

/// Where a message's JSON goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form<'a> {
    /// To a socket: its place is the `seq`, the lineage was told before; time in milliseconds.
    Socket,
    /// To a socket, from no channel: it has no place; time in milliseconds.
    Loose,
    /// To REST: its place is a whole position too; time as RFC 3339.
    Rest {
        /// The lineage's text on the message's channel.
        lineage: &'a str,
    },
}

/// Appends a message as it stands in history: on sockets with its `seq` and milliseconds, and on REST, when the
/// lineage's text is given, with a whole `position` and an RFC 3339 time too.
pub fn write_message(out: &mut Vec<u8>, message: &Message, lineage: Option<&str>) {
    out.push(b'{');
    write_body(out, message, lineage.map_or(Form::Socket, |lineage| Form::Rest { lineage }));
    out.push(b'}');
}

/// Appends the fields of a message, without the braces around them. The data comes last: people read it most.
pub(crate) fn write_body(out: &mut Vec<u8>, message: &Message, form: Form<'_>) {
    let draft = &message.draft;
    if let Form::Rest { lineage } = form {
        out.extend_from_slice(b"\"position\":\"");
        out.extend_from_slice(lineage.as_bytes());
        out.push(b'.');
        number(out, message.position.seq);
        out.extend_from_slice(b"\",");
    }
    if !matches!(form, Form::Loose) {
        out.extend_from_slice(b"\"seq\":");
        number(out, message.position.seq);
        out.push(b',');
    }
    out.extend_from_slice(b"\"id\":");
    text(out, &message.id);
    let optional = [("name", &draft.name), ("key", &draft.key), ("publisher", &message.publisher)]
        .into_iter()
        .filter_map(|(field, value)| value.as_deref().map(|value| (field, value)));
    for (field, value) in optional {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(field.as_bytes());
        out.extend_from_slice(b"\":");
        text(out, value);
    }
    if !draft.headers.is_empty() {
        write_headers(out, &draft.headers);
    }
    out.extend_from_slice(b",\"time\":");
    write_time(out, message.time_ms, form);
    match &draft.data {
        Data::Json(json) => {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(json.get().as_bytes());
        }
        Data::Bytes(bytes) => {
            write!(out, ",\"encoding\":\"base64\",\"data\":\"{}\"", Base64Display::new(bytes, &STANDARD))
                .expect("memory takes every write");
        }
        Data::Deleted => out.extend_from_slice(b",\"deleted\":true"),
    }
}

/// About how many bytes a message's fields take, not less where nothing has to be escaped.
pub(crate) fn message_hint(message: &Message) -> usize {
    const NAMES_AND_NUMBERS: usize = 160;
    let data = match &message.draft.data {
        Data::Json(json) => json.get().len(),
        Data::Bytes(bytes) => bytes.len().div_ceil(3) * 4,
        Data::Deleted => 0,
    };
    let headers: usize = message.draft.headers.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
    let texts = [&message.draft.name, &message.draft.key, &message.publisher];
    let texts: usize = texts.into_iter().map(|text| text.as_deref().map_or(0, str::len)).sum();
    NAMES_AND_NUMBERS + message.id.len() + texts + headers + data
}

fn write_headers(out: &mut Vec<u8>, headers: &[(Box<str>, Box<str>)]) {
    out.extend_from_slice(b",\"headers\":{");
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text(out, name);
        out.push(b':');
        text(out, value);
    }
    out.push(b'}');
}

fn write_time(out: &mut Vec<u8>, unix_ms: u64, form: Form<'_>) {
    match form {
        Form::Socket | Form::Loose => number(out, unix_ms),
        Form::Rest { .. } => {
            let time = i64::try_from(unix_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
            text(out, &time.to_rfc3339_opts(SecondsFormat::Millis, true));
        }
    }
}

/// Appends a whole number.
pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    write!(out, "{number}").expect("memory takes every write");
}

/// Appends a text with its quotation marks and escapes.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("memory takes every write");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fanfare_core::{Draft, Lineage, Position};
    use serde_json::value::RawValue;

    use super::*;

    fn message(data: Data) -> Message {
        let draft = Draft {
            name: Some("gre\"et".into()),
            key: Some("k".into()),
            headers: vec![("a".into(), "1".into()), ("b".into(), "\n".into())],
            ..Draft::new(data)
        };
        Message {
            id: "msg_1".into(),
            position: Position { lineage: Lineage { epoch: 1, term: 2, nonce: 3 }, seq: 13 },
            time_ms: 1_700_000_000_123,
            publisher: Some("ann".into()),
            origin: None,
            draft: Arc::new(draft),
        }
    }

    fn written(message: &Message, lineage: Option<&str>) -> String {
        let mut out = Vec::new();
        write_message(&mut out, message, lineage);
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn a_payload_is_written_as_its_publisher_wrote_it() {
        let raw = r#"{ "b" : 1.50 , "a" : "\u00e9" }"#;
        let message = message(Data::Json(RawValue::from_string(raw.to_owned()).expect("valid")));
        assert_eq!(
            written(&message, None),
            format!(
                r#"{{"seq":13,"id":"msg_1","name":"gre\"et","key":"k","publisher":"ann","headers":{{"a":"1","b":"\n"}},"time":1700000000123,"data":{raw}}}"#
            )
        );
    }

    #[test]
    fn rest_gets_a_whole_position_and_a_readable_time() {
        let mut message = message(Data::Bytes(Box::from(*b"\0\xFF!")));
        message.publisher = None;
        message.draft = Arc::new(Draft::new(message.draft.data.clone()));
        assert_eq!(
            written(&message, Some("k3Zx")),
            r#"{"position":"k3Zx.13","seq":13,"id":"msg_1","time":"2023-11-14T22:13:20.123Z","encoding":"base64","data":"AP8h"}"#
        );
    }

    #[test]
    fn the_hint_is_enough_where_nothing_is_escaped() {
        for data in
            [Data::Bytes(vec![7; 1000].into()), Data::Json(RawValue::from_string("9".repeat(1000)).expect("valid"))]
        {
            let message = message(data);
            assert!(message_hint(&message) >= written(&message, None).len());
        }
    }
}
