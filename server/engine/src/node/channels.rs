//! The channels of an app that somebody is subscribed to.

use fanfare_core::{ChannelName, Operation, Refusal, Subject};

use super::{ChannelInfo, ChannelsPage, ChannelsQuery, Node};
use crate::caller::Caller;
use crate::error::NodeError;

impl Node {
    /// Lists channels that somebody is subscribed to.
    ///
    /// # Errors
    /// When the caller is no key that may `manage`.
    pub fn channels(&self, caller: &Caller, query: &ChannelsQuery) -> Result<ChannelsPage, NodeError> {
        let Subject::Key { id, capabilities } = &*caller.subject else { return Err(NodeError::KeyInvalid) };
        if !capabilities.anywhere(Operation::Manage) {
            let refusal = Refusal::Key { key: *id, operation: Operation::Manage };
            return self.counted(&caller.entry, Err(refusal.into()));
        }
        let limit = query.limit.clamp(1, 1_000) as usize;
        let prefix = query.prefix.as_deref().unwrap_or_default();
        let mut found = caller.entry.channels(prefix, query.after.as_ref(), limit + 1);
        let more = found.len() > limit;
        found.truncate(limit);
        // A page may be short of what the key may not see; the cursor still moves on.
        let next = more.then(|| found.last().map(|(name, _)| name.clone())).flatten();
        let seen = |name: &ChannelName| {
            !name.is_reserved() && capabilities.on(name, &*caller.subject).contains(Operation::Manage)
        };
        let channels = found.into_iter().filter(|(name, _)| seen(name));
        let channels = channels.map(|(name, count)| ChannelInfo { name, subscribers: count.into() }).collect();
        Ok(ChannelsPage { channels, next })
    }
}
