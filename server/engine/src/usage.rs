//! How near an app is to its limits on this node: what is used, the peaks, and what was refused.
//!
//! Whoever draws from a limit notes how much of it was used; once a second the greatest is moved into windows. For what an
//! app has together the number of this moment is known; for what each channel, connection, key, message or request has,
//! the most that any of them used. What limits refused is counted in [`AppStats`] alone; here stands since when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fanfare_core::limits::Scope;
use fanfare_core::{Limit, Limits};

use crate::stats::AppStats;

/// Limits there are.
const COUNT: usize = Limit::ALL.len();
/// The last minute, in parts.
const PARTS: usize = 6;
const PART_S: u32 = 10;
const DAY_MS: u64 = 86_400_000;

/// What is counted for one app.
#[derive(Debug)]
pub(crate) struct Usage {
    /// The most since the last second.
    seen: [AtomicU64; COUNT],
    near: [AtomicU64; COUNT],
    /// Messages replaced by a later one with their key before they were written.
    pub(crate) conflated: AtomicU64,
    /// Messages let go before they were written, and told.
    pub(crate) dropped: AtomicU64,
    /// Made when there is something to keep.
    kept: Mutex<Option<Box<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    day: u64,
    part: u32,
    limits: [Windows; COUNT],
}

#[derive(Debug, Clone, Copy, Default)]
struct Windows {
    now: u64,
    parts: [u64; PARTS],
    today: u64,
    /// Counters when the day began.
    rejected_before: u64,
    near_before: u64,
    /// Whether it was near at the last look, so that staying there counts once.
    was_near: bool,
}

/// What slow clients were not sent, by the policy of their channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LetGo {
    /// Messages replaced by a later one with their key.
    pub conflated: u64,
    /// Messages let go, and told.
    pub dropped: u64,
}

/// How much of one limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// Which.
    pub limit: Limit,
    /// Now; `None` where it is not one number but each connection's, channel's or key's own.
    pub now: Option<u64>,
    /// The most in the last minute.
    pub peak_minute: u64,
    /// The most since midnight UTC.
    pub peak_today: u64,
    /// What was refused since midnight UTC.
    pub rejected_today: u64,
    /// How often a fifth or less was left since midnight UTC.
    pub near_today: u64,
}

impl Default for Usage {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            seen: zeros(),
            near: zeros(),
            conflated: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            kept: Mutex::default(),
        }
    }
}

impl Usage {
    /// So much of it was used.
    pub(crate) fn seen(&self, limit: Limit, used: u64) {
        let most = &self.seen[limit as usize];
        // Nearly always less than the second's most: a look costs less than a write that others must see.
        if most.load(Ordering::Relaxed) < used {
            most.fetch_max(used, Ordering::Relaxed);
        }
    }

    /// Somebody was told to be near it.
    pub(crate) fn told(&self, limit: Limit) {
        self.near[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What slow clients were not sent.
    pub(crate) fn let_go(&self) -> LetGo {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LetGo { conflated: read(&self.conflated), dropped: read(&self.dropped) }
    }

    /// Ends a second. `elsewhere` are the connections of other nodes, which count with those of this one.
    pub(crate) fn tick(&self, (second, unix_ms): (u32, u64), limits: &Limits, stats: &AppStats, elsewhere: u64) {
        let mut kept = self.kept();
        let rejected = stats.rejections();
        if kept.is_none() && self.is_untouched() && rejected.iter().all(|count| *count == 0) {
            return;
        }
        let kept = kept.get_or_insert_with(|| Box::new(Kept::new(second, unix_ms)));
        let (part, day) = (second / PART_S, unix_ms / DAY_MS);
        // Parts that nobody looked at were quiet.
        let passed = part.saturating_sub(kept.part).min(u32::try_from(PARTS).unwrap_or(u32::MAX));
        let new_day = day != kept.day;
        for (index, windows) in kept.limits.iter_mut().enumerate() {
            let limit = Limit::ALL[index];
            for gone in 0..passed {
                windows.parts[(part - gone) as usize % PARTS] = 0;
            }
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            if new_day {
                windows.today = 0;
                (windows.rejected_before, windows.near_before) = (rejected[index], read(&self.near[index]));
            }
            let seen = self.seen[index].swap(0, Ordering::Relaxed);
            windows.now = seen;
            let running = &mut windows.parts[part as usize % PARTS];
            *running = seen.max(*running);
            windows.today = windows.today.max(seen);
            if limit.scope() == Scope::App {
                let all = if limit == Limit::Connections { seen.saturating_add(elsewhere) } else { seen };
                let near = is_near(all, limits.get(limit).max);
                if near && !windows.was_near {
                    self.told(limit);
                }
                windows.was_near = near;
            }
        }
        (kept.part, kept.day) = (part, day);
    }

    /// What is used of each limit that anything was ever noted of.
    pub(crate) fn all(&self, stats: &AppStats) -> Vec<LimitUse> {
        let kept = self.kept();
        let Some(kept) = kept.as_ref() else { return Vec::new() };
        let rejected = stats.rejections();
        let told = |(index, windows): (usize, &Windows)| {
            let limit = Limit::ALL[index];
            let near = self.near[index].load(Ordering::Relaxed);
            LimitUse {
                limit,
                now: (limit.scope() == Scope::App).then_some(windows.now),
                peak_minute: windows.parts.iter().copied().max().unwrap_or_default(),
                peak_today: windows.today,
                rejected_today: rejected[index].saturating_sub(windows.rejected_before),
                near_today: near.saturating_sub(windows.near_before),
            }
        };
        kept.limits.iter().enumerate().map(told).filter(|used| !used.is_nothing()).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Option<Box<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_untouched(&self) -> bool {
        [&self.seen, &self.near].into_iter().flatten().all(|counter| counter.load(Ordering::Relaxed) == 0)
    }
}

impl Kept {
    fn new(second: u32, unix_ms: u64) -> Self {
        Self { day: unix_ms / DAY_MS, part: second / PART_S, limits: [Windows::default(); COUNT] }
    }
}

impl LimitUse {
    const fn is_nothing(&self) -> bool {
        self.peak_today == 0 && self.rejected_today == 0 && self.near_today == 0
    }
}

/// Whether a fifth or less is left.
pub(crate) const fn is_near(used: u64, max: u64) -> bool {
    used > 0 && used.saturating_mul(5) >= max.saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::{ErrorCode, LimitValue};

    /// Of an app that was refused nothing.
    fn all(usage: &Usage) -> Vec<LimitUse> {
        usage.all(&AppStats::default())
    }

    fn tick(usage: &Usage, second: u32, unix_ms: u64, limits: &Limits) {
        usage.tick((second, unix_ms), limits, &AppStats::default(), 0);
    }

    fn of(usage: &Usage, limit: Limit) -> LimitUse {
        all(usage).into_iter().find(|used| used.limit == limit).expect("it was noted")
    }

    #[test]
    fn peaks_last_a_minute_and_a_day() {
        let (usage, mut limits) = (Usage::default(), Limits::default());
        limits.set(Limit::Connections, LimitValue::count(10));
        tick(&usage, 0, 0, &limits);
        assert!(all(&usage).is_empty());
        usage.seen(Limit::Connections, 3);
        usage.seen(Limit::Connections, 9);
        usage.seen(Limit::Connections, 4);
        tick(&usage, 1, 1_000, &limits);
        let seen = of(&usage, Limit::Connections);
        assert_eq!((seen.now, seen.peak_minute, seen.peak_today, seen.near_today), (Some(9), 9, 9, 1));
        usage.seen(Limit::Connections, 2);
        tick(&usage, 59, 59_000, &limits);
        let seen = of(&usage, Limit::Connections);
        assert_eq!((seen.now, seen.peak_minute, seen.peak_today), (Some(2), 9, 9));
        tick(&usage, 65, 65_000, &limits);
        assert_eq!(of(&usage, Limit::Connections).peak_minute, 2);
        tick(&usage, 600, DAY_MS - 1, &limits);
        assert_eq!((of(&usage, Limit::Connections).peak_minute, of(&usage, Limit::Connections).peak_today), (0, 9));
        tick(&usage, 601, DAY_MS, &limits);
        assert!(all(&usage).is_empty(), "a new day begins with nothing");
    }

    #[test]
    fn refusals_count_by_limit_and_nearness_once_while_it_lasts() {
        let (usage, stats, mut limits) = (Usage::default(), AppStats::default(), Limits::default());
        limits.set(Limit::Channels, LimitValue::count(5));
        stats.refused(ErrorCode::LimitReached, Some(Limit::Subscriptions));
        stats.refused(ErrorCode::KeyInvalid, None);
        for second in 0..5 {
            usage.seen(Limit::Channels, 4);
            usage.tick((second, 0), &limits, &stats, 0);
        }
        let of = |limit| usage.all(&stats).into_iter().find(|used| used.limit == limit);
        let subscriptions = of(Limit::Subscriptions).expect("one was refused");
        assert_eq!((subscriptions.now, subscriptions.rejected_today), (None, 1));
        assert_eq!(of(Limit::Channels).expect("it was noted").near_today, 1);
        usage.tick((5, DAY_MS), &limits, &stats, 0);
        assert_eq!(of(Limit::Subscriptions), None, "a new day begins with nothing");
        assert!(is_near(8, 10) && !is_near(7, 10) && is_near(1, 1) && !is_near(0, 0));
    }
}
