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
}

impl Wire {
    pub(super) const fn tells_places(self) -> bool {
        match self {
            Self::NativeJson | Self::NativeJsonDeflate { .. } => false,
            Self::Events => true,
        }
    }

    /// An answer or push for one connection. Only what many get is compressed.
    pub(super) fn own(self, frame: &Frame) -> Bytes {
        match self {
            Self::NativeJson | Self::NativeJsonDeflate { .. } => frame.websocket().clone(),
            Self::Events => frame.event(),
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
        }
    }

    /// One compressed form serves every window that the whole message fits into.
    fn deflated<'s>(&'s self, plain: &'s Frame, window_bits: u8) -> &'s Frame {
        let fits = plain.payload_bytes() <= 1 << window_bits || window_bits >= 15;
        if self.alone || !fits { plain } else { self.native_json_deflated.get_or_init(|| plain.deflated()) }
    }
}

impl Carries for Arc<Delivery> {
    fn message(&self) -> &Message {
        &self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::{Data, Draft, Lineage, Position};

    #[test]
    fn each_form_of_a_message_is_made_once_and_shared() {
        let channel = ChannelName::parse("a").expect("a name");
        let message = Arc::new(Message {
            id: "".into(),
            position: Position { lineage: Lineage { epoch: 1, term: 1, nonce: 1 }, seq: 1 },
            time_ms: 0,
            publisher: None,
            origin: None,
            draft: Arc::new(Draft::new(Data::Bytes(vec![b'a'; 1_000].into()))),
        });
        let wide = Wire::NativeJsonDeflate { window_bits: 15 };
        let narrow = Wire::NativeJsonDeflate { window_bits: 9 };
        let shared = Delivery::new(Arc::clone(&message), Duration::ZERO, Duration::ZERO);
        let of = |delivery: &Delivery, wire| delivery.bytes(&channel, wire).as_ptr();
        for wire in [Wire::NativeJson, wide, narrow] {
            assert_eq!(of(&shared, wire), of(&shared, wire), "{wire:?}");
        }
        assert_ne!(of(&shared, wide), of(&shared, Wire::NativeJson));
        assert_eq!(of(&shared, narrow), of(&shared, Wire::NativeJson), "it is longer than the window");
        let alone = Delivery::read(message, Duration::ZERO);
        assert_eq!(of(&alone, wide), of(&alone, Wire::NativeJson));
    }
}
