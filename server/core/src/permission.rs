//! The formula of who may do what:
//!
//! `allowed = tenant active ∧ ceiling of key or issuer ∧ (cap, else an allow rule) ∧ no deny rule`
//!
//! Every refusal names the layer that refused and, where there is one, the rule.

mod explain;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::acl::{Effect, Rule};
use crate::app::{App, Block};
use crate::capability::{Capabilities, Operation};
use crate::channel::{ChannelKey, ChannelName};
use crate::codes::ErrorCode;
use crate::id::{AppId, IssuerId, KeyId, RuleId};
use crate::inspection::Inspector;
use crate::limits::{Limit, LimitValue, Limits};
use crate::pattern::Claims;

pub use explain::{Because, Word, explain};

/// Who asks, as far as permissions care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A backend that calls REST with a key: it answers to the key's capabilities alone, rules are for clients.
    Key {
        /// The key.
        id: KeyId,
        /// What it may do.
        capabilities: Capabilities,
    },
    /// A client, with or without a token.
    Client(Box<ClientSubject>),
    /// A member of the tenant who looks at the app through the dashboard. Neither capabilities nor rules concern them.
    Inspector(Box<Inspector>),
}

/// What a client's token says; all empty for a client without one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientSubject {
    /// The token's `sub`.
    pub sub: Option<Box<str>>,
    /// Roles it names.
    pub roles: Vec<Box<str>>,
    /// `ff.cap`.
    pub capabilities: Option<Capabilities>,
    /// Who signed it and what that signer may hand on; `None` without a token.
    pub ceiling: Option<Ceiling>,
    /// Other text claims, for `{claim}` in patterns.
    pub claims: Vec<(Box<str>, Box<str>)>,
    /// What the token is known by when it is revoked.
    pub marks: Marks,
    /// `ff.limits`: limits of one connection that the token lowers.
    pub limits: Option<Box<Limits>>,
    /// `ff.meta`: a JSON object that backends may see, and no client.
    pub meta: Option<Box<str>>,
}

/// Who signed a token, and what it may hand on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// The signer.
    pub signer: Signer,
    /// What its tokens may do at most.
    pub capabilities: Capabilities,
}

/// Who signs tokens of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signer {
    /// A key of the app.
    Key(KeyId),
    /// An issuer that the app trusts.
    Issuer(IssuerId),
}

impl Signer {
    const fn refuses(self, operation: Operation) -> Refusal {
        match self {
            Self::Key(key) => Refusal::Key { key, operation },
            Self::Issuer(issuer) => Refusal::Issuer { issuer, operation },
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(out, "key {key}"),
            Self::Issuer(issuer) => write!(out, "issuer {issuer}"),
        }
    }
}

/// What a token can be revoked by, beside its user and its signer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// `jti`: the token's own id, at most 128 bytes.
    pub id: Option<Box<str>>,
    /// `iat`: when it was issued, Unix milliseconds. A token that does not say may be as old as a token can be.
    pub issued_ms: Option<u64>,
    /// `ff.labels`: at most 16 texts of 1 to 64 bytes.
    pub labels: Box<[Box<str>]>,
}

impl Claims for ClientSubject {
    fn claim(&self, name: &str) -> Option<&str> {
        if name == "sub" {
            return self.sub.as_deref();
        }
        self.claims.iter().find(|(claim, _)| **claim == *name).map(|(_, value)| &**value)
    }
}

impl Claims for Subject {
    fn claim(&self, name: &str) -> Option<&str> {
        match self {
            Self::Key { .. } | Self::Inspector(_) => None,
            Self::Client(client) => client.claim(name),
        }
    }
}

impl Subject {
    /// The user, where there is one.
    #[must_use]
    pub fn sub(&self) -> Option<&str> {
        match self {
            Self::Key { .. } | Self::Inspector(_) => None,
            Self::Client(client) => client.sub.as_deref(),
        }
    }

    /// The limits of the app as they hold for this subject.
    #[must_use]
    pub fn limits(&self, app: &Limits) -> Limits {
        self.own_limits().map_or_else(|| app.clone(), |own| app.clone().lowered_by(own))
    }

    /// A limit of the app as it holds for this subject: a token may lower it, never raise it.
    #[must_use]
    pub fn limit(&self, app: &Limits, limit: Limit) -> LimitValue {
        let value = app.get(limit);
        self.own_limits().filter(|own| own.is_set(limit)).map_or(value, |own| value.min(own.get(limit)))
    }

    /// The limits that its token lowers.
    #[must_use]
    pub fn own_limits(&self) -> Option<&Limits> {
        match self {
            Self::Client(client) => client.limits.as_deref(),
            Self::Key { .. } | Self::Inspector(_) => None,
        }
    }
}

/// The layer that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The tenant is suspended or deleted.
    #[error("the tenant is blocked from this")]
    Tenant,
    /// The key, or the key that signed the token, does not have the operation on this channel.
    #[error("key {key} does not have {operation} on this channel")]
    Key {
        /// Which key.
        key: KeyId,
        /// What was wanted.
        operation: Operation,
    },
    /// The issuer of the token may not hand on the operation on this channel.
    #[error("issuer {issuer} may not give {operation} on this channel")]
    Issuer {
        /// Which issuer.
        issuer: IssuerId,
        /// What was wanted.
        operation: Operation,
    },
    /// The token's `cap` does not give the operation on this channel.
    #[error("the token's cap does not give {operation} on this channel")]
    Token {
        /// What was wanted.
        operation: Operation,
    },
    /// The token of a member who looks was not made for this.
    #[error("a token of the dashboard lets look, and do the one thing it was made for; {operation} here is neither")]
    Inspector {
        /// What was wanted.
        operation: Operation,
    },
    /// The token has no `cap` and no rule of the app's ACL allows it.
    #[error("no rule of the app's ACL allows {operation} on this channel")]
    NoRule {
        /// What was wanted.
        operation: Operation,
    },
    /// A deny rule of the app's ACL forbids it.
    #[error("rule {rule} of the app's ACL denies {operation} on this channel")]
    Denied {
        /// Which rule.
        rule: RuleId,
        /// What was wanted.
        operation: Operation,
    },
}

/// The layers of the formula, as named in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The tenant's state.
    Tenant,
    /// The key that calls, or that signed the token.
    Key,
    /// The issuer that signed the token.
    Issuer,
    /// The token's `cap`.
    Token,
    /// The app's ACL.
    Acl,
}

impl Layer {
    /// All of them, in the order of the formula.
    pub const ALL: [Self; 5] = [Self::Tenant, Self::Key, Self::Issuer, Self::Token, Self::Acl];
}

impl Refusal {
    /// The layer that refused.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        match self {
            Self::Tenant => Layer::Tenant,
            Self::Key { .. } => Layer::Key,
            Self::Issuer { .. } => Layer::Issuer,
            Self::Token { .. } | Self::Inspector { .. } => Layer::Token,
            Self::NoRule { .. } | Self::Denied { .. } => Layer::Acl,
        }
    }

    /// The code it is told with.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Tenant => ErrorCode::SuspendedTenant,
            Self::Key { .. }
            | Self::Issuer { .. }
            | Self::Token { .. }
            | Self::Inspector { .. }
            | Self::NoRule { .. }
            | Self::Denied { .. } => ErrorCode::Forbidden,
        }
    }

    /// The rule that refused, if it was one.
    #[must_use]
    pub const fn rule(&self) -> Option<RuleId> {
        match self {
            Self::Denied { rule, .. } => Some(*rule),
            Self::Tenant
            | Self::Key { .. }
            | Self::Issuer { .. }
            | Self::Token { .. }
            | Self::Inspector { .. }
            | Self::NoRule { .. } => None,
        }
    }
}

/// Proof that an operation on a channel was allowed at some version of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    app: AppId,
    channel: ChannelName,
    operation: Operation,
}

impl Grant {
    /// What the hub and the broker are asked with.
    #[must_use]
    pub fn channel_key(self) -> ChannelKey {
        ChannelKey::new(self.app, self.channel)
    }

    /// What was allowed.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.operation
    }
}

/// Decides whether `subject` may do `operation` on `channel` of `app`.
///
/// # Errors
/// The first layer that refuses.
pub fn decide(app: &App, subject: &Subject, operation: Operation, channel: &ChannelName) -> Result<Grant, Refusal> {
    match subject {
        Subject::Inspector(inspector) => inspector.decide(app, operation, channel)?,
        _ if app.status.blocks(block_of(operation)) => return Err(Refusal::Tenant),
        Subject::Key { id, capabilities } => {
            if !capabilities.on(channel, subject).contains(operation) {
                return Err(Refusal::Key { key: *id, operation });
            }
        }
        Subject::Client(client) => decide_client(app, client, operation, channel)?,
    }
    Ok(Grant { app: app.id, channel: channel.clone(), operation })
}

fn decide_client(
    app: &App,
    client: &ClientSubject,
    operation: Operation,
    channel: &ChannelName,
) -> Result<(), Refusal> {
    if let Some(Ceiling { signer, capabilities }) = &client.ceiling
        && !capabilities.on(channel, client).contains(operation)
    {
        return Err(signer.refuses(operation));
    }
    if let Some(cap) = &client.capabilities
        && !cap.on(channel, client).contains(operation)
    {
        return Err(Refusal::Token { operation });
    }
    decide_by_rules(&app.rules, client, operation, channel)
}

/// The rules' part of the decision, for a client that everything before them lets pass: with a `cap` only deny rules
/// count, without one an allow rule is needed too.
///
/// # Errors
/// That no rule allows it, or the rule that denies it.
pub fn decide_by_rules(
    rules: &[Rule],
    client: &ClientSubject,
    operation: Operation,
    channel: &ChannelName,
) -> Result<(), Refusal> {
    let matching = |effect| {
        rules.iter().find(|rule| {
            rule.effect == effect
                && rule.operations.contains(operation)
                && rule.who.covers(client.sub.as_deref(), &client.roles)
                && rule.pattern.matches(channel, client)
        })
    };
    if client.capabilities.is_none() && matching(Effect::Allow).is_none() {
        return Err(Refusal::NoRule { operation });
    }
    match matching(Effect::Deny) {
        Some(rule) => Err(Refusal::Denied { rule: rule.id, operation }),
        None => Ok(()),
    }
}

/// Which block of a suspended tenant stops an operation: publishing has its own, everything else needs to be connected.
const fn block_of(operation: Operation) -> Block {
    match operation {
        Operation::Publish => Block::Publish,
        Operation::Subscribe | Operation::Presence | Operation::PresenceRead | Operation::History => Block::Connect,
        Operation::Sign | Operation::Manage | Operation::Stats => Block::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Who;
    use crate::app::AppStatus;
    use crate::capability::Operations;
    use crate::pattern::Pattern;

    fn capabilities(pattern: &str, operations: Operations) -> Capabilities {
        Capabilities::new(vec![(Pattern::parse(pattern).expect(pattern), operations)])
    }

    fn rule(effect: Effect, n: u128) -> Rule {
        Rule {
            id: RuleId::new(n as u64, n),
            pattern: Pattern::parse("room:*").expect("valid"),
            who: Who::Everyone,
            operations: Operations::CLIENT,
            effect,
        }
    }

    /// Every combination of the layers against the formula, written a second time.
    #[test]
    fn the_formula_holds_for_every_combination_of_layers() {
        let channel = ChannelName::parse("room:9").expect("valid");
        let key = KeyId::new(1, 1);
        for bits in 0..64_u32 {
            let bit = |n: u32| bits & (1 << n) != 0;
            let (active, has_cap, cap_gives, ceiling_gives, allow, deny) =
                (bit(0), bit(1), bit(2), bit(3), bit(4), bit(5));
            let mut app = App::for_tests();
            app.status = if active { AppStatus::Active } else { AppStatus::Suspended(Block::All) };
            app.rules = [(allow, Effect::Allow), (deny, Effect::Deny)]
                .into_iter()
                .filter(|(on, _)| *on)
                .map(|(_, effect)| rule(effect, 1 + effect as u128))
                .collect();
            let pattern = |gives| if gives { "room:*" } else { "other" };
            let subject = Subject::Client(Box::new(ClientSubject {
                capabilities: has_cap.then(|| capabilities(pattern(cap_gives), Operations::CLIENT)),
                ceiling: Some(Ceiling {
                    signer: Signer::Key(key),
                    capabilities: capabilities(pattern(ceiling_gives), Operations::ALL),
                }),
                ..ClientSubject::default()
            }));
            let operation = Operation::Publish;
            let expected = if !active {
                Err(Refusal::Tenant)
            } else if !ceiling_gives {
                Err(Refusal::Key { key, operation })
            } else if has_cap && !cap_gives {
                Err(Refusal::Token { operation })
            } else if !has_cap && !allow {
                Err(Refusal::NoRule { operation })
            } else if deny {
                Err(Refusal::Denied { rule: rule(Effect::Deny, 2).id, operation })
            } else {
                Ok(())
            };
            let got = decide(&app, &subject, operation, &channel).map(|_| ());
            assert_eq!(got, expected, "{bits:06b}");
        }
    }

    #[test]
    fn a_token_lowers_limits_and_never_raises_them() {
        let mut app = Limits::default();
        app.set(Limit::Subscriptions, LimitValue::count(5));
        let mut own = Limits::default();
        own.set(Limit::Subscriptions, LimitValue::count(9));
        own.set(Limit::PublishConnection, LimitValue::rate(2, 3));
        let client = ClientSubject { limits: Some(Box::new(own)), ..ClientSubject::default() };
        let subject = Subject::Client(Box::new(client));
        assert_eq!(subject.limit(&app, Limit::Subscriptions), LimitValue::count(5));
        assert_eq!(subject.limit(&app, Limit::PublishConnection), LimitValue::rate(2, 3));
        assert_eq!(subject.limit(&app, Limit::MessageBytes), Limit::MessageBytes.safety());
    }

    #[test]
    fn a_key_answers_to_its_own_capabilities_and_not_to_rules() {
        let mut app = App::for_tests();
        app.rules = vec![rule(Effect::Deny, 1)];
        let key = |pattern| Subject::Key { id: KeyId::new(1, 1), capabilities: capabilities(pattern, Operations::ALL) };
        let channel = ChannelName::parse("room:9").expect("valid");
        assert!(decide(&app, &key("room:*"), Operation::Publish, &channel).is_ok());
        assert!(decide(&app, &key("hall:*"), Operation::Publish, &channel).is_err());
    }
}
