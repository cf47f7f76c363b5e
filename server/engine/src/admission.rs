//! How fast a node takes connections: a storm is paced, not stopped.
//!
//! A node that comes back finds every client before its door. Who does not fit into the rate is refused before anything
//! is checked for them, and told when to come again: each gets a later place of its own in a queue that exists only as a
//! number, so that they come at the rate and not as a second storm.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fanfare_core::LimitValue;

use crate::limiter::SharedBucket;

/// Nobody is sent away for longer; beyond that, moments are drawn by lot.
const WAIT_MS_MAX: u64 = 10_000;

/// The door of a node.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    bucket: SharedBucket,
    /// Until when the places given to those who were refused reach, in nanoseconds of the monotonic clock.
    promised_ns: AtomicU64,
    refused: AtomicU64,
}

impl Admission {
    /// Lets one in, or says after how many milliseconds to come again. `dice` is between 0 and 1.
    pub(crate) fn admit(&self, now: Duration, rate: LimitValue, dice: f64) -> Result<(), u64> {
        if self.bucket.draw(now, rate, 1).is_ok() {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let interval_ns = 1_000_000_000 / rate.max.max(1);
        let latest_ns = now_ns.saturating_add(WAIT_MS_MAX * 1_000_000);
        let place = |promised_ns: u64| promised_ns.max(now_ns).saturating_add(interval_ns);
        let promised = self.promised_ns.try_update(Ordering::Relaxed, Ordering::Relaxed, |promised_ns| {
            Some(place(promised_ns)).filter(|place_ns| *place_ns <= latest_ns)
        });
        let wait_ms = match promised {
            Ok(before_ns) => (place(before_ns) - now_ns).div_ceil(1_000_000),
            // More have been refused than can come in that time: they share its second half.
            Err(_) => WAIT_MS_MAX / 2 + part(WAIT_MS_MAX / 2, dice),
        };
        // Clients that were refused in one moment do not come back in one either.
        Err(wait_ms + 1 + part(wait_ms / 8 + 50, dice))
    }

    /// How many were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "milliseconds of seconds"
)]
fn part(whole: u64, dice: f64) -> u64 {
    (whole as f64 * dice) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn a_storm_comes_in_at_the_rate_and_everybody_gets_in() {
        let (door, rate) = (Admission::default(), LimitValue::rate(1_000, 500));
        let mut dice = StdRng::seed_from_u64(1);
        let mut due: BinaryHeap<Reverse<u64>> = vec![Reverse(0); 15_000].into();
        let (mut admitted, mut refusals) = (Vec::new(), 0);
        while let Some(Reverse(now_ms)) = due.pop() {
            match door.admit(Duration::from_millis(now_ms), rate, dice.random()) {
                Ok(()) => admitted.push(now_ms),
                Err(wait_ms) => {
                    assert!((1..=WAIT_MS_MAX * 5 / 4).contains(&wait_ms), "{wait_ms}");
                    due.push(Reverse(now_ms + wait_ms));
                    refusals += 1;
                }
            }
        }
        let last = *admitted.last().expect("some");
        assert!((14_000..20_000).contains(&last), "all are in after {last} ms");
        assert_eq!(door.refused(), refusals);
        // At most the burst and a second's worth in any second.
        for second in 0..=last / 1_000 {
            let came = admitted.iter().filter(|at| **at / 1_000 == second).count();
            assert!(came <= 1_500, "{came} came in second {second}");
        }
        // Paced and not thrown back over and over: about two tries each.
        assert!(refusals < 45_000, "{refusals}");
    }

    #[test]
    fn who_is_refused_in_one_moment_comes_back_in_many() {
        let (door, rate) = (Admission::default(), LimitValue::rate(1_000, 1));
        let waits: Vec<u64> = (0..500).filter_map(|_| door.admit(Duration::ZERO, rate, 0.0).err()).collect();
        assert_eq!(waits.len(), 499);
        let mut distinct = waits.clone();
        distinct.dedup();
        assert!(distinct.len() > 490 && waits.is_sorted(), "each has a place of its own");
    }

    #[test]
    fn a_door_that_takes_nobody_says_so_without_breaking() {
        let door = Admission::default();
        assert!(door.admit(Duration::ZERO, LimitValue::rate(0, 0), 0.5).is_err());
    }
}
