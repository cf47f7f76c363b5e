//! Starts the data plane: broker, node, feed, snapshot, gateway.

use std::num::NonZeroU8;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fanfare_broker_redis::{PartitionKey, RedisBroker, RedisOptions};
use fanfare_core::id::{AppId, IssuerId, NodeId};
use fanfare_core::{Clock, ErrorCode, LimitValue, Problem};
use fanfare_engine::chance::Chance;
use fanfare_engine::{
    Broker, FetchedKeys, MemoryBroker, MemoryOptions, MemoryPresenceOptions, Node, NodeOptions, Presence, SystemClock,
    TicketKeys,
};
use fanfare_store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;
use tracing::{error, info, warn};

use crate::away;
use crate::config::Options;
use crate::database::reached;
use crate::feed::snapshot::{NodeKeys, Snapshot, SnapshotFile};
use crate::feed::{FeedStatus, FeedTask, SnapshotTask};
use crate::figures::{FiguresStatus, FiguresTask};
use crate::jwks::{JwksStatus, JwksTask};
use crate::lifecycle::Lifecycle;
use crate::limit_use::LimitUseTask;
use crate::master_key::MasterKeys;
use crate::memory::MemoryTask;
use crate::revocations::StoredRevocations;

/// How long the gateway waits for the first list of apps from a store that answers.
const FIRST_LIST: Duration = Duration::from_secs(30);

/// What the data plane is made of.
pub(super) struct DataPlane<'a> {
    pub(super) workers: &'a Handle,
    pub(super) options: &'a Options,
    pub(super) data: &'a Path,
    pub(super) keys: &'a MasterKeys,
    pub(super) docs_url: &'a str,
    pub(super) dashboard_origins: &'a [String],
    pub(super) clock: &'a Arc<SystemClock>,
    pub(super) lifecycle: &'a Lifecycle,
    pub(super) feed: &'a Arc<FeedStatus>,
    pub(super) figures: &'a Arc<FiguresStatus>,
    pub(super) jwks: &'a Arc<JwksStatus>,
    pub(super) redis: &'a OnceLock<Arc<RedisBroker>>,
    pub(super) store: watch::Receiver<Option<Store>>,
}

impl DataPlane<'_> {
    /// Starts everything, and the gateway last, when apps are known.
    pub(super) async fn start(mut self, listener: TcpListener) -> Result<Arc<Node>> {
        check_tls(&self.options.gateway)?;
        let file = Arc::new(SnapshotFile::new(self.data, self.keys));
        let mut snapshot = read(&file).await;
        let away = self.turn_away_without(snapshot.as_ref(), &listener)?;
        let keys = self.keys(snapshot.as_ref()).await?;
        drop(away);
        let node = self.node(&keys).await?;
        let has_store = self.store.borrow().is_some();
        // Whatever the store says of issuers, only an issuer can say its keys, and it may be away.
        let restored = snapshot.as_mut().map(|snapshot| std::mem::take(&mut snapshot.issuer_keys)).unwrap_or_default();
        if let Some(snapshot) = snapshot.filter(|_| !has_store) {
            let age_s = self.clock.unix_ms().saturating_sub(snapshot.taken_ms) / 1_000;
            warn!(apps = snapshot.apps.len(), age_s, "Postgres is away: serving the apps of the snapshot");
            // Not complete: an app that is not among them is answered with `try_again`, not with `not_found`.
            snapshot.apps.iter().for_each(|app| node.directory().upsert(app.as_ref().clone()));
        }
        let changed = self.follow(&node, file, keys);
        self.fetch_keys(&node, changed, restored);
        self.keep_figures(&node);
        if has_store && timeout(FIRST_LIST, self.feed.loaded()).await.is_err() {
            warn!("Postgres does not list the apps; serving those that are known");
        }
        self.serve(Arc::clone(&node), listener)?;
        Ok(node)
    }

    /// While there is neither a store nor a snapshot nothing is known, and everybody is told to come back until what is
    /// returned is dropped: a listener that only listens would keep them waiting.
    fn turn_away_without(&self, snapshot: Option<&Snapshot>, listener: &TcpListener) -> Result<Option<DropGuard>> {
        if snapshot.is_some() || self.store.borrow().is_some() {
            return Ok(None);
        }
        let twin = listener.as_fd().try_clone_to_owned().and_then(|twin| TcpListener::from_std(twin.into()));
        let twin = twin.context("cannot share the gateway's listener")?;
        let until = self.lifecycle.soft.child_token();
        self.lifecycle.tasks.spawn(away::serve(twin, self.docs_url.to_owned(), not_known_yet, until.clone()));
        Ok(Some(until.drop_guard()))
    }

    /// The platform's keys: the store's, or, while that is away, the snapshot's.
    async fn keys(&mut self, snapshot: Option<&Snapshot>) -> Result<NodeKeys> {
        let has_store = self.store.borrow().is_some();
        if let Some(snapshot) = snapshot.filter(|_| !has_store) {
            if snapshot.keys.tickets.is_none() {
                warn!(
                    "the snapshot is of an earlier version: resume tickets hold on this node alone, until it is started again"
                );
            }
            return Ok(snapshot.keys.clone());
        }
        if !has_store {
            info!("there is no snapshot: the gateway opens when Postgres has been reached");
        }
        let feed = reached(&mut self.store).await.context("the server is stopping")?.feed();
        let position = feed.position_key().await.context("the key of positions cannot be read")?;
        let tickets = feed.ticket_keys().await.context("the keys of resume tickets cannot be read")?;
        let tickets = TicketKeys::new(tickets).context("the keys of resume tickets are of another version")?;
        let partitions = feed.partition_key().await.context("the key of partitions cannot be read")?;
        let partitions = PartitionKey::of(partitions).context("the key of partitions is of another version")?;
        Ok(NodeKeys { position, tickets: Some(tickets), partitions: Some(partitions) })
    }

    /// The broker over Redis, where one is configured.
    async fn over_redis(&self, keys: &NodeKeys) -> Result<Option<Arc<RedisBroker>>> {
        let Some(url) = &self.options.redis_url else { return Ok(None) };
        let partitions = keys.partitions.clone();
        let partitions = partitions
            .context("the snapshot is of a version that knew no Redis: start once while Postgres can be reached")?;
        let options = RedisOptions {
            url: url.expose().to_owned(),
            loader_url: self.options.redis_loader_url.as_ref().map(|url| url.expose().to_owned()),
            tls: self.options.redis_tls(),
            partitions,
            replicas: self.options.redis_replicas.unwrap_or(NonZeroU8::MIN),
            clock: Arc::clone(self.clock) as Arc<dyn Clock>,
            chance: Chance::new(None),
            tasks: self.lifecycle.ground.tasks.clone(),
            stop: self.lifecycle.ground.stop.clone(),
        };
        // Its tasks run where clients are served.
        let broker =
            self.workers.spawn(RedisBroker::start(options)).await.context("starting the broker panicked")??;
        Ok(Some(broker))
    }

    async fn node(&self, keys: &NodeKeys) -> Result<Arc<Node>> {
        let memory = &self.options.memory;
        let redis = self.over_redis(keys).await?;
        let bounds = MemoryOptions { bytes_max: memory.history_bytes_max, channels_max: memory.channels_max };
        let local = Arc::new(MemoryBroker::new(bounds, self.clock.unix_ms(), Chance::new(None)));
        let options = NodeOptions {
            dashboard_origins: self.dashboard_origins.to_vec(),
            connections_max: self.options.node.connections_max,
            connect_rate: LimitValue::rate(self.options.node.connects_per_s, self.options.node.connects_burst),
            connect_within: Duration::from_millis(self.options.node.connect_within_ms),
            ticket_keys: keys.tickets.clone(),
            presence: MemoryPresenceOptions { bytes_max: memory.presence_bytes_max },
            name: name(),
            ..NodeOptions::default()
        };
        let clock = Arc::clone(self.clock);
        let position = keys.position.clone();
        let node = match &redis {
            Some(redis) => {
                let presence = Arc::new(redis.presence()) as Arc<dyn Presence>;
                Node::among_others(options, (Arc::clone(redis) as Arc<dyn Broker>, presence), clock, position)
            }
            None => Node::new(options, Arc::clone(&local) as Arc<dyn Broker>, clock, position),
        };
        if let Some(redis) = redis {
            let _workers = self.workers.enter();
            node.tell_over(redis.bus(node.local_bus()));
            node.share_over(redis.budget());
            redis.deliver_to(node.sink());
            let _first = self.redis.set(redis);
        } else {
            local.deliver_to(node.sink());
        }
        node.keep_revocations_in(Arc::new(StoredRevocations::new(self.store.clone())));
        self.lifecycle.tasks.spawn_on(Arc::clone(&node).run(self.lifecycle.soft.clone()), self.workers);
        let bytes_max = self.options.node.memory_bytes_max;
        if bytes_max > 0 {
            let memory = MemoryTask { node: Arc::clone(&node), bytes_max, stop: self.lifecycle.soft.clone() };
            self.lifecycle.tasks.spawn(memory.run());
        }
        Ok(node)
    }

    fn fetch_keys(&self, node: &Arc<Node>, changed: Arc<Notify>, restored: Vec<(AppId, IssuerId, FetchedKeys)>) {
        let task = JwksTask {
            node: Arc::clone(node),
            store: self.store.clone(),
            clock: Arc::clone(self.clock),
            options: Arc::new(self.options.jwks.clone()),
            status: Arc::clone(self.jwks),
            changed,
            restored: restored.into_iter().map(|(app, issuer, keys)| ((app, issuer), keys)).collect(),
            stop: self.lifecycle.soft.clone(),
        };
        self.lifecycle.tasks.spawn(task.run());
    }

    fn follow(&self, node: &Arc<Node>, file: Arc<SnapshotFile>, keys: NodeKeys) -> Arc<Notify> {
        let changed = Arc::new(Notify::new());
        let feed = FeedTask {
            node: Arc::clone(node),
            store: self.store.clone(),
            status: Arc::clone(self.feed),
            keys: keys.clone(),
            changed: Arc::clone(&changed),
            stop: self.lifecycle.soft.clone(),
        };
        let snapshots = SnapshotTask {
            node: Arc::clone(node),
            file,
            keys,
            status: Arc::clone(self.feed),
            changed: Arc::clone(&changed),
            stop: self.lifecycle.soft.clone(),
        };
        let limit_use = LimitUseTask {
            node: Arc::clone(node),
            store: self.store.clone(),
            // Another at each start: what an earlier process told must not pass for this one's.
            name: node.request_id().to_string(),
            stop: self.lifecycle.soft.clone(),
        };
        self.lifecycle.tasks.spawn(limit_use.run());
        self.lifecycle.tasks.spawn(feed.run());
        self.lifecycle.tasks.spawn(snapshots.run());
        changed
    }

    fn keep_figures(&self, node: &Arc<Node>) {
        let figures = FiguresTask {
            node: Arc::clone(node),
            id: NodeId::new(self.clock.unix_ms(), Chance::new(None).next()),
            clock: Arc::clone(self.clock),
            store: self.store.clone(),
            status: Arc::clone(self.figures),
            every: Duration::from_millis(self.options.statistics.every_ms.clamp(100, 10_000)),
            stop: self.lifecycle.soft.clone(),
        };
        self.lifecycle.tasks.spawn(figures.run());
    }

    fn serve(&self, node: Arc<Node>, listener: TcpListener) -> Result<()> {
        let mut options = self.options.gateway.clone();
        options.docs_url = self.docs_url.to_owned();
        let stop = self.lifecycle.soft.clone();
        // Bound by another runtime, whose threads would wait for its connections.
        let listener = listener.into_std().context("the gateway's listener cannot be handed over")?;
        let serve = async move {
            let served = match TcpListener::from_std(listener) {
                Ok(listener) => {
                    fanfare_gateway::serve(listener, node, options, stop).await.map_err(anyhow::Error::from)
                }
                Err(failure) => Err(failure.into()),
            };
            if let Err(failure) = served {
                error!(error = format!("{failure:#}"), "the gateway does not serve");
            }
        };
        self.lifecycle.tasks.spawn_on(serve, self.workers);
        Ok(())
    }
}

fn not_known_yet() -> Problem {
    Problem::new(ErrorCode::TryAgain, "No app is known yet: Postgres cannot be reached, and there is no snapshot.")
}

/// Looks at the TLS files before anything is started: a gateway that cannot speak must stop the start.
fn check_tls(options: &fanfare_gateway::Options) -> Result<()> {
    let (certificate, key) = (&options.tls_certificate, &options.tls_key);
    ensure!(certificate.is_some() == key.is_some(), "TLS needs both gateway.tls_certificate and gateway.tls_key");
    if let (Some(certificate), Some(key)) = (certificate, key) {
        fanfare_gateway::transport::tls::acceptor(certificate, key).context("TLS cannot be offered")?;
    }
    Ok(())
}

async fn read(file: &Arc<SnapshotFile>) -> Option<Snapshot> {
    let file = Arc::clone(file);
    match spawn_blocking(move || file.read()).await {
        Ok(Ok(snapshot)) => snapshot,
        Ok(Err(failure)) => {
            warn!(error = format!("{failure:#}"), "the snapshot of an earlier run is not used");
            None
        }
        Err(_) => {
            error!("reading the snapshot panicked");
            None
        }
    }
}

/// What this process is told from others by, to whoever operates them: `<machine>/<process>`.
fn name() -> Box<str> {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", machine.trim(), std::process::id()).into()
}
