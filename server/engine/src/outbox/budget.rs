//! What waits for all connections of an app together, beside what may wait for each.
//!
//! Every outbox says how its part changes when it is let go; hardly ever does it, since what is written straight never
//! waits. While the app is over its budget nothing more is queued for those for whom something waits already: they fall
//! behind and read on from history, as they would with a full queue of their own.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

use super::State;

/// Bytes that wait for an app's connections.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    waiting: AtomicU64,
    max: AtomicU64,
    /// The most since it was asked last.
    peak: AtomicU64,
}

impl Budget {
    /// Says how many may wait.
    pub(crate) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Whether more wait than may.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > self.max.load(Ordering::Relaxed)
    }

    /// The most that waited since this was asked last.
    pub(crate) fn take_peak(&self) -> u64 {
        let now = self.waiting.load(Ordering::Relaxed);
        self.peak.swap(now, Ordering::Relaxed).max(now)
    }

    fn change(&self, before: usize, after: usize) {
        if after < before {
            self.waiting.fetch_sub((before - after) as u64, Ordering::Relaxed);
        } else {
            let more = (after - before) as u64;
            let waiting = self.waiting.fetch_add(more, Ordering::Relaxed) + more;
            self.peak.fetch_max(waiting, Ordering::Relaxed);
        }
    }
}

/// An outbox's state, locked. When it is let go, the app's budget knows what waits.
pub(super) struct Locked<'o> {
    pub(super) state: MutexGuard<'o, State>,
    pub(super) budget: &'o Budget,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let waits = self.state.waits();
        if waits != self.state.counted {
            self.budget.change(self.state.counted, waits);
            self.state.counted = waits;
        }
    }
}

impl State {
    /// Bytes that wait, but those that only wait for the end of a turn.
    fn waits(&self) -> usize {
        let queued = if self.corked { 0 } else { self.queued };
        self.rare.as_ref().map_or(queued, |rare| queued + rare.held())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_with_its_peak() {
        let budget = Budget::default();
        budget.set_max(100);
        budget.change(0, 100);
        assert!(!budget.is_over());
        budget.change(0, 1);
        assert!(budget.is_over());
        budget.change(100, 20);
        assert!(!budget.is_over());
        assert_eq!((budget.take_peak(), budget.take_peak()), (101, 21));
    }
}
