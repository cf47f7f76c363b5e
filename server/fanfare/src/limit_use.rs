//! Tells the store how near apps are to their limits, every few seconds; the control plane shows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fanfare_core::Limit;
use fanfare_engine::{LimitUse, Node};
use fanfare_store::{Store, StoreError, Used};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

const EVERY: Duration = Duration::from_secs(5);
/// Apps of one statement.
const AT_ONCE: usize = 500;

/// Carries use from the engine to the store. While Postgres is away nothing is kept: the next word says all again.
pub(crate) struct LimitUseTask {
    pub(crate) node: Arc<Node>,
    pub(crate) store: watch::Receiver<Option<Store>>,
    pub(crate) name: String,
    pub(crate) stop: CancellationToken,
}

impl LimitUseTask {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) {
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                _ = every.tick() => self.tell().await,
            }
        }
    }

    async fn tell(&self) {
        let Some(store) = self.store.borrow().clone() else { return };
        let feed = store.feed();
        for apps in self.node.directory().usage().chunks(AT_ONCE) {
            let told = apps.iter().map(|(app, used)| (*app, by_limit(used))).collect();
            match timeout(EVERY, feed.put_limit_use(&self.name, told)).await {
                Ok(Ok(())) => {}
                // Readiness and the feed say that Postgres is away.
                Ok(Err(error)) => return refused(&error),
                Err(_) => return,
            }
        }
    }
}

fn refused(error: &StoreError) {
    debug!(%error, "what is used of limits was not told");
}

fn by_limit(used: &[LimitUse]) -> BTreeMap<Limit, Used> {
    let told = used.iter().map(|used| {
        let LimitUse { limit, now, peak_minute, peak_today, rejected_today, near_today } = *used;
        (limit, Used { now, peak_minute, peak_today, rejected_today, near_today })
    });
    told.collect()
}
