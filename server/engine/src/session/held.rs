//! Channel tokens: subscriptions with rights and an expiry of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use fanfare_core::permission::decide;
use fanfare_core::problem::Problem;
use fanfare_core::{App, ChannelName, ErrorCode, Limits, Operation, Subject};

use super::{EXPIRY_GRACE_MS, ceiling, is_revoked, renew_ceiling, signer_ends_ms};
use crate::token::VerifiedToken;

/// The token of one subscription.
#[derive(Debug)]
pub struct Held {
    subject: Arc<Subject>,
    expires_ms: u64,
}

impl Held {
    /// `limits` are the connection's: a token for a channel says nothing about them.
    pub(super) fn new(token: VerifiedToken, limits: Option<Box<Limits>>) -> Self {
        let VerifiedToken { mut subject, expires_ms, .. } = token;
        subject.limits = limits;
        Self { subject: Arc::new(Subject::Client(Box::new(subject))), expires_ms }
    }

    /// Who it makes of the client on its channel.
    #[must_use]
    pub const fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    /// When it expires.
    #[must_use]
    pub const fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// Whether the subscription may go on.
    pub(super) fn recheck(&mut self, app: &App, channel: &ChannelName, now_ms: u64) -> Result<(), Box<Problem>> {
        if now_ms >= self.expires_ms.saturating_add(EXPIRY_GRACE_MS) {
            let detail = "The token of this subscription has expired; subscribe again with a new one.";
            return Err(Box::new(Problem::new(ErrorCode::TokenExpired, detail)));
        }
        if !renew_ceiling(&mut self.subject, app, now_ms) {
            let detail = "Who signed the token of this subscription may not sign any more.";
            return Err(Box::new(Problem::new(ErrorCode::TokenRevoked, detail)));
        }
        if is_revoked(app, &self.subject) {
            let detail = "The token of this subscription is revoked; subscribe again with a new one, if you still may.";
            return Err(Box::new(Problem::new(ErrorCode::TokenRevoked, detail)));
        }
        decide(app, &self.subject, Operation::Subscribe, channel).map(drop).map_err(|refusal| Box::new(refusal.into()))
    }
}

/// The tokens of a connection's subscriptions, of those that have one.
#[derive(Debug, Default)]
pub(super) struct HeldTokens(BTreeMap<ChannelName, Held>);

impl HeldTokens {
    pub(super) fn get(&self, channel: &ChannelName) -> Option<&Held> {
        self.0.get(channel)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&ChannelName, &Held)> {
        self.0.iter()
    }

    pub(super) fn insert(&mut self, channel: ChannelName, held: Held) {
        self.0.insert(channel, held);
    }

    pub(super) fn remove(&mut self, channel: &ChannelName) {
        self.0.remove(channel);
    }

    /// What the channel's own token says; `None` where it has none.
    pub(super) fn recheck(
        &mut self,
        app: &App,
        channel: &ChannelName,
        now_ms: u64,
    ) -> Option<Result<(), Box<Problem>>> {
        self.0.get_mut(channel).map(|held| held.recheck(app, channel, now_ms))
    }

    /// The connection's limits are others now.
    pub(super) fn set_limits(&mut self, limits: Option<&Limits>) {
        for held in self.0.values_mut() {
            if let Subject::Client(client) = Arc::make_mut(&mut held.subject) {
                client.limits = limits.cloned().map(Box::new);
            }
        }
    }

    /// When time alone ends the first of them.
    pub(super) fn ends_ms(&self, app: &App) -> Option<u64> {
        let ends = |held: &Held| {
            let grace = held.expires_ms.saturating_add(EXPIRY_GRACE_MS);
            let signer = ceiling(&held.subject).and_then(|ceiling| signer_ends_ms(app, ceiling));
            signer.map_or(grace, |signer| signer.min(grace))
        };
        self.0.values().map(ends).min()
    }
}
