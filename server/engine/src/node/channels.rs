//! Which channels are in use.

use std::collections::BTreeMap;

use fanfare_core::{ChannelKey, ChannelName, Limit, Operation, Refusal, Subject};
use serde::{Deserialize, Serialize};

use super::Node;
use super::manage::{may_look_at_all, may_look_at_channel};
use crate::bus::{Answers, Look, Seen};
use crate::caller::Caller;
use crate::directory::AppEntry;
use crate::error::NodeError;

/// Which channels to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChannelsQuery {
    /// Names that start so.
    pub prefix: Option<String>,
    /// Names after this one.
    pub after: Option<ChannelName>,
    /// At most so many, 1 to 1,000.
    pub limit: u32,
}

/// A channel that somebody is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelInfo {
    /// Its name.
    pub name: ChannelName,
    /// Its subscriptions.
    pub subscribers: u64,
}

/// A page of channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelsPage {
    /// By name.
    pub channels: Vec<ChannelInfo>,
    /// Continue after this one; `None` after the last page.
    pub next: Option<ChannelName>,
    /// Nodes that did not answer in time.
    pub missing: u32,
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

    /// Lists channels that somebody is subscribed to, on whatever node.
    ///
    /// # Errors
    /// When the caller is neither a key that may `manage` nor a member.
    pub async fn channels(&self, caller: &Caller, query: ChannelsQuery) -> Result<ChannelsPage, NodeError> {
        let allowed = match &*caller.subject {
            Subject::Key { capabilities, .. } if capabilities.anywhere(Operation::Manage) => Ok(()),
            Subject::Key { id, .. } => Err(Refusal::Key { key: *id, operation: Operation::Manage }.into()),
            Subject::Inspector(_) => may_look_at_all(caller),
            Subject::Client(_) => return Err(NodeError::KeyInvalid),
        };
        self.counted(&caller.entry, allowed)?;
        let limit = query.limit.clamp(1, 1_000) as usize;
        let answers = self.look(caller, Look::Channels(query)).await;
        let Answers { seen, missing } = self.counted(&caller.entry, answers)?;
        let (mut sums, mut horizon) = (BTreeMap::<ChannelName, u64>::new(), None::<ChannelName>);
        for (_, seen) in seen {
            let Seen::Channels(channels, more) = seen else { continue };
            // Behind the last of a node that has more, some of its channels are not known.
            if let Some(last) = channels.last().filter(|_| more)
                && horizon.as_ref().is_none_or(|horizon| last.name < *horizon)
            {
                horizon = Some(last.name.clone());
            }
            for ChannelInfo { name, subscribers } in channels {
                *sums.entry(name).or_default() += subscribers;
            }
        }
        let mut found: Vec<_> =
            sums.into_iter().filter(|(name, _)| horizon.as_ref().is_none_or(|horizon| name <= horizon)).collect();
        let more = horizon.is_some() || found.len() > limit;
        found.truncate(limit);
        // A page may be short of what the key may not see; the cursor still moves on.
        let next = more.then(|| found.last().map(|(name, _)| name.clone())).flatten();
        let seen = |name: &ChannelName| may_look_at_channel(caller, name).is_ok();
        let channels = found.into_iter().filter(|(name, _)| seen(name));
        let channels = channels.map(|(name, subscribers)| ChannelInfo { name, subscribers }).collect();
        Ok(ChannelsPage { channels, next, missing })
    }
}

impl AppEntry {
    /// Channels of this node that are meant, and whether there are more. Fanfare's own are not among them.
    pub(crate) fn channels_page(&self, query: &ChannelsQuery) -> (Vec<ChannelInfo>, bool) {
        let limit = query.limit.clamp(1, 1_000) as usize;
        let mut found = self.channels(query.prefix.as_deref().unwrap_or_default(), query.after.as_ref(), limit + 1);
        let more = found.len() > limit;
        found.truncate(limit);
        (found.into_iter().map(|(name, count)| ChannelInfo { name, subscribers: count.into() }).collect(), more)
    }
}
