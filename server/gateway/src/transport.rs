//! How clients are connected: the socket, the layers on it, and the listener that hands them over.
//!
//! [`listener`] accepts and speaks HTTP until a request asks for a socket; [`websocket`] carries it from there on,
//! over either of the two links: [`tcp`] or [`tls`]. Nothing beyond [`websocket`] knows how frames look.

pub(crate) mod carrier;
mod descriptors;
pub mod echo;
pub(crate) mod events;
pub mod handshake;
pub mod lane;
pub mod listener;
pub(crate) mod pipe;
mod rewound;
pub mod tcp;
pub mod tls;
pub mod websocket;

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll};

use fanfare_engine::Sink;

/// How much is read at a time.
const SCRATCH_BYTES: usize = 64 * 1024;

/// What a worker reads into. One for each thread, because an idle connection shall own no buffer.
#[derive(Debug)]
pub struct Scratch {
    /// As it came from the socket.
    pub(crate) wire: Vec<u8>,
    /// What was in it, where the link encrypts.
    pub(crate) plain: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { wire: vec![0; SCRATCH_BYTES], plain: Vec::new() }
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Lends this thread's scratch; somebody who asks while it is lent gets one of his own.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = work(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

/// The read side of a byte stream that does not wait.
pub trait Link: Send + Unpin + 'static {
    /// Reads what is there into the scratch and lends it; nothing when the other side has ended.
    ///
    /// # Errors
    /// When the link is gone.
    fn poll_read<'s>(&mut self, context: &mut Context<'_>, scratch: &'s mut Scratch) -> Poll<io::Result<&'s mut [u8]>>;

    /// Ready when the write side, having refused bytes, would take some again.
    ///
    /// # Errors
    /// When the link is gone.
    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A stream that HTTP was spoken on and that becomes a link.
pub trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {
    /// Its read side.
    type Link: Link;

    /// Parts it. The bytes are those that were read beyond HTTP.
    ///
    /// # Errors
    /// When what was read beyond HTTP breaks the link's rules.
    fn into_link(self, early: &mut Vec<u8>) -> io::Result<(Self::Link, Box<dyn Sink>)>;
}
