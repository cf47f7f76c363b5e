//! What a client is connected by, where an app's door leads to more than one kind.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use fanfare_engine::{Inbound, Reader, ReceiveError};

use super::Link;
use super::events::EventReader;
use super::websocket::WebSocketReader;

/// The read side of a client's connection.
#[derive(Debug)]
pub(crate) enum Carrier<L> {
    WebSocket(WebSocketReader<L>),
    Events(EventReader<L>),
}

impl<L: Link> Reader for Carrier<L> {
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        each: &mut dyn FnMut(Inbound<'_>),
    ) -> Poll<Result<(), ReceiveError>> {
        match self {
            Self::WebSocket(reader) => reader.poll_receive(context, each),
            Self::Events(reader) => reader.poll_receive(context, each),
        }
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::WebSocket(reader) => reader.poll_writable(context),
            Self::Events(reader) => reader.poll_writable(context),
        }
    }

    fn is_one_way(&self) -> bool {
        match self {
            Self::WebSocket(reader) => reader.is_one_way(),
            Self::Events(reader) => reader.is_one_way(),
        }
    }

    fn ping_frame(&self) -> Bytes {
        match self {
            Self::WebSocket(reader) => reader.ping_frame(),
            Self::Events(reader) => reader.ping_frame(),
        }
    }

    fn pong_frame(&self, payload: &[u8]) -> Bytes {
        match self {
            Self::WebSocket(reader) => reader.pong_frame(payload),
            Self::Events(reader) => reader.pong_frame(payload),
        }
    }

    fn close_frame(&self, status: u16, reason: &str) -> Bytes {
        match self {
            Self::WebSocket(reader) => reader.close_frame(status, reason),
            Self::Events(reader) => reader.close_frame(status, reason),
        }
    }
}
