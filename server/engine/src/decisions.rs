//! What the rules answered to clients of an app lately, each question once with how often it was asked, until somebody
//! takes it away to keep it ([`crate::Node::take_decisions`]).
//!
//! ```text
//!   subscribe, history, presence, connect ───────────────┐
//!   publish ── the same connection and channel lately? ──┴─▶ rows of the app ── every few seconds ──▶ kept for a day
//!              2,048 marks, a hash and a load: nearly always          500, 128 KiB
//! ```
//!
//! A publish is not looked at twice in one turn: its mark says that this connection's word on this channel is noted. What
//! finds no room is counted and not kept. Nothing here waits: a publish that finds the rows locked is noted another time.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use fanfare_core::decision::named_claims;
use fanfare_core::id::ConnectionId;
use fanfare_core::permission::ClientSubject;
use fanfare_core::{App, Asked, ChannelName, Decision, Operation, Refusal, Subject};

/// Rows of one app between two takings.
const ROWS_MAX: usize = 500;
/// What they may weigh.
const BYTES_MAX: usize = 128 * 1024;
/// What the rows of all apps may weigh.
const NODE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What one row may weigh: roles may be many and long.
const ROW_BYTES_MAX: usize = 2 * 1024;
/// What a row weighs beside its texts.
const ROW_BYTES: usize = 160;
/// Marks of publishes that were noted in this turn.
const MARKS: usize = 2_048;

/// What was decided in one app since it was last taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenDecisions {
    /// Each decision and how often it was made.
    pub rows: Vec<(Decision, u64)>,
    /// Decisions that found no room.
    pub left_out: u64,
}

/// The room that all apps of a node share.
#[derive(Debug, Default)]
pub(crate) struct Room(AtomicUsize);

impl Room {
    fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| (taken + bytes <= NODE_BYTES_MAX).then_some(taken + bytes);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Who asks, for which connection, if for one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) connection: Option<ConnectionId>,
}

/// What a client asked for, and whether it was allowed.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    /// What and where; `None` for connecting without a token.
    asked: Option<(Operation, &'a ChannelName)>,
    allowed: bool,
}

impl<'a> Question<'a> {
    fn channel(&self) -> &'a str {
        self.asked.map_or("", |(_, channel)| channel.as_str())
    }

    /// What tells it from others.
    fn mark(&self) -> (Option<u8>, &'a str, bool) {
        (self.asked.map(|(operation, _)| operation as u8), self.channel(), self.allowed)
    }

    fn asked(&self) -> Asked {
        match self.asked {
            Some((operation, channel)) => Asked::Channel { operation, channel: channel.clone() },
            None => Asked::Connect,
        }
    }
}

/// The decisions of one app.
#[derive(Debug)]
pub(crate) struct Decisions {
    hasher: RandomState,
    kept: Mutex<Kept>,
    marks: OnceLock<Box<[AtomicU64]>>,
    /// Part of every mark: what was noted in an earlier turn is noted again.
    turn: AtomicU64,
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By a keyed hash of the decision: two that share 64 bits are counted as one.
    rows: HashMap<u64, (Decision, u64)>,
    bytes: usize,
    left_out: u64,
    /// The claims that the app's rules name, and at which version of the app.
    named: (u64, Vec<Box<str>>),
}

impl Decisions {
    pub(crate) fn new(room: Arc<Room>) -> Self {
        let (hasher, kept) = (RandomState::new(), Mutex::default());
        Self { hasher, kept, marks: OnceLock::new(), turn: AtomicU64::new(1), room }
    }

    /// Notes what was decided on a channel, if it was a client that asked and the rules that answered.
    pub(crate) fn note<T>(
        &self,
        app: &App,
        asking: Asking<'_>,
        (operation, channel): (Operation, &ChannelName),
        outcome: &Result<T, Refusal>,
    ) {
        let Subject::Client(client) = asking.subject else { return };
        // Fanfare's own channels answer to no rule of the app.
        if channel.is_reserved() {
            return;
        }
        let allowed = match outcome {
            Ok(_) => true,
            Err(Refusal::NoRule { .. } | Refusal::Denied { .. }) => false,
            Err(
                Refusal::Tenant
                | Refusal::Key { .. }
                | Refusal::Issuer { .. }
                | Refusal::Token { .. }
                | Refusal::Inspector { .. },
            ) => return,
        };
        let question = Question { asked: Some((operation, channel)), allowed };
        if operation != Operation::Publish {
            self.lock().count(self, app, client, question);
            return;
        }
        let mark = asking.connection.map(|connection| {
            let turn = self.turn.load(Ordering::Relaxed);
            let mark = self.hasher.hash_one((turn, connection, question.mark()));
            let marks = self.marks.get_or_init(|| (0..MARKS).map(|_| AtomicU64::new(0)).collect());
            #[expect(clippy::cast_possible_truncation, reason = "any part of a hash will do")]
            let at = mark as usize % MARKS;
            (&marks[at], mark)
        });
        if mark.is_some_and(|(place, mark)| place.load(Ordering::Relaxed) == mark) {
            return;
        }
        let mut kept = match self.kept.try_lock() {
            Ok(kept) => kept,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        kept.count(self, app, client, question);
        if let Some((place, mark)) = mark {
            place.store(mark, Ordering::Relaxed);
        }
    }

    /// Notes whether a client without a token was let in.
    pub(crate) fn note_connect(&self, app: &App, allowed: bool) {
        let nobody = ClientSubject::default();
        self.lock().count(self, app, &nobody, Question { asked: None, allowed });
    }

    /// Takes what was decided since the last time.
    pub(crate) fn take(&self) -> TakenDecisions {
        let (rows, left_out) = {
            let mut kept = self.lock();
            self.room.give_back(std::mem::take(&mut kept.bytes));
            (std::mem::take(&mut kept.rows), std::mem::take(&mut kept.left_out))
        };
        self.turn.fetch_add(1, Ordering::Relaxed);
        TakenDecisions { rows: rows.into_values().collect(), left_out }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Decisions {
    fn drop(&mut self) {
        let bytes = self.lock().bytes;
        self.room.give_back(bytes);
    }
}

impl Kept {
    /// Counts a decision that is known, and keeps one that is not while there is room.
    fn count(&mut self, of: &Decisions, app: &App, client: &ClientSubject, question: Question<'_>) {
        if self.named.0 != app.version {
            self.named = (app.version, named_claims(&app.rules).into_iter().map(Into::into).collect());
        }
        let named = |(name, _): &&(Box<str>, Box<str>)| self.named.1.contains(name);
        let claims: BTreeMap<&Box<str>, &Box<str>> =
            client.claims.iter().filter(named).map(|(name, value)| (name, value)).collect();
        let has_cap = client.capabilities.is_some();
        let mark = of.hasher.hash_one((&client.sub, &client.roles, &claims, has_cap, question.mark()));
        if let Some((_, count)) = self.rows.get_mut(&mark) {
            *count += 1;
            return;
        }
        let texts =
            || client.sub.iter().chain(&client.roles).chain(claims.iter().flat_map(|(name, value)| [*name, *value]));
        let bytes = ROW_BYTES + question.channel().len() + texts().map(|text| text.len()).sum::<usize>();
        // A zero byte has no place in Postgres.
        let is_text = !texts().any(|text| text.contains('\0'));
        let fits = bytes <= ROW_BYTES_MAX && self.rows.len() < ROWS_MAX && self.bytes + bytes <= BYTES_MAX && is_text;
        if !fits || !of.room.take(bytes) {
            self.left_out += 1;
            return;
        }
        let claims = claims.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut roles = client.roles.clone();
        roles.sort_unstable();
        let (asked, allowed) = (question.asked(), question.allowed);
        let decision = Decision { sub: client.sub.clone(), roles, claims, has_cap, asked, allowed };
        self.rows.insert(mark, (decision, 1));
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::id::RuleId;
    use fanfare_core::{Effect, Operations, Pattern, Rule, Who};

    use super::*;

    fn app() -> App {
        let rule = |n, pattern| Rule {
            id: RuleId::new(n, 1),
            pattern: Pattern::parse(pattern).expect("a pattern"),
            who: Who::Everyone,
            operations: Operations::CLIENT,
            effect: Effect::Allow,
        };
        App { rules: vec![rule(1, "room:*"), rule(2, "team:{team}")], ..App::for_tests() }
    }

    fn client(sub: &str, claims: &[(&str, &str)]) -> Subject {
        let claims = claims.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Subject::Client(Box::new(ClientSubject { sub: Some(sub.into()), claims, ..ClientSubject::default() }))
    }

    fn ask(of: &Decisions, who: (&Subject, u64), operation: Operation, name: &str, outcome: Result<(), Refusal>) {
        let channel = ChannelName::parse(name).expect("a name");
        let asking = Asking { subject: who.0, connection: Some(ConnectionId::new(who.1, 1)) };
        of.note(&app(), asking, (operation, &channel), &outcome);
    }

    #[test]
    fn the_same_is_one_row_and_only_what_rules_decided_is_kept() {
        let decisions = Decisions::new(Arc::default());
        let (ann, refused) = (client("ann", &[]), Err(Refusal::NoRule { operation: Operation::Subscribe }));
        for _ in 0..3 {
            ask(&decisions, (&ann, 1), Operation::Subscribe, "room:1", Ok(()));
        }
        ask(&decisions, (&ann, 1), Operation::Subscribe, "room:1", refused);
        ask(&decisions, (&ann, 1), Operation::Subscribe, "room:1", Err(Refusal::Tenant));
        let key = Subject::Key { id: fanfare_core::id::KeyId::new(1, 1), capabilities: Default::default() };
        ask(&decisions, (&key, 1), Operation::Subscribe, "room:1", Ok(()));
        decisions.note_connect(&app(), false);
        let mut taken = decisions.take();
        taken.rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let seen: Vec<_> = taken.rows.iter().map(|(row, count)| (row.allowed, *count)).collect();
        assert_eq!((seen, taken.left_out), (vec![(true, 3), (false, 1), (false, 1)], 0));
        assert_eq!(decisions.take(), TakenDecisions::default());
    }

    #[test]
    fn a_connections_publishes_on_a_channel_are_noted_once_a_turn() {
        let decisions = Decisions::new(Arc::default());
        let ann = client("ann", &[]);
        for turn in 0..2 {
            for _ in 0..50 {
                ask(&decisions, (&ann, 1), Operation::Publish, "room:1", Ok(()));
                ask(&decisions, (&ann, 2), Operation::Publish, "room:1", Ok(()));
            }
            let counts: Vec<u64> = decisions.take().rows.into_iter().map(|(_, count)| count).collect();
            // Two marks may share a place, which costs a count and loses nothing.
            assert!(counts.len() == 1 && (2..=100).contains(&counts[0]), "turn {turn}: {counts:?}");
        }
    }

    #[test]
    fn claims_are_kept_where_a_rule_names_them() {
        let decisions = Decisions::new(Arc::default());
        let ann = client("ann", &[("email", "ann@example.com"), ("team", "blue")]);
        ask(&decisions, (&ann, 1), Operation::Subscribe, "team:blue", Ok(()));
        let (row, _) = decisions.take().rows.pop().expect("a row");
        assert_eq!(row.claims, BTreeMap::from([("team".into(), "blue".into())]));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_room_is_given_back() {
        let room = Arc::new(Room::default());
        let decisions = Decisions::new(Arc::clone(&room));
        for n in 0..ROWS_MAX + 7 {
            ask(&decisions, (&client(&format!("user {n}"), &[]), 1), Operation::Subscribe, "room:1", Ok(()));
        }
        ask(&decisions, (&client("user 0", &[]), 1), Operation::Subscribe, "room:1", Ok(()));
        let taken = decisions.take();
        assert_eq!((taken.rows.len(), taken.left_out), (ROWS_MAX, 7));
        assert_eq!(taken.rows.iter().map(|(_, count)| count).sum::<u64>(), ROWS_MAX as u64 + 1);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
        let roles = (0..64).map(|_| "r".repeat(255).into()).collect();
        let heavy = Subject::Client(Box::new(ClientSubject { roles, ..ClientSubject::default() }));
        ask(&decisions, (&heavy, 1), Operation::Subscribe, "room:1", Ok(()));
        assert_eq!(decisions.take(), TakenDecisions { rows: Vec::new(), left_out: 1 });
        assert!(room.take(NODE_BYTES_MAX) && !room.take(1));
        ask(&decisions, (&client("ann", &[]), 1), Operation::Subscribe, "room:1", Ok(()));
        assert_eq!(decisions.take().left_out, 1);
    }
}
