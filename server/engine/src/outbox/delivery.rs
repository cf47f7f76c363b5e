//! A message on its way, in the forms in which clients take it: each is made once, on first need.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use fanfare_core::{ChannelName, Message};
use fanfare_protocol::{Frame, native};

use crate::subscription::Carries;

/// How a client wants its messages encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wire {
    /// Native protocol v1, JSON, over WebSocket.
    #[default]
    NativeJson,
    /// The same with permessage-deflate.
    NativeJsonDeflate {
        /// How far back, as a power of two, a compressed message may refer.
        window_bits: u8,
    },
    /// Native protocol v1, JSON, as an event stream; behind messages stands where all subscriptions are.
    Events,
    /// Native protocol v1, JSON, a line each, in an answer without end; behind everything stands a ticket.
    Stream,
    /// The same in an answer that ends once there is something to say; a ticket stands at its end.
    Poll,
}

impl Wire {
    pub(super) const fn tells_places(self) -> bool {
        match self {
            Self::NativeJson | Self::NativeJsonDeflate { .. } | Self::Poll => false,
            Self::Events | Self::Stream => true,
        }
    }

    /// Whether the client carries its subscriptions itself, in a ticket.
    pub(crate) const fn carries(self) -> bool {
        match self {
            Self::NativeJson | Self::NativeJsonDeflate { .. } | Self::Events => false,
            Self::Stream | Self::Poll => true,
        }
    }

    /// How the client is connected, in a word.
    #[must_use]
    pub const fn transport(self) -> &'static str {
        match self {
            Self::NativeJson | Self::NativeJsonDeflate { .. } => "websocket",
            Self::Events => "sse",
            Self::Stream => "stream",
            Self::Poll => "poll",
        }
    }

    /// An answer or push for one connection. Only what many get is compressed.
    pub(super) fn own(self, frame: &Frame) -> Bytes {
        match self {
            Self::NativeJson | Self::NativeJsonDeflate { .. } => frame.websocket().clone(),
            Self::Events => frame.event(),
            Self::Stream | Self::Poll => frame.line(),
        }
    }
}

/// A message on its way to subscribers: encoded on first need in each wire format, then shared.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// When it was accepted, on the monotonic clock.
    pub accepted: Duration,
    /// When it came to the hub.
    pub(crate) arrived: Duration,
    /// It was read for one subscription: what others share is not made for it.
    alone: bool,
    native_json: OnceLock<Frame>,
    native_json_deflated: OnceLock<Frame>,
    event: OnceLock<Bytes>,
    line: OnceLock<Bytes>,
}

impl Delivery {
    /// Nothing is encoded yet.
    #[must_use]
    pub const fn new(message: Arc<Message>, accepted: Duration, arrived: Duration) -> Self {
        Self {
            message,
            accepted,
            arrived,
            alone: false,
            native_json: OnceLock::new(),
            native_json_deflated: OnceLock::new(),
            event: OnceLock::new(),
            line: OnceLock::new(),
        }
    }

    /// A message of a page that one subscription asked for. Compressing it again for each of them would let clients that
    /// come back cost more than those that stay.
    #[must_use]
    pub fn read(message: Arc<Message>, now: Duration) -> Self {
        Self { alone: true, ..Self::new(message, now, now) }
    }

    pub(super) fn bytes(&self, channel: &ChannelName, wire: Wire) -> &Bytes {
        let plain = self.native_json.get_or_init(|| native::push_message(channel, &self.message));
        match wire {
            Wire::NativeJson => plain.websocket(),
            Wire::NativeJsonDeflate { window_bits } => self.deflated(plain, window_bits).websocket(),
            Wire::Events => self.event.get_or_init(|| plain.event()),
            Wire::Stream | Wire::Poll => self.line.get_or_init(|| plain.line()),
        }
    }

    /// Whether nothing is left to be compressed for a client that takes this form. Writing the plain form costs hardly more
    /// than the socket does.
    pub(super) fn is_made_for(&self, wire: Wire) -> bool {
        match wire {
            Wire::NativeJson | Wire::Events | Wire::Stream | Wire::Poll => true,
            Wire::NativeJsonDeflate { window_bits } => {
                self.alone
                    || self.native_json_deflated.get().is_some()
                    || self.native_json.get().is_some_and(|plain| !fits(plain, window_bits))
            }
        }
    }

    /// Makes the form that a client takes, where no lock is held.
    pub(super) fn make_for(&self, channel: &ChannelName, wire: Wire) {
        let _made = self.bytes(channel, wire);
    }

    /// One compressed form serves every window that the whole message fits into.
    fn deflated<'s>(&'s self, plain: &'s Frame, window_bits: u8) -> &'s Frame {
        if self.alone || !fits(plain, window_bits) {
            plain
        } else {
            self.native_json_deflated.get_or_init(|| plain.deflated())
        }
    }
}

/// Whether nothing in it refers back further than a window reaches.
fn fits(plain: &Frame, window_bits: u8) -> bool {
    window_bits >= 15 || plain.payload_bytes() <= 1 << window_bits
}

impl Carries for Arc<Delivery> {
    fn message(&self) -> &Message {
        &self.message
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Barrier;
    use std::thread;

    use fanfare_core::id::ConnectionId;
    use fanfare_core::{App, ChannelKey, ChannelSettings, Data, Draft, Lineage, Position};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::SystemClock;
    use crate::directory::Directory;
    use crate::hub::Hub;
    use crate::outbox::{Manner, Outbox};
    use crate::transport::Sink;

    fn message() -> Arc<Message> {
        Arc::new(Message {
            id: "".into(),
            position: Position { lineage: Lineage { epoch: 1, term: 1, nonce: 1 }, seq: 1 },
            time_ms: 0,
            publisher: None,
            origin: None,
            draft: Arc::new(Draft::new(Data::Bytes(vec![b'a'; 1_000].into()))),
        })
    }

    /// A socket that takes everything.
    struct Drain;

    impl Sink for Drain {
        fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> std::io::Result<usize> {
            Ok(bytes.iter().map(|slice| slice.len()).sum())
        }

        fn finish(&mut self) {}
    }

    #[test]
    fn while_a_message_is_compressed_its_subscribers_outbox_is_free() {
        let directory = Directory::default();
        directory.upsert(App::for_tests());
        let entry = directory.entry(App::for_tests().id).expect("it was put there");
        let key = ChannelKey::from_broker(entry.id(), ChannelName::parse("a").expect("a name"));
        let hub = Hub::new(Arc::new(SystemClock::new()), TaskTracker::new());
        let wire = Wire::NativeJsonDeflate { window_bits: 15 };
        let outbox = Outbox::new(ConnectionId::new(1, 1), wire, Box::new(Drain), Arc::default());
        let manner = Manner::of(ChannelSettings::defaults());
        let ticket = outbox.take_slot(|slot| hub.join(&key, &entry, &outbox, slot), manner, None);
        let channel = hub.find(&key).expect("joined");
        let delivery = Arc::new(Delivery::new(message(), Duration::ZERO, Duration::ZERO));
        let (compressing, go_on) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            let (delivery, compressing, go_on) = (&delivery, &compressing, &go_on);
            // Somebody is at compressing it, and takes long.
            scope.spawn(move || {
                delivery.native_json_deflated.get_or_init(|| {
                    compressing.wait();
                    go_on.wait();
                    native::push_message(&ChannelName::parse("a").expect("a name"), &delivery.message).deflated()
                });
            });
            compressing.wait();
            let (outbox, channel) = (&outbox, &channel);
            let delivering = scope.spawn(move || outbox.deliver(ticket.slot, channel, std::slice::from_ref(delivery)));
            // Whoever delivers waits for it. However long that is, the outbox answers.
            for _ in 0..1_000 {
                assert_eq!(outbox.waiting(), 0);
                thread::yield_now();
            }
            assert!(!delivering.is_finished());
            go_on.wait();
        });
    }

    #[test]
    fn each_form_of_a_message_is_made_once_and_shared() {
        let channel = ChannelName::parse("a").expect("a name");
        let message = message();
        let wide = Wire::NativeJsonDeflate { window_bits: 15 };
        let narrow = Wire::NativeJsonDeflate { window_bits: 9 };
        let shared = Delivery::new(Arc::clone(&message), Duration::ZERO, Duration::ZERO);
        let of = |delivery: &Delivery, wire| delivery.bytes(&channel, wire).as_ptr();
        for wire in [Wire::NativeJson, wide, narrow, Wire::Events, Wire::Stream] {
            assert_eq!(of(&shared, wire), of(&shared, wire), "{wire:?}");
        }
        assert_ne!(of(&shared, wide), of(&shared, Wire::NativeJson));
        assert_eq!(of(&shared, Wire::Stream), of(&shared, Wire::Poll));
        assert_eq!(of(&shared, narrow), of(&shared, Wire::NativeJson), "it is longer than the window");
        let alone = Delivery::read(message, Duration::ZERO);
        assert_eq!(of(&alone, wide), of(&alone, Wire::NativeJson));
    }
}
