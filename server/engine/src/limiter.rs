//! The generic cell rate algorithm: a rate and a burst in one number.
//!
//! The number is the *theoretical arrival time*: when the bucket would be full again. An arrival is admitted when that
//! time lies no further ahead than the burst allows (ITU-T I.371, and the field's usual reading of it). One
//! integer per bucket, no timer, no window whose edge lets twice the rate through.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fanfare_core::LimitValue;

use crate::budget::WHOLE;

/// A bucket that one owner draws from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    full_at_ns: u64,
}

/// A bucket that many threads draw from.
#[derive(Debug, Default)]
pub struct SharedBucket {
    full_at_ns: AtomicU64,
}

/// What is left in a bucket after a draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// How many more may come now.
    pub remaining: u64,
    /// When the bucket is full again, in milliseconds from now.
    pub reset_ms: u64,
}

/// There was not enough in the bucket; nothing was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// When there is, in milliseconds from now.
    pub retry_after_ms: u64,
}

/// A draw of `count` from a part of a bucket, in millionths: it takes as much more as the part is smaller. From a full
/// bucket its burst may be drawn whatever the part.
fn draw(full_at_ns: u64, now: Duration, value: LimitValue, part: u32, count: u64) -> Result<(u64, Left), Exceeded> {
    let now_ns = nanos(now);
    // A rate of nothing admits nothing; an hour is a fair time to ask again.
    let Some(interval_ns) = 1_000_000_000_u64.checked_div(value.max).map(|ns| ns.max(1)) else {
        return Err(Exceeded { retry_after_ms: 3_600_000 });
    };
    let capacity_ns = value.burst.max(1).saturating_mul(interval_ns);
    let cost_ns = cost(interval_ns, part);
    let next = full_at_ns.max(now_ns).saturating_add(count.saturating_mul(cost_ns));
    let (before, ahead) = (full_at_ns.saturating_sub(now_ns), next - now_ns);
    let from_full = count <= value.burst.max(1);
    if ahead > capacity_ns && !(before == 0 && from_full) {
        let wait_ns = ahead - capacity_ns;
        let wait_ns = if from_full { wait_ns.min(before) } else { wait_ns };
        return Err(Exceeded { retry_after_ms: wait_ns.div_ceil(1_000_000) });
    }
    let remaining = capacity_ns.saturating_sub(ahead) / cost_ns;
    Ok((next, Left { remaining, reset_ms: ahead.div_ceil(1_000_000) }))
}

/// What one costs, drawn from a part.
fn cost(interval_ns: u64, part: u32) -> u64 {
    interval_ns.saturating_mul(WHOLE.into()) / u64::from(part.max(1))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Bucket {
    /// Draws `count`, or nothing.
    ///
    /// # Errors
    /// When that many are not there now.
    pub fn draw(&mut self, now: Duration, value: LimitValue, count: u64) -> Result<Left, Exceeded> {
        let (next, left) = draw(self.full_at_ns, now, value, WHOLE, count)?;
        self.full_at_ns = next;
        Ok(left)
    }

    /// How many could be drawn now.
    #[must_use]
    pub fn left(&self, now: Duration, value: LimitValue) -> u64 {
        draw(self.full_at_ns, now, value, WHOLE, 0).map_or(0, |(_, left)| left.remaining)
    }

    /// Draws so many whether or not they are there; what is overdrawn has to come in before the next.
    pub fn charge(&mut self, now: Duration, value: LimitValue, count: u64) {
        let interval_ns = 1_000_000_000_u64.checked_div(value.max).unwrap_or(u64::MAX).max(1);
        self.full_at_ns = self.full_at_ns.max(nanos(now)).saturating_add(count.saturating_mul(interval_ns));
    }
}

impl SharedBucket {
    /// Draws `count`, or nothing.
    ///
    /// # Errors
    /// When that many are not there now.
    pub fn draw(&self, now: Duration, value: LimitValue, count: u64) -> Result<Left, Exceeded> {
        self.draw_of(now, value, WHOLE, count)
    }

    /// Draws `count` from a part of it, in millionths, or nothing.
    ///
    /// # Errors
    /// When that many are not there now.
    pub fn draw_of(&self, now: Duration, value: LimitValue, part: u32, count: u64) -> Result<Left, Exceeded> {
        let mut left = Err(Exceeded { retry_after_ms: 0 });
        let _drawn = self.full_at_ns.try_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
            match draw(full_at_ns, now, value, part, count) {
                Ok((next, rest)) => {
                    left = Ok(rest);
                    Some(next)
                }
                Err(exceeded) => {
                    left = Err(exceeded);
                    None
                }
            }
        });
        left
    }

    /// When it is full again, from now.
    #[must_use]
    pub fn full_in(&self, now: Duration) -> Duration {
        Duration::from_nanos(self.full_at_ns.load(Ordering::Relaxed).saturating_sub(nanos(now)))
    }

    /// It is full at that time, but for what was drawn from a part of it meanwhile.
    pub fn set(&self, full_at: Duration, value: LimitValue, part: u32, drawn: u64) {
        let interval_ns = 1_000_000_000_u64.checked_div(value.max).unwrap_or(0).max(1);
        let drawn_ns = drawn.saturating_mul(cost(interval_ns, part));
        self.full_at_ns.store(nanos(full_at).saturating_add(drawn_ns), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (mut bucket, value) = (Bucket::default(), LimitValue::rate(10, 3));
        let at = Duration::from_millis;
        for remaining in [2, 1, 0] {
            assert_eq!(bucket.draw(at(0), value, 1).map(|left| left.remaining), Ok(remaining));
        }
        assert_eq!(bucket.draw(at(0), value, 1), Err(Exceeded { retry_after_ms: 100 }));
        assert!(bucket.draw(at(99), value, 1).is_err());
        assert!(bucket.draw(at(100), value, 1).is_ok());
        assert!(Bucket::default().draw(at(0), LimitValue::rate(0, 5), 1).is_err());
    }

    #[test]
    fn what_is_overdrawn_comes_in_before_the_next() {
        let (mut bucket, value, at) = (Bucket::default(), LimitValue::rate(10, 10), Duration::from_millis);
        assert_eq!(bucket.left(at(0), value), 10);
        bucket.charge(at(0), value, 15);
        assert_eq!(
            (bucket.left(at(400), value), bucket.left(at(600), value), bucket.left(at(1_500), value)),
            (0, 1, 10)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a bucket of fractional tokens, counted in nanoseconds so that nothing is rounded.
        #[test]
        fn draws_agree_with_a_bucket_of_tokens(
            rate in 1_u64..1_000, burst in 1_u64..100,
            arrivals in proptest::collection::vec((0_u64..50_000_000, 1_u64..4), 1..200),
        ) {
            let value = LimitValue::rate(rate, burst);
            let interval = 1_000_000_000 / rate;
            let capacity = burst * interval;
            let (mut bucket, mut tokens, mut now) = (Bucket::default(), capacity, 0_u64);
            for (wait, count) in arrivals {
                now += wait;
                tokens = (tokens + wait).min(capacity);
                let admitted = tokens >= count * interval;
                if admitted { tokens -= count * interval; }
                let drawn = bucket.draw(Duration::from_nanos(now), value, count);
                prop_assert_eq!(drawn.is_ok(), admitted);
                if let Err(exceeded) = drawn {
                    // Whoever waits as told is admitted, if the bucket can ever hold as many.
                    let mut later = bucket;
                    let then = Duration::from_nanos(now) + Duration::from_millis(exceeded.retry_after_ms);
                    prop_assert_eq!(later.draw(then, value, count).is_ok(), count <= burst);
                }
            }
        }
    }
}
