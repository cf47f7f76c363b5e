//! A client that is connected by one request after the other: what it brings in its ticket, and what it takes along.

use std::sync::Arc;

use fanfare_core::id::ConnectionId;
use fanfare_core::{ChannelName, ErrorCode, Limit, Problem};
use fanfare_protocol::native;

use super::Connection;
use crate::caller::Caller;
use crate::error::NodeError;
use crate::session::SharedRates;
use crate::ticket::{ResumeTicket, TicketError, TokenSaid};
use crate::token::VerifiedToken;

impl Connection {
    /// Goes on with what a ticket says. Whoever shows it was let in by [`Node::admit_ticket`](crate::Node::admit_ticket).
    pub(super) fn come_along(&mut self, ticket: ResumeTicket<'static>) {
        if let Err(error) = self.take_up(ticket) {
            self.refuse(None, &error.problem());
            self.close_with = Some(error.code());
        }
    }

    fn take_up(&mut self, ticket: ResumeTicket<'static>) -> Result<(), NodeError> {
        let (app, now_ms) = (self.entry.app(), self.node.clock.unix_ms());
        let ResumeTicket { connection, places, watched, counted, held, tell_ms, .. } = &ticket;
        let generation = now_ms.max(ticket.generation + 1);
        let rates = self.rates_of(*connection)?;
        self.session.start_again(&app, ticket.carries(now_ms)?, generation, now_ms)?;
        self.session.tell_at(tell_ms.unwrap_or(u64::MAX));
        let subject = self.session.subject().cloned().ok_or(NodeError::TokenMissing)?;
        let caller = Caller { entry: Arc::clone(&self.entry), subject, connection: Some(*connection) };
        // Before the link that went before is told: what it does from then on ends nobody's presence.
        self.node.take_over_presence(&caller, generation);
        self.entry.resume(&self.outbox, *connection);
        self.entry.registry.identify(&self.outbox, Arc::clone(&caller.subject));
        self.caller = Some(caller);
        self.arriving = None;
        self.count_at(rates);
        self.set_pace();
        let mut ended = Vec::new();
        for (channel, said) in held {
            let channel = ChannelName::parse_any(channel).map_err(|_| TicketError::Version)?;
            if !places.iter().any(|place| place.channel == channel) {
                // It unsubscribed.
                continue;
            }
            if let Err(problem) = self.session.hold_again(&app, channel.clone(), said.token()?, now_ms) {
                self.reply(&native::push_unsubscribed(&channel, &problem));
                ended.push(channel);
            }
        }
        self.carry();
        for place in places.iter().filter(|place| !ended.contains(&place.channel)) {
            let said_of = |list: &[(Box<str>, u64)]| {
                let said = list.iter().find(|(channel, _)| **channel == *place.channel.as_str());
                said.map(|(_, digest)| *digest)
            };
            self.attach_again(place.clone(), said_of(watched), said_of(counted));
        }
        self.schedule(self.node.second());
        Ok(())
    }

    /// The rates of a client that is not always connected: its next request finds them again.
    pub(super) fn rates_of(&self, connection: ConnectionId) -> Result<Option<SharedRates>, NodeError> {
        let rates = || self.entry.carried.rates(connection, self.node.second());
        self.outbox.carries().then(rates).transpose()
    }

    pub(super) fn count_at(&mut self, rates: Option<SharedRates>) {
        if let Some(rates) = rates {
            self.session.share(rates);
        }
    }

    /// Has the client's tickets say what there is to say of it now.
    pub(super) fn carry(&self) {
        if !self.outbox.carries() {
            return;
        }
        if let Some(ticket) = self.session.ticket(self.outbox.id(), self.node.clock.unix_ms()) {
            let mut head = serde_json::to_string(&ticket).expect("a ticket is JSON");
            // The subscriptions are written behind it, where they are known.
            head.pop();
            self.outbox.carry(&self.node, self.entry.id(), head);
        }
    }

    /// Whether the client's ticket has room for one more subscription, or for a token of so many bytes.
    pub(super) fn may_carry(&self, more: Option<(&ChannelName, bool)>, bytes: usize) -> Result<(), NodeError> {
        if self.outbox.has_room(more, bytes) {
            return Ok(());
        }
        let detail =
            "The ticket that carries this client's subscriptions and tokens holds no more; use fewer, or a WebSocket.";
        let problem = Problem::new(ErrorCode::LimitReached, detail).limit(Limit::Subscriptions);
        Err(NodeError::Invalid(Box::new(problem)))
    }

    /// Whether it has room for another token in the place of the one it has.
    pub(super) fn may_carry_instead(&self, token: &VerifiedToken) -> Result<(), NodeError> {
        if !self.outbox.carries() {
            return Ok(());
        }
        let bytes = |said: &TokenSaid<'_>| serde_json::to_string(said).map_or(0, |text| text.len());
        let ticket = self.session.ticket(self.outbox.id(), 0);
        let before = ticket.and_then(|ticket| ticket.token.as_ref().map(bytes)).unwrap_or(0);
        self.may_carry(None, bytes(&TokenSaid::of(token)).saturating_sub(before))
    }

    /// The answer that is about to end takes no more: commands that wait for it to be taken are refused. Says whether any
    /// were.
    pub(super) fn refuse_rest(&mut self) -> bool {
        let rest = std::mem::take(&mut self.backlog);
        for command in &rest {
            let id = match command {
                Ok(command) => Some(command.id),
                Err(error) => error.id,
            };
            let detail = "The answer is full, and this was not carried out; send it again with the next request.";
            let problem = Problem::new(ErrorCode::LimitReached, detail).limit(Limit::OutboxBytes);
            self.refuse(id, &Problem { retryable: true, ..problem });
        }
        !rest.is_empty()
    }
}
