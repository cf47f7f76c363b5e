//! What a connection's task does because somebody outside told it to.

use fanfare_core::ErrorCode;
use fanfare_protocol::native;

use super::Connection;
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
        }
    }
}
