//! Single messages, and channels as a whole: looked at, found by id, deleted.

use std::sync::Arc;

use fanfare_core::{Act, ChannelKey, ChannelName, ErrorCode, Message, Operation, Position, Problem};

use super::Node;
use super::history::{BYTES_MAX, MESSAGES_MAX};
use super::manage::{may_act_on_channel, may_look_at_channel, may_manage_channel};
use crate::broker::{Read, Remove, Start};
use crate::bus::{Answers, Look, Seen};
use crate::caller::Caller;
use crate::error::NodeError;

/// A channel as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelState {
    /// Its subscriptions.
    pub subscribers: u64,
    /// Nodes that did not say in time how many they have.
    pub missing: u32,
    /// The position of its newest message, as told outside.
    pub position: String,
    /// How many messages are kept, deleted ones included.
    pub messages: u64,
    /// The number of the oldest of them; `None` when none is kept.
    pub first: Option<u64>,
}

impl Node {
    /// What a channel is doing.
    ///
    /// # Errors
    /// When the caller is neither a key that may `manage` it nor a member, or the broker cannot be reached.
    pub async fn channel_state(&self, caller: &Caller, channel: &ChannelName) -> Result<ChannelState, NodeError> {
        let outcome = async {
            let key = may_look_at_channel(caller, channel)?;
            let read = Read { start: Start::Top, messages_max: 1, bytes_max: 1, now_ms: self.clock.unix_ms() };
            let page = self.read(&key, read).wait().await?;
            let messages = (page.top + 1).saturating_sub(page.first);
            let Answers { seen, missing } = self.look(caller, Look::Subscribers(channel.clone())).await?;
            let subscribers =
                seen.into_iter().map(|(_, seen)| if let Seen::Subscribers(count) = seen { count } else { 0 });
            Ok(ChannelState {
                subscribers: subscribers.sum(),
                missing,
                position: self.tell(&key, Position { lineage: page.lineage, seq: page.top }),
                messages,
                first: (messages > 0).then_some(page.first),
            })
        };
        let outcome = outcome.await;
        self.counted(&caller.entry, outcome)
    }

    /// The message with this id, and the lineage it counts in as told outside.
    ///
    /// # Errors
    /// When a layer refuses, no such message is kept, or the broker cannot be reached.
    pub async fn message(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        id: &str,
    ) -> Result<(Arc<Message>, String), NodeError> {
        let outcome = async {
            let app = caller.entry.app();
            let key = caller.entry.decide(&app, caller.asking(), Operation::History, channel)?.channel_key();
            let message = self.find_message(&key, id).await?.ok_or_else(no_such_message)?;
            let lineage = self.lineage(&key, message.position.lineage);
            Ok((message, lineage))
        };
        let outcome = outcome.await;
        self.counted(&caller.entry, outcome)
    }

    /// Deletes the message with this id. Its number stays: whoever reads or recovers is told that it was deleted.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` the channel, no such message is kept, or the broker cannot be reached.
    pub async fn delete_message(&self, caller: &Caller, channel: &ChannelName, id: &str) -> Result<(), NodeError> {
        let outcome = async {
            let key = may_manage_channel(caller, channel)?;
            let message = self.find_message(&key, id).await?.ok_or_else(no_such_message)?;
            match self.broker.remove(&key, Remove::Message(message.position)).wait().await? {
                0 => Err(no_such_message()),
                _ => Ok(()),
            }
        };
        let outcome = outcome.await;
        self.counted(&caller.entry, outcome)
    }

    /// Deletes all that is kept of a channel, and answers how many messages it were. Whoever recovers from before is
    /// told `truncated`.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` the channel, or the broker cannot be reached.
    pub async fn delete_history(&self, caller: &Caller, channel: &ChannelName) -> Result<u64, NodeError> {
        let outcome = async {
            let key = may_act_on_channel(caller, channel, Act::DeleteHistory)?;
            Ok(self.broker.remove(&key, Remove::All).wait().await?)
        };
        let outcome = outcome.await;
        self.counted(&caller.entry, outcome)
    }

    /// Looks for a message from the newest to the oldest, a page at a time. Ids are the publishers' own, and what keeps
    /// messages knows them by number.
    pub(super) async fn find_message(&self, key: &ChannelKey, id: &str) -> Result<Option<Arc<Message>>, NodeError> {
        let mut before = None;
        loop {
            let start = Start::Before(before);
            let now_ms = self.clock.unix_ms();
            let read = Read { start, messages_max: MESSAGES_MAX, bytes_max: BYTES_MAX, now_ms };
            let page = self.read(key, read).wait().await?;
            if let Some(found) = page.messages.iter().find(|message| *message.id == *id && !message.is_deleted()) {
                return Ok(Some(Arc::clone(found)));
            }
            match page.messages.last() {
                Some(last) if last.position.seq > page.first => before = Some(last.position.seq),
                Some(_) | None => return Ok(None),
            }
            // A long history is a long search; others have their turn.
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn no_such_message() -> NodeError {
    let detail = "The channel keeps no message with this id: it never was, was deleted, or is no longer kept.";
    NodeError::Invalid(Box::new(Problem::new(ErrorCode::NotFound, detail)))
}
