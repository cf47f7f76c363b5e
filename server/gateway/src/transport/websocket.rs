//! WebSocket, from the first byte after the 101: the read side of a connection.
//!
//! The rules of RFC 6455 are `fanfare_protocol::websocket`'s; here they meet a socket. A reader owns no buffer while it
//! is between messages: it reads into its thread's scratch, and what the decoder finds whole there is lent from there.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fanfare_engine::{Inbound, Reader, ReceiveError};
use fanfare_protocol::websocket::{Decoder, Event, Options, Violation, encode};

use super::{Link, with_scratch};

/// The read side of one WebSocket.
#[derive(Debug)]
pub struct WebSocketReader<L> {
    link: L,
    decoder: Decoder,
    /// What came right behind the request for this socket, until it is decoded.
    early: Box<[u8]>,
    goodbye: Goodbye,
    /// The client broke the rules: what it still sends is thrown away.
    broken: bool,
}

/// Whether the client has said goodbye, and with which status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goodbye {
    No,
    Silent,
    Status(u16),
}

impl<L: Link> WebSocketReader<L> {
    /// A reader of what follows on a link, of which some bytes were read already.
    #[must_use]
    pub fn new(link: L, early: Vec<u8>, options: Options) -> Self {
        Self {
            link,
            decoder: Decoder::new(options),
            early: early.into_boxed_slice(),
            goodbye: Goodbye::No,
            broken: false,
        }
    }

    /// Decodes, and tells whether anything was handed over.
    fn decode(&mut self, bytes: &mut [u8], each: &mut dyn FnMut(Inbound<'_>)) -> Result<bool, ReceiveError> {
        if self.broken {
            return Ok(false);
        }
        let (mut handed, goodbye) = (false, &mut self.goodbye);
        let decoded = self.decoder.decode(bytes, &mut |event| {
            handed = true;
            each(match event {
                Event::Text(text) => Inbound::Text(text),
                Event::Binary(bytes) => Inbound::Binary(bytes),
                Event::Ping(payload) => Inbound::Ping(payload),
                Event::Pong(_) => Inbound::Pong,
                Event::Close(said) => {
                    *goodbye = said.map_or(Goodbye::Silent, |said| Goodbye::Status(said.status));
                    Inbound::Close
                }
            });
        });
        self.broken = decoded.is_err();
        decoded.map(|()| handed).map_err(|Violation { status, reason, .. }| ReceiveError::Protocol { status, reason })
    }
}

impl<L: Link> Reader for WebSocketReader<L> {
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        each: &mut dyn FnMut(Inbound<'_>),
    ) -> Poll<Result<(), ReceiveError>> {
        if !self.early.is_empty() {
            let mut early = std::mem::take(&mut self.early);
            if self.decode(&mut early, each)? {
                return Poll::Ready(Ok(()));
            }
        }
        with_scratch(|scratch| {
            loop {
                let bytes = ready!(self.link.poll_read(context, scratch))?;
                if bytes.is_empty() {
                    return Poll::Ready(Err(ReceiveError::Ended));
                }
                if self.decode(bytes, each)? {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_writable(context)
    }

    fn ping_frame(&self) -> Bytes {
        encode::ping(&[])
    }

    fn pong_frame(&self, payload: &[u8]) -> Bytes {
        encode::pong(payload)
    }

    /// To a client that said goodbye first its own status is repeated, as RFC 6455 §5.5.1 has it.
    fn close_frame(&self, status: u16, reason: &str) -> Bytes {
        match self.goodbye {
            Goodbye::No => encode::close(status, reason),
            Goodbye::Silent => encode::close_empty(),
            Goodbye::Status(said) => encode::close(said, ""),
        }
    }
}
