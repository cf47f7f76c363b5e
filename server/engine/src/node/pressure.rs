//! A node that is short of memory: first nobody new comes in, then the newest connections of whoever has the most are
//! asked to go elsewhere. What was accepted and can be served stays.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Node;
use crate::outbox::Signal;

/// Of each hundred connections of the largest app, how many are let go in a second of need.
const SHED_PER_HUNDRED: usize = 2;
/// And at most so many: their coming back costs too.
const SHED_MAX: usize = 256;

/// How short of memory a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Not at all.
    Calm,
    /// Four fifths are used: nobody new comes in.
    High,
    /// Nine tenths are used: some have to go.
    Critical,
}

impl Pressure {
    /// Of so many bytes that may be used, so many are.
    #[must_use]
    pub const fn of(used: u64, max: u64) -> Self {
        match used.saturating_mul(10) {
            tenths if tenths >= max.saturating_mul(9) => Self::Critical,
            tenths if tenths >= max.saturating_mul(8) => Self::High,
            _ => Self::Calm,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Calm,
            1 => Self::High,
            _ => Self::Critical,
        }
    }
}

impl Node {
    /// Tells the node how much memory is used.
    pub fn set_pressure(&self, pressure: Pressure) {
        self.pressure.store(pressure as u8, Ordering::Relaxed);
    }

    /// How short of memory it is.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        Pressure::from_number(self.pressure.load(Ordering::Relaxed))
    }

    /// Lets the newest connections of the app with the most go, a few at a time. Ids sort by time.
    pub(super) fn shed(&self) {
        let entries = self.directory.entries();
        let largest = entries.iter().max_by_key(|entry| entry.stats.connections.load(Ordering::Relaxed));
        let Some(entry) = largest else { return };
        let mut all = Vec::new();
        entry.registry.each(|outbox| all.push(Arc::clone(outbox)));
        let count = (all.len() * SHED_PER_HUNDRED).div_ceil(100).min(SHED_MAX);
        all.sort_by_cached_key(|outbox| Reverse(outbox.id()));
        for outbox in all.iter().take(count) {
            outbox.signal(Signal::Shed);
        }
        tracing::warn!(app.id = %entry.id(), count, "memory is short: connections are asked to go elsewhere");
    }
}
