//! Judges deliveries against what delivery promises: one total order per channel, and for each subscription a contiguous
//! run of it — no loss, no duplicate, no other order — until the server says otherwise, and then with a true reason.
//!
//! Publishers enter how each publish ended ([`Ledger::publish`]), subscribers write down what they saw, in order, in a
//! [`Journal`]; the test enters what it did to the server ([`Ledger::fact`]). [`Ledger::check`] compares them all and
//! returns every violation, not just the first. It knows nothing of sockets or time, so that it judges a simulation, a
//! real server and a load run alike.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

mod judge;

pub use judge::{Breach, Violation};

/// A place in a channel's order, as printed in acknowledgements: `<lineage>.<seq>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The data set's history that `seq` counts in; opaque.
    pub lineage: String,
    /// The number of the message, from 1.
    pub seq: u64,
}

impl Position {
    /// Reads a printed position.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (lineage, seq) = text.rsplit_once('.')?;
        Some(Self { lineage: lineage.to_owned(), seq: seq.parse().ok()? })
    }
}

/// A payload, small enough to keep by the million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Payload(u64);

impl Payload {
    /// The fingerprint of the payload's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// How a publish ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged at this place.
    Acked(Position),
    /// Refused: certainly not appended.
    Nacked,
    /// Nobody knows: appended or not.
    Unknown,
}

/// One publish, entered in the order in which its publisher sent it.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Whose order it belongs to.
    pub publisher: String,
    /// Where it went.
    pub channel: String,
    /// What was sent; unique in a test, or mix-ups stay unseen.
    pub payload: Payload,
    /// How it ended.
    pub outcome: Outcome,
}

/// Why a recovery may fail, as told by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The channel's history began anew.
    EpochChanged,
    /// The client saw a history that was lost.
    Diverged,
    /// Messages after the position are no longer kept.
    Truncated,
    /// The client has no right to history.
    Denied,
    /// The position is older than the server looks back.
    TooOld,
}

impl Reason {
    /// Reads the word of the protocol.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "epoch_changed" => Self::EpochChanged,
            "diverged" => Self::Diverged,
            "truncated" => Self::Truncated,
            "denied" => Self::Denied,
            "too_old" => Self::TooOld,
            _ => return None,
        })
    }
}

/// Something the test did that makes a failed recovery right.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Messages up to and including this one may be gone.
    Trimmed(Position),
    /// This lineage ended: a restart of a memory broker, a lost data set.
    LineageEnded(String),
    /// Clients may not read this channel's history.
    HistoryDenied,
    /// Positions of this lineage up to this one are older than the server looks back.
    Expired(Position),
}

/// What a subscriber saw of one channel, in the order in which it saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The fence: everything after it arrives.
    Subscribed(Position),
    /// Resumed from `from` without a gap; the fence is `to`, and everything between comes first.
    Recovered {
        /// The last message the client had.
        from: Position,
        /// The fence.
        to: Position,
    },
    /// Told that the log goes on under another lineage, with everything up to here.
    Continued {
        /// The last message the client had.
        from: Position,
        /// The same message under the lineage it goes on in.
        to: Position,
    },
    /// Told that messages are missing; goes on after `to`.
    NotRecovered {
        /// The last message the client had.
        from: Position,
        /// The fence.
        to: Position,
        /// What the server said.
        reason: Reason,
    },
    /// A message.
    Message {
        /// Its number in the current lineage.
        seq: u64,
        /// Its id.
        id: String,
        /// What it carried.
        payload: Payload,
    },
    /// The connection or the subscription ended; nothing is promised until the next subscribe.
    Ended,
}

/// What one client saw of one channel.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Who writes, for the violations.
    pub subscriber: String,
    /// The channel.
    pub channel: String,
    /// Everything seen, in order.
    pub seen: Vec<Seen>,
}

impl Journal {
    /// An empty journal.
    #[must_use]
    pub fn new(subscriber: impl Into<String>, channel: impl Into<String>) -> Self {
        Self { subscriber: subscriber.into(), channel: channel.into(), seen: Vec::new() }
    }

    /// The last place this client knows: what it would resume from.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.seen.iter().fold(None, |last: Option<Position>, seen| match seen {
            Seen::Subscribed(at) => Some(at.clone()),
            Seen::Recovered { from, .. } => Some(from.clone()),
            Seen::NotRecovered { to, .. } | Seen::Continued { to, .. } => Some(to.clone()),
            Seen::Message { seq, .. } => last.map(|last| Position { seq: *seq, ..last }),
            Seen::Ended => last,
        })
    }
}

/// Everything that was published and done in one test.
#[derive(Debug, Default)]
pub struct Ledger {
    publishes: Vec<Publish>,
    facts: HashMap<String, Vec<Fact>>,
}

/// What a clean check looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Publishes acknowledged.
    pub acked: usize,
    /// Deliveries judged.
    pub delivered: usize,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters how a publish ended. Publishes of one publisher are entered in the order in which they were sent.
    pub fn publish(&mut self, publish: Publish) {
        self.publishes.push(publish);
    }

    /// Enters what the test did to a channel.
    pub fn fact(&mut self, channel: impl Into<String>, fact: Fact) {
        self.facts.entry(channel.into()).or_default().push(fact);
    }

    /// Compares the journals with the ledger and with each other.
    ///
    /// # Errors
    /// Every violation found.
    pub fn check(&self, journals: &[Journal]) -> Result<Summary, Vec<Violation>> {
        judge::judge(self, journals)
    }

    /// As [`check`](Self::check); besides, whoever is still subscribed must have everything acknowledged: the state that
    /// is reached after healing.
    ///
    /// # Errors
    /// Every violation found.
    pub fn check_settled(&self, journals: &[Journal]) -> Result<Summary, Vec<Violation>> {
        let summary = self.check(journals)?;
        let behind = judge::behind(self, journals);
        if behind.is_empty() { Ok(summary) } else { Err(behind) }
    }
}

/// The channel's log as pieced together from acknowledgements and deliveries.
#[derive(Debug, Default)]
struct Log {
    entries: HashMap<Position, Payload>,
    /// Where each id stands, once for each lineage.
    ids: HashMap<String, Vec<Position>>,
    nacked: HashSet<Payload>,
}

#[cfg(test)]
mod tests;
