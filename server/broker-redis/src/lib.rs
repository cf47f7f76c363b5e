//! The log behind every channel, in Redis: any number of nodes, with the promises of one.
//!
//! ```text
//!                     ┌── lanes: FCALL ff_pub, ff_read, ff_del (functions.lua), in order, many in one write
//!   node ─▶ RedisBroker
//!                     ├── control: control messages
//!                     ├── beats: that this node lives, what limits share (budget.lua), before which nothing of tenants stands
//!                     └── link: SSUBSCRIBE what this node has subscribers for ─▶ channels: hold, read, merge, live ─▶ hub
//! ```
//!
//! Start with `functions.lua`, which is the log, and `channels.rs`, which is what a node knows of it.
//!
//! A publish is appended, told and remembered in one call that is done whole or not at all. A node hears of its own
//! publishes as others do. Nothing here is durable beyond what Redis is: an acknowledgement says `memory`, or `replicated`
//! where that is asked for and replicas have it (`replicas.rs`).

mod answer;
mod budget;
mod bus;
mod channels;
mod entry;
mod functions;
mod holdings;
mod lane;
mod link;
mod names;
mod pause;
mod place;
mod presence;
mod probe;
mod reader;
mod replicas;
mod tls;

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fanfare_core::{ChannelKey, Clock, Message, Position};
use fanfare_engine::broker::{Append, Appended, Deliver, Durability, Page, Read, Remove, Start};
use fanfare_engine::bus::Bus;
use fanfare_engine::chance::Chance;
use fanfare_engine::{Broker, BrokerError, Budget, Pending};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::answer::Told;
use crate::budget::RedisBudget;
use crate::bus::RedisBus;
use crate::channels::{Attached, Channels};
use crate::functions::Functions;
use crate::holdings::Holdings;
use crate::lane::Lane;
use crate::link::{Change, Link, LinkStatus};
use crate::pause::Reach;
use crate::place::Place;
use crate::reader::Reader;
use crate::replicas::Replicas;

pub use names::PartitionKey;
pub use presence::RedisPresence;
pub use probe::{StartError, check};
pub use tls::RedisTls;

/// Lanes of publishes: a channel's are all in one.
const LANES: usize = 4;
/// Channels that wait to be subscribed to, or left.
const CHANGES_MAX: usize = 65_536;
/// How long a subscription may take until the channel is heard.
const ATTACH_WITHIN: Duration = Duration::from_secs(5);

/// How to reach Redis, and what the broker needs beside it.
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/db]`, `redis+unix:///path`, or
    /// `redis+sentinel://[user:password@]sentinel[:port][,…]/<name of the master>[?db=…]`; with TLS `rediss` in place of
    /// `redis`.
    pub url: String,
    /// The same Redis for another user, who loads the functions where that of `url` may not: for it alone.
    pub loader_url: Option<String>,
    /// What TLS needs beside what everybody trusts, for both.
    pub tls: RedisTls,
    /// Says which partition a channel is in: the same on every node.
    pub partitions: PartitionKey,
    /// On how many replicas a message has to be that is acknowledged as `replicated`.
    pub replicas: NonZeroU8,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance: epochs of channels, names of leases.
    pub chance: Chance,
    /// Where what runs beside is tracked.
    pub tasks: TaskTracker,
    /// Ends it.
    pub stop: CancellationToken,
}

impl std::fmt::Debug for RedisOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URLs may hold passwords.
        out.debug_struct("RedisOptions").finish_non_exhaustive()
    }
}

/// How the broker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedisHealth {
    /// Whether Redis takes what this node asks, and tells it of messages.
    pub is_up: bool,
    /// How often the link came up.
    pub links: u64,
    /// Channels that are heard.
    pub channels: u64,
    /// Times a channel was read because something was missed.
    pub repairs: u64,
    /// Channels that an audit found behind; stays 0 where the rest is right.
    pub found_behind: u64,
    /// Publishes that asked for replicas, which did not confirm them in time.
    pub unconfirmed: u64,
    /// Nodes that are known to live, this one included.
    pub nodes: u32,
}

/// The broker over Redis.
pub struct RedisBroker {
    reader: Arc<Reader>,
    lanes: Arc<Lanes>,
    replicas: Replicas,
    /// Control messages, which must not wait behind pages and publishes.
    control: Lane,
    /// What a node says of itself, which must not wait behind what tenants say.
    beats: Lane,
    asks: Asks,
    presence: RedisPresence,
    status: Arc<LinkStatus>,
    /// What the link is made of, until it is known who hears of messages.
    parts: std::sync::Mutex<Option<Parts>>,
    /// Where this node hears itself, and is answered.
    own: Arc<str>,
    bus: OnceLock<Arc<RedisBus>>,
    /// Nodes that have beaten lately, this one included.
    known: Arc<AtomicU32>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The lanes of what changes something: all of a channel is in one.
struct Lanes {
    lanes: Vec<Lane>,
    hasher: RandomState,
}

impl Lanes {
    /// The channel's lane: what is handed in first is done first.
    fn of(&self, channel: &ChannelKey) -> &Lane {
        let index = self.hasher.hash_one(channel) % self.lanes.len() as u64;
        &self.lanes[usize::try_from(index).unwrap_or(0)]
    }
}

/// How the link is asked for what is to be heard.
#[derive(Clone)]
struct Asks {
    changes: mpsc::Sender<Change>,
    /// The queue of changes was full: the link begins anew, with all that is wanted.
    anew: Arc<Notify>,
}

impl Asks {
    fn ask(&self, change: Change) {
        // A channel that is not left in time is told of for nothing, until the link begins anew.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.changes.try_send(change) {
            self.anew.notify_one();
        }
    }
}

/// What the link is made of, once.
struct Parts {
    place: Arc<Place>,
    changes: mpsc::Receiver<Change>,
}

impl RedisBroker {
    /// A broker that connects in the background. Refuses a Redis that answers and is not fit: too old, or one that may
    /// evict what it holds. One that does not answer is waited for by whoever publishes and subscribes, not here.
    ///
    /// # Errors
    /// Says what is wrong with the URL or with that Redis.
    pub async fn start(options: RedisOptions) -> Result<Arc<Self>, StartError> {
        let RedisOptions { url, loader_url, tls, partitions, replicas, clock, chance, tasks, stop } = options;
        let place = Arc::new(Place::new(&url, &tls)?);
        let loader = loader_url.as_deref().map(|url| Place::new(url, &tls)).transpose()?;
        let platform = partitions.platform();
        if probe::look(&place, Some(&platform)).await?.is_none() {
            warn!("Redis does not answer yet; it is looked for in the background");
        }
        let functions = Arc::new(Functions::new(loader, platform));
        let reach = Arc::<Reach>::default();
        let lane = |batch| {
            let (lane, carrier) = Lane::new(Arc::clone(&place), Arc::clone(&functions), Arc::clone(&reach), batch);
            tasks.spawn(carrier.run(stop.clone()));
            lane
        };
        let (lanes, reading) = ((0..LANES).map(|_| lane(lane::PUBLISHES)).collect(), lane(lane::READS));
        let (control, beats) = (lane(lane::READS), lane(lane::READS));
        let holdings = Holdings::new(partitions.clone(), Arc::clone(&functions), reading.clone(), tasks.clone());
        let (settled, stopped) = (holdings.clone(), stop.clone());
        tasks.spawn(async move { stopped.run_until_cancelled(settled.settle_for_ever()).await });
        let lanes = Arc::new(Lanes { lanes, hasher: RandomState::new() });
        let (replicas, waiter) = Replicas::new(Arc::clone(&place), Arc::clone(&functions), replicas);
        tasks.spawn(waiter.run(stop.clone()));
        let reader = Arc::new(Reader {
            channels: Channels::new(Arc::clone(&clock)),
            partitions,
            holdings,
            lane: reading,
            functions,
            clock,
            chance,
            reach,
        });
        let (changes, asked) = mpsc::channel(CHANGES_MAX);
        let own = format!("{{p0}}h:{:032x}", reader.chance.next::<u128>()).into();
        let asks = Asks { changes, anew: Arc::default() };
        let ends = (tasks.clone(), stop.clone());
        let presence = RedisPresence::new(Arc::clone(&reader), Arc::clone(&lanes), asks.clone(), ends);
        Ok(Arc::new(Self {
            reader,
            lanes,
            replicas,
            asks,
            control,
            beats,
            presence,
            status: Arc::default(),
            own,
            known: Arc::new(AtomicU32::new(1)),
            bus: OnceLock::new(),
            parts: std::sync::Mutex::new(Some(Parts { place, changes: asked })),
            tasks,
            stop,
        }))
    }

    /// The road of control messages to all nodes; `local` carries them out here. To be asked for before
    /// [`deliver_to`](Self::deliver_to), and once.
    pub fn bus(&self, local: Arc<dyn Bus>) -> Arc<dyn Bus> {
        let own = Arc::clone(&self.own);
        let bus = self.bus.get_or_init(|| {
            let known = Arc::clone(&self.known);
            let lanes = bus::Lanes { control: self.control.clone(), answers: self.reader.lane.clone() };
            Arc::new(RedisBus::new(local, lanes, own, known, self.tasks.clone()))
        });
        Arc::clone(bus) as Arc<dyn Bus>
    }

    /// What limits of apps and keys all nodes share.
    #[must_use]
    pub fn budget(&self) -> Arc<dyn Budget> {
        // Half of what tells it from all others is enough here, where words live for seconds.
        let node = self.own.get(self.own.len() - 16..).unwrap_or(&self.own).into();
        let (functions, lane) = (Arc::clone(&self.reader.functions), self.beats.clone());
        Arc::new(RedisBudget { functions, lane, node, known: Arc::clone(&self.known) })
    }

    /// Who is present on every channel, on all nodes.
    #[must_use]
    pub fn presence(&self) -> RedisPresence {
        self.presence.clone()
    }

    /// Says who hears of messages, and begins to hear. The first call counts.
    pub fn deliver_to(&self, sink: Arc<dyn Deliver>) {
        let parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(Parts { place, changes }) = parts else { return };
        let (watched, stop) = (Arc::clone(&place), self.stop.clone());
        self.tasks.spawn(async move { stop.run_until_cancelled(watched.watch()).await });
        let link = Link {
            place,
            reader: Arc::clone(&self.reader),
            sink,
            status: Arc::clone(&self.status),
            changes,
            anew: Arc::clone(&self.asks.anew),
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
            own: Arc::clone(&self.own),
            bus: self.bus.get().cloned(),
            beats: self.beats.clone(),
            known: Arc::clone(&self.known),
            presence: self.presence.clone(),
            loads: link::loads(),
            reach: Arc::clone(&self.reader.reach),
        };
        self.tasks.spawn(link.run());
    }

    /// How it is doing.
    #[must_use]
    pub fn health(&self) -> RedisHealth {
        RedisHealth {
            // One connection for each lane of publishes, one each for reads, control and beats, and the link.
            is_up: self.status.up.load(Ordering::Relaxed) && self.reader.reach.connections() == LANES + 4,
            links: self.status.links.load(Ordering::Relaxed),
            channels: self.reader.channels.live(),
            repairs: self.reader.channels.repairs(),
            found_behind: self.status.found_behind.load(Ordering::Relaxed) + self.presence.found_behind(),
            unconfirmed: self.replicas.unconfirmed(),
            nodes: self.known.load(Ordering::Relaxed),
        }
    }

    fn ask_append(
        &self,
        channel: &ChannelKey,
        append: &Append,
    ) -> impl Future<Output = Result<Told, BrokerError>> + Send + use<> {
        let names = self.reader.partitions.names(channel);
        let mut keys = names.log().to_vec();
        let log = keys[0].clone();
        let identity = append.idempotent.then(|| identity(append));
        if let Some((id, _)) = &identity {
            keys.push(names.id(id));
        }
        let payload = entry::write(&entry::Parts {
            id: &append.id,
            time_ms: append.time_ms,
            publisher: append.publisher.as_deref(),
            origin: append.origin,
            draft: &append.draft,
        });
        let Append { history, rate, .. } = append;
        let mut call = self.reader.functions.publish(&keys);
        call.arg(self.reader.drawn()).arg(append.time_ms).arg(names.told());
        let (messages, bytes) = if history.is_kept() { (history.messages, history.bytes) } else { (0, 0) };
        call.arg(messages).arg(bytes).arg(history.ttl_ms).arg(append.draft.weight());
        call.arg(rate.max).arg(rate.burst.max(1)).arg(payload);
        // Numbers of Lua are exact to 2⁵³, which no platform holds.
        let (bytes, channels) = self.reader.holdings.left(channel.app(), append.app_bytes_max, append.app_channels_max);
        call.arg(bytes.min(1 << 53)).arg(channels.min(1 << 53));
        if let Some((_, content)) = &identity {
            call.arg(content).arg(append.idempotency_ms.max(1));
        }
        let (answered, holdings, app) = (self.lanes.of(channel).ask(call), self.reader.holdings.clone(), channel.app());
        async move {
            let told = answer::told(answered.await)?;
            match told {
                Told::Appended(_, report) => holdings.note(app, &log, report),
                Told::Bytes(report) => {
                    holdings.note(app, &log, report);
                    holdings.refused(app);
                }
                Told::Channels => holdings.refused(app),
                _ => {}
            }
            Ok(told)
        }
    }

    /// Deletes one message: what stands in its place is written from what stood there.
    async fn remove_one(
        reader: Arc<Reader>,
        lane: Lane,
        channel: ChannelKey,
        position: Position,
    ) -> Result<u64, BrokerError> {
        // Nothing is too old for being deleted.
        let before = Read { start: Start::Before(Some(position.seq + 1)), messages_max: 1, bytes_max: 0, now_ms: 0 };
        let page = reader.read(&channel, before).await?;
        let Some(message) = page.messages.first().filter(|message| message.position == position) else { return Ok(0) };
        if message.is_deleted() {
            return Ok(0);
        }
        let tomb: Message = message.deleted();
        let tomb = entry::write(&entry::Parts {
            id: &tomb.id,
            time_ms: tomb.time_ms,
            publisher: None,
            origin: None,
            draft: &tomb.draft,
        });
        let lineage = position.lineage;
        let log = reader.partitions.names(&channel).log();
        let mut call = reader.functions.delete(&log);
        call.arg(reader.drawn()).arg(lineage.epoch).arg(lineage.term).arg(lineage.nonce).arg(position.seq).arg(tomb);
        reader.removed(&channel, log, lane.ask(call)).await
    }
}

/// Stands for an id and whose it is, and for what was published under it.
fn identity(append: &Append) -> ([u8; 16], String) {
    let half = |sha: Sha256| -> [u8; 16] {
        let whole = sha.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    };
    let scope: (u8, &[u8]) = match &append.scope {
        fanfare_engine::broker::Scope::Backend => (0, &[]),
        fanfare_engine::broker::Scope::User(user) => (1, user.as_bytes()),
        fanfare_engine::broker::Scope::Connection(connection) => (2, &connection.to_bytes()),
        fanfare_engine::broker::Scope::Anonymous => (3, &[]),
    };
    // The scope's length parts it from the id.
    let length = (scope.1.len() as u64).to_be_bytes();
    let id = Sha256::new().chain_update([scope.0]).chain_update(length).chain_update(scope.1);
    let id = half(id.chain_update(append.id.as_bytes()));
    // Who published it over which connection and when is not what makes a content another.
    let draft = fanfare_core::Draft { exclude: None, ..(*append.draft).clone() };
    let content = entry::write(&entry::Parts { id: "", time_ms: 0, publisher: None, origin: None, draft: &draft });
    let content = half(Sha256::new().chain_update(content));
    (id, content.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Broker for RedisBroker {
    fn publish(&self, channel: &ChannelKey, append: Append) -> Pending<Result<Appended, BrokerError>> {
        let told = self.ask_append(channel, &append);
        let Append { id, rate, durability, app_bytes_max, app_channels_max, .. } = append;
        let replicas = (durability > Durability::Memory).then(|| self.replicas.clone());
        Pending::Later(Box::pin(async move {
            let (position, nonce, duplicate) = match told.await? {
                Told::Appended(position, _) => (position, position.lineage.nonce, false),
                Told::Duplicate(position, nonce) => (position, nonce, true),
                Told::Reused => return Err(BrokerError::IdReused),
                Told::Bytes(_) => return Err(BrokerError::AppBytes { max: app_bytes_max }),
                Told::Channels => return Err(BrokerError::AppChannels { max: app_channels_max }),
                Told::Rate { retry_after_ms } => return Err(BrokerError::Rate { max: rate.max, retry_after_ms }),
            };
            if let Some(replicas) = replicas
                && !replicas.have(nonce).await
            {
                return Err(BrokerError::NotReplicated);
            }
            Ok(Appended { position, id, duplicate, durability })
        }))
    }

    fn read(&self, channel: &ChannelKey, read: Read) -> Pending<Result<Page, BrokerError>> {
        Pending::Later(Box::pin(self.reader.read(channel, read)))
    }

    fn remove(&self, channel: &ChannelKey, remove: Remove) -> Pending<Result<u64, BrokerError>> {
        let lane = self.lanes.of(channel).clone();
        match remove {
            Remove::All => {
                let log = self.reader.partitions.names(channel).log();
                let mut call = self.reader.functions.delete(&log);
                call.arg(self.reader.drawn());
                Pending::Later(Box::pin(self.reader.removed(channel, log, lane.ask(call))))
            }
            Remove::Message(position) => {
                let (reader, channel) = (Arc::clone(&self.reader), channel.clone());
                Pending::Later(Box::pin(Self::remove_one(reader, lane, channel, position)))
            }
        }
    }

    fn attach(&self, channel: &ChannelKey) -> Pending<Result<(), BrokerError>> {
        let told = self.reader.partitions.names(channel).told();
        match self.reader.channels.attach(&told, channel, |change| self.asks.ask(change)) {
            Attached::Already => Pending::Ready(Ok(())),
            Attached::Soon(attached) => Pending::Later(Box::pin(soon(attached))),
        }
    }

    fn detach(&self, channel: &ChannelKey, wanted: &dyn Fn() -> bool) {
        let told = self.reader.partitions.names(channel).told();
        self.reader.channels.detach(&told, wanted, |change| self.asks.ask(change));
    }

    fn sweep(&self, _now_ms: u64) {
        // Redis lets go of what is over by itself; the link's audit keeps what is wanted.
    }
}

async fn soon(attached: oneshot::Receiver<Result<(), BrokerError>>) -> Result<(), BrokerError> {
    match timeout(ATTACH_WITHIN, attached).await {
        Ok(Ok(attached)) => attached,
        // It is still wanted: whoever asks again finds it there when Redis is.
        Ok(Err(_)) | Err(_) => Err(BrokerError::Unavailable),
    }
}
