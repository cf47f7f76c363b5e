//! What a connection's task can be told without waiting for it, and when it asks to be told.

use std::sync::atomic::Ordering;

use super::Outbox;

/// What a connection's task is told by others; each stays set until the task takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Signal {
    /// Look again at rights: the app changed.
    Recheck = 1,
    /// Something is due: heartbeat, expiry, deadline.
    Tick = 2,
    /// The node is going away: it is time to say so.
    Drain = 4,
    /// Bytes wait for the socket.
    Blocked = 8,
    /// A subscription needs a page of history.
    CatchUp = 16,
    /// The client goes on elsewhere, with this connection's ticket.
    Superseded = 32,
    /// An order came from outside.
    Ordered = 64,
    /// The client is too slow for a channel that does not wait.
    Slow = 1_024,
    /// The node is short of memory and this connection is one of those to go.
    Shed = 512,
    /// The node is going away: finish what was begun, then end.
    Part = 128,
    /// The node's time is over: end at once.
    Cut = 256,
}

/// The signals that were set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signals(u32);

impl Signals {
    pub(super) const NONE: Self = Self(0);

    /// Those whose bits are set.
    pub(super) const fn of(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) const fn has(self, signal: Signal) -> bool {
        self.0 & signal as u32 != 0
    }
}

impl Outbox {
    /// Asks for [`Signal::Tick`] at this second of the monotonic clock.
    pub(crate) fn tick_at(&self, second: u32) {
        self.due_s.store(second, Ordering::Relaxed);
    }

    /// Asks for [`Signal::Tick`] at this second at the latest.
    pub(crate) fn tick_by(&self, second: u32) {
        self.due_s.fetch_min(second, Ordering::Relaxed);
    }

    /// Sends [`Signal::Tick`] when it is due.
    pub(crate) fn tick_if_due(&self, second: u32) {
        if self.due_s.load(Ordering::Relaxed) <= second {
            self.due_s.store(u32::MAX, Ordering::Relaxed);
            self.signal(Signal::Tick);
        }
    }
}
