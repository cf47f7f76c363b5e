//! A connection's part in presence: its commands, and what becomes of its places when rights or links go.

use fanfare_core::codes::Retry;
use fanfare_core::{App, ChannelKey, ChannelName, ErrorCode, Operation, Subject};
use fanfare_protocol::native::{self, Presence, PresenceAction, PresenceEnded, PresenceGet, Reply};

use super::{Connection, Done};
use crate::broker::Pending;
use crate::error::NodeError;
use crate::node::{self, EnterClient, PresenceQuery};
use crate::presence::{Generation, How};

/// Whether a connection that is closed so has no right to come back as it was: it leaves at once, without a grace.
pub(super) fn ends_with(code: ErrorCode) -> bool {
    match code.retry() {
        // Somebody has resumed it.
        Retry::Never if code == ErrorCode::Superseded => false,
        Retry::Never | Retry::Token => true,
        Retry::Backoff | Retry::Now => code == ErrorCode::Disconnected,
    }
}

impl Connection {
    /// Which link of its connection this is.
    pub(super) fn generation(&self) -> Generation {
        self.session.generation()
    }

    pub(super) fn presence(&mut self, id: u64, presence: Presence) -> Result<(), NodeError> {
        let Presence { channel, action } = presence;
        let (how, data) = match action {
            PresenceAction::Enter(data) => (How::Enter, data),
            PresenceAction::Update(data) => (How::Update, Some(data)),
            PresenceAction::Leave => return self.leave_by_command(id, &channel),
            PresenceAction::Get(PresenceGet { after, limit }) => {
                let caller = self.caller_on(&channel, Operation::PresenceRead)?;
                let page = self.node.begin_presence(&caller, &channel, PresenceQuery { after, limit })?;
                return self.answer_pending(id, page.map(|page| page.map(Reply::Presence)));
            }
        };
        let enter = EnterClient { info: self.session.info(), data, how, generation: self.generation() };
        let caller = self.caller_on(&channel, Operation::Presence)?;
        let entered = self.node.enter_client(&caller, &channel, enter)?;
        self.answer_pending(id, entered.map(|entered| entered.map(|()| Reply::PresenceDone)))
    }

    fn leave_by_command(&mut self, id: u64, channel: &ChannelName) -> Result<(), NodeError> {
        self.judge(channel, node::may_be_present)?;
        if !self.leave_presence(channel) {
            return Err(NodeError::NotPresent);
        }
        self.answer(id, &Reply::PresenceDone);
        Ok(())
    }

    fn answer_pending(&mut self, id: u64, pending: Pending<Result<Reply, NodeError>>) -> Result<(), NodeError> {
        match pending {
            Pending::Ready(reply) => self.answer(id, &reply?),
            Pending::Later(reply) => self.inflight.push(Box::pin(async move {
                let frame = match reply.await {
                    Ok(reply) => native::reply(id, &reply),
                    Err(error) => native::error(Some(id), &error.problem()),
                };
                Done::Reply(frame)
            })),
        }
        Ok(())
    }

    /// Leaves a channel's presence. Answers whether it was there.
    pub(super) fn leave_presence(&self, channel: &ChannelName) -> bool {
        self.node.leave_client(&self.entry, (self.outbox.id(), self.generation()), channel)
    }

    /// A subscription that asked for presence is made. The right to it is judged again: it may be gone since.
    pub(super) fn watch_presence(&mut self, slot: u32, key: &ChannelKey) {
        match self.judge(key.channel(), node::may_see) {
            Ok(key) => self.node.watch_presence(&self.entry, &key, &self.outbox, slot),
            Err(error) => self.tell_ended(key.channel(), PresenceEnded::Updates, &error),
        }
    }

    /// Looks again at every membership and at everything that is watched.
    pub(super) fn recheck_presence(&mut self) {
        let mut ended = Vec::new();
        for channel in self.node.memberships.channels(self.outbox.id(), self.generation()) {
            if let Err(error) = self.judge(&channel, node::may_be_present) {
                ended.push((channel, PresenceEnded::Membership, error));
            }
        }
        for (slot, channel) in self.outbox.watching() {
            if let Err(error) = self.judge(channel.name(), node::may_see) {
                self.outbox.unwatch(slot);
                self.node.watches.unwatch(channel.key(), &self.outbox);
                ended.push((channel.name().clone(), PresenceEnded::Updates, error));
            }
        }
        for (channel, what, error) in ended {
            if what == PresenceEnded::Membership {
                self.leave_presence(&channel);
            }
            self.tell_ended(&channel, what, &error);
        }
    }

    /// Judges by the token of the channel's subscription where that gives it, else by the connection's.
    fn judge(
        &self,
        channel: &ChannelName,
        may: impl Fn(&App, &Subject, &ChannelName) -> Result<ChannelKey, NodeError>,
    ) -> Result<ChannelKey, NodeError> {
        let app = self.entry.peek();
        let own = self.session.held(channel).and_then(|held| may(&app, held.subject(), channel).ok());
        match own {
            Some(key) => Ok(key),
            None => may(&app, self.session.subject().ok_or(NodeError::TokenMissing)?, channel),
        }
    }

    fn tell_ended(&mut self, channel: &ChannelName, what: PresenceEnded, error: &NodeError) {
        self.reply(&native::push_presence_ended(channel, what, &error.problem()));
    }
}
