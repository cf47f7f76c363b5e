//! The WebSocket layer as an echo server: what conformance suites and the layer's own tests talk to.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use fanfare_engine::{Inbound, Reader, ReceiveError, Sink};
use fanfare_protocol::websocket::handshake::Spoken;
use fanfare_protocol::websocket::{self, Deflate, Opcode, encode};
use http::{Request, Response, StatusCode};

use super::Link;
use super::handshake;
use super::lane::Direct;
use super::listener::{Endpoint, Slot};
use super::websocket::WebSocketReader;

/// Answers every message with itself, on any path.
#[derive(Debug, Clone, Copy)]
pub struct Echo {
    /// What a client may send, and whether permessage-deflate may be agreed: then every answer is compressed.
    pub bounds: websocket::Options,
}

impl Endpoint for Echo {
    type Accepted = Option<Deflate>;
    type Memory = ();

    fn direct_bytes_max(&self) -> usize {
        0
    }

    fn is_direct(&self, _: &Direct<'_>) -> bool {
        false
    }

    async fn respond_directly(&self, (): &mut (), _: &Direct<'_>, _: bool, _: &mut Vec<u8>) -> bool {
        true
    }

    async fn respond(&self, request: Request<Body>, slot: &Arc<Slot<Option<Deflate>>>) -> Response<Body> {
        match handshake::judge(&request, Spoken { subprotocols: &[], deflate: self.bounds.deflate }) {
            Ok(accepted) => {
                slot.put(accepted.deflate);
                handshake::switching(&accepted)
            }
            Err(error) => {
                let mut response = Response::new(Body::from(error.to_string()));
                *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                handshake::explain(&error, &mut response);
                response
            }
        }
    }

    fn converse<L: Link>(
        &self,
        deflate: Option<Deflate>,
        link: L,
        early: Vec<u8>,
        sink: Box<dyn Sink>,
    ) -> impl Future<Output = ()> + Send + use<L> {
        let bounds = websocket::Options { deflate: deflate.is_some(), ..self.bounds };
        let reader = WebSocketReader::new(link, early, bounds);
        let mut conversation = Conversation { reader, sink, deflate, waiting: VecDeque::new(), ending: false };
        std::future::poll_fn(move |context| conversation.poll(context))
    }
}

struct Conversation<L> {
    reader: WebSocketReader<L>,
    sink: Box<dyn Sink>,
    deflate: Option<Deflate>,
    waiting: VecDeque<Bytes>,
    /// The close frame is queued; what comes after is read only to see the end.
    ending: bool,
}

impl<L: Link> Conversation<L> {
    /// Ready when it is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // Nothing is read while an answer waits: a client that does not read is not listened to.
            match ready!(self.poll_answer(context)) {
                Ok(()) if self.ending => self.sink.finish(),
                Ok(()) => {}
                Err(_) => return Poll::Ready(()),
            }
            if ready!(self.poll_question(context)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(front) = self.waiting.front_mut() {
            match self.sink.try_write(&[IoSlice::new(front)]) {
                Ok(written) if written == front.len() => drop(self.waiting.pop_front()),
                Ok(written) => front.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.reader.poll_writable(context))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_question(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ReceiveError>> {
        let (waiting, ending, deflate) = (&mut self.waiting, &mut self.ending, self.deflate);
        let message = |opcode, bytes: &[u8]| match deflate {
            Some(agreed) => encode::deflated(opcode, bytes, agreed),
            None => encode::frame(opcode, true, bytes),
        };
        let mut closed = false;
        let received = self.reader.poll_receive(context, &mut |inbound| match inbound {
            _ if *ending => {}
            Inbound::Text(text) => waiting.push_back(message(Opcode::Text, text.as_bytes())),
            Inbound::Binary(bytes) => waiting.push_back(message(Opcode::Binary, bytes)),
            Inbound::Ping(payload) => waiting.push_back(encode::pong(payload)),
            Inbound::Pong | Inbound::Pause => {}
            Inbound::Close => closed = true,
        });
        match ready!(received) {
            Err(ReceiveError::Protocol { status, reason }) if !*ending => {
                *ending = true;
                waiting.push_back(self.reader.close_frame(status, reason));
            }
            Err(error) => return Poll::Ready(Err(error)),
            Ok(()) if closed => {
                *ending = true;
                waiting.push_back(self.reader.close_frame(1000, ""));
            }
            Ok(()) => {}
        }
        Poll::Ready(Ok(()))
    }
}
