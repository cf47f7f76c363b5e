//! Which channels are in use on this node.

use fanfare_core::{ChannelKey, ChannelName, Limit, Operation, Refusal, Subject};

use super::Node;
use super::manage::{may_look_at_all, may_look_at_channel};
use crate::caller::Caller;
use crate::directory::AppEntry;
use crate::error::NodeError;

/// Which channels to list.
#[derive(Debug, Clone, Default)]
pub struct ChannelsQuery {
    /// Names that start so.
    pub prefix: Option<String>,
    /// Names after this one.
    pub after: Option<ChannelName>,
    /// At most so many, 1 to 1,000.
    pub limit: u32,
}

/// A channel that somebody is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Its name.
    pub name: ChannelName,
    /// Its subscriptions on this node.
    pub subscribers: u64,
}

/// A page of channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelsPage {
    /// By name.
    pub channels: Vec<ChannelInfo>,
    /// Continue after this one; `None` after the last page.
    pub next: Option<ChannelName>,
}

impl Node {
    /// Decides whether an app may have somebody subscribe to a channel: one that is in use, or one more.
    pub(crate) fn may_occupy(&self, entry: &AppEntry, key: &ChannelKey) -> Result<(), NodeError> {
        if key.channel().is_reserved() || self.hub.find(key).is_some() {
            return Ok(());
        }
        let max = entry.peek().limits.get(Limit::Channels).max;
        if entry.channel_count() < max { Ok(()) } else { Err(NodeError::Full { limit: Limit::Channels, max }) }
    }

    /// Lists channels that somebody is subscribed to.
    ///
    /// # Errors
    /// When the caller is neither a key that may `manage` nor a member.
    pub fn channels(&self, caller: &Caller, query: &ChannelsQuery) -> Result<ChannelsPage, NodeError> {
        let allowed = match &*caller.subject {
            Subject::Key { capabilities, .. } if capabilities.anywhere(Operation::Manage) => Ok(()),
            Subject::Key { id, .. } => Err(Refusal::Key { key: *id, operation: Operation::Manage }.into()),
            Subject::Inspector(_) => may_look_at_all(caller),
            Subject::Client(_) => return Err(NodeError::KeyInvalid),
        };
        self.counted(&caller.entry, allowed)?;
        let limit = query.limit.clamp(1, 1_000) as usize;
        let prefix = query.prefix.as_deref().unwrap_or_default();
        let mut found = caller.entry.channels(prefix, query.after.as_ref(), limit + 1);
        let more = found.len() > limit;
        found.truncate(limit);
        // A page may be short of what the key may not see; the cursor still moves on.
        let next = more.then(|| found.last().map(|(name, _)| name.clone())).flatten();
        let seen = |name: &ChannelName| !name.is_reserved() && may_look_at_channel(caller, name).is_ok();
        let channels = found.into_iter().filter(|(name, _)| seen(name));
        let channels = channels.map(|(name, count)| ChannelInfo { name, subscribers: count.into() }).collect();
        Ok(ChannelsPage { channels, next })
    }
}
