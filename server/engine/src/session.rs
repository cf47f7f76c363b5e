//! What a connection may do next, and what a change of its app means for it. Pure: time comes in, words go out.

mod held;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fanfare_core::id::ConnectionId;
use fanfare_core::permission::{ClientSubject, decide};
use fanfare_core::problem::Problem;
use fanfare_core::{App, Block, Ceiling, ChannelName, ErrorCode, Key, Limit, Operation, Refusal, Signer, Subject};
use fanfare_protocol::native::CommandKind;
use serde_json::value::RawValue;

use crate::error::NodeError;
use crate::limiter::Bucket;
use crate::ticket::{ResumeTicket, TicketError, TokenSaid};
use crate::token::VerifiedToken;

pub use held::Held;

/// How long an expired token's connection may still refresh it.
pub const EXPIRY_GRACE_MS: u64 = 30_000;

/// How often a client is told at most to be near one limit.
const NEAR_EVERY_S: u32 = 60;

/// One client's session. Its subscriptions are named here; their cursors are in the outbox.
#[derive(Debug, Default)]
pub struct Session {
    connected: Option<Box<Connected>>,
    rates: Rates,
    /// Sorted by name.
    subscriptions: Vec<(ChannelName, u32)>,
    /// Tokens of single subscriptions, where there are any.
    held: Option<Box<held::HeldTokens>>,
}

/// What a client has used of the rates of its connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    publishes: Bucket,
    commands: Bucket,
}

/// The rates of a client that comes by one request after the other, or several at once.
pub type SharedRates = Arc<Mutex<Rates>>;

/// Who is connected.
#[derive(Debug)]
struct Connected {
    /// Shared with the caller that the connection's publishes are judged by.
    subject: Arc<Subject>,
    expires_ms: Option<u64>,
    generation: u64,
    /// What others may see of the user. Boxed twice: one word in every connection without, and most are.
    info: Option<Box<Box<RawValue>>>,
    /// When to tell the client that its token expires; `u64::MAX` when there is nothing to tell any more.
    tell_ms: u64,
    /// What the client was told of limits; `None` for nearly all.
    told: Option<Box<Told>>,
    /// Where its rates are counted, when not here.
    shared: Option<SharedRates>,
}

/// How much of a limit of the connection is used; of a rate, how much of what may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// Which.
    pub limit: Limit,
    /// How much.
    pub used: u64,
    /// Of how much.
    pub max: u64,
}

/// Which limits a client was told to be near, whether anything was left then, and in which second.
#[derive(Debug, Default)]
struct Told(Vec<(Limit, bool, u32)>);

/// What a change, or the passing of time, means for a session.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It stays, less these subscriptions.
    Stay(Vec<(ChannelName, u32, Problem)>),
    /// It ends.
    Close(ErrorCode),
}

impl Session {
    /// Whether this command may run now, and how much of its limit is used then.
    ///
    /// # Errors
    /// When the session has not started, or has already, or too much comes.
    pub fn admit(&mut self, command: &CommandKind, app: &App, now: Duration) -> Result<Option<Near>, NodeError> {
        match (command, &self.connected) {
            (CommandKind::Connect(_), None) => return Ok(None),
            (CommandKind::Connect(_), Some(_)) => {
                let problem = Problem::new(
                    ErrorCode::Conflict,
                    "This connection is connected already; use refresh for a new token.",
                );
                return Err(NodeError::Invalid(Box::new(problem)));
            }
            (_, None) => {
                let problem = Problem::new(
                    ErrorCode::ConnectFirst,
                    "Send {\"id\":1,\"connect\":{}} first, with a token if the app needs one.",
                );
                return Err(NodeError::Invalid(Box::new(problem)));
            }
            (_, Some(_)) => {}
        }
        let limit = match command {
            CommandKind::Publish(_) => Limit::PublishConnection,
            CommandKind::Connect(_)
            | CommandKind::Refresh(_)
            | CommandKind::Subscribe(_)
            | CommandKind::Unsubscribe { .. }
            | CommandKind::Presence(_)
            | CommandKind::History(_)
            | CommandKind::Ping => Limit::CommandRate,
        };
        self.draw(app, now, (limit, 1)).map(Some)
    }

    /// Draws so many from a rate of the connection.
    pub(crate) fn draw(&mut self, app: &App, now: Duration, (limit, count): (Limit, u64)) -> Result<Near, NodeError> {
        let own = self.connected.as_ref().map(|connected| &connected.subject);
        let value = own.map_or_else(|| app.limits.get(limit), |subject| subject.limit(&app.limits, limit));
        let draw = |rates: &mut Rates| match limit {
            Limit::PublishConnection => rates.publishes.draw(now, value, count),
            _ => rates.commands.draw(now, value, count),
        };
        let shared = self.connected.as_ref().and_then(|connected| connected.shared.as_ref());
        let drawn = match shared {
            Some(shared) => draw(&mut shared.lock().unwrap_or_else(PoisonError::into_inner)),
            None => draw(&mut self.rates),
        };
        let left = drawn.map_err(|exceeded| NodeError::Rate {
            limit,
            max: value.max,
            retry_after_ms: exceeded.retry_after_ms,
        })?;
        let max = value.burst.max(1);
        Ok(Near { limit, used: max.saturating_sub(left.remaining), max })
    }

    /// Counts the rates of the connection there, from now on.
    pub(crate) fn share(&mut self, rates: SharedRates) {
        if let Some(connected) = &mut self.connected {
            connected.shared = Some(rates);
        }
    }

    /// What a ticket says of the client, its subscriptions left out. `None` before it is connected.
    pub(crate) fn ticket(&self, connection: ConnectionId, now_ms: u64) -> Option<ResumeTicket<'_>> {
        let connected = self.connected.as_ref()?;
        let (client, info) = (said_by(&connected.subject), connected.info.as_deref().map(|info| &**info));
        let token = client
            .zip(connected.expires_ms)
            .map(|((signer, client), expires_ms)| TokenSaid::by(signer, client, expires_ms, info));
        let held = self.held.iter().flat_map(|held| held.all()).filter_map(|(channel, held)| {
            let (signer, client) = said_by(held.subject())?;
            Some((channel.as_str().into(), TokenSaid::by(signer, client, held.expires_ms(), None)))
        });
        let tell_ms = Some(connected.tell_ms).filter(|tell_ms| *tell_ms != u64::MAX);
        let ticket = ResumeTicket::about(connection, connected.generation, now_ms, token);
        Some(ResumeTicket { held: held.collect(), tell_ms, ..ticket })
    }

    /// The session starts, with a token or without; `generation` tells it from earlier ones of the same connection.
    ///
    /// # Errors
    /// When the app gives nothing to clients without one.
    pub fn start(&mut self, app: &App, token: Option<VerifiedToken>, generation: u64) -> Result<(), NodeError> {
        let (subject, expires_ms, info) = match token {
            Some(token) => (token.subject, Some(token.expires_ms), token.info),
            None if app.admits_anonymous() => (ClientSubject::default(), None, None),
            None => return Err(NodeError::TokenMissing),
        };
        let subject = Arc::new(Subject::Client(Box::new(subject)));
        let info = info.map(Box::new);
        let (tell_ms, told, shared) = (u64::MAX, None, None);
        self.connected = Some(Box::new(Connected { subject, expires_ms, generation, info, tell_ms, told, shared }));
        Ok(())
    }

    /// A new token for the same user.
    ///
    /// # Errors
    /// When it is somebody else's.
    pub fn refresh(&mut self, token: VerifiedToken) -> Result<(), NodeError> {
        self.check_user(&token)?;
        if let Some(held) = &mut self.held {
            held.set_limits(token.subject.limits.as_deref());
        }
        if let Some(connected) = &mut self.connected {
            connected.subject = Arc::new(Subject::Client(Box::new(token.subject)));
            connected.expires_ms = Some(token.expires_ms);
            connected.info = token.info.map(Box::new);
        }
        Ok(())
    }

    /// The session starts with what a ticket says, judged as after a change of the app: what the token behind it may
    /// is looked up now.
    ///
    /// # Errors
    /// When nothing is left of it.
    pub fn start_again(
        &mut self,
        app: &App,
        token: Option<VerifiedToken>,
        generation: u64,
        now_ms: u64,
    ) -> Result<(), NodeError> {
        self.start(app, token, generation)?;
        match self.recheck(app, now_ms) {
            Verdict::Stay(_) => Ok(()),
            Verdict::Close(code) => {
                self.connected = None;
                Err(match code {
                    ErrorCode::SuspendedTenant => NodeError::Refused(Refusal::Tenant),
                    _ => NodeError::Ticket(TicketError::Revoked),
                })
            }
        }
    }

    /// Makes a token the token of a subscription that is made or is there.
    ///
    /// # Errors
    /// When it is somebody else's.
    pub fn channel_token(&self, token: VerifiedToken) -> Result<Held, NodeError> {
        self.check_user(&token)?;
        let limits = self.subject().and_then(|subject| subject.own_limits().cloned().map(Box::new));
        Ok(Held::new(token, limits))
    }

    fn check_user(&self, token: &VerifiedToken) -> Result<(), NodeError> {
        if self.subject().is_some_and(|subject| subject.sub() == token.subject.sub.as_deref()) {
            return Ok(());
        }
        let detail = "The token's sub is not the user of this connection; reconnect to be somebody else.";
        Err(NodeError::Invalid(Box::new(Problem::new(ErrorCode::TokenInvalid, detail))))
    }

    /// A subscription has a token of its own from now on.
    pub fn hold(&mut self, channel: ChannelName, held: Held) {
        self.held.get_or_insert_default().insert(channel, held);
    }

    /// A subscription goes on with the token of its own that a ticket says, judged as after a change of the app.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn hold_again(
        &mut self,
        app: &App,
        channel: ChannelName,
        token: VerifiedToken,
        now_ms: u64,
    ) -> Result<(), Box<Problem>> {
        let mut held = self.channel_token(token).map_err(|error| Box::new(error.problem()))?;
        held.recheck(app, &channel, now_ms)?;
        self.hold(channel, held);
        Ok(())
    }

    /// A subscription that is not made needs no token of its own.
    pub(crate) fn release(&mut self, channel: &ChannelName) {
        if let Some(held) = &mut self.held {
            held.remove(channel);
        }
    }

    /// The token of a subscription, if it has one of its own.
    #[must_use]
    pub fn held(&self, channel: &ChannelName) -> Option<&Held> {
        self.held.as_ref().and_then(|held| held.get(channel))
    }

    /// Who is connected; `None` before that.
    #[must_use]
    pub fn subject(&self) -> Option<&Arc<Subject>> {
        self.connected.as_ref().map(|connected| &connected.subject)
    }

    /// How often the connection has gone on elsewhere, as a number that only grows; 0 before connect.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.connected.as_ref().map_or(0, |connected| connected.generation)
    }

    /// What others may see of the user.
    #[must_use]
    pub fn info(&self) -> Option<&RawValue> {
        self.connected.as_ref().and_then(|connected| connected.info.as_deref().map(|info| &**info))
    }

    /// When the token expires.
    #[must_use]
    pub fn expires_ms(&self) -> Option<u64> {
        self.connected.as_ref().and_then(|connected| connected.expires_ms)
    }

    /// When the client is to be told that its token expires; `u64::MAX` for never.
    #[must_use]
    pub fn tell_ms(&self) -> u64 {
        self.connected.as_ref().map_or(u64::MAX, |connected| connected.tell_ms)
    }

    /// Sets when to tell it; once told, `u64::MAX`.
    pub fn tell_at(&mut self, unix_ms: u64) {
        if let Some(connected) = &mut self.connected {
            connected.tell_ms = unix_ms;
        }
    }

    /// Whether one more subscription to this channel may be made.
    ///
    /// # Errors
    /// When there is one, or there are as many as may be.
    pub fn may_subscribe(&self, channel: &ChannelName, app: &App) -> Result<(), NodeError> {
        if self.slot(channel).is_some() {
            let problem =
                Problem::new(ErrorCode::AlreadySubscribed, format!("This connection is subscribed to {channel}."));
            return Err(NodeError::Invalid(Box::new(problem)));
        }
        let own = self.subject().map(|subject| subject.limit(&app.limits, Limit::Subscriptions));
        let max = own.unwrap_or_else(|| app.limits.get(Limit::Subscriptions)).max;
        if self.subscriptions.len() as u64 >= max {
            return Err(NodeError::Full { limit: Limit::Subscriptions, max });
        }
        Ok(())
    }

    /// The subscription's place in the outbox.
    #[must_use]
    pub fn slot(&self, channel: &ChannelName) -> Option<u32> {
        let at = self.subscriptions.binary_search_by(|(name, _)| name.cmp(channel)).ok()?;
        Some(self.subscriptions[at].1)
    }

    /// A subscription was made.
    pub fn subscribed(&mut self, channel: ChannelName, slot: u32) {
        if let Err(at) = self.subscriptions.binary_search_by(|(name, _)| name.cmp(&channel)) {
            self.subscriptions.insert(at, (channel, slot));
        }
    }

    /// A subscription ended.
    pub fn unsubscribed(&mut self, channel: &ChannelName) -> Option<u32> {
        let at = self.subscriptions.binary_search_by(|(name, _)| name.cmp(channel)).ok()?;
        if let Some(held) = &mut self.held {
            held.remove(channel);
        }
        Some(self.subscriptions.remove(at).1)
    }

    /// Whether the client is to be told: once in a minute for each limit, and once more when nothing is left.
    pub fn is_near_news(&mut self, near: Near, now_s: u32) -> bool {
        let Some(connected) = &mut self.connected else { return false };
        let (Told(told), left) = (&mut **connected.told.get_or_insert_default(), near.used < near.max);
        told.retain(|(_, _, at_s)| now_s < at_s.saturating_add(NEAR_EVERY_S));
        if told.iter().any(|(limit, some_left, _)| *limit == near.limit && (!some_left || left)) {
            return false;
        }
        told.push((near.limit, left, now_s));
        true
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn subscriptions(&self) -> u64 {
        self.subscriptions.len() as u64
    }

    /// Looks again at everything the session may, after a change of its app or of its token.
    pub fn recheck(&mut self, app: &App, now_ms: u64) -> Verdict {
        if app.status.blocks(Block::Connect) {
            return Verdict::Close(ErrorCode::SuspendedTenant);
        }
        let Some(connected) = &mut self.connected else { return Verdict::Stay(Vec::new()) };
        if ceiling(&connected.subject).is_none() && !app.admits_anonymous() {
            return Verdict::Close(ErrorCode::TokenMissing);
        }
        if !renew_ceiling(&mut connected.subject, app, now_ms) {
            return Verdict::Close(ErrorCode::TokenRevoked);
        }
        let subject = &connected.subject;
        if is_revoked(app, subject) {
            return Verdict::Close(ErrorCode::TokenRevoked);
        }
        let (mut refused, held) = (Vec::new(), &mut self.held);
        self.subscriptions.retain(|(channel, slot)| {
            let own = held.as_mut().and_then(|held| held.recheck(app, channel, now_ms));
            let of_connection = || match decide(app, subject, Operation::Subscribe, channel) {
                Ok(_) => Ok(()),
                Err(refusal) => Err(Box::new(Problem::from(refusal))),
            };
            match own.unwrap_or_else(of_connection) {
                Ok(()) => true,
                Err(problem) => {
                    if let Some(held) = held {
                        held.remove(channel);
                    }
                    refused.push((channel.clone(), *slot, *problem));
                    false
                }
            }
        });
        Verdict::Stay(refused)
    }

    /// When time alone changes what the session may: the grace of its token, or of a subscription's, ends, or the key
    /// that signed it stops to work.
    #[must_use]
    pub fn ends_ms(&self, app: &App) -> Option<u64> {
        let grace = self.expires_ms().map(|expires_ms| expires_ms.saturating_add(EXPIRY_GRACE_MS));
        let signer =
            self.subject().and_then(|subject| ceiling(subject)).and_then(|ceiling| signer_ends_ms(app, ceiling));
        let held = self.held.as_ref().and_then(|held| held.ends_ms(app));
        grace.into_iter().chain(signer).chain(held).min()
    }

    /// Whether the token's time, grace included, is over.
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms().is_some_and(|expires_ms| now_ms >= expires_ms.saturating_add(EXPIRY_GRACE_MS))
    }
}

/// Whether the app's backend has revoked the subject's token.
fn is_revoked(app: &App, subject: &Subject) -> bool {
    match subject {
        Subject::Client(client) => app.revocations.of(client).is_some(),
        Subject::Key { .. } | Subject::Inspector(_) => false,
    }
}

/// A client with a token, and who signed that.
fn said_by(subject: &Subject) -> Option<(Signer, &ClientSubject)> {
    match subject {
        Subject::Client(client) => client.ceiling.as_ref().map(|ceiling| (ceiling.signer, &**client)),
        Subject::Key { .. } | Subject::Inspector(_) => None,
    }
}

/// Who signed the subject's token.
fn ceiling(subject: &Subject) -> Option<&Ceiling> {
    match subject {
        Subject::Client(client) => client.ceiling.as_ref(),
        Subject::Key { .. } | Subject::Inspector(_) => None,
    }
}

/// Takes over what the signer may hand on now. `false` if it may not sign any more.
fn renew_ceiling(subject: &mut Arc<Subject>, app: &App, now_ms: u64) -> bool {
    let Some(before) = ceiling(subject) else { return true };
    let signer = before.signer;
    let Some(capabilities) = app.ceiling_of(signer, now_ms) else { return false };
    // The signer may have been given more or less meanwhile.
    if *capabilities != before.capabilities
        && let Subject::Client(client) = Arc::make_mut(subject)
    {
        client.ceiling = Some(Ceiling { signer, capabilities: capabilities.clone() });
    }
    true
}

/// When time ends a signer.
fn signer_ends_ms(app: &App, ceiling: &Ceiling) -> Option<u64> {
    match ceiling.signer {
        Signer::Key(id) => app.key(id).and_then(Key::ends_ms),
        Signer::Issuer(_) => None,
    }
}
