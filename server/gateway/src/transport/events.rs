//! An event stream: everything goes one way, from the answer's head to the end of the connection.
//!
//! The client's commands were in its request, so the read side says them at the start, and hears from then on only that
//! the client is gone. The write side sends the head first, and behind messages an `id:` line that says where all of the
//! client's channels stand, which is what a client sends back as `Last-Event-ID`.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use fanfare_core::id::AppId;
use fanfare_core::{ChannelKey, ChannelName, Position};
use fanfare_engine::{Inbound, Node, Reader, ReceiveError, Sink};
use fanfare_protocol::native;

use super::{Link, with_scratch};

/// The read side of one event stream.
#[derive(Debug)]
pub(crate) struct EventReader<L> {
    link: L,
    /// What the request asked for, the last first.
    commands: Vec<String>,
}

impl<L: Link> EventReader<L> {
    /// A reader that says these frames, in this order.
    pub(crate) fn new(link: L, mut commands: Vec<String>) -> Self {
        commands.reverse();
        Self { link, commands }
    }
}

impl<L: Link> Reader for EventReader<L> {
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        each: &mut dyn FnMut(Inbound<'_>),
    ) -> Poll<Result<(), ReceiveError>> {
        if let Some(command) = self.commands.pop() {
            if self.commands.is_empty() {
                self.commands = Vec::new();
            }
            each(Inbound::Text(&command));
            return Poll::Ready(Ok(()));
        }
        with_scratch(|scratch| {
            loop {
                // What a client sends behind its request is heard by nobody.
                if ready!(self.link.poll_read(context, scratch))?.is_empty() {
                    return Poll::Ready(Err(ReceiveError::Ended));
                }
            }
        })
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_writable(context)
    }

    fn is_one_way(&self) -> bool {
        true
    }

    /// A comment, which no client shows to anybody.
    fn ping_frame(&self) -> Bytes {
        Bytes::from_static(b":\n\n")
    }

    fn pong_frame(&self, _payload: &[u8]) -> Bytes {
        Bytes::new()
    }

    /// An event of its own kind: `EventSource` comes back by itself, and should not where the number says so.
    fn close_frame(&self, status: u16, reason: &str) -> Bytes {
        Bytes::from([b"event: close\n", &native::push_close(status, reason).event()[..]].concat())
    }
}

/// What is told behind messages: where a client's channels stand.
pub(crate) struct Places {
    pub(crate) node: Arc<Node>,
    pub(crate) app: AppId,
    /// Sorted.
    pub(crate) names: Vec<ChannelName>,
    pub(crate) known: Vec<Option<Position>>,
}

/// The write side of one event stream.
pub(crate) struct EventSink {
    sink: Box<dyn Sink>,
    head: Bytes,
    places: Places,
}

impl EventSink {
    pub(crate) fn new(sink: Box<dyn Sink>, head: Bytes, places: Places) -> Self {
        Self { sink, head, places }
    }
}

impl Sink for EventSink {
    fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        while !self.head.is_empty() {
            let written = self.sink.try_write(&[IoSlice::new(&self.head)])?;
            self.head.advance(written);
        }
        self.sink.try_write(bytes)
    }

    fn place(&mut self, places: &mut dyn Iterator<Item = (&ChannelKey, Position)>) -> Option<Bytes> {
        let Places { node, app, names, known } = &mut self.places;
        for (key, position) in places {
            if let Ok(index) = names.binary_search(key.channel()) {
                known[index] = Some(position);
            }
        }
        Some(Bytes::from(format!("id: {}\n\n", node.tell_group(*app, names, known))))
    }

    fn finish(&mut self) {
        self.sink.finish();
    }
}
