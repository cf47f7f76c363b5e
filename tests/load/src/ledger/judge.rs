//! The judgement itself: the log from what was acknowledged, then each journal against it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;

use super::{Fact, Journal, Ledger, Log, Outcome, Payload, Position, Reason, Seen, Summary};

/// A broken promise: where, towards whom, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The channel.
    pub channel: String,
    /// The subscriber, or the publisher, to whom it was broken.
    pub who: String,
    /// What was broken.
    pub breach: Breach,
}

/// The promises that can be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// Messages were skipped in silence.
    Lost {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        seen: u64,
    },
    /// A message came again, or after a later one.
    Repeated {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        seen: u64,
    },
    /// A message came to somebody without a subscription.
    Unasked(u64),
    /// Two sources disagree on what stands at a place.
    Differs(Position),
    /// A refused publish was delivered.
    Ghost(Position),
    /// Something nobody published on this channel was delivered.
    Stranger(Position),
    /// One id stands at two places.
    Twice {
        /// The one.
        first: Position,
        /// The other.
        second: Position,
    },
    /// A publisher's messages stand in another order than it sent them.
    Reordered {
        /// Where what it sent first stands.
        earlier: Position,
        /// Where what it sent next stands.
        later: Position,
    },
    /// A failed recovery that nothing explains, or, without a reason, a "recovery" into another history.
    Unjustified {
        /// The client's position.
        from: Position,
        /// The fence it got.
        to: Position,
        /// What the server said.
        reason: Option<Reason>,
    },
    /// Everything is quiet and a subscriber still lacks acknowledged messages.
    Behind {
        /// The last message it has.
        has: Position,
        /// The last one acknowledged.
        top: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} on {}: {:?}", self.who, self.channel, self.breach)
    }
}

pub(super) fn judge(ledger: &Ledger, journals: &[Journal]) -> Result<Summary, Vec<Violation>> {
    let mut violations = Vec::new();
    let mut logs = logs_of(ledger, &mut violations);
    let known: HashSet<_> =
        ledger.publishes.iter().map(|publish| (publish.channel.as_str(), publish.payload)).collect();
    let (mut delivered, mut moves) = (0, HashSet::new());
    for journal in journals {
        let facts = ledger.facts.get(&journal.channel).map_or(&[][..], Vec::as_slice);
        let log = logs.entry(journal.channel.clone()).or_default();
        delivered +=
            Court { journal, facts, log, known: &known, violations: &mut violations, moves: &mut moves }.follow();
    }
    moved(&logs, &moves, &mut violations);
    let acked = ledger.publishes.iter().filter(|publish| matches!(publish.outcome, Outcome::Acked(_))).count();
    if violations.is_empty() { Ok(Summary { acked, delivered }) } else { Err(violations) }
}

/// Who, still subscribed, lacks acknowledged messages of the lineage it is in.
pub(super) fn behind(ledger: &Ledger, journals: &[Journal]) -> Vec<Violation> {
    let mut tops: HashMap<(&str, &str), u64> = HashMap::new();
    for publish in &ledger.publishes {
        if let Outcome::Acked(at) = &publish.outcome {
            let top = tops.entry((&publish.channel, &at.lineage)).or_default();
            *top = at.seq.max(*top);
        }
    }
    let subscribed = journals.iter().filter(|journal| !matches!(journal.seen.last(), None | Some(Seen::Ended)));
    subscribed
        .filter_map(|journal| {
            let has = journal.position()?;
            let top = *tops.get(&(journal.channel.as_str(), has.lineage.as_str()))?;
            (has.seq < top).then(|| Violation {
                channel: journal.channel.clone(),
                who: journal.subscriber.clone(),
                breach: Breach::Behind { has, top },
            })
        })
        .collect()
}

/// Each channel's log by its acknowledgements, which must not contradict each other.
fn logs_of(ledger: &Ledger, violations: &mut Vec<Violation>) -> HashMap<String, Log> {
    let mut logs: HashMap<String, Log> = HashMap::new();
    let mut last: HashMap<(&str, &str, &str), &Position> = HashMap::new();
    for publish in &ledger.publishes {
        let log = logs.entry(publish.channel.clone()).or_default();
        let at = match &publish.outcome {
            Outcome::Acked(at) => at,
            Outcome::Nacked => {
                log.nacked.insert(publish.payload);
                continue;
            }
            Outcome::Unknown => continue,
        };
        let mut breach = |breach| {
            violations.push(Violation { channel: publish.channel.clone(), who: publish.publisher.clone(), breach });
        };
        if log.entries.insert(at.clone(), publish.payload).is_some_and(|there| there != publish.payload) {
            breach(Breach::Differs(at.clone()));
        }
        // A retry with the same id is answered with the place of the first try: it may equal, not precede.
        match last.entry((&publish.publisher, &publish.channel, &at.lineage)) {
            Entry::Occupied(earlier) if earlier.get().seq > at.seq => {
                breach(Breach::Reordered { earlier: (*earlier.get()).clone(), later: at.clone() });
            }
            entry => {
                entry.insert_entry(at);
            }
        }
    }
    logs
}

/// A journal and what it is judged by.
struct Court<'a> {
    journal: &'a Journal,
    facts: &'a [Fact],
    log: &'a mut Log,
    known: &'a HashSet<(&'a str, Payload)>,
    violations: &'a mut Vec<Violation>,
    moves: &'a mut HashSet<Move>,
}

/// Somebody was told that what stands up to `from` stands there under another lineage too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Move {
    channel: String,
    who: String,
    from: Position,
    to: Position,
}

/// What is known of both lineages must be the same up to where one was left for the other.
fn moved(logs: &HashMap<String, Log>, moves: &HashSet<Move>, violations: &mut Vec<Violation>) {
    for Move { channel, who, from, to } in moves {
        let Some(log) = logs.get(channel) else { continue };
        for places in log.ids.values() {
            let of = |lineage: &str| places.iter().find(|place| place.lineage == lineage);
            if let (Some(first), Some(second)) = (of(&from.lineage), of(&to.lineage))
                && first.seq <= from.seq
                && first.seq != second.seq
            {
                let breach = Breach::Twice { first: first.clone(), second: second.clone() };
                violations.push(Violation { channel: channel.clone(), who: who.clone(), breach });
            }
        }
        for seq in 1..=from.seq {
            let at = |lineage: &str| log.entries.get(&Position { lineage: lineage.to_owned(), seq });
            if let (Some(before), Some(after)) = (at(&from.lineage), at(&to.lineage))
                && before != after
            {
                let breach = Breach::Differs(Position { lineage: to.lineage.clone(), seq });
                violations.push(Violation { channel: channel.clone(), who: who.clone(), breach });
            }
        }
    }
}

impl Court<'_> {
    /// Walks the journal and returns how many deliveries it holds.
    fn follow(&mut self) -> usize {
        let mut at: Option<Position> = None;
        let mut delivered = 0;
        for seen in &self.journal.seen {
            match seen {
                Seen::Subscribed(fence) => at = Some(fence.clone()),
                Seen::Recovered { from, to } => {
                    if from.lineage != to.lineage || from.seq > to.seq {
                        self.breach(Breach::Unjustified { from: from.clone(), to: to.clone(), reason: None });
                    }
                    at = Some(from.clone());
                }
                Seen::Continued { from, to } => {
                    if from.seq != to.seq {
                        self.breach(Breach::Unjustified { from: from.clone(), to: to.clone(), reason: None });
                    }
                    let Journal { channel, subscriber: who, .. } = self.journal;
                    let (channel, who, from, to_there) = (channel.clone(), who.clone(), from.clone(), to.clone());
                    self.moves.insert(Move { channel, who, from, to: to_there });
                    at = Some(to.clone());
                }
                Seen::NotRecovered { from, to, reason } => {
                    if !is_justified(self.facts, from, *reason) {
                        let reason = Some(*reason);
                        self.breach(Breach::Unjustified { from: from.clone(), to: to.clone(), reason });
                    }
                    at = Some(to.clone());
                }
                Seen::Message { seq, id, payload } => {
                    delivered += 1;
                    self.message(at.as_mut(), *seq, id, *payload);
                }
                Seen::Ended => at = None,
            }
        }
        delivered
    }

    fn message(&mut self, at: Option<&mut Position>, seen: u64, id: &str, payload: Payload) {
        let Some(last) = at else { return self.breach(Breach::Unasked(seen)) };
        let expected = last.seq + 1;
        if seen > expected {
            self.breach(Breach::Lost { expected, seen });
        } else if seen < expected {
            self.breach(Breach::Repeated { expected, seen });
        }
        last.seq = last.seq.max(seen);
        self.enter(Position { lineage: last.lineage.clone(), seq: seen }, id, payload);
    }

    /// Compares a delivery with the log, and adds it where the log knows nothing yet.
    fn enter(&mut self, at: Position, id: &str, payload: Payload) {
        if self.log.nacked.contains(&payload) {
            return self.breach(Breach::Ghost(at));
        }
        if !self.known.contains(&(self.journal.channel.as_str(), payload)) {
            return self.breach(Breach::Stranger(at));
        }
        if *self.log.entries.entry(at.clone()).or_insert(payload) != payload {
            return self.breach(Breach::Differs(at));
        }
        // Under each lineage an id stands at one place; whether two lineages have it at the same is judged at the end.
        let places = self.log.ids.entry(id.to_owned()).or_default();
        match places.iter().find(|place| place.lineage == at.lineage).cloned() {
            Some(first) if first != at => self.breach(Breach::Twice { first, second: at }),
            Some(_) => {}
            None => places.push(at),
        }
    }

    fn breach(&mut self, breach: Breach) {
        let (channel, who) = (self.journal.channel.clone(), self.journal.subscriber.clone());
        self.violations.push(Violation { channel, who, breach });
    }
}

fn is_justified(facts: &[Fact], from: &Position, reason: Reason) -> bool {
    facts.iter().any(|fact| match (reason, fact) {
        (Reason::EpochChanged | Reason::Diverged, Fact::LineageEnded(lineage)) => *lineage == from.lineage,
        // Something after the position must be gone, or nothing was lost.
        (Reason::Truncated, Fact::Trimmed(upto)) => upto.lineage == from.lineage && from.seq < upto.seq,
        (Reason::TooOld, Fact::Expired(upto)) => upto.lineage == from.lineage && from.seq <= upto.seq,
        (Reason::Denied, Fact::HistoryDenied) => true,
        _ => false,
    })
}
