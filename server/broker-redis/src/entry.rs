//! A message as it stands in Redis.
//!
//! ```text
//! version, kind of data, time (8 bytes), id, publisher, name, key, origin, excluded, headers, data …, CRC-32 of all before
//! ```
//!
//! Texts are a length of two bytes and their bytes, lengths of `FFFF` say that there is none. Numbers are big-endian. Where
//! the message stands is not in it: that is known when it is appended, and told beside it.

use std::sync::Arc;

use fanfare_core::id::ConnectionId;
use fanfare_core::{Data, Draft, Message, Position};

const VERSION: u8 = 1;
const NONE: u16 = u16::MAX;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// They were cut or altered.
    #[error("an entry's checksum does not fit")]
    Damaged,
    /// They are of another version of Fanfare.
    #[error("an entry is of a version that is not known")]
    Version,
}

/// What a message is made of before it has a place.
pub(crate) struct Parts<'a> {
    pub(crate) id: &'a str,
    pub(crate) time_ms: u64,
    pub(crate) publisher: Option<&'a str>,
    pub(crate) origin: Option<ConnectionId>,
    pub(crate) draft: &'a Draft,
}

/// Writes a message.
pub(crate) fn write(parts: &Parts<'_>) -> Vec<u8> {
    let Parts { id, time_ms, publisher, origin, draft } = parts;
    let (kind, data): (u8, &[u8]) = match &draft.data {
        Data::Json(json) => (0, json.get().as_bytes()),
        Data::Bytes(bytes) => (1, bytes),
        Data::Deleted => (2, &[]),
    };
    let mut out = Vec::with_capacity(draft.weight() + 128);
    out.extend([VERSION, kind]);
    out.extend(time_ms.to_be_bytes());
    text(&mut out, Some(id));
    text(&mut out, *publisher);
    text(&mut out, draft.name.as_deref());
    text(&mut out, draft.key.as_deref());
    connection(&mut out, *origin);
    connection(&mut out, draft.exclude);
    out.push(u8::try_from(draft.headers.len()).unwrap_or(u8::MAX));
    for (name, value) in draft.headers.iter().take(usize::from(u8::MAX)) {
        text(&mut out, Some(name));
        text(&mut out, Some(value));
    }
    out.extend(data);
    let sum = crc32fast::hash(&out);
    out.extend(sum.to_be_bytes());
    out
}

fn text(out: &mut Vec<u8>, text: Option<&str>) {
    // What is longer was refused at the edge.
    let length = text.map_or(NONE, |text| u16::try_from(text.len()).unwrap_or(NONE - 1).min(NONE - 1));
    out.extend(length.to_be_bytes());
    if let Some(text) = text {
        out.extend(&text.as_bytes()[..usize::from(length).min(text.len())]);
    }
}

fn connection(out: &mut Vec<u8>, id: Option<ConnectionId>) {
    out.push(u8::from(id.is_some()));
    out.extend(id.map(ConnectionId::to_bytes).into_iter().flatten());
}

/// Reads a message that stands there.
pub(crate) fn read(bytes: &[u8], position: Position) -> Result<Message, EntryError> {
    let (body, sum) = bytes.split_last_chunk::<4>().ok_or(EntryError::Damaged)?;
    if crc32fast::hash(body) != u32::from_be_bytes(*sum) {
        return Err(EntryError::Damaged);
    }
    let mut rest = Rest(body);
    if rest.byte()? != VERSION {
        return Err(EntryError::Version);
    }
    let kind = rest.byte()?;
    let time_ms = u64::from_be_bytes(rest.array()?);
    let id = rest.text()?.ok_or(EntryError::Damaged)?;
    let publisher = rest.text()?;
    let (name, key) = (rest.text()?, rest.text()?);
    let (origin, exclude) = (rest.connection()?, rest.connection()?);
    let mut headers = Vec::new();
    for _ in 0..rest.byte()? {
        headers.push((rest.text()?.ok_or(EntryError::Damaged)?, rest.text()?.ok_or(EntryError::Damaged)?));
    }
    let data = match kind {
        0 => {
            let json = std::str::from_utf8(rest.0).map_err(|_| EntryError::Damaged)?;
            Data::Json(serde_json::from_str(json).map_err(|_| EntryError::Damaged)?)
        }
        1 => Data::Bytes(rest.0.into()),
        2 => Data::Deleted,
        _ => return Err(EntryError::Version),
    };
    let draft = Arc::new(Draft { id: None, name, data, key, headers, exclude });
    Ok(Message { id, position, time_ms, publisher, origin, draft })
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], EntryError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(EntryError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        self.take(N)?.try_into().map_err(|_| EntryError::Damaged)
    }

    fn byte(&mut self) -> Result<u8, EntryError> {
        Ok(self.array::<1>()?[0])
    }

    fn text(&mut self) -> Result<Option<Box<str>>, EntryError> {
        let length = u16::from_be_bytes(self.array()?);
        if length == NONE {
            return Ok(None);
        }
        let text = std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| EntryError::Damaged)?;
        Ok(Some(text.into()))
    }

    fn connection(&mut self) -> Result<Option<ConnectionId>, EntryError> {
        match self.byte()? {
            0 => Ok(None),
            _ => Ok(Some(ConnectionId::from_bytes(self.array()?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::Lineage;

    use super::*;

    fn position() -> Position {
        Position { lineage: Lineage { epoch: 1, term: 2, nonce: 3 }, seq: 4 }
    }

    fn drafts() -> Vec<Draft> {
        let json = |text: &str| Data::Json(serde_json::from_str(text).expect("JSON"));
        vec![
            Draft::new(json(r#"{ "a":  [1, 2.50] , "b": "é" }"#)),
            Draft::new(Data::Bytes([].into())),
            Draft::new(Data::Deleted),
            Draft {
                id: None,
                name: Some("".into()),
                data: Data::Bytes([0, 255, 10].into()),
                key: Some("k".repeat(128).into()),
                headers: (0..16).map(|n| (format!("h{n}").into(), "v".repeat(256).into())).collect(),
                exclude: Some(ConnectionId::new(9, 9)),
            },
        ]
    }

    fn parts(draft: &Draft) -> Parts<'_> {
        let origin = Some(ConnectionId::new(7, 7)).filter(|_| draft.name.is_some());
        Parts { id: "msg_1", time_ms: 1_700_000_000_001, publisher: Some("ann"), origin, draft }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for draft in drafts() {
            let message = read(&write(&parts(&draft)), position()).expect("readable");
            let Parts { id, time_ms, publisher, origin, .. } = parts(&draft);
            assert_eq!((&*message.id, message.time_ms, message.publisher.as_deref()), (id, time_ms, publisher));
            assert_eq!((message.origin, &*message.draft, message.position), (origin, &draft, position()));
        }
    }

    #[test]
    fn what_was_cut_or_altered_is_never_a_message() {
        for draft in drafts() {
            let whole = write(&parts(&draft));
            for end in 0..whole.len() {
                assert_eq!(read(&whole[..end], position()), Err(EntryError::Damaged));
            }
            for at in 0..whole.len() {
                let mut altered = whole.clone();
                altered[at] ^= 1 << (at % 8);
                assert_eq!(read(&altered, position()), Err(EntryError::Damaged), "at {at}");
            }
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut body = write(&parts(&drafts()[0]));
        body.truncate(body.len() - 4);
        body[0] = 2;
        let sum = crc32fast::hash(&body);
        body.extend(sum.to_be_bytes());
        assert_eq!(read(&body, position()), Err(EntryError::Version));
    }
}
