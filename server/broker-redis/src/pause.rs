//! How long to wait before trying again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Notify;

const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_secs(1);

/// Pauses that double up to a second, each shortened by chance by up to half, so that nodes do not come back as one.
pub(crate) struct Pause {
    next: Duration,
}

/// What the connections of a node know of each other: whoever reaches Redis ends the pauses of the others.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    reached: Notify,
    connected: AtomicUsize,
}

/// A connection that is counted until this is dropped.
pub(crate) struct Connected(Arc<Reach>);

impl Reach {
    /// A connection has come up.
    pub(crate) fn connected(self: &Arc<Self>) -> Connected {
        self.connected.fetch_add(1, Ordering::Relaxed);
        self.reached.notify_waiters();
        Connected(Arc::clone(self))
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
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

    /// Waits, at most until another connection comes up.
    #[expect(
        clippy::disallowed_methods,
        reason = "a back-off: no event says when Redis is back, but one that another found it"
    )]
    pub(crate) async fn wait(&mut self, reach: &Reach) {
        let share = rand::rng().random_range(0.5..=1.0);
        tokio::select! {
            () = tokio::time::sleep(self.next.mul_f64(share)) => {}
            () = reach.reached.notified() => {}
        }
        self.next = (self.next * 2).min(LAST);
    }
}
