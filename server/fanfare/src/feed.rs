//! How the data plane learns of apps: snapshots from the store into the engine's directory.
//!
//! ```text
//!            LISTEN: "something changed"
//! Postgres ──────────────┐
//!    ▲                   ▼
//!    └── since(version) ─ Feed ── upsert ──▶ Directory        (never waits for any of this)
//!        every second,     │
//!        or when told      └── sealed snapshot on disk, at most one a second
//! ```
//!
//! The poll carries the guarantee, the notification only brings it forward: with LISTEN cut, a change arrives within a
//! second. Versions become visible in their order, so "everything above the highest I have seen" misses nothing. After
//! any outage the whole is read again, which also finds what is gone.

pub(crate) mod snapshot;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use fanfare_core::id::AppId;
use fanfare_core::{App, Clock as _};
use fanfare_engine::{Node, SystemClock};
use fanfare_store::{Changes, Feed, Store, StoreError};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::snapshot::{NodeKeys, Snapshot, SnapshotFile};
use crate::database::reached;
use crate::lifecycle::{Backoff, pause};

/// How often the store is asked without being told.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Notifications that come together are answered by one question.
const GATHER: Duration = Duration::from_millis(20);
/// An answer that takes longer counts as none: the connection may be half open.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// The first list may be long.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_millis(200);
/// With the time an answer may take, a change after an outage is in force within five seconds of its end.
const RETRY_MAX: Duration = Duration::from_secs(2);
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// A disk that did not take it is tried again, though nothing has changed.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(10);

/// What is known of the feed, for readiness and metrics.
#[derive(Debug)]
pub(crate) struct FeedStatus {
    clock: Arc<SystemClock>,
    heard_ms: AtomicU64,
    /// How far this machine's clock is ahead of Postgres's.
    skew_ms: AtomicI64,
    loaded: watch::Sender<bool>,
    snapshots: AtomicU64,
    snapshot_failures: AtomicU64,
    /// Whether the last one could not be written.
    snapshot_fails: AtomicBool,
}

impl FeedStatus {
    /// Nothing has been heard yet.
    pub(crate) fn new(clock: Arc<SystemClock>) -> Self {
        let (heard_ms, skew_ms, loaded, snapshots, snapshot_failures, snapshot_fails) = Default::default();
        Self { clock, heard_ms, skew_ms, loaded, snapshots, snapshot_failures, snapshot_fails }
    }

    /// Waits until the store has told of every app once.
    pub(crate) async fn loaded(&self) {
        // The sender lives as long as this does.
        let _ = self.loaded.subscribe().wait_for(|loaded| *loaded).await;
    }

    /// How long ago the store answered; since the start if it never has.
    pub(crate) fn silent_for(&self) -> Duration {
        self.clock.monotonic().saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed)))
    }

    /// How far this machine's clock is ahead of Postgres's, in milliseconds, as well as the last answer could tell.
    pub(crate) fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    /// Snapshots written, and those that could not be.
    pub(crate) fn snapshots(&self) -> (u64, u64) {
        (self.snapshots.load(Ordering::Relaxed), self.snapshot_failures.load(Ordering::Relaxed))
    }

    /// Whether the last snapshot could not be written, so that a start without Postgres would serve what was before.
    pub(crate) fn snapshot_fails(&self) -> bool {
        self.snapshot_fails.load(Ordering::Relaxed)
    }

    fn heard(&self) {
        let now = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now, Ordering::Relaxed);
    }
}

/// What the feed works on.
pub(crate) struct FeedTask {
    pub(crate) node: Arc<Node>,
    /// The store, once it has been reached.
    pub(crate) store: watch::Receiver<Option<Store>>,
    pub(crate) status: Arc<FeedStatus>,
    /// What this node works with.
    pub(crate) keys: NodeKeys,
    /// Told when the directory changed, so that the snapshot is written.
    pub(crate) changed: Arc<Notify>,
    pub(crate) stop: CancellationToken,
}

impl FeedTask {
    /// Keeps the directory current until it is told to stop.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        // Whatever it is doing may be dropped: the directory only ever takes whole snapshots.
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.follow_for_ever() => {}
        }
    }

    async fn follow_for_ever(&mut self) {
        let Some(store) = reached(&mut self.store).await else { return };
        let feed = store.feed();
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let Err(error) = self.follow(&feed, &mut backoff).await;
            // Said once for each outage; readiness and metrics go on saying it.
            if backoff.is_fresh() {
                warn!(%error, "Postgres does not answer; known apps are served as before");
            } else {
                debug!(%error, "Postgres does not answer yet");
            }
            pause(backoff.next()).await;
        }
    }

    /// Reads everything, then what changes, until the store does not answer.
    async fn follow(&self, feed: &Feed, backoff: &mut Backoff) -> Result<std::convert::Infallible, FeedError> {
        let key = within(ANSWER_WITHIN, feed.position_key()).await?;
        if key.secret() != self.keys.position.secret() {
            error!("this is another database than the one of the snapshot: start the server again");
        }
        // Listening begins before reading, so that nothing falls between both.
        let mut listener = Listener::new(feed);
        listener.try_listen().await;
        let apps = within(FIRST_ANSWER_WITHIN, feed.all()).await?;
        let mut version = apps.iter().map(|app| app.version).max().unwrap_or_default();
        self.replace(apps);
        self.compare_clocks(feed).await?;
        backoff.reset();
        let mut poll_at = Instant::now() + POLL_EVERY;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(poll_at) => {
                    let apps = within(ANSWER_WITHIN, feed.since(version)).await?;
                    self.status.heard();
                    version = apps.iter().map(|app| app.version).max().unwrap_or_default().max(version);
                    self.update(apps);
                    self.compare_clocks(feed).await?;
                    poll_at = Instant::now() + POLL_EVERY;
                    listener.try_listen().await;
                }
                () = listener.heard() => poll_at = poll_at.min(Instant::now() + GATHER),
            }
        }
    }

    /// Compares the clocks.
    async fn compare_clocks(&self, feed: &Feed) -> Result<(), FeedError> {
        let asked_ms = self.status.clock.unix_ms();
        let theirs = within(ANSWER_WITHIN, feed.time()).await?;
        // The answer's time lies somewhere between asking and now.
        let ours = u64::midpoint(asked_ms, self.status.clock.unix_ms()).cast_signed();
        self.status.skew_ms.store(ours.saturating_sub(theirs.timestamp_millis()), Ordering::Relaxed);
        Ok(())
    }

    /// Takes the whole in: apps that are not in it are gone.
    fn replace(&self, apps: Vec<App>) {
        let present: HashSet<AppId> = apps.iter().map(|app| app.id).collect();
        let directory = self.node.directory();
        for (id, _) in directory.versions() {
            if !present.contains(&id) {
                directory.remove(id);
            }
        }
        let count = apps.len();
        apps.into_iter().for_each(|app| directory.upsert(app));
        directory.set_complete();
        self.status.heard();
        self.status.loaded.send_replace(true);
        self.changed.notify_one();
        info!(apps = count, "every app is known");
    }

    fn update(&self, apps: Vec<App>) {
        if apps.is_empty() {
            return;
        }
        for app in apps {
            debug!(app.id = %app.id, version = app.version, "an app changed");
            self.node.directory().upsert(app);
        }
        self.changed.notify_one();
    }
}

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
}

async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, FeedError> {
    match timeout(limit, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(FeedError::Silent(limit)),
    }
}

/// The notifications, which may be missing without harm.
struct Listener<'a> {
    feed: &'a Feed,
    changes: Option<Changes>,
    backoff: Backoff,
    again_at: Instant,
}

impl<'a> Listener<'a> {
    fn new(feed: &'a Feed) -> Self {
        Self { feed, changes: None, backoff: Backoff::new(RETRY_MIN, RETRY_MAX), again_at: Instant::now() }
    }

    /// Begins to listen, unless it does already or has failed just now.
    async fn try_listen(&mut self) {
        if self.changes.is_some() || Instant::now() < self.again_at {
            return;
        }
        match within(ANSWER_WITHIN, self.feed.listen()).await {
            Ok(changes) => {
                self.changes = Some(changes);
                self.backoff.reset();
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Waits for word of a change; for ever while nobody listens.
    async fn heard(&mut self) {
        let Some(changes) = &mut self.changes else { return std::future::pending().await };
        if let Err(error) = changes.next().await {
            self.changes = None;
            self.failed(&error.into());
        }
    }

    fn failed(&mut self, error: &FeedError) {
        let wait = self.backoff.next();
        self.again_at = Instant::now() + wait;
        warn!(%error, "notifications of changes are cut; the poll of each second goes on");
    }
}

/// Writes the snapshot when the directory has changed, at most once a second, and a last time at the end.
pub(crate) struct SnapshotTask {
    pub(crate) node: Arc<Node>,
    pub(crate) file: Arc<SnapshotFile>,
    pub(crate) keys: NodeKeys,
    pub(crate) status: Arc<FeedStatus>,
    pub(crate) changed: Arc<Notify>,
    pub(crate) stop: CancellationToken,
}

impl SnapshotTask {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) {
        loop {
            // Changes go first: what changed within the last second is written before the end.
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = self.stop.cancelled() => return,
            }
            let written = self.write().await;
            let rest = if written { SNAPSHOT_EVERY } else { SNAPSHOT_RETRY };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = sleep_until(Instant::now() + rest) => {
                    if !written {
                        self.changed.notify_one();
                    }
                }
            }
        }
    }

    /// Whether the disk took it.
    async fn write(&self) -> bool {
        let directory = self.node.directory();
        let apps: Vec<_> = directory.versions().into_iter().filter_map(|(id, _)| directory.get(id)).collect();
        let issuers = apps.iter().filter(|app| !app.issuers.is_empty()).map(|app| app.id);
        let fetched =
            issuers.flat_map(|app| directory.issuer_keys(app).into_iter().map(move |(id, keys)| (app, id, keys)));
        let issuer_keys = fetched.collect();
        let taken_ms = self.status.clock.unix_ms();
        let snapshot = Snapshot { taken_ms, keys: self.keys.clone(), apps, issuer_keys };
        let file = Arc::clone(&self.file);
        let written = spawn_blocking(move || file.write(&snapshot)).await;
        self.status.snapshot_fails.store(!matches!(written, Ok(Ok(()))), Ordering::Relaxed);
        match written {
            Ok(Ok(())) => {
                self.status.snapshots.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Ok(Err(error)) => {
                warn!(error = format!("{error:#}"), "the snapshot was not written; the one before is kept");
            }
            Err(_) => error!("writing the snapshot panicked"),
        }
        self.status.snapshot_failures.fetch_add(1, Ordering::Relaxed);
        false
    }
}
