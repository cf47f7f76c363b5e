//! RFC 6455 for a server, without any I/O: bytes in, events out, and frames to send as bytes.
//!
//! [`handshake`] judges the request that asks for a socket. From there on a [`Decoder`] takes whatever was read, however
//! it was cut, and hands out whole messages and control frames. Frames to clients are never masked, so each is a
//! function of its content alone ([`encode`]); messages that many get are made once, as a [`Frame`](crate::Frame).
//!
//! With permessage-deflate (RFC 7692) a message may come and go compressed, each by itself.
//!
//! The bounds are the decoder's first concern: a length is judged when it is declared, before any of it is kept; a
//! message is bounded while it grows and in how many frames it comes; a connection that is between messages owns no
//! buffer. Text is checked as it arrives, so that what cannot become UTF-8 ends at its first wrong byte.

mod decoder;
pub(crate) mod deflate;
pub mod encode;
pub(crate) mod extension;
pub mod handshake;
pub(crate) mod header;
mod mask;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use extension::Deflate;
pub use header::Opcode;

/// The bounds of what a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The largest message, all of its frames together, and inflated.
    pub message_bytes_max: usize,
    /// The most frames of one message, empty ones included; `None` bounds messages by bytes alone.
    pub fragments_max: Option<u32>,
    /// Whether permessage-deflate was agreed, so that messages may come compressed.
    pub deflate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { message_bytes_max: 1024 * 1024, fragments_max: Some(64), deflate: false }
    }
}

/// Something whole that came from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A probe, to be answered by [`encode::pong`] with the same payload.
    Ping(&'a [u8]),
    /// The answer to a probe, or an unasked sign of life.
    Pong(&'a [u8]),
    /// The client says goodbye; nothing after it is looked at.
    Close(Option<Goodbye<'a>>),
}

/// What a client says when it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goodbye<'a> {
    /// The status (RFC 6455 §7.4).
    pub status: u16,
    /// In words, maybe none.
    pub reason: &'a str,
}

/// The client broke the protocol; the connection is to be closed with this status and reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (status {status})")]
pub struct Violation {
    /// 1002, 1007, 1008 or 1009 (RFC 6455 §7.4.1).
    pub status: u16,
    /// Why, short enough for a close frame.
    pub reason: &'static str,
}

impl Violation {
    pub(crate) const fn protocol(reason: &'static str) -> Self {
        Self { status: 1002, reason }
    }

    pub(crate) const fn not_utf8(reason: &'static str) -> Self {
        Self { status: 1007, reason }
    }

    pub(crate) const TOO_MANY_FRAGMENTS: Self = Self { status: 1008, reason: "a message came in too many fragments" };
    pub(crate) const TOO_LARGE: Self = Self { status: 1009, reason: "a message is larger than allowed" };
}
