//! How everything stops: softly on the first signal, hard on the second; and how everything waits that has to try again.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::TryRng as _;
use rand::rngs::SysRng;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// The tasks of this process and the words that end them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lifecycle {
    /// A stop has begun: say so to whoever asks, go on working.
    pub(crate) stopping: CancellationToken,
    /// Finish what was begun, take nothing new.
    pub(crate) soft: CancellationToken,
    /// Every task; a stop waits for them.
    pub(crate) tasks: TaskTracker,
    /// What those stand on: ends after them.
    pub(crate) ground: Ground,
}

/// Tasks that others stand on, and the word that ends them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ground {
    /// Nobody stands on them any more.
    pub(crate) stop: CancellationToken,
    /// They.
    pub(crate) tasks: TaskTracker,
}

/// SIGTERM and SIGINT, from the moment they are asked for.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes over both signals.
    ///
    /// # Errors
    /// When the system does not let us.
    pub(crate) fn new() -> Result<Self> {
        let on = |kind| signal(kind).context("cannot handle signals");
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    /// Waits for the next of either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Lifecycle {
    /// Waits until every task has ended, at most this long. What is left ends with the process.
    pub(crate) async fn wind_down(&self, within: Duration) {
        self.soft.cancel();
        self.tasks.close();
        let ended = async {
            self.tasks.wait().await;
            self.ground.stop.cancel();
            self.ground.tasks.close();
            self.ground.tasks.wait().await;
        };
        match tokio::time::timeout(within, ended).await {
            Ok(()) => info!("every task has ended"),
            Err(_) => warn!(tasks = self.tasks.len() + self.ground.tasks.len(), "ending with tasks unfinished"),
        }
    }
}

/// Waits between tries: doubling to a bound, each drawn between half and whole, so that nodes do not come as one.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// From `min` to `max`.
    pub(crate) const fn new(min: Duration, max: Duration) -> Self {
        Self { next: min, min, max }
    }

    /// How long to wait before the next try.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        let dice = f64::from(SysRng.try_next_u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        whole.mul_f64(dice.mul_add(0.5, 0.5))
    }

    /// Whether nothing has failed since it was made or worked last.
    pub(crate) fn is_fresh(&self) -> bool {
        self.next == self.min
    }

    /// It worked: the next trouble starts from the beginning.
    pub(crate) const fn reset(&mut self) {
        self.next = self.min;
    }
}

/// The wait of a back-off.
#[expect(clippy::disallowed_methods, reason = "a back-off: what failed shall not be asked again at once")]
pub(crate) async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_differ() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let waits: Vec<Duration> = (0..10).map(|_| backoff.next()).collect();
        assert!((100..=200).contains(&waits[0].as_millis()), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(5)));
        assert!(waits[9] >= Duration::from_millis(2_500), "{waits:?}");
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(200));
    }
}
