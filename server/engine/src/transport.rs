//! What the engine needs of a client transport, and all it knows of one.
//!
//! A transport has a read side, owned by the connection's task, and a write side, owned by the connection's outbox and
//! written to by whoever delivers. Both work on one non-blocking socket.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::Bytes;
use fanfare_core::{ChannelKey, Position};

/// Something that came from the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// A whole text message: one or several commands.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A probe, to be answered with [`Reader::pong_frame`].
    Ping(&'a [u8]),
    /// The answer to a probe.
    Pong,
    /// The client says goodbye.
    Close,
    /// The client takes what there is and goes with a ticket, to be back with it.
    Pause,
}

/// Why nothing more will come.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The link is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client closed the link without a goodbye.
    #[error("the link ended")]
    Ended,
    /// The client broke the transport's rules.
    #[error("{reason}")]
    Protocol {
        /// The WebSocket status of RFC 6455 §7.4.1 (1002, 1007, 1009 …).
        status: u16,
        /// Why, for the close frame; at most 123 bytes.
        reason: &'static str,
    },
}

/// The read side.
pub trait Reader: Send + Unpin + 'static {
    /// Reads what is there, decodes it and hands each message and control frame to `each`. Ready when something was
    /// handed over or nothing more will come; it takes a bounded amount a call, and is then ready again at once.
    ///
    /// # Errors
    /// When nothing more will come.
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        each: &mut dyn FnMut(Inbound<'_>),
    ) -> Poll<Result<(), ReceiveError>>;

    /// Ready when the write side, having refused bytes, would take some again.
    ///
    /// # Errors
    /// When the link is gone.
    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether nothing can ever be heard from the client, not even the answer to a probe.
    fn is_one_way(&self) -> bool {
        false
    }

    /// A probe.
    fn ping_frame(&self) -> Bytes;

    /// The answer to a probe.
    fn pong_frame(&self, payload: &[u8]) -> Bytes;

    /// A goodbye; `reason` is cut to what the transport can say.
    fn close_frame(&self, status: u16, reason: &str) -> Bytes;
}

/// The write side.
pub trait Sink: Send + 'static {
    /// Writes as much as goes without waiting, in order, and returns how many bytes went.
    ///
    /// # Errors
    /// `WouldBlock` when none went; anything else when the link is gone.
    fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize>;

    /// What this transport says behind messages of where all of the client's subscriptions stand. Asked only where
    /// [`Wire`](crate::Wire) says that it tells places.
    fn place(&mut self, places: &mut dyn Iterator<Item = (&ChannelKey, Position)>) -> Option<Bytes> {
        let _ = places;
        None
    }

    /// Takes the rest of what was written and refused, whatever it weighs: nothing follows. Called only where
    /// [`Inbound::Pause`] comes from.
    fn settle(&mut self, rest: Vec<Bytes>) {
        let _ = rest;
    }

    /// Ends the write side after everything written was sent.
    fn finish(&mut self);
}
