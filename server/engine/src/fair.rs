//! Whose work is next: apps take turns by what their work costs, so that an app with much of it waits for itself.
//!
//! Deficit round-robin (Shreedhar and Varghese, 1996). An app whose turn it is works while it has credit; then the others
//! have theirs, and when it comes round again it has more. What a piece of work costs is known when it is done, so credit may
//! fall below nothing: the next round pays for it. Where nobody else waits, nobody is held up.

use std::collections::{HashMap, VecDeque};

use fanfare_core::id::AppId;

/// What an app may do in one turn.
const QUANTUM: i64 = 1024 * 1024;
/// Emptied lines whose memory is kept for the next.
const SPARE_MAX: usize = 16;

/// Work that waits, by app.
#[derive(Debug)]
pub(crate) struct Turns<W> {
    lines: HashMap<AppId, Line<W>>,
    /// Apps with work that waits or is being done, whose turn is next first.
    order: VecDeque<AppId>,
    /// How much waits.
    waiting: usize,
    spare: Vec<VecDeque<W>>,
}

#[derive(Debug)]
struct Line<W> {
    waiting: VecDeque<W>,
    credit: i64,
    /// How much was handed out and is not done.
    running: u32,
}

impl<W> Default for Turns<W> {
    fn default() -> Self {
        Self { lines: HashMap::new(), order: VecDeque::new(), waiting: 0, spare: Vec::new() }
    }
}

impl<W> Turns<W> {
    /// Whether no work waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Work of an app waits, behind its other work.
    pub(crate) fn push(&mut self, app: AppId, work: W) {
        let Self { lines, order, spare, .. } = self;
        let line = lines.entry(app).or_insert_with(|| {
            order.push_back(app);
            Line { waiting: spare.pop().unwrap_or_default(), credit: QUANTUM, running: 0 }
        });
        line.waiting.push_back(work);
        self.waiting += 1;
    }

    /// Hands out what is next. Whoever takes it says what it cost ([`Turns::done`]).
    pub(crate) fn next(&mut self) -> Option<W> {
        // Somewhere in the order there is work then.
        while self.waiting > 0 {
            let alone = self.order.len() == 1;
            // All that waited of an app may be in hand: it keeps its place for what comes of that.
            let is_waiting = |app: &AppId| self.lines.get(app).is_some_and(|line| !line.waiting.is_empty());
            let at = self.order.iter().position(is_waiting)?;
            let line = self.lines.get_mut(&self.order[at])?;
            if line.credit > 0 {
                line.running += 1;
                self.waiting -= 1;
                return line.waiting.pop_front();
            }
            // Alone, an app owes nobody a turn.
            line.credit = if alone { QUANTUM } else { line.credit + QUANTUM };
            let app = self.order.remove(at)?;
            self.order.push_back(app);
        }
        None
    }

    /// What was handed out is done so far; the rest of it, if there is one, waits behind the app's other work.
    pub(crate) fn done(&mut self, app: AppId, cost: u64, rest: Option<W>) {
        let Some(line) = self.lines.get_mut(&app) else { return };
        line.running -= 1;
        line.credit = line.credit.saturating_sub_unsigned(cost);
        if let Some(rest) = rest {
            line.waiting.push_back(rest);
            self.waiting += 1;
        } else if line.waiting.is_empty() && line.running == 0 {
            // An app with nothing to do has no turn, and so nothing to owe.
            self.forget(app);
        }
    }

    fn forget(&mut self, app: AppId) {
        if let Some(at) = self.order.iter().position(|known| *known == app) {
            self.order.remove(at);
        }
        if let Some(line) = self.lines.remove(&app)
            && self.spare.len() < SPARE_MAX
        {
            self.spare.push(line.waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn app(number: u64) -> AppId {
        AppId::new(number, 0)
    }

    /// Runs so many pieces of work of apps that never run out of it; what each was given.
    fn given(costs: &[(AppId, u64, usize)], pieces: usize) -> BTreeMap<AppId, u64> {
        let (mut turns, mut given) = (Turns::default(), BTreeMap::new());
        for (app, cost, backlog) in costs {
            (0..*backlog).for_each(|_| turns.push(*app, (*app, *cost)));
        }
        for _ in 0..pieces {
            let (app, cost) = turns.next().expect("they never run out");
            *given.entry(app).or_default() += cost;
            turns.done(app, cost, Some((app, cost)));
        }
        given
    }

    #[test]
    fn each_gets_the_same_however_much_waits_and_whatever_a_piece_costs() {
        // Pieces from a hundredth of a turn to several turns, one piece waiting or hundreds of them.
        let quantum = QUANTUM.unsigned_abs();
        let costs = [
            (app(1), quantum / 100, 500),
            (app(2), quantum / 3, 1),
            (app(3), quantum, 7),
            (app(4), 3 * quantum + 1, 2),
            (app(5), quantum / 100, 1),
        ];
        let given = given(&costs, 100_000);
        let shares: Vec<f64> = given.values().map(|given| *given as f64).collect();
        let (sum, squares) = (shares.iter().sum::<f64>(), shares.iter().map(|share| share * share).sum::<f64>());
        let jain = sum * sum / (shares.len() as f64 * squares);
        assert!(shares.len() == 5 && jain > 0.999, "{jain}: {given:?}");
    }

    #[test]
    fn whoever_comes_to_a_crowd_waits_for_no_more_than_a_turn_of_each() {
        let (mut turns, crowd, late) = (Turns::default(), app(1), app(2));
        let cost = QUANTUM.unsigned_abs() / 4;
        (0..10_000).for_each(|_| turns.push(crowd, crowd));
        for _ in 0..100 {
            let next = turns.next().expect("there is work");
            turns.done(next, cost, None);
        }
        turns.push(late, late);
        let before = std::iter::from_fn(|| {
            let next = turns.next().filter(|next| *next == crowd)?;
            turns.done(next, cost, None);
            Some(())
        });
        assert!(before.count() <= 5, "the crowd's turn goes to its end, and no further");
    }

    #[test]
    fn alone_nothing_is_waited_for_and_nothing_is_kept_of_who_is_done() {
        let mut turns = Turns::default();
        turns.push(app(1), 1);
        let mut done = 0;
        while let Some(number) = turns.next() {
            done += 1;
            // Each piece costs as much as a thousand turns.
            turns.done(app(1), 1_000 * QUANTUM.unsigned_abs(), (number < 50).then_some(number + 1));
        }
        assert_eq!((done, turns.lines.len(), turns.order.len(), turns.spare.len()), (50, 0, 0, 1));
        assert!(turns.is_empty());
    }

    #[test]
    fn work_of_one_app_keeps_its_order() {
        let mut turns = Turns::default();
        (0..100).for_each(|number| turns.push(app(number % 2), number));
        let mut seen = [Vec::new(), Vec::new()];
        while let Some(number) = turns.next() {
            seen[(number % 2) as usize].push(number);
            turns.done(app(number % 2), 300_000, None);
        }
        assert!(seen.iter().all(|seen| seen.is_sorted() && seen.len() == 50));
    }
}
