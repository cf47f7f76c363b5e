//! When a node tells what it used: often where little is left, rarely where there is much, never where nobody draws.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fanfare_core::id::AppId;
use fanfare_core::{Limit, LimitValue};

use super::rate::{Drawn, Rate};
use super::{Account, Away, Budget, Part, Use, Used, WHOLE};
use crate::directory::{AppEntry, Directory};

/// How often it is looked at what is due.
pub(crate) const TURN: Duration = Duration::from_millis(100);
/// Where the whole is nearly used up: what comes in meanwhile is given as it was divided last.
const OFTEN: Duration = Duration::from_millis(300);
/// Where there is much for all.
const RARELY: Duration = Duration::from_secs(1);
/// As much as this is left of the whole: somebody who needs more than his part gets it at the next turn.
const MUCH: f64 = 0.25;
/// How long a word of a node that tells often holds, and of one that tells rarely.
const HOLDS_OFTEN: Duration = Duration::from_millis(1_500);
const HOLDS_RARELY: Duration = Duration::from_secs(3);
/// How long an answer may take until each node goes on by itself.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Accounts of one call.
const AT_ONCE: usize = 256;

/// What a node follows.
#[derive(Default)]
pub(crate) struct Settling {
    rates: Vec<Followed>,
    /// Apps whose connections were told, but for those that had none.
    counted: HashSet<AppId>,
    counted_at: Duration,
    is_away: bool,
}

/// A rate that is drawn from.
struct Followed {
    rate: Arc<Rate>,
    settled_at: Duration,
    /// As it was heard last.
    part: u32,
    alone: Option<u32>,
    fullness: f64,
    is_over: bool,
}

/// What is to be settled.
#[derive(Default)]
pub(crate) struct Due {
    at: Duration,
    pub(crate) uses: Vec<Use>,
    of: Vec<Of>,
}

enum Of {
    Rate {
        at: usize,
        value: LimitValue,
        taken: Drawn,
    },
    /// How many connections were told.
    Count(Arc<AppEntry>, u64),
}

impl Settling {
    /// Settles what is due at this moment.
    pub(crate) async fn turn(&mut self, directory: &Directory, budget: &dyn Budget, now: Duration) {
        let mut due = self.due(directory, budget.nodes(), now);
        let mut uses = std::mem::take(&mut due.uses).into_iter().peekable();
        let mut parts = Vec::with_capacity(due.of.len());
        while uses.peek().is_some() {
            let some: Vec<Use> = uses.by_ref().take(AT_ONCE).collect();
            match tokio::time::timeout(ANSWER_WITHIN, budget.settle(some).wait()).await {
                Ok(Ok(some)) => parts.extend(some),
                // One that is late may have been charged, and is charged again: a moment's use too much, once.
                Ok(Err(Away)) | Err(_) => break,
            }
        }
        self.settled(due, parts, budget.nodes());
        let shared = self.rates.iter().filter(|followed| followed.alone.is_some()).count();
        directory.watched().stands(shared, self.is_away);
    }

    /// What is due.
    pub(crate) fn due(&mut self, directory: &Directory, nodes: u32, now: Duration) -> Due {
        self.follow_new(directory, nodes, now);
        let mut due = Due { at: now, ..Due::default() };
        for (at, followed) in self.rates.iter_mut().enumerate() {
            let Some(entry) = directory.entry(followed.rate.account.app) else {
                followed.is_over = true;
                continue;
            };
            let (limits, account) = (&entry.peek().limits, followed.rate.account);
            if !limits.is_set(account.limit) {
                // What protects a node is each node's own.
                followed.rate.hold_to(WHOLE);
                followed.is_over = followed.rate.take() == Drawn::default();
            } else if let Some((used, taken)) = followed.due(now, limits.get(account.limit)) {
                due.uses.push(used);
                due.of.push(Of::Rate { at, value: limits.get(account.limit), taken });
            }
        }
        self.count(directory, now, &mut due);
        due
    }

    /// Takes up what was drawn from since nobody followed it.
    fn follow_new(&mut self, directory: &Directory, nodes: u32, now: Duration) {
        let new = std::mem::take(&mut *directory.watched().rates.lock().unwrap_or_else(PoisonError::into_inner));
        for rate in new {
            if self.is_away {
                rate.hold_to(same_for_all(nodes));
            }
            let settled_at = now.saturating_sub(TURN);
            self.rates.push(Followed { rate, settled_at, part: WHOLE, alone: None, fullness: 1.0, is_over: false });
        }
    }

    /// Connections, each second, and where few more may come.
    fn count(&mut self, directory: &Directory, now: Duration, due: &mut Due) {
        let all = now.saturating_sub(self.counted_at) >= RARELY;
        let entries = if all {
            self.counted_at = now;
            directory.entries()
        } else {
            directory.watched().take_nearly_full().into_iter().filter_map(|app| directory.entry(app)).collect()
        };
        for entry in entries {
            let count = entry.stats.connections.load(Ordering::Relaxed);
            let is_shared = entry.peek().limits.is_set(Limit::Connections);
            if !is_shared {
                entry.elsewhere.store(0, Ordering::Relaxed);
            }
            let was_told = self.counted.contains(&entry.id());
            if is_shared && count > 0 {
                self.counted.insert(entry.id());
            } else if !was_told {
                continue;
            } else if count == 0 || !is_shared {
                self.counted.remove(&entry.id());
            }
            let account = Account { app: entry.id(), limit: Limit::Connections, signer: None };
            due.uses.push(Use { account, holds: HOLDS_RARELY, used: Used::Count(count) });
            due.of.push(Of::Count(entry, count));
        }
    }

    /// What was answered, from the first on. Rates are in their places until then: what is over is let go afterwards.
    pub(crate) fn settled(&mut self, due: Due, parts: Vec<Part>, nodes: u32) {
        let Due { at: now, mut of, .. } = due;
        let unanswered = of.split_off(parts.len().min(of.len()));
        if unanswered.is_empty() && !of.is_empty() && self.is_away {
            self.is_away = false;
            // What is not due yet goes on as it was told last.
            self.rates.iter().for_each(|followed| followed.rate.hold_to(followed.part));
        }
        for (of, part) in of.into_iter().zip(parts) {
            match (of, part) {
                (Of::Rate { at, value, taken }, Part::Rate { part, alone, full_in }) => {
                    let followed = &mut self.rates[at];
                    followed.rate.stands(now, value, part, full_in);
                    let capacity = Duration::from_secs(value.burst.max(1)).as_secs_f64() / value.max.max(1) as f64;
                    followed.fullness = (1.0 - full_in.as_secs_f64() / capacity).max(0.0);
                    (followed.part, followed.alone, followed.settled_at) = (part, Some(alone), now);
                    // Until it is full again, this node's part grows.
                    followed.is_over = taken == Drawn::default() && full_in.is_zero();
                }
                // Where nobody is connected any more it is not asked again, and the first to come is let in.
                (Of::Count(entry, 0), Part::Elsewhere(_)) => entry.elsewhere.store(0, Ordering::Relaxed),
                (Of::Count(entry, _), Part::Elsewhere(count)) => entry.elsewhere.store(count, Ordering::Relaxed),
                (Of::Rate { .. } | Of::Count(..), Part::Rate { .. } | Part::Elsewhere(_)) => {}
            }
        }
        if !unanswered.is_empty() {
            self.away(unanswered, nodes);
        }
        self.drop_over();
    }

    /// Nothing can be heard: every node goes on with what all together may have.
    fn away(&mut self, of: Vec<Of>, nodes: u32) {
        for of in of {
            if let Of::Rate { at, taken, .. } = of {
                self.rates[at].rate.put_back(taken);
            }
        }
        if !std::mem::replace(&mut self.is_away, true) {
            for followed in &self.rates {
                followed.rate.hold_to(followed.alone.unwrap_or_else(|| same_for_all(nodes)));
            }
        }
    }

    fn drop_over(&mut self) {
        self.rates.retain(|followed| {
            if followed.is_over {
                followed.rate.unwatch();
            }
            !followed.is_over
        });
    }
}

impl Followed {
    /// What is told of it now, if anything is, and what it takes from what was drawn.
    fn due(&self, now: Duration, value: LimitValue) -> Option<(Use, Drawn)> {
        let (seen, over) = (self.rate.look(), now.saturating_sub(self.settled_at));
        let own = f64::from(self.part) / f64::from(WHOLE);
        let came_in = own * value.max as f64 * over.as_secs_f64();
        let available = own.mul_add(self.fullness * value.burst.max(1) as f64, came_in);
        let is_pressed = seen.refused > 0 || seen.drawn as f64 * 2.0 >= available.max(1.0);
        let every = match is_pressed {
            true if self.fullness >= MUCH => TURN,
            true => OFTEN,
            false => RARELY,
        };
        if over < every {
            return None;
        }
        let taken = self.rate.take();
        let demand = (taken.drawn + taken.refused) as f64 / over.as_secs_f64().max(0.001);
        // From a full bucket what was drawn just now and what came in since differ: here it is known exactly.
        let full_in = if self.fullness >= 1.0 { self.rate.full_in(now) } else { Duration::ZERO };
        let used = Used::Rate { value, drawn: taken.drawn, demand, over, full_in };
        let holds = if is_pressed { HOLDS_OFTEN } else { HOLDS_RARELY };
        Some((Use { account: self.rate.account, holds, used }, taken))
    }
}

/// What each node may draw from, where nothing is known but how many there are.
const fn same_for_all(nodes: u32) -> u32 {
    let part = WHOLE / if nodes == 0 { 1 } else { nodes };
    if part == 0 { 1 } else { part }
}
