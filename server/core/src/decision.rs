//! What clients asked for and whether they were allowed to, as far as an app's rules have a say: kept for a day, so that
//! a change of the rules can be tried on what happened.
//!
//! Only what the rules decided is a decision. Where the tenant's state, the signer's ceiling or the token's `cap` refused,
//! the rules were not asked, and no change of them would have helped. A decision holds the few claims that rules of that
//! moment speak of, never a payload, a token or an address.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::acl::{self, Rule};
use crate::capability::{Capabilities, Operation};
use crate::channel::ChannelName;
use crate::permission::{ClientSubject, Refusal, decide_by_rules};

/// A client's question to the rules, and what they answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// The user; `None` for an anonymous client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<Box<str>>,
    /// Its roles, in the order of the alphabet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Box<str>>,
    /// Other claims, those that a rule named when it was decided.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<Box<str>, Box<str>>,
    /// Whether its token has a `cap`, so that only deny rules counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_cap: bool,
    /// What was asked for.
    pub asked: Asked,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// What a client asks the rules for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// To connect without a token: allowed if some rule gives anonymous clients anything.
    Connect,
    /// To do something on a channel.
    Channel {
        /// What.
        operation: Operation,
        /// Where.
        channel: ChannelName,
    },
}

impl Decision {
    /// What these rules answer to the same question.
    ///
    /// # Errors
    /// Why they refuse.
    pub fn judge(&self, rules: &[Rule]) -> Result<(), Refusal> {
        match &self.asked {
            Asked::Connect if acl::admits_anonymous(rules) => Ok(()),
            Asked::Connect => Err(Refusal::NoRule { operation: Operation::Subscribe }),
            Asked::Channel { operation, channel } => decide_by_rules(rules, &self.client(), *operation, channel),
        }
    }

    /// The client as far as rules look at it: what its `cap` says has let it pass, or it has none.
    fn client(&self) -> ClientSubject {
        ClientSubject {
            sub: self.sub.clone(),
            roles: self.roles.clone(),
            capabilities: self.has_cap.then(Capabilities::default),
            claims: self.claims.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            ..ClientSubject::default()
        }
    }
}

/// The claims that patterns of these rules name, but for `sub`, which every decision has.
#[must_use]
pub fn named_claims(rules: &[Rule]) -> BTreeSet<&str> {
    rules.iter().flat_map(|rule| rule.pattern.claims()).filter(|name| *name != "sub").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::{Effect, Who};
    use crate::capability::Operations;
    use crate::id::RuleId;
    use crate::pattern::Pattern;
    use crate::permission::{Subject, decide};
    use crate::{App, AppStatus};

    fn rule(n: u64, effect: Effect, who: Who, pattern: &str) -> Rule {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        Rule { id: RuleId::new(n, 1), pattern, who, operations: Operations::CLIENT, effect }
    }

    /// In every combination a decision that was recorded is judged as the client was that it came from.
    #[test]
    fn a_decision_is_judged_as_its_client_is() {
        let rules = [
            rule(1, Effect::Allow, Who::Identified, "room:*"),
            rule(2, Effect::Allow, Who::Role("staff".into()), "team:{team}"),
            rule(3, Effect::Deny, Who::User("ann".into()), "room:9"),
            rule(4, Effect::Allow, Who::Everyone, "own:{sub}"),
            rule(5, Effect::Deny, Who::Anonymous, "hall:*"),
        ];
        let cap = Capabilities::everything();
        for bits in 0..(1_u32 << 9) {
            let bit = |n: u32| bits & (1 << n) != 0;
            let kept = rules.iter().enumerate().filter(|(at, _)| bit(*at as u32)).map(|(_, rule)| rule.clone());
            let mut app = App::for_tests();
            app.status = AppStatus::Active;
            app.rules = kept.collect();
            let client = ClientSubject {
                sub: bit(5).then(|| "ann".into()),
                roles: if bit(6) { vec!["staff".into()] } else { Vec::new() },
                claims: if bit(7) { vec![("team".into(), "blue".into())] } else { Vec::new() },
                capabilities: bit(8).then(|| cap.clone()),
                ..ClientSubject::default()
            };
            for name in ["room:9", "team:blue", "own:ann", "hall:1"] {
                let (operation, channel) = (Operation::Publish, ChannelName::parse(name).expect("a name"));
                let subject = Subject::Client(Box::new(client.clone()));
                let decided = decide(&app, &subject, operation, &channel).map(drop);
                let decision = Decision {
                    sub: client.sub.clone(),
                    roles: client.roles.clone(),
                    claims: client.claims.iter().cloned().collect(),
                    has_cap: client.capabilities.is_some(),
                    asked: Asked::Channel { operation, channel },
                    allowed: decided.is_ok(),
                };
                assert_eq!(decision.judge(&app.rules), decided, "{bits:09b} {name}");
                let text = serde_json::to_string(&decision).expect("prints");
                assert_eq!(serde_json::from_str::<Decision>(&text).expect("reads"), decision, "{text}");
            }
        }
        assert_eq!(named_claims(&rules).into_iter().collect::<Vec<_>>(), ["team"]);
    }

    #[test]
    fn connecting_without_a_token_takes_a_rule_that_gives_anonymous_clients_something() {
        let connect = Decision {
            sub: None,
            roles: Vec::new(),
            claims: BTreeMap::new(),
            has_cap: false,
            asked: Asked::Connect,
            allowed: true,
        };
        assert!(connect.judge(&[rule(1, Effect::Allow, Who::Everyone, "demo:**")]).is_ok());
        assert!(connect.judge(&[rule(1, Effect::Allow, Who::Identified, "demo:**")]).is_err());
        assert!(connect.judge(&[rule(1, Effect::Deny, Who::Everyone, "demo:**")]).is_err());
    }
}
