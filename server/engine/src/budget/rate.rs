//! One rate on this node: a bucket that draws take from in parts, and what was drawn since it was last told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fanfare_core::LimitValue;
use fanfare_core::id::AppId;

use super::{Account, Sharing, WHOLE};
use crate::limiter::{Exceeded, Left, SharedBucket};

/// A rate of an account on this node.
pub(crate) struct Rate {
    pub(crate) account: Account,
    bucket: SharedBucket,
    part: AtomicU32,
    drawn: AtomicU64,
    refused: AtomicU64,
    /// Whether it is among those that are settled.
    watched: AtomicBool,
    all: Arc<Watched>,
}

/// What is to be settled and nobody follows yet.
#[derive(Default)]
pub(crate) struct Watched {
    /// Whether there are other nodes to share with.
    shared: AtomicBool,
    pub(super) rates: Mutex<Vec<Arc<Rate>>>,
    /// Apps that have nearly as many connections as they may.
    nearly_full: Mutex<BTreeSet<AppId>>,
    sharing: Mutex<Sharing>,
}

/// What was drawn and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Drawn {
    pub(super) drawn: u64,
    pub(super) refused: u64,
}

impl Watched {
    /// From now on it is.
    pub(crate) fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// As it stands now.
    pub(super) fn stands(&self, rates: usize, is_away: bool) {
        let mut sharing = self.sharing.lock().unwrap_or_else(PoisonError::into_inner);
        sharing.rates = rates as u64;
        sharing.times_away += u64::from(is_away && !sharing.is_away);
        sharing.is_away = is_away;
    }

    pub(crate) fn sharing(&self) -> Sharing {
        *self.sharing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections an app has is to be told soon.
    pub(crate) fn nearly_full(&self, app: AppId) {
        if self.shared.load(Ordering::Relaxed) {
            self.nearly_full.lock().unwrap_or_else(PoisonError::into_inner).insert(app);
        }
    }

    pub(super) fn take_nearly_full(&self) -> BTreeSet<AppId> {
        std::mem::take(&mut *self.nearly_full.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Rate {
    pub(crate) fn new(account: Account, all: Arc<Watched>) -> Arc<Self> {
        Arc::new(Self {
            account,
            bucket: SharedBucket::default(),
            part: AtomicU32::new(WHOLE),
            drawn: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            all,
        })
    }

    /// Draws `count`, or nothing.
    pub(crate) fn draw(self: &Arc<Self>, now: Duration, value: LimitValue, count: u64) -> Result<Left, Exceeded> {
        let left = self.bucket.draw_of(now, value, self.part.load(Ordering::Relaxed), count);
        if self.all.shared.load(Ordering::Relaxed) {
            let counter = if left.is_ok() { &self.drawn } else { &self.refused };
            counter.fetch_add(count, Ordering::Relaxed);
            if !self.watched.load(Ordering::Relaxed) && !self.watched.swap(true, Ordering::Relaxed) {
                self.all.rates.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(self));
            }
        }
        left
    }

    /// What was drawn and refused since this was asked last.
    pub(super) fn take(&self) -> Drawn {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Drawn { drawn: take(&self.drawn), refused: take(&self.refused) }
    }

    /// What was taken could not be told.
    pub(super) fn put_back(&self, drawn: Drawn) {
        self.drawn.fetch_add(drawn.drawn, Ordering::Relaxed);
        self.refused.fetch_add(drawn.refused, Ordering::Relaxed);
    }

    /// As much is to be told.
    pub(super) fn look(&self) -> Drawn {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Drawn { drawn: read(&self.drawn), refused: read(&self.refused) }
    }

    /// When the bucket is full again.
    pub(super) fn full_in(&self, now: Duration) -> Duration {
        self.bucket.full_in(now)
    }

    /// Draws are from this part from now on.
    pub(super) fn hold_to(&self, part: u32) {
        self.part.store(part, Ordering::Relaxed);
    }

    /// The whole bucket stood so, but for what was drawn here since what was told.
    pub(super) fn stands(&self, now: Duration, value: LimitValue, part: u32, full_in: Duration) {
        self.hold_to(part);
        self.bucket.set(now + full_in, value, part, self.drawn.load(Ordering::Relaxed));
    }

    /// It is not settled any more, until it is drawn from again.
    pub(super) fn unwatch(&self) {
        self.watched.store(false, Ordering::Relaxed);
    }
}
