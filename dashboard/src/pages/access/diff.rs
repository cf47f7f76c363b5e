//! What is other between two versions of the rules.

use fanfare_api::acl::RuleView;
use fanfare_core::{Effect as Gives, Operation};
use leptos::prelude::*;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The newer has it, the older does not.
    Added(RuleView),
    /// The older has it, the newer does not.
    Removed(RuleView),
    /// The same rule says something else.
    Changed {
        /// In the older.
        from: RuleView,
        /// In the newer.
        to: RuleView,
    },
}

/// The differences from the older rules to the newer. Order does not matter; a rule that says the same under another id
/// is the same rule.
pub(super) fn differences(older: &[RuleView], newer: &[RuleView]) -> Vec<Change> {
    let mut added: Vec<&RuleView> = newer.iter().collect();
    let mut changes = Vec::new();
    let mut left = Vec::new();
    for from in older {
        match added.iter().position(|to| to.id == from.id) {
            Some(at) => {
                let to = added.remove(at);
                if !says_the_same(from, to) {
                    changes.push(Change::Changed { from: from.clone(), to: to.clone() });
                }
            }
            None => left.push(from),
        }
    }
    for from in left {
        match added.iter().position(|to| says_the_same(from, to)) {
            Some(at) => drop(added.remove(at)),
            None => changes.push(Change::Removed(from.clone())),
        }
    }
    changes.extend(added.into_iter().cloned().map(Change::Added));
    changes
}

fn says_the_same(one: &RuleView, other: &RuleView) -> bool {
    let said = |rule: &RuleView| (rule.pattern.clone(), rule.who.clone(), rule.operations, rule.effect);
    said(one) == said(other)
}

/// A rule in a line.
#[component]
pub(super) fn RuleText(rule: RuleView) -> impl IntoView {
    let words: Vec<&str> = rule.operations.iter().map(Operation::as_str).collect();
    let effect = match rule.effect {
        Gives::Allow => "Allow",
        Gives::Deny => "Deny",
    };
    view! { {format!("{effect} {} {} on ", rule.who, words.join(", "))}<code>{rule.pattern.to_string()}</code> }
}

/// The differences as a list.
#[component]
pub(super) fn Differences(changes: Vec<Change>) -> impl IntoView {
    let line = |class: &'static str, word: &'static str, rule: RuleView| {
        view! { <li class="change"><span class=class>{word}</span><span><RuleText rule=rule/></span></li> }
    };
    let items = changes.into_iter().flat_map(|change| match change {
        Change::Added(rule) => vec![line("badge badge-good", "Added", rule)],
        Change::Removed(rule) => vec![line("badge badge-bad", "Removed", rule)],
        Change::Changed { from, to } => {
            vec![line("badge badge-warn", "Was", from), line("badge badge-warn", "Becomes", to)]
        }
    });
    view! { <ul class="changes">{items.collect::<Vec<_>>()}</ul> }
}

#[cfg(test)]
mod tests {
    use fanfare_core::Operations;
    use fanfare_core::id::RuleId;
    use fanfare_core::{Pattern, Who};

    use super::*;

    fn rule(id: u64, pattern: &str) -> RuleView {
        RuleView {
            id: RuleId::new(id, 1),
            pattern: Pattern::parse(pattern).expect("a pattern"),
            who: Who::Everyone,
            operations: Operations::CLIENT,
            effect: Gives::Allow,
        }
    }

    #[test]
    fn only_what_rules_say_counts_and_not_their_order() {
        let (a, b, c) = (rule(1, "a"), rule(2, "b"), rule(3, "c"));
        assert_eq!(differences(&[a.clone(), b.clone()], &[b.clone(), a.clone()]), []);
        assert_eq!(differences(&[a.clone()], &[rule(9, "a")]), [], "made anew, it says the same");
        let other = rule(2, "b:*");
        let found = differences(&[a.clone(), b.clone()], &[other.clone(), c.clone()]);
        let expected = [Change::Changed { from: b, to: other }, Change::Removed(a), Change::Added(c)];
        assert_eq!(found, expected);
    }
}
