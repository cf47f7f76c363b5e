//! The JSON shape of one message as published, the same on the socket, in REST and in a batch.
//!
//! ```json
//! {"name":"greet","data":{"text":"hi"},"id":"order-7","key":"k","headers":{"trace":"1"},"encoding":"base64","exclude":"con_…"}
//! ```
//!
//! Only `data` is required. With `encoding: base64` it is a text of standard base64 and means those bytes; otherwise it
//! is any JSON and is kept exactly as written.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_core::id::ConnectionId;
use fanfare_core::message::{HEADER_BYTES_MAX, HEADERS_MAX, TEXT_BYTES_MAX};
use fanfare_core::{ChannelName, Data, Draft, Problem};
use serde_json::value::RawValue;

use crate::fields::{Faults, Place};
use crate::json::{self, JsonError, Kind, Reader};

/// The fields of a message as published.
pub(crate) const FIELDS: [&str; 7] = ["data", "name", "id", "key", "headers", "encoding", "exclude"];
/// Those and the channel: an item of a batch, the body of the publish command.
pub(crate) const FIELDS_WITH_CHANNEL: [&str; 8] =
    ["channel", "data", "name", "id", "key", "headers", "encoding", "exclude"];

/// A message and where it is to go.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The channel; never one of Fanfare's own.
    pub channel: ChannelName,
    /// The message.
    pub draft: Draft,
}

/// Reads the body of a REST publish: one message.
///
/// # Errors
/// Everything that is wrong, with pointers such as `/headers`.
pub fn parse(body: &[u8]) -> Result<Draft, Box<Problem>> {
    let mut faults = Faults::default();
    let mut reader = Reader::new(json::as_text(body)?);
    let draft = read(&mut faults, &mut reader, &Place::Root)?;
    reader.end()?;
    draft.filter(|_| faults.is_empty()).ok_or_else(|| faults.into_problem())
}

/// What a batch holds: a result for each item, in order, so that one wrong item does not stop the others.
pub type Batch = Vec<Result<Publication, Box<Problem>>>;

/// Reads the body of a batch: `{"messages":[{"channel":"room:9","data":…},…]}`, 1 to `messages_max` of them.
///
/// # Errors
/// When the batch as a whole is wrong. Pointers of a wrong item start at the whole body: `/messages/3/data`.
pub fn parse_batch(body: &[u8], messages_max: usize) -> Result<Batch, Box<Problem>> {
    let mut faults = Faults::default();
    let mut reader = Reader::new(json::as_text(body)?);
    let mut batch = None;
    faults.object(&mut reader, &Place::Root, &["messages"], |faults, reader, _, at| {
        batch = Some(read_batch(faults, reader, at, messages_max)?);
        Ok(())
    })?;
    reader.end()?;
    if faults.is_empty() {
        faults.require(batch.is_some(), &Place::Root, "messages", ", a list of messages, each with its channel");
    }
    batch.filter(|_| faults.is_empty()).ok_or_else(|| faults.into_problem())
}

fn read_batch(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
    messages_max: usize,
) -> Result<Batch, JsonError> {
    let mut batch = Vec::new();
    if !faults.is(reader, at, Kind::Array)? {
        return Ok(batch);
    }
    let mut count = 0;
    reader.array(|reader, index| {
        count = index + 1;
        if count > messages_max {
            return reader.skip().map(drop);
        }
        let mut faults = Faults::default();
        let item = read_with_channel(&mut faults, reader, &Place::Item(at, index))?;
        batch.push(item.filter(|_| faults.is_empty()).ok_or_else(|| faults.into_problem()));
        Ok(())
    })?;
    if count == 0 || count > messages_max {
        faults.add(at, format!("must have 1 to {messages_max} messages, not {count}"));
    }
    Ok(batch)
}

/// Reads one message.
fn read(faults: &mut Faults, reader: &mut Reader<'_>, at: &Place<'_>) -> Result<Option<Draft>, JsonError> {
    let mut body = DraftBody::default();
    let is_object =
        faults.object(reader, at, &FIELDS, |faults, reader, name, at| body.read(faults, reader, name, at))?;
    Ok(if is_object { body.finish(faults, at) } else { None })
}

/// Reads one message and its channel.
pub(crate) fn read_with_channel(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
) -> Result<Option<Publication>, JsonError> {
    let mut body = DraftBody::default();
    let mut channel = Seen::default();
    let is_object = faults.object(reader, at, &FIELDS_WITH_CHANNEL, |faults, reader, name, at| match name {
        "channel" => {
            channel.set(faults.channel(reader, at, ChannelName::parse)?);
            Ok(())
        }
        _ => body.read(faults, reader, name, at),
    })?;
    if !is_object {
        return Ok(None);
    }
    faults.require(channel.seen, at, "channel", ", such as \"room:9\"");
    let draft = body.finish(faults, at);
    Ok(channel.value.zip(draft).map(|(channel, draft)| Publication { channel, draft }))
}

/// What was read of a message so far. The payload waits as it stands: `encoding` may come after it.
#[derive(Default)]
struct DraftBody<'a> {
    data: Option<&'a str>,
    is_base64: bool,
    name: Option<Box<str>>,
    id: Option<Box<str>>,
    key: Option<Box<str>>,
    headers: Headers,
    exclude: Option<ConnectionId>,
}

impl<'a> DraftBody<'a> {
    /// Reads the value of one of [`FIELDS`].
    fn read(
        &mut self,
        faults: &mut Faults,
        reader: &mut Reader<'a>,
        name: &str,
        at: &Place<'_>,
    ) -> Result<(), JsonError> {
        let short = |faults: &mut Faults, reader: &mut Reader<'a>| {
            Ok::<_, JsonError>(faults.text(reader, at, 1..=TEXT_BYTES_MAX)?.map(Cow::into_owned).map(Box::from))
        };
        match name {
            "name" => self.name = short(faults, reader)?,
            "id" => self.id = short(faults, reader)?,
            "key" => self.key = short(faults, reader)?,
            "headers" => self.headers = read_headers(faults, reader, at)?,
            "encoding" => self.is_base64 = faults.word(reader, at, &[("base64", true)])?.is_some(),
            "exclude" => self.exclude = read_connection(faults, reader, at)?,
            _ => self.data = Some(reader.skip()?),
        }
        Ok(())
    }

    fn finish(self, faults: &mut Faults, at: &Place<'_>) -> Option<Draft> {
        faults.require(self.data.is_some(), at, "data", "; send null where there is none");
        let raw = self.data?;
        let data = if self.is_base64 {
            let bytes = decode(raw);
            if bytes.is_none() {
                faults.add(&Place::Field(at, "data"), "must be a text of standard base64, as encoding says");
            }
            Data::Bytes(bytes?.into())
        } else {
            Data::Json(RawValue::from_string(raw.to_owned()).expect("our reader is the stricter one"))
        };
        let Self { name, id, key, headers, exclude, .. } = self;
        Some(Draft { id, name, data, key, headers, exclude })
    }
}

type Headers = Vec<(Box<str>, Box<str>)>;

/// A field that was there, whether right or wrong.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    pub(crate) seen: bool,
    pub(crate) value: Option<T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { seen: false, value: None }
    }
}

impl<T> Seen<T> {
    pub(crate) fn set(&mut self, value: Option<T>) {
        *self = Self { seen: true, value };
    }
}

fn decode(raw: &str) -> Option<Vec<u8>> {
    raw.starts_with('"').then(|| Reader::new(raw).text().ok().and_then(|text| STANDARD.decode(&*text).ok()))?
}

fn read_headers(faults: &mut Faults, reader: &mut Reader<'_>, at: &Place<'_>) -> Result<Headers, JsonError> {
    let mut headers = Headers::new();
    if !faults.is(reader, at, Kind::Object)? {
        return Ok(headers);
    }
    let mut count = 0;
    reader.object(|reader, name| {
        count += 1;
        if count > HEADERS_MAX {
            return reader.skip().map(drop);
        }
        let at = Place::Field(at, &name);
        if !(1..=HEADER_BYTES_MAX).contains(&name.len()) {
            faults.add(&at, format!("a header's name must have 1 to {HEADER_BYTES_MAX} bytes, not {}", name.len()));
        }
        if let Some(value) = faults.text(reader, &at, 0..=HEADER_BYTES_MAX)? {
            headers.push((name.into(), value.into()));
        }
        Ok(())
    })?;
    if count > HEADERS_MAX {
        faults.add(at, format!("must have at most {HEADERS_MAX} headers, not {count}"));
    }
    Ok(headers)
}

fn read_connection(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
) -> Result<Option<ConnectionId>, JsonError> {
    if !faults.is(reader, at, Kind::Text)? {
        return Ok(None);
    }
    let parsed = reader.text()?.parse::<ConnectionId>();
    if let Err(error) = &parsed {
        faults.add(at, error.to_string());
    }
    Ok(parsed.ok())
}

#[cfg(test)]
mod tests {
    use fanfare_core::ErrorCode;

    use super::*;

    fn pointers(problem: &Problem) -> Vec<&str> {
        problem.errors.iter().map(|error| error.pointer.as_str()).collect()
    }

    #[test]
    fn every_field_arrives_as_it_was_sent() {
        let connection = ConnectionId::new(1, 2);
        let body = format!(
            r#"{{"name":"greet","data":{{ "a" : 1.0 }},"id":"order-7","key":"k","headers":{{"trace":"","b":"2"}},"exclude":"{connection}"}}"#
        );
        let draft = parse(body.as_bytes()).expect("valid");
        let expected = Draft {
            id: Some("order-7".into()),
            name: Some("greet".into()),
            data: Data::Json(RawValue::from_string(r#"{ "a" : 1.0 }"#.into()).expect("valid")),
            key: Some("k".into()),
            headers: vec![("trace".into(), "".into()), ("b".into(), "2".into())],
            exclude: Some(connection),
        };
        assert_eq!(draft, expected);
        let bytes = parse(br#"{"data":"AP8h","encoding":"base64"}"#).expect("valid");
        assert_eq!(bytes.data, Data::Bytes(Box::from(*b"\0\xFF!")));
        assert!(parse(br#"{"data":null}"#).is_ok());
    }

    #[test]
    fn each_bound_is_named_by_its_pointer() {
        let long = "x".repeat(129);
        let header = "x".repeat(257);
        let table = [
            ("{}".to_owned(), "/data"),
            ("[]".to_owned(), ""),
            (r#"{"data":1,"nmae":"x"}"#.to_owned(), "/nmae"),
            (r#"{"data":1,"name":""}"#.to_owned(), "/name"),
            (r#"{"data":1,"name":null}"#.to_owned(), "/name"),
            (format!(r#"{{"data":1,"id":"{long}"}}"#), "/id"),
            (format!(r#"{{"data":1,"key":"{long}"}}"#), "/key"),
            (r#"{"data":1,"headers":["a"]}"#.to_owned(), "/headers"),
            (r#"{"data":1,"headers":{"a/b":1}}"#.to_owned(), "/headers/a~1b"),
            (format!(r#"{{"data":1,"headers":{{"a":"{header}"}}}}"#), "/headers/a"),
            (r#"{"data":1,"headers":{"":"a"}}"#.to_owned(), "/headers/"),
            (r#"{"data":1,"encoding":"hex"}"#.to_owned(), "/encoding"),
            (r#"{"data":"A","encoding":"base64"}"#.to_owned(), "/data"),
            (r#"{"encoding":"base64","data":{"a":1}}"#.to_owned(), "/data"),
            (r#"{"data":1,"exclude":"msg_1"}"#.to_owned(), "/exclude"),
        ];
        for (body, pointer) in table {
            let problem = parse(body.as_bytes()).expect_err(&body);
            assert_eq!((problem.code, pointers(&problem)), (ErrorCode::InvalidRequest, vec![pointer]), "{body}");
        }
        let many: Vec<String> = (0..17).map(|n| format!("\"h{n}\":\"\"")).collect();
        let body = format!(r#"{{"data":1,"headers":{{{}}}}}"#, many.join(","));
        assert_eq!(pointers(&parse(body.as_bytes()).expect_err("too many")), ["/headers"]);
    }

    #[test]
    fn broken_json_is_told_apart_from_wrong_fields() {
        for body in [
            &b"{\"data\":1"[..],
            b"{\"data\":1,\"data\":2}",
            b"",
            b"\xFF",
            b"{\"data\":1} 2",
            b"{\"data\":{\"a\":1,\"a\":2}}",
        ] {
            assert_eq!(parse(body).expect_err("broken").code, ErrorCode::InvalidJson);
        }
    }

    #[test]
    fn a_wrong_item_of_a_batch_does_not_stop_the_others() {
        let body = br#"{"messages":[{"channel":"a","data":1},{"channel":"b"},{"channel":"$stats:x","data":1},7]}"#;
        let batch = parse_batch(body, 4).expect("a batch");
        assert_eq!(batch[0].as_ref().expect("the first is right").channel.as_str(), "a");
        let wrong: Vec<_> = batch[1..].iter().map(|item| item.as_ref().expect_err("the others are wrong")).collect();
        let pointers: Vec<_> = wrong.iter().flat_map(|problem| pointers(problem)).collect();
        assert_eq!(pointers, ["/messages/1/data", "/messages/2/channel", "/messages/3"]);
        assert_eq!(wrong[1].code, ErrorCode::InvalidChannel);
    }

    #[test]
    fn a_batch_is_bounded_as_a_whole() {
        let of = |count: usize| format!(r#"{{"messages":[{}]}}"#, vec![r#"{"channel":"a","data":1}"#; count].join(","));
        assert_eq!(parse_batch(of(5).as_bytes(), 5).expect("five").len(), 5);
        for body in [
            of(6),
            of(0),
            "{}".to_owned(),
            "[]".to_owned(),
            r#"{"messages":{}}"#.to_owned(),
            r#"{"mesages":[]}"#.to_owned(),
        ] {
            assert_eq!(parse_batch(body.as_bytes(), 5).expect_err(&body).errors.len(), 1, "{body}");
        }
    }
}
