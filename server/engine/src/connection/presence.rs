//! A connection's part in presence: its commands, and what becomes of its places when rights or links go.

use fanfare_core::codes::Retry;
use fanfare_core::{App, ChannelKey, ChannelName, ErrorCode, Operation, Subject};
use fanfare_protocol::Frame;
use fanfare_protocol::native::{self, Presence, PresenceAction, PresenceEnded, PresenceGet, Reply};

use super::{Connection, Done};
use crate::broker::Pending;
use crate::error::NodeError;
use crate::node::{self, EnterClient, PresenceQuery};
use crate::outbox::{Members, Wants, Watched};
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

fn answer_to(id: u64, reply: Result<Reply, NodeError>) -> Frame {
    match reply {
        Ok(reply) => native::reply(id, &reply),
        Err(error) => native::error(Some(id), &error.problem()),
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
                return self.answer_listed(id, page.map(|page| page.map(Reply::Presence)));
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
            Pending::Later(reply) => {
                self.inflight.push(Box::pin(async move { Done::Reply(answer_to(id, reply.await)) }));
            }
        }
        Ok(())
    }

    /// As [`Self::answer_pending`], for what may be answered by a page.
    fn answer_listed(&mut self, id: u64, pending: Pending<Result<Reply, NodeError>>) -> Result<(), NodeError> {
        match pending {
            Pending::Ready(reply) => self.answer(id, &reply?),
            Pending::Later(reply) => {
                self.listing += 1;
                self.inflight.push(Box::pin(async move { Done::Listed(answer_to(id, reply.await)) }));
            }
        }
        Ok(())
    }

    /// Leaves a channel's presence. Answers whether it was there.
    pub(super) fn leave_presence(&self, channel: &ChannelName) -> bool {
        self.node.leave_client(&self.entry, (self.outbox.id(), self.generation()), channel)
    }

    /// A subscription is made, and may be told of who is on its channel. The right to what it asked for is judged again: it
    /// may be gone since.
    pub(super) fn watch_presence(&mut self, slot: u32, key: &ChannelKey, asked: bool) {
        let (wants, refused) = self.wants(key.channel(), asked);
        if let Some(error) = refused {
            self.outbox.watch(slot, wants);
            self.tell_ended(key.channel(), PresenceEnded::Updates, &error);
        }
        if !wants.is_nothing()
            && let Some(channel) = self.node.hub.find(key)
        {
            self.node.watch_presence(&self.entry, &channel, (&self.outbox, slot), wants);
        }
    }

    /// What a subscription is told of who is on its channel: what it asked for, and what the channel's settings say; and why
    /// it is not told what it asked for.
    fn wants(&self, channel: &ChannelName, asked: bool) -> (Wants, Option<NodeError>) {
        let app = self.entry.peek();
        let settings = app.settings_of(channel);
        // Fanfare's own channels have no settings of the app's.
        let (join_leave, occupancy) =
            if channel.is_reserved() { (false, false) } else { (settings.join_leave, settings.occupancy) };
        if !asked && !join_leave {
            return (Wants { members: Members::None, occupancy }, None);
        }
        match self.judge(channel, node::may_see) {
            Ok(_) => (Wants { members: if asked { Members::All } else { Members::Joins }, occupancy }, None),
            Err(error) => (Wants { members: Members::None, occupancy }, Some(error).filter(|_| asked)),
        }
    }

    /// Looks again at every membership and at everything that subscriptions are told.
    pub(super) fn recheck_presence(&mut self) {
        let mut ended = Vec::new();
        for channel in self.node.memberships.channels(self.outbox.id(), self.generation()) {
            if let Err(error) = self.judge(&channel, node::may_be_present) {
                ended.push((channel, PresenceEnded::Membership, error));
            }
        }
        for Watched { slot, channel, wants: before } in self.outbox.watched() {
            let (wants, refused) = self.wants(channel.name(), before.members == Members::All);
            if wants != before {
                self.node.watch_presence(&self.entry, &channel, (&self.outbox, slot), wants);
            }
            if let Some(error) = refused {
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
