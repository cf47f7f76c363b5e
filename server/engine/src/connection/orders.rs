//! What a connection's task does because somebody outside told it to.

use fanfare_core::{ChannelName, ErrorCode, Problem};
use fanfare_protocol::native::{self, Subscribe};

use super::{Connection, Phase};
use crate::bus::Order;
use crate::transport::Reader;

impl Connection {
    pub(super) fn obey(&mut self, order: Order, reader: &impl Reader) {
        match order {
            Order::Disconnect { reason } => {
                if let Some(reason) = reason {
                    self.reply(&native::push_disconnected(&reason));
                }
                self.close(reader, ErrorCode::Disconnected);
            }
            Order::Subscribe { channel } => self.subscribe_unasked(channel),
            Order::Unsubscribe { channel } => {
                if let Some(slot) = self.session.unsubscribed(&channel) {
                    self.leave(slot);
                    self.tell_unsubscribed(&channel, Some(ErrorCode::Unsubscribed));
                    let problem = Problem::of(ErrorCode::Unsubscribed);
                    self.reply(&native::push_unsubscribed(&channel, &problem));
                }
            }
        }
    }

    /// Subscribes as the client could. What the client may not, or has already, changes nothing: whoever told it has
    /// been answered with what could be known then.
    fn subscribe_unasked(&mut self, channel: ChannelName) {
        if self.phase == Phase::Open && self.session.subject().is_some() {
            let subscribe = Subscribe { channel, start: native::Start::Now, token: None, presence: false };
            let _refused = self.attach(None, subscribe, None);
        }
    }
}
