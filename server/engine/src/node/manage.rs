//! What backends do to connections, wherever these are: the node asks the bus.

use fanfare_core::permission::{Layer, decide};
use fanfare_core::{ChannelName, ErrorCode, Operation, Problem, Subject};

use super::Node;
use crate::bus::{Control, Order, Told, What, Whom};
use crate::caller::Caller;
use crate::error::NodeError;

impl Node {
    /// Closes connections of the caller's app with `disconnected`; a reason is told to them before.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` the channel, or, for anything else, `**`.
    pub async fn disconnect(&self, caller: &Caller, whom: Whom, reason: Option<Box<str>>) -> Result<Told, NodeError> {
        let allowed = match &whom {
            Whom::Channel(channel) => may_manage_channel(caller, channel),
            Whom::User(_) | Whom::Connection(_) | Whom::Everybody => may_manage_all(caller),
        };
        self.counted(&caller.entry, allowed)?;
        let what = What::Order { whom, order: Order::Disconnect { reason } };
        Ok(self.bus.tell(Control { app: caller.entry.id(), what }).wait().await)
    }
}

/// Channels are managed by keys whose patterns cover them.
pub(super) fn may_manage_channel(caller: &Caller, channel: &ChannelName) -> Result<(), NodeError> {
    let Subject::Key { .. } = &*caller.subject else { return Err(NodeError::KeyInvalid) };
    decide(&caller.entry.peek(), &caller.subject, Operation::Manage, channel)?;
    Ok(())
}

/// Users and connections are no channel's: a key that manages some channels must not reach the clients of others.
pub(super) fn may_manage_all(caller: &Caller) -> Result<(), NodeError> {
    let Subject::Key { id, capabilities } = &*caller.subject else { return Err(NodeError::KeyInvalid) };
    if capabilities.everywhere(Operation::Manage) {
        return Ok(());
    }
    let detail = format!("The key {id} does not have manage on `**`, which users, connections and the whole app need.");
    let problem = Problem { layer: Some(Layer::Key), ..Problem::new(ErrorCode::Forbidden, detail) };
    Err(NodeError::Invalid(Box::new(problem)))
}
