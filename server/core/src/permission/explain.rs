//! Why: the formula layer by layer, for people who ask. [`decide`](super::decide) alone decides.

use super::{Ceiling, ClientSubject, Layer, Signer, block_of};
use crate::acl::{Effect, Rule};
use crate::app::AppStatus;
use crate::capability::{Capabilities, Operation};
use crate::channel::ChannelName;
use crate::id::RuleId;
use crate::pattern::Pattern;

/// What one layer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Which.
    pub layer: Layer,
    /// Whether it lets the operation pass.
    pub allows: bool,
    /// Why.
    pub because: Because,
}

/// Why a layer says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// It has nothing to say here.
    Unconcerned,
    /// The tenant's state decides.
    Tenant,
    /// This pattern of its capabilities gives the operation.
    Pattern(Pattern),
    /// No pattern of its capabilities does.
    NoPattern,
    /// This rule does, or takes it.
    Rule(RuleId),
    /// No rule allows it.
    NoAllow,
    /// No rule denies it.
    NoDeny,
}

/// Every layer's word on whether a client may do `operation` on `channel`, in the order of the formula: tenant, signer,
/// token, allow rules, deny rules. It may exactly if all of them allow it.
#[must_use]
pub fn explain(
    (status, rules): (AppStatus, &[Rule]),
    client: &ClientSubject,
    operation: Operation,
    channel: &ChannelName,
) -> Vec<Word> {
    let word = |layer, allows, because| Word { layer, allows, because };
    let giving = |capabilities: &Capabilities| {
        let entry = capabilities
            .entries()
            .iter()
            .find(|(pattern, operations)| operations.contains(operation) && pattern.matches(channel, client));
        entry.map(|(pattern, _)| pattern.clone())
    };
    let by_capabilities = |layer, capabilities: &Capabilities| match giving(capabilities) {
        Some(pattern) => word(layer, true, Because::Pattern(pattern)),
        None => word(layer, false, Because::NoPattern),
    };
    let matching = |effect| {
        rules.iter().find(|rule| {
            rule.effect == effect
                && rule.operations.contains(operation)
                && rule.who.covers(client.sub.as_deref(), &client.roles)
                && rule.pattern.matches(channel, client)
        })
    };
    let signer = match &client.ceiling {
        Some(Ceiling { signer: Signer::Key(_), capabilities }) => by_capabilities(Layer::Key, capabilities),
        Some(Ceiling { signer: Signer::Issuer(_), capabilities }) => by_capabilities(Layer::Issuer, capabilities),
        None => word(Layer::Key, true, Because::Unconcerned),
    };
    let (token, allowed) = match (&client.capabilities, matching(Effect::Allow)) {
        // Rules give to clients whose token has no capabilities of its own.
        (Some(cap), _) => (by_capabilities(Layer::Token, cap), word(Layer::Acl, true, Because::Unconcerned)),
        (None, Some(rule)) => {
            (word(Layer::Token, true, Because::Unconcerned), word(Layer::Acl, true, Because::Rule(rule.id)))
        }
        (None, None) => (word(Layer::Token, true, Because::Unconcerned), word(Layer::Acl, false, Because::NoAllow)),
    };
    let denied = match matching(Effect::Deny) {
        Some(rule) => word(Layer::Acl, false, Because::Rule(rule.id)),
        None => word(Layer::Acl, true, Because::NoDeny),
    };
    vec![word(Layer::Tenant, !status.blocks(block_of(operation)), Because::Tenant), signer, token, allowed, denied]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Who;
    use crate::app::{App, Block};
    use crate::capability::Operations;
    use crate::id::KeyId;
    use crate::permission::decide;
    use crate::{Refusal, Subject};

    /// Whatever the layers say, the explanation ends as the decision does, and names the same layer and rule.
    #[test]
    fn the_explanation_and_the_decision_agree_in_every_combination() {
        let channel = ChannelName::parse("room:9").expect("valid");
        let cap = |gives: bool| {
            let pattern = Pattern::parse(if gives { "room:*" } else { "hall:*" }).expect("valid");
            Capabilities::new(vec![(pattern, Operations::CLIENT)])
        };
        for bits in 0..256_u32 {
            let bit = |n: u32| bits & (1 << n) != 0;
            let mut app = App::for_tests();
            app.status = if bit(0) { AppStatus::Active } else { AppStatus::Suspended(Block::All) };
            app.rules = [(bit(1), Effect::Allow), (bit(2), Effect::Deny)]
                .into_iter()
                .filter(|(on, _)| *on)
                .map(|(_, effect)| Rule {
                    id: RuleId::new(effect as u64, 1),
                    pattern: Pattern::parse("room:{sub}").expect("valid"),
                    who: Who::Identified,
                    operations: Operations::CLIENT,
                    effect,
                })
                .collect();
            let ceiling = Ceiling { signer: Signer::Key(KeyId::new(1, 1)), capabilities: cap(bit(4)) };
            let client = ClientSubject {
                sub: bit(3).then(|| "9".into()),
                ceiling: bit(5).then_some(ceiling),
                capabilities: bit(6).then(|| cap(bit(7))),
                ..ClientSubject::default()
            };
            let words = explain((app.status, &app.rules), &client, Operation::Publish, &channel);
            let subject = Subject::Client(Box::new(client));
            let refused = words.iter().find(|word| !word.allows);
            match decide(&app, &subject, Operation::Publish, &channel) {
                Ok(_) => assert_eq!(refused, None, "{bits:08b}"),
                Err(refusal) => {
                    let word = refused.unwrap_or_else(|| panic!("{bits:08b}: nothing refuses but {refusal}"));
                    let rule = match &word.because {
                        Because::Rule(rule) => Some(*rule),
                        _ => None,
                    };
                    assert_eq!((word.layer, rule), (refusal.layer(), refusal.rule()), "{bits:08b}");
                    assert!(refusal != Refusal::Tenant || word.because == Because::Tenant);
                }
            }
        }
    }
}
