//! What the rules of apps answered, on its way into Postgres: by the hour, each decision once with its count, beside the
//! kept figures and written in the same turns.
//!
//! A row is told again whenever its count grew and until Postgres has said that it has it; the same row twice is one
//! row. What goes over a bound is counted as left out, so that whoever reads knows how much is missing.

use std::collections::{BTreeMap, HashMap};

use fanfare_core::id::{AppId, NodeId};
use fanfare_core::{Asked, Decision};
use fanfare_engine::TakenDecisions;
use fanfare_store::{Feed, KeptDecision, LeftOut, StoreError};

/// Different decisions of one app and hour.
const ROWS_MAX: usize = 500;
/// What all rows may weigh, as well as it can be guessed.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Rows that one statement takes.
const TOLD_MAX: usize = 500;
const HOUR_S: u64 = 3_600;
/// What a row weighs beside its texts.
const ROW_BYTES: usize = 200;

/// Decisions that go on, or that Postgres has not got yet.
#[derive(Default)]
pub(crate) struct DecisionBuffer {
    hours: BTreeMap<(u64, AppId), Hour>,
    bytes: usize,
    /// The second of the last reading: hours never go back, though the clock may.
    last_s: u64,
}

#[derive(Default)]
struct Hour {
    rows: HashMap<Decision, Tally>,
    left_out: Told,
}

struct Tally {
    count: Told,
    last_s: u64,
}

/// A number that only grows, and what Postgres has of it.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    now: u64,
    written: u64,
}

impl Told {
    const fn is_news(self) -> bool {
        self.now > self.written
    }
}

/// What one statement tells.
#[derive(Default)]
pub(crate) struct Telling {
    rows: Vec<((u64, AppId), Decision, u64, u64)>,
    left_out: Vec<((u64, AppId), u64)>,
}

impl Telling {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.left_out.is_empty()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Tells it.
    pub(crate) async fn tell(&self, feed: &Feed, node: NodeId) -> Result<(), StoreError> {
        let kept: Vec<KeptDecision<'_>> = self
            .rows
            .iter()
            .map(|((hour_s, app), decision, count, last_s)| KeptDecision {
                app: *app,
                hour_s: *hour_s,
                decision,
                count: *count,
                last_s: *last_s,
            })
            .collect();
        let left_out: Vec<LeftOut> = self
            .left_out
            .iter()
            .map(|((hour_s, app), count)| LeftOut { app: *app, hour_s: *hour_s, count: *count })
            .collect();
        feed.keep_decisions(node, &kept, &left_out).await
    }
}

impl DecisionBuffer {
    /// Adds what was decided since the last reading to this second's hour. Answers how much found no room.
    pub(crate) fn take_in(&mut self, taken: Vec<(AppId, TakenDecisions)>, now_s: u64) -> u64 {
        self.last_s = self.last_s.max(now_s);
        let hour_s = self.last_s - self.last_s % HOUR_S;
        let mut left_out = 0;
        for (app, TakenDecisions { rows, left_out: before }) in taken {
            let hour = self.hours.entry((hour_s, app)).or_default();
            let mut missed = before;
            for (decision, count) in rows {
                if let Some(tally) = hour.rows.get_mut(&decision) {
                    tally.count.now += count;
                    tally.last_s = self.last_s;
                    continue;
                }
                let bytes = weight(&decision);
                if hour.rows.len() >= ROWS_MAX || self.bytes + bytes > BYTES_MAX {
                    missed += count;
                    continue;
                }
                self.bytes += bytes;
                let count = Told { now: count, written: 0 };
                hour.rows.insert(decision, Tally { count, last_s: self.last_s });
            }
            hour.left_out.now += missed;
            left_out += missed;
        }
        self.let_go(hour_s);
        left_out
    }

    /// Hours that are over and written go; over the bound, also the oldest that are not.
    fn let_go(&mut self, now_s: u64) {
        let is_written =
            |hour: &Hour| !hour.left_out.is_news() && !hour.rows.values().any(|tally| tally.count.is_news());
        // A day of hours, should Postgres be away longer than that.
        let oldest_s = now_s.saturating_sub(24 * HOUR_S);
        let mut freed = 0;
        self.hours.retain(|(hour_s, _), hour| {
            let stays = *hour_s == now_s || *hour_s >= oldest_s && !is_written(hour);
            if !stays {
                freed += hour.rows.keys().map(weight).sum::<usize>();
            }
            stays
        });
        self.bytes -= freed;
    }

    /// What Postgres has not got as it is now.
    pub(crate) fn next(&self) -> Telling {
        let mut telling = Telling::default();
        for (key, hour) in &self.hours {
            for (decision, tally) in hour.rows.iter().filter(|(_, tally)| tally.count.is_news()) {
                if telling.rows.len() == TOLD_MAX {
                    return telling;
                }
                telling.rows.push((*key, decision.clone(), tally.count.now, tally.last_s));
            }
            if hour.left_out.is_news() {
                telling.left_out.push((*key, hour.left_out.now));
            }
        }
        telling
    }

    /// Postgres has these.
    pub(crate) fn written(&mut self, telling: &Telling) {
        for (key, decision, count, _) in &telling.rows {
            if let Some(tally) = self.hours.get_mut(key).and_then(|hour| hour.rows.get_mut(decision)) {
                tally.count.written = tally.count.written.max(*count);
            }
        }
        for (key, count) in &telling.left_out {
            if let Some(hour) = self.hours.get_mut(key) {
                hour.left_out.written = hour.left_out.written.max(*count);
            }
        }
    }
}

fn weight(decision: &Decision) -> usize {
    let Decision { sub, roles, claims, asked, .. } = decision;
    let texts = sub.iter().chain(roles).map(|text| text.len()).sum::<usize>();
    let of_claims = claims.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let channel = match asked {
        Asked::Connect => 0,
        Asked::Channel { channel, .. } => channel.as_str().len(),
    };
    ROW_BYTES + texts + of_claims + channel
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: AppId = AppId::from_bytes([7; 16]);
    /// The first second of an hour.
    const START_S: u64 = 1_000 * HOUR_S;

    fn decision(user: usize) -> Decision {
        Decision {
            sub: Some(format!("user {user}").into()),
            roles: Vec::new(),
            claims: BTreeMap::new(),
            has_cap: false,
            asked: Asked::Connect,
            allowed: true,
        }
    }

    fn taken(users: std::ops::Range<usize>, left_out: u64) -> Vec<(AppId, TakenDecisions)> {
        vec![(APP, TakenDecisions { rows: users.map(|user| (decision(user), 2)).collect(), left_out })]
    }

    #[test]
    fn a_row_is_told_until_it_is_written_and_again_when_it_grows() {
        let mut buffer = DecisionBuffer::default();
        buffer.take_in(taken(0..3, 0), START_S);
        let lost = buffer.next();
        assert_eq!(lost.rows(), 3);
        let told = buffer.next();
        buffer.written(&told);
        assert!(buffer.next().is_empty());
        buffer.take_in(taken(1..2, 5), START_S + 10);
        let more = buffer.next();
        let counts: Vec<u64> = more.rows.iter().map(|(_, _, count, _)| *count).collect();
        assert_eq!((counts, more.left_out), (vec![4], vec![((START_S, APP), 5)]));
    }

    #[test]
    fn hours_that_are_over_go_when_they_are_written_or_a_day_old() {
        let mut buffer = DecisionBuffer::default();
        buffer.take_in(taken(0..3, 0), START_S);
        buffer.take_in(Vec::new(), START_S + HOUR_S);
        assert_eq!(buffer.next().rows(), 3, "not written yet");
        let told = buffer.next();
        buffer.written(&told);
        buffer.take_in(Vec::new(), START_S + HOUR_S + 10);
        assert_eq!((buffer.hours.len(), buffer.bytes), (0, 0));
        buffer.take_in(taken(0..3, 1), START_S + HOUR_S);
        buffer.take_in(Vec::new(), START_S + 26 * HOUR_S);
        assert_eq!((buffer.hours.len(), buffer.bytes), (0, 0), "never written, but too old to tell");
    }

    #[test]
    fn what_an_hour_has_no_room_for_is_counted() {
        let mut buffer = DecisionBuffer::default();
        assert_eq!(buffer.take_in(taken(0..ROWS_MAX + 3, 1), START_S), 7);
        assert_eq!(buffer.take_in(taken(0..ROWS_MAX, 0), START_S), 0, "what is known is counted on");
        let told = buffer.next();
        assert_eq!((told.rows.len(), &*told.left_out), (TOLD_MAX, &[((START_S, APP), 7)][..]));
    }
}
