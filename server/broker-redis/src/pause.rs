//! How long to wait before trying again.

use std::time::Duration;

use rand::RngExt as _;

const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_secs(1);

/// Pauses that double up to a second, each shortened by chance by up to half, so that nodes do not come back as one.
pub(crate) struct Pause {
    next: Duration,
}

impl Pause {
    /// Nothing has failed yet.
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// Whether nothing has failed yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.next == FIRST
    }

    /// Waits.
    #[expect(clippy::disallowed_methods, reason = "a back-off: there is no event that says when Redis is back")]
    pub(crate) async fn wait(&mut self) {
        let share = rand::rng().random_range(0.5..=1.0);
        tokio::time::sleep(self.next.mul_f64(share)).await;
        self.next = (self.next * 2).min(LAST);
    }
}
