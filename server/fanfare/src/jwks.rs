//! Fetches the keys of issuers that publish them at a URL: in the background, never while a token waits.
//!
//! ```text
//! Directory ── which URLs, which of them lack a key ──▶ JwksTask ── fetch ──▶ issuer's server
//!     ▲                                                    │
//!     └──────────── keys ──────────────────────────────────┴── how it went ──▶ store, for people
//! ```
//!
//! Keys are fetched when an issuer appears, then every ten minutes or so; earlier when a token names a key that is not
//! known, but never more often than once a minute and issuer, whatever comes. What was fetched serves on while fetching
//! fails, for a day. Every bound of a single fetch is in `fetch.rs`.

mod address;
mod fetch;

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fanfare_core::Clock as _;
use fanfare_core::id::{AppId, IssuerId};
use fanfare_core::public_key::KeySet;
use fanfare_engine::{FetchedKeys, JwksIssuer, Node, SystemClock};
use fanfare_store::Store;
use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use self::fetch::FetchError;
use crate::config::Jwks;
use crate::lifecycle::Backoff;

/// How often it is looked at what is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Fetches at one moment. One slow server must not keep the others waiting, nor may many of them fill this node.
const FETCHES_MAX: usize = 8;
/// How long the store may take to note how a fetch went. It is for people; the keys are in use by then.
const TELL_WITHIN: Duration = Duration::from_secs(3);

/// Fetches made and failed, for metrics.
#[derive(Debug, Default)]
pub(crate) struct JwksStatus {
    fetches: AtomicU64,
    failures: AtomicU64,
}

impl JwksStatus {
    /// How many fetches were made, and how many of them failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.fetches.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }
}

/// Keeps the keys of every app's issuers current.
pub(crate) struct JwksTask {
    pub(crate) node: Arc<Node>,
    pub(crate) store: watch::Receiver<Option<Store>>,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) options: Arc<Jwks>,
    pub(crate) status: Arc<JwksStatus>,
    /// Told when keys changed, so that the snapshot is written.
    pub(crate) changed: Arc<Notify>,
    /// Keys of an earlier run, for when their server is away.
    pub(crate) restored: HashMap<(AppId, IssuerId), FetchedKeys>,
    pub(crate) stop: CancellationToken,
}

type Id = (AppId, IssuerId);

/// When an issuer is asked next.
struct Schedule {
    due: Instant,
    asked: Option<Instant>,
    wanted: bool,
    failing: Backoff,
}

/// What came of a fetch.
struct Fetched {
    issuer: JwksIssuer,
    outcome: Result<KeySet, FetchError>,
}

impl JwksTask {
    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        let mut schedules: HashMap<Id, Schedule> = HashMap::new();
        let mut running: JoinSet<Fetched> = JoinSet::new();
        let mut fetching: HashSet<Id> = HashSet::new();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(done) = running.join_next() => {
                    // A fetch that panics says so itself, and none is aborted while this runs.
                    let Ok(fetched) = done else { continue };
                    let id = (fetched.issuer.app, fetched.issuer.issuer);
                    fetching.remove(&id);
                    if let Some(schedule) = schedules.get_mut(&id) {
                        self.take(schedule, fetched).await;
                    }
                }
                _ = look.tick() => {
                    for issuer in self.due(&mut schedules) {
                        let id = (issuer.app, issuer.issuer);
                        if running.len() < FETCHES_MAX && fetching.insert(id) {
                            self.begin(&mut schedules, &mut running, issuer);
                        }
                    }
                }
            }
        }
    }

    /// The issuers whose time has come.
    fn due(&mut self, schedules: &mut HashMap<Id, Schedule>) -> Vec<JwksIssuer> {
        let (now, apart) = (Instant::now(), Duration::from_millis(self.options.fetch_apart_ms));
        let issuers = self.node.directory().jwks_issuers();
        let present: HashSet<Id> = issuers.iter().map(|issuer| (issuer.app, issuer.issuer)).collect();
        schedules.retain(|id, _| present.contains(id));
        let is_due = |issuer: &JwksIssuer| {
            let id = (issuer.app, issuer.issuer);
            let schedule = schedules.entry(id).or_insert_with(|| {
                if let Some(keys) = self.restored.remove(&id) {
                    self.node.directory().set_issuer_keys(id.0, id.1, keys);
                }
                Schedule { due: now, asked: None, wanted: false, failing: Backoff::new(apart, apart * 8) }
            });
            schedule.wanted |= issuer.wanted;
            let may = schedule.asked.is_none_or(|asked| now.duration_since(asked) >= apart);
            may && (now >= schedule.due || schedule.wanted)
        };
        issuers.into_iter().filter(is_due).collect()
    }

    fn begin(&self, schedules: &mut HashMap<Id, Schedule>, running: &mut JoinSet<Fetched>, issuer: JwksIssuer) {
        if let Some(schedule) = schedules.get_mut(&(issuer.app, issuer.issuer)) {
            schedule.asked = Some(Instant::now());
            schedule.wanted = false;
        }
        self.status.fetches.fetch_add(1, Ordering::Relaxed);
        let options = Arc::clone(&self.options);
        running.spawn(async move {
            let outcome = whole(fetch::keys(&issuer.url, &options)).await;
            Fetched { issuer, outcome }
        });
    }

    /// Takes in what came of a fetch.
    async fn take(&self, schedule: &mut Schedule, Fetched { issuer, outcome }: Fetched) {
        let now = Instant::now();
        match &outcome {
            Ok(set) => {
                let keys = FetchedKeys {
                    url: issuer.url.clone(),
                    fetched_ms: self.clock.unix_ms(),
                    keys: set.keys.clone().into(),
                };
                self.node.directory().set_issuer_keys(issuer.app, issuer.issuer, keys);
                self.changed.notify_one();
                schedule.failing.reset();
                // Between half of it and the whole: nodes and issuers do not come as one.
                let every = Duration::from_millis(self.options.refresh_ms);
                schedule.due = now + Backoff::new(every, every).next();
                debug!(issuer.id = %issuer.issuer, keys = set.keys.len(), skipped = set.skipped, "keys were fetched");
            }
            Err(error) => {
                self.status.failures.fetch_add(1, Ordering::Relaxed);
                if schedule.failing.is_fresh() {
                    warn!(app.id = %issuer.app, issuer.id = %issuer.issuer, %error, "an issuer's keys were not fetched");
                }
                schedule.due = now + schedule.failing.next();
            }
        }
        let told = outcome.as_ref().map(|set| &*set.keys).map_err(ToString::to_string);
        let store = self.store.borrow().clone();
        if let Some(store) = store {
            let telling = store.feed();
            let told = telling.issuer_fetched(issuer.issuer, told.as_ref().map(|keys| *keys).map_err(String::as_str));
            if !matches!(timeout(TELL_WITHIN, told).await, Ok(Ok(()))) {
                debug!(issuer.id = %issuer.issuer, "the store did not note how the fetch went");
            }
        }
    }
}

/// The outcome of a fetch, also where it panics: its issuer is then asked again, later each time, as after any failure.
async fn whole(fetch: impl Future<Output = Result<KeySet, FetchError>>) -> Result<KeySet, FetchError> {
    // What it had in hand is gone with it: nothing that others see is left half done.
    AssertUnwindSafe(fetch).catch_unwind().await.unwrap_or_else(|_| {
        error!("a fetch of an issuer's keys panicked");
        Err(FetchError::Broken)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fetch_that_panics_is_a_failed_one() {
        let broken = whole(async { panic!("planted by this test") }).await;
        assert!(matches!(broken, Err(FetchError::Broken)), "{broken:?}");
        let set = KeySet { keys: Vec::new(), skipped: 3 };
        assert_eq!(whole(async { Ok(set.clone()) }).await.expect("it is handed on"), set);
    }
}
