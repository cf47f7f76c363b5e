//! How many messages a second one connection is sent: the limit `delivery`. What comes on top follows the channels' slow
//! policies, as if the socket did not take it.

use std::time::Duration;

use fanfare_core::LimitValue;

use crate::limiter::Bucket;

/// A connection's rate of deliveries.
#[derive(Debug)]
pub(super) struct Pace {
    bucket: Bucket,
    value: LimitValue,
    /// The task knows that something waits for the next second.
    pub(super) known: bool,
}

impl Pace {
    pub(super) fn new(value: LimitValue) -> Self {
        Self { bucket: Bucket::default(), value: at_least_a_second(value), known: false }
    }

    /// Another number; what was used stays used.
    pub(super) fn set(&mut self, value: LimitValue) {
        self.value = at_least_a_second(value);
    }

    /// Draws up to so many; how many there were.
    pub(super) fn take(&mut self, now: Duration, count: usize) -> usize {
        let count = count.min(self.left(now));
        self.charge(now, count as u64);
        count
    }

    /// How many may be sent now.
    pub(super) fn left(&self, now: Duration) -> usize {
        usize::try_from(self.bucket.left(now, self.value)).unwrap_or(usize::MAX)
    }

    /// Counts what was sent without asking: a page is never cut.
    pub(super) fn charge(&mut self, now: Duration, count: u64) {
        self.bucket.charge(now, self.value, count);
    }
}

/// What waits is looked at once a second: less than a second's worth at once would waste the rest.
fn at_least_a_second(value: LimitValue) -> LimitValue {
    LimitValue { burst: value.burst.max(value.max), ..value }
}
