use super::*;

const CHANNEL: &str = "room:9";

fn at(seq: u64) -> Position {
    Position { lineage: "aaaa".into(), seq }
}

fn publish(seq: u64) -> Publish {
    Publish {
        publisher: "p".into(),
        channel: CHANNEL.into(),
        payload: Payload::of(&seq.to_be_bytes()),
        outcome: Outcome::Acked(at(seq)),
    }
}

fn message(seq: u64) -> Seen {
    Seen::Message { seq, id: format!("msg_{seq}"), payload: Payload::of(&seq.to_be_bytes()) }
}

/// Ten acknowledged publishes.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new();
    (1..=10).for_each(|seq| ledger.publish(publish(seq)));
    ledger
}

fn journal(seen: impl IntoIterator<Item = Seen>) -> Journal {
    let mut journal = Journal::new("ann", CHANNEL);
    journal.seen.extend(seen);
    journal
}

/// Whether exactly this breach is found, once.
macro_rules! assert_caught {
    ($ledger:expr, $seen:expr, $breach:pat) => {{
        let violations = $ledger.check_settled(&[journal($seen)]).expect_err("nothing was found");
        assert!(matches!(violations.as_slice(), [Violation { breach: $breach, .. }]), "{violations:?}");
    }};
}

#[test]
fn a_contiguous_run_is_clean() {
    let seen = [Seen::Subscribed(at(0))].into_iter().chain((1..=10).map(message));
    let summary = ledger().check_settled(&[journal(seen), journal([Seen::Subscribed(at(10))])]);
    assert_eq!(summary, Ok(Summary { acked: 10, delivered: 10 }));
}

#[test]
fn a_skipped_message_is_a_loss() {
    let seen = [Seen::Subscribed(at(7)), message(8), message(10)];
    assert_caught!(ledger(), seen, Breach::Lost { expected: 9, seen: 10 });
}

#[test]
fn a_repeated_message_is_caught() {
    let seen = [Seen::Subscribed(at(7)), message(8), message(9), message(9), message(10)];
    assert_caught!(ledger(), seen, Breach::Repeated { expected: 10, seen: 9 });
}

#[test]
fn a_message_after_the_end_of_a_subscription_is_caught() {
    assert_caught!(ledger(), [Seen::Subscribed(at(9)), Seen::Ended, message(10), Seen::Ended], Breach::Unasked(10));
}

#[test]
fn a_lost_tail_is_caught_when_all_is_quiet() {
    let seen = [Seen::Subscribed(at(7)), message(8)];
    assert!(ledger().check(&[journal(seen.clone())]).is_ok());
    assert_caught!(ledger(), seen, Breach::Behind { top: 10, .. });
}

#[test]
fn another_payload_at_a_place_is_caught() {
    let wrong = Seen::Message { seq: 10, id: "msg_10".into(), payload: Payload::of(&9_u64.to_be_bytes()) };
    assert_caught!(ledger(), [Seen::Subscribed(at(9)), wrong], Breach::Differs(_));
}

#[test]
fn what_nobody_published_is_a_stranger() {
    let wrong = Seen::Message { seq: 10, id: "msg_10".into(), payload: Payload::of(b"of another tenant") };
    assert_caught!(ledger(), [Seen::Subscribed(at(9)), wrong], Breach::Stranger(_));
}

#[test]
fn a_refused_publish_never_appears() {
    let mut ledger = ledger();
    ledger.publish(Publish { outcome: Outcome::Nacked, ..publish(11) });
    assert_caught!(ledger, [Seen::Subscribed(at(10)), message(11)], Breach::Ghost(_));
}

#[test]
fn an_uncertain_publish_may_appear_once() {
    let mut ledger = ledger();
    ledger.publish(Publish { outcome: Outcome::Unknown, ..publish(11) });
    assert!(ledger.check_settled(&[journal([Seen::Subscribed(at(10)), message(11)])]).is_ok());
    let again = Seen::Message { seq: 12, id: "msg_11".into(), payload: Payload::of(&11_u64.to_be_bytes()) };
    assert_caught!(ledger, [Seen::Subscribed(at(10)), message(11), again], Breach::Twice { .. });
}

#[test]
fn a_publishers_messages_keep_their_order() {
    let mut ledger = ledger();
    ledger.publish(Publish { payload: Payload::of(b"first"), ..publish(12) });
    ledger.publish(Publish { payload: Payload::of(b"second"), ..publish(11) });
    assert_caught!(ledger, [], Breach::Reordered { .. });
}

#[test]
fn subscribers_agree_on_what_was_uncertain() {
    let mut ledger = ledger();
    for text in ["one", "two"] {
        ledger.publish(Publish { outcome: Outcome::Unknown, payload: Payload::of(text.as_bytes()), ..publish(11) });
    }
    let saw = |text: &str| {
        let message = Seen::Message { seq: 11, id: text.into(), payload: Payload::of(text.as_bytes()) };
        journal([Seen::Subscribed(at(10)), message])
    };
    assert!(ledger.check(&[saw("one"), saw("one")]).is_ok());
    let violations = ledger.check(&[saw("one"), saw("two")]).expect_err("they differ");
    assert!(matches!(violations.as_slice(), [Violation { breach: Breach::Differs(_), .. }]), "{violations:?}");
}

#[test]
fn a_recovery_delivers_what_was_missed() {
    let resumed = Seen::Recovered { from: at(3), to: at(10) };
    let whole = [Seen::Subscribed(at(2)), message(3), Seen::Ended, resumed.clone()];
    let whole = whole.into_iter().chain((4..=10).map(message));
    assert!(ledger().check_settled(&[journal(whole)]).is_ok());
    let holed = [Seen::Subscribed(at(2)), message(3), Seen::Ended, resumed, message(10)];
    assert_caught!(ledger(), holed, Breach::Lost { expected: 4, .. });
}

#[test]
fn a_recovery_into_another_lineage_is_a_lie() {
    let other = Position { lineage: "bbbb".into(), seq: 10 };
    assert_caught!(ledger(), [Seen::Recovered { from: at(10), to: other }], Breach::Unjustified { reason: None, .. });
}

#[test]
fn a_failed_recovery_needs_a_true_reason() {
    let failed = |reason| [Seen::NotRecovered { from: at(3), to: at(10), reason }];
    let facts = [
        (Reason::Truncated, Fact::Trimmed(at(4))),
        (Reason::EpochChanged, Fact::LineageEnded("aaaa".into())),
        (Reason::Diverged, Fact::LineageEnded("aaaa".into())),
        (Reason::Denied, Fact::HistoryDenied),
        (Reason::TooOld, Fact::Expired(at(3))),
    ];
    for (reason, fact) in facts {
        assert_caught!(ledger(), failed(reason), Breach::Unjustified { .. });
        let mut ledger = ledger();
        ledger.fact(CHANNEL, fact);
        assert!(ledger.check_settled(&[journal(failed(reason))]).is_ok(), "{reason:?}");
    }
    let mut ledger = ledger();
    ledger.fact(CHANNEL, Fact::Trimmed(at(3)));
    assert_caught!(ledger, failed(Reason::Truncated), Breach::Unjustified { .. });
}

#[test]
fn the_place_to_resume_from_is_the_last_one_seen() {
    let seen = [Seen::Subscribed(at(2)), message(3), Seen::Ended];
    assert_eq!(journal(seen).position(), Some(at(3)));
    assert_eq!(Position::parse("k3.Zx.13"), Some(Position { lineage: "k3.Zx".into(), seq: 13 }));
    assert_eq!(Position::parse("13"), None);
}

#[test]
fn a_log_that_goes_on_under_another_lineage_is_the_same_up_to_there() {
    let there = |seq| Position { lineage: "bbbb".into(), seq };
    let goes_on = |to: u64| {
        let seen = [Seen::Subscribed(at(8)), message(9), message(10), Seen::Continued { from: at(10), to: there(to) }];
        journal(seen.into_iter().chain([message(to + 1)]))
    };
    let reads_all = journal([Seen::Subscribed(there(8))].into_iter().chain((9..=11).map(message)));
    let mut ledger = ledger();
    ledger.publish(Publish { outcome: Outcome::Acked(there(11)), ..publish(11) });
    let clean = ledger.check_settled(&[goes_on(10), reads_all]);
    assert_eq!(clean, Ok(Summary { acked: 11, delivered: 6 }));
    // What was acknowledged at 9 is not what stands there now, which nobody was told.
    let other = Seen::Message { seq: 9, id: "msg_11".into(), payload: Payload::of(&11_u64.to_be_bytes()) };
    let rewound = journal([Seen::Subscribed(there(8)), other]);
    let violations = ledger.check(&[goes_on(10), rewound]).expect_err("nothing was found");
    assert!(violations.iter().any(|one| matches!(one.breach, Breach::Differs(_))), "{violations:?}");
    let violations = ledger.check(&[goes_on(9)]).expect_err("nothing was found");
    assert!(violations.iter().any(|one| matches!(one.breach, Breach::Unjustified { .. })), "{violations:?}");
}
