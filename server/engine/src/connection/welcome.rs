//! How a session begins: with a token, with a ticket, with both or with neither; and how its token is replaced.

use std::sync::Arc;

use fanfare_core::App;
use fanfare_core::id::ConnectionId;
use fanfare_core::measures::Stage;
use fanfare_protocol::native::{self, Connect, Hello, Reply};

use super::Connection;
use super::tokens::Then;
use crate::caller::Caller;
use crate::error::NodeError;
use crate::outbox::Signal;
use crate::stats::AppStats;
use crate::ticket::ResumeTicket;
use crate::token::VerifiedToken;

/// How long before its end a token is told of, at the least and at the most.
const TELL_AHEAD_MS_MIN: u64 = 30_000;
const TELL_AHEAD_MS_MAX: u64 = 60_000;

/// Who a client is that connects.
struct Comeback {
    /// What it may; `None` for an anonymous client.
    token: Option<VerifiedToken>,
    /// The ticket of the connection that goes on.
    from: Option<ResumeTicket<'static>>,
    /// Whether a ticket held; `None` where none was shown.
    resumed: Option<bool>,
}

impl Connection {
    pub(super) fn connect(&mut self, id: u64, connect: Connect) -> Result<(), NodeError> {
        let Connect { token, resume } = connect;
        let brought = self.arriving.as_mut().and_then(|arriving| arriving.handshake.token.take());
        let offered = token.as_ref().map(|token| token.expose());
        match offered.or(brought.as_deref()) {
            Some(token) => self.verify(token, Then::Connect(id, resume)),
            None => self.connected(id, Ok(None), resume.as_ref()),
        }
    }

    /// Goes on with the token that was shown, if one was.
    pub(super) fn connected(
        &mut self,
        id: u64,
        shown: Result<Option<VerifiedToken>, NodeError>,
        resume: Option<&native::Token>,
    ) -> Result<(), NodeError> {
        let started = shown.and_then(|shown| self.start_session(id, shown, resume));
        if resume.is_some() {
            let (held, stats) = (matches!(started, Ok(Some(true))), &self.entry.stats);
            AppStats::add(if held { &stats.resumed } else { &stats.not_resumed }, 1);
        }
        started.map(drop)
    }

    /// Answers whether a ticket held, where one was shown.
    fn start_session(
        &mut self,
        id: u64,
        shown: Option<VerifiedToken>,
        resume: Option<&native::Token>,
    ) -> Result<Option<bool>, NodeError> {
        let (app, now_ms) = (self.entry.app(), self.node.clock.unix_ms());
        let with_token = shown.is_some();
        let Comeback { token, from, resumed } = self.come_back(&app, shown, resume)?;
        let generation = from.as_ref().map_or(now_ms, |from| now_ms.max(from.generation + 1));
        let expires_ms = token.as_ref().map(|token| token.expires_ms);
        let connection = from.map_or_else(|| self.outbox.id(), |from| from.connection);
        let rates = self.rates_of(connection)?;
        let resume = self.ticket(connection, generation, token.as_ref());
        if resumed == Some(true) && !with_token {
            self.session.start_again(&app, token, generation, now_ms)?;
        } else {
            let is_anonymous = token.is_none();
            let started = self.session.start(&app, token, generation);
            if is_anonymous {
                self.entry.decisions.note_connect(&app, started.is_ok());
            }
            started?;
        }
        let subject = self.session.subject().cloned().ok_or(NodeError::TokenMissing)?;
        let user = subject.sub().map(Into::into);
        let limits = subject.limits(&app.limits);
        let caller = Caller { entry: Arc::clone(&self.entry), subject, connection: Some(connection) };
        if resumed == Some(true) {
            // Before the link that went before is told: what it does from then on ends nobody's presence.
            self.node.take_over_presence(&caller, generation);
            self.entry.resume(&self.outbox, connection);
        }
        self.entry.registry.identify(&self.outbox, Arc::clone(&caller.subject));
        // A revocation that came since the token was verified has not found this connection.
        self.outbox.signal(Signal::Recheck);
        self.caller = Some(caller);
        self.count_at(rates);
        let hello =
            Hello { connection, user, heartbeat_ms: app.heartbeat_ms.into(), expires_ms, resumed, resume, limits };
        self.answer(id, &Reply::Connected(Box::new(hello)));
        self.tell_connected(resumed == Some(true));
        if let Some(arriving) = self.arriving.take() {
            let span = self.node.clock.monotonic().saturating_sub(arriving.since);
            self.entry.stats.took(Stage::Connect, span, 1);
        }
        self.set_pace();
        if let Some(expires_ms) = expires_ms {
            self.session.tell_at(expires_ms.saturating_sub(self.tell_ahead_ms()));
            // Of a token that lives shorter than that it is told at once.
            self.tell_expiry(now_ms);
        }
        self.carry();
        self.schedule(self.node.second());
        Ok(resumed)
    }

    /// How long before its token's end this client is told of it: drawn, so that many tokens that end in one moment are
    /// not renewed in one.
    fn tell_ahead_ms(&self) -> u64 {
        TELL_AHEAD_MS_MIN + self.node.chance.next::<u64>() % (TELL_AHEAD_MS_MAX - TELL_AHEAD_MS_MIN)
    }

    /// Tells that the token expires, when it is time.
    pub(super) fn tell_expiry(&mut self, now_ms: u64) {
        if now_ms < self.session.tell_ms() {
            return;
        }
        self.session.tell_at(u64::MAX);
        self.carry();
        if let Some(expires_ms) = self.session.expires_ms() {
            self.reply(&native::push_token_expiring(expires_ms));
        }
    }

    /// Who comes, and whether as who they were. Beside a token a ticket only says which connection goes on; one that does
    /// not hold, or is another user's, then changes nothing.
    fn come_back(
        &self,
        app: &App,
        shown: Option<VerifiedToken>,
        resume: Option<&native::Token>,
    ) -> Result<Comeback, NodeError> {
        let Some(resume) = resume else { return Ok(Comeback { token: shown, from: None, resumed: None }) };
        let now_ms = self.node.clock.unix_ms();
        let opened = self.node.open_ticket(app.id, resume.expose());
        let Some(token) = shown else {
            let ticket = opened?;
            let token = ticket.holds(now_ms)?;
            return Ok(Comeback { token, from: Some(ticket), resumed: Some(true) });
        };
        let from = opened
            .ok()
            .filter(|ticket| ticket.identifies(now_ms).is_ok() && ticket.sub() == token.subject.sub.as_deref());
        Ok(Comeback { token: Some(token), resumed: Some(from.is_some()), from })
    }

    /// The ticket with which the client can come back; none in the odd case that it would be too long.
    fn ticket(&self, connection: ConnectionId, generation: u64, token: Option<&VerifiedToken>) -> Option<String> {
        let ticket = ResumeTicket::of(connection, generation, self.node.clock.unix_ms(), token);
        self.node.seal_ticket(self.entry.id(), &ticket).ok()
    }

    /// The connection has a new token.
    pub(super) fn refreshed(&mut self, id: u64, verified: VerifiedToken) -> Result<(), NodeError> {
        let now_ms = self.node.clock.unix_ms();
        let expires_ms = verified.expires_ms;
        self.may_carry_instead(&verified)?;
        let resume = self.ticket(self.outbox.id(), self.session.generation(), Some(&verified));
        self.session.refresh(verified)?;
        // Commands right behind this one count on the new rights.
        self.renew_caller();
        self.answer(id, &Reply::Refreshed { expires_ms, resume });
        // A short token is told of at half of its life: told at once, it would be asked for without end.
        let left_ms = expires_ms.saturating_sub(now_ms);
        self.session.tell_at(expires_ms - self.tell_ahead_ms().min(left_ms / 2));
        self.carry();
        // Rights are diffed in place: what the new token does not give is detached, with the reason.
        self.outbox.signal(Signal::Recheck);
        self.schedule(self.node.second());
        Ok(())
    }
}
