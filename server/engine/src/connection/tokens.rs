//! A connection's tokens: each is verified before the command it came with goes on.
//!
//! What is cheap to verify is verified at once. What is not is verified elsewhere, and until then nothing else of this
//! connection runs: the commands behind it count on the rights it brings.

use std::borrow::Cow;
use std::sync::Arc;

use fanfare_core::permission::decide;
use fanfare_core::{ChannelName, Operation};
use fanfare_protocol::native::{self, Refresh, Reply, Subscribe};

use super::commands::not_subscribed;
use super::events::About;
use super::{Connection, Done};
use crate::broker::Pending;
use crate::caller::Caller;
use crate::error::NodeError;
use crate::session::Held;
use crate::token::VerifiedToken;

/// The command that goes on with a verified token.
pub(super) enum Then {
    /// With a ticket beside it, perhaps.
    Connect(u64, Option<native::Token>),
    Refresh(u64, Option<ChannelName>),
    Subscribe(u64, Subscribe),
}

impl Then {
    /// What is told where it is refused.
    fn about(&self) -> Option<About> {
        match self {
            Self::Subscribe(_, subscribe) => Some(About::subscribing(subscribe.channel.clone())),
            Self::Connect(..) | Self::Refresh(..) => None,
        }
    }

    const fn id(&self) -> u64 {
        match self {
            Self::Connect(id, _) | Self::Refresh(id, _) | Self::Subscribe(id, _) => *id,
        }
    }
}

impl Connection {
    pub(super) fn refresh(&mut self, id: u64, refresh: Refresh) -> Result<(), NodeError> {
        let Refresh { token, channel } = refresh;
        if let Some(channel) = &channel {
            self.check_subscribed(channel)?;
        }
        self.verify(token.expose(), Then::Refresh(id, channel))
    }

    pub(super) fn subscribe(&mut self, id: u64, mut subscribe: Subscribe) -> Result<(), NodeError> {
        let Some(token) = subscribe.token.take() else { return self.attach(Some(id), subscribe, None) };
        // A token costs more than this question.
        self.session.may_subscribe(&subscribe.channel, &self.entry.peek())?;
        self.may_carry(Some((&subscribe.channel, subscribe.presence)), token.expose().len())?;
        self.verify(token.expose(), Then::Subscribe(id, subscribe))
    }

    pub(super) fn verify(&mut self, token: &str, then: Then) -> Result<(), NodeError> {
        match self.node.verify_token(&self.entry, token) {
            Pending::Ready(verified) => self.go_on(then, verified),
            Pending::Later(verified) => {
                self.verifying = true;
                self.inflight.push(Box::pin(async move { Done::Verified(Box::new((then, verified.await))) }));
                Ok(())
            }
        }
    }

    /// A verification that had to wait is done.
    pub(super) fn on_verified(&mut self, then: Then, verified: Result<VerifiedToken, NodeError>) {
        self.verifying = false;
        let (id, about) = (then.id(), then.about());
        if let Err(error) = self.go_on(then, verified) {
            self.failed(id, &error, about.as_ref());
        }
    }

    fn go_on(&mut self, then: Then, verified: Result<VerifiedToken, NodeError>) -> Result<(), NodeError> {
        match then {
            Then::Connect(id, resume) => self.connected(id, verified.map(Some), resume.as_ref()),
            Then::Refresh(id, None) => self.refreshed(id, verified?),
            Then::Refresh(id, Some(channel)) => self.renewed(id, channel, verified?),
            Then::Subscribe(id, subscribe) => {
                let held = self.session.channel_token(verified?)?;
                self.attach(Some(id), subscribe, Some(held))
            }
        }
    }

    /// A subscription has a new token of its own. One that does not give it changes nothing.
    fn renewed(&mut self, id: u64, channel: ChannelName, token: VerifiedToken) -> Result<(), NodeError> {
        self.check_subscribed(&channel)?;
        let held = self.session.channel_token(token)?;
        decide(&self.entry.peek(), held.subject(), Operation::Subscribe, &channel)?;
        let expires_ms = held.expires_ms();
        self.hold(channel, held);
        self.answer(id, &Reply::Refreshed { expires_ms, resume: None });
        self.recheck_presence();
        Ok(())
    }

    /// A subscription lives by this token, and ends with it.
    pub(super) fn hold(&mut self, channel: ChannelName, held: Held) {
        self.session.hold(channel, held);
        self.carry();
        self.outbox.tick_by(self.due_s(self.node.second()));
    }

    fn check_subscribed(&self, channel: &ChannelName) -> Result<(), NodeError> {
        match self.session.slot(channel) {
            Some(_) => Ok(()),
            None => Err(NodeError::Invalid(Box::new(not_subscribed(channel)))),
        }
    }

    /// Who asks for something on a channel: by the token of the subscription where that gives it, else by the
    /// connection's.
    pub(super) fn caller_on(&self, channel: &ChannelName, operation: Operation) -> Result<Cow<'_, Caller>, NodeError> {
        let caller = self.caller.as_ref().ok_or(NodeError::TokenMissing)?;
        let own = self.session.held(channel).map(Held::subject);
        match own.filter(|subject| decide(&self.entry.peek(), subject, operation, channel).is_ok()) {
            Some(subject) => Ok(Cow::Owned(Caller { subject: Arc::clone(subject), ..caller.clone() })),
            None => Ok(Cow::Borrowed(caller)),
        }
    }
}
