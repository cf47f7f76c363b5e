//! What happens in an app, gathered while somebody watches its channel of events and told every fifth of a second.
//!
//! While nobody watches, an event costs the reading of one flag. While somebody does, what is gathered between two
//! tellings is bounded; what is more is counted, and the count is told: an app under load must not be slowed by whoever
//! looks at it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fanfare_core::debug::{DebugEvent, DebugEvents, Happened};

/// The most that is told at once: a thousand a second.
pub(crate) const EVENTS_MAX: usize = 200;

/// The events of one app.
#[derive(Debug)]
pub(crate) struct Events {
    watched: AtomicBool,
    /// Until which second somebody listens at another node, as far as was said.
    elsewhere: AtomicU32,
    number: AtomicU64,
    waiting: Mutex<DebugEvents>,
}

impl Default for Events {
    fn default() -> Self {
        // Nodes number their own: where each begins is drawn, so that two of one moment have two ids.
        let number = AtomicU64::new(RandomState::new().hash_one(0_u8) >> 20);
        Self { watched: AtomicBool::default(), elsewhere: AtomicU32::default(), number, waiting: Mutex::default() }
    }
}

impl Events {
    /// Whether somebody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Somebody watches from now on. Answers whether nobody did before.
    pub(crate) fn watch(&self) -> bool {
        !self.watched.swap(true, Ordering::Relaxed)
    }

    /// Somebody watches at another node, until that second at least.
    pub(crate) fn watch_until(&self, second: u32) {
        self.elsewhere.store(second, Ordering::Relaxed);
    }

    /// Whether somebody watches at another node.
    pub(crate) fn is_watched_elsewhere(&self, second: u32) -> bool {
        self.elsewhere.load(Ordering::Relaxed) > second
    }

    /// Nobody watches any more: what was gathered is let go.
    pub(crate) fn unwatch(&self) {
        self.watched.store(false, Ordering::Relaxed);
        *self.waiting() = DebugEvents::default();
    }

    /// Gathers what happened at a moment, unless too much did.
    pub(crate) fn gather(&self, time: u64, what: Happened) {
        let mut waiting = self.waiting();
        if waiting.events.len() >= EVENTS_MAX {
            waiting.dropped += 1;
            return;
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        waiting.events.push(DebugEvent { id: format!("{time}-{number}"), time, what });
    }

    /// What was gathered since the last time; `None` when nothing was.
    pub(crate) fn take(&self) -> Option<DebugEvents> {
        let taken = std::mem::take(&mut *self.waiting());
        (!taken.events.is_empty()).then_some(taken)
    }

    fn waiting(&self) -> MutexGuard<'_, DebugEvents> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::id::ConnectionId;

    #[test]
    fn what_is_too_much_is_counted_and_the_count_is_told_once() {
        let events = Events::default();
        assert!(events.watch() && !events.watch() && events.take().is_none());
        let what = || Happened::Subscribed { connection: ConnectionId::new(1, 1), channel: "a".to_owned() };
        (0..EVENTS_MAX + 7).for_each(|_| events.gather(5, what()));
        let told = events.take().expect("something happened");
        assert_eq!((told.events.len(), told.dropped), (EVENTS_MAX, 7));
        events.gather(6, what());
        let later = events.take().expect("something happened");
        assert_eq!((later.events.len(), later.dropped), (1, 0));
        assert_ne!(later.events[0].id, told.events[0].id);
        events.gather(7, what());
        events.unwatch();
        assert!(!events.is_watched() && events.take().is_none());
    }
}
