//! The message, before and after it has a place in its channel.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::id::ConnectionId;
use crate::position::Position;

/// The longest message id, name or key, in bytes.
pub const TEXT_BYTES_MAX: usize = 128;
/// The most headers a message may have.
pub const HEADERS_MAX: usize = 16;
/// The longest header name or value, in bytes.
pub const HEADER_BYTES_MAX: usize = 256;

/// What a message carries.
#[derive(Debug, Clone)]
pub enum Data {
    /// Any JSON value, text included, kept exactly as the publisher wrote it.
    Json(Box<RawValue>),
    /// Bytes; `encoding: base64` in JSON.
    Bytes(Box<[u8]>),
    /// What was here was deleted; its number stays, so that nobody takes it for lost.
    Deleted,
}

impl Data {
    /// What it weighs, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(json) => json.get().len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Deleted => 0,
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(left), Self::Json(right)) => left.get() == right.get(),
            (Self::Bytes(left), Self::Bytes(right)) => left == right,
            (Self::Deleted, Self::Deleted) => true,
            (Self::Json(_) | Self::Bytes(_) | Self::Deleted, _) => false,
        }
    }
}

/// What a publisher hands in.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Makes the publish idempotent inside the channel's window.
    pub id: Option<Box<str>>,
    /// What happened, for handlers to choose by.
    pub name: Option<Box<str>>,
    /// The payload.
    pub data: Data,
    /// Messages with one key replace each other where a channel conflates.
    pub key: Option<Box<str>>,
    /// Small texts beside the payload.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// A connection that shall not receive it.
    pub exclude: Option<ConnectionId>,
}

impl Message {
    /// What stands in its place once it is deleted: its number, its id and its time.
    #[must_use]
    pub fn deleted(&self) -> Self {
        Self {
            id: self.id.clone(),
            position: self.position,
            time_ms: self.time_ms,
            publisher: None,
            origin: None,
            draft: Arc::new(Draft::new(Data::Deleted)),
        }
    }

    /// Whether it was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        matches!(self.draft.data, Data::Deleted)
    }
}

impl Draft {
    /// A draft with nothing but a payload.
    #[must_use]
    pub const fn new(data: Data) -> Self {
        Self { id: None, name: None, data, key: None, headers: Vec::new(), exclude: None }
    }

    /// What counts against the limit on message size: payload, name, key and headers, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.data.len() + text(&self.name) + text(&self.key) + headers
    }
}

/// A message in its channel's log. Shared by everything that holds it; never changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The publisher's id, or one that Fanfare made.
    pub id: Box<str>,
    /// Where it stands.
    pub position: Position,
    /// When it was appended, Unix milliseconds.
    pub time_ms: u64,
    /// The `sub` of the client that published it; `None` from backends and anonymous clients.
    pub publisher: Option<Box<str>>,
    /// The connection that published it, for echo and exclusion; never shown.
    pub origin: Option<ConnectionId>,
    /// As the publisher gave it.
    pub draft: Arc<Draft>,
}
