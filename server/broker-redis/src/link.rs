//! The connection on which Redis tells of messages. We drive it ourselves: a subscription counts once Redis confirmed
//! it, and whatever ends the connection has every channel subscribed and read anew.
//!
//! ```text
//!   want, leave ─▶ SSUBSCRIBE, SUNSUBSCRIBE (BATCH at once) ─▶ confirmed ─▶ Channels ─▶ reads
//!   smessage ─▶ a bounded queue ─▶ Channels ─▶ the hub
//!   each 0.7 s: a heartbeat of our own through the same path; three that do not come end the connection
//! ```

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fanfare_engine::broker::{Deliver, Read, Start};
use futures_util::FutureExt as _;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Pipeline, PushInfo, PushKind, RedisResult, Value, cmd};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::answer;
use crate::bus::{self, RedisBus};
use crate::channels::{Load, Round};
use crate::lane::{Lane, judged};
use crate::names;
use crate::pause::{Pause, Reach};
use crate::place::{Place, Stay};
use crate::presence::RedisPresence;
use crate::reader::Reader;

/// Subscriptions in one write.
const BATCH: usize = 256;
const HEARTBEAT: Duration = Duration::from_millis(700);
/// Heartbeats that may be missing before the connection counts as dead.
const MISSED_MAX: u32 = 3;
/// Pushes that wait to be taken. What is more ends the connection, and is read.
const PUSHES_MAX: usize = 65_536;
/// Bytes of pushes that wait.
const PUSHED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pushes taken before they are fanned out.
const TAKEN_MAX: usize = 64;
/// Reads under way for channels that were subscribed or missed something.
const LOADS_MAX: usize = 64;

/// What the link is asked to do.
#[derive(Debug)]
pub(crate) enum Change {
    Want(Arc<str>, Round),
    Leave(Arc<str>),
}

/// How the link is doing.
#[derive(Debug, Default)]
pub(crate) struct LinkStatus {
    /// Whether its own heartbeats come back.
    pub(crate) up: AtomicBool,
    /// How often it came up.
    pub(crate) links: AtomicU64,
    /// Channels that an audit found behind: stays 0 where the rest is right.
    pub(crate) found_behind: AtomicU64,
}

/// Drives the link.
pub(crate) struct Link {
    pub(crate) place: Arc<Place>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) sink: Arc<dyn Deliver>,
    pub(crate) status: Arc<LinkStatus>,
    pub(crate) changes: mpsc::Receiver<Change>,
    pub(crate) anew: Arc<Notify>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Where this node hears itself.
    pub(crate) own: Arc<str>,
    pub(crate) loads: Arc<Semaphore>,
    pub(crate) reach: Arc<Reach>,
    /// Where there are other nodes.
    pub(crate) bus: Option<Arc<RedisBus>>,
    /// What a node says of itself, which must not wait behind what tenants say.
    pub(crate) beats: Lane,
    /// Nodes that have beaten lately, this one included.
    pub(crate) known: Arc<AtomicU32>,
    pub(crate) presence: RedisPresence,
}

/// One connection.
struct Line {
    connection: MultiplexedConnection,
    pushes: mpsc::Receiver<PushInfo>,
    waiting_bytes: Arc<AtomicUsize>,
    broken: CancellationToken,
    stay: Stay,
}

type Confirming = Pin<Box<dyn Future<Output = RedisResult<Vec<Value>>> + Send>>;

pub(crate) fn loads() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LOADS_MAX))
}

impl Link {
    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        let _stopped = stop.run_until_cancelled(self.follow_for_ever()).await;
        self.status.up.store(false, Ordering::Relaxed);
    }

    async fn follow_for_ever(&mut self) {
        let mut pause = Pause::new();
        loop {
            match self.connect().await {
                Ok(line) => {
                    pause = Pause::new();
                    let _counted = self.reach.connected();
                    let why = self.follow(line).await;
                    self.status.up.store(false, Ordering::Relaxed);
                    warn!(
                        why,
                        "the link on which Redis tells of messages ended; channels are read again when it is back"
                    );
                }
                Err(error) => debug!(%error, "Redis cannot be reached for subscriptions yet"),
            }
            pause.wait(&self.reach).await;
        }
    }

    async fn connect(&self) -> RedisResult<Line> {
        let (sender, pushes) = mpsc::channel(PUSHES_MAX);
        let (waiting_bytes, broken) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (bytes, ends) = (Arc::clone(&waiting_bytes), broken.clone());
        let push = move |push: PushInfo| {
            let size = size(&push);
            let fits = bytes.fetch_add(size, Ordering::Relaxed) + size <= PUSHED_BYTES_MAX;
            if push.kind == PushKind::Disconnection || !fits || sender.try_send(push).is_err() {
                ends.cancel();
            }
            Ok::<(), ()>(())
        };
        let (mut connection, stay) = self.place.connect(push).await?;
        self.reader.functions.begin(&mut connection).await?;
        Ok(Line { connection, pushes, waiting_bytes, broken, stay })
    }

    /// Follows one connection until it ends; why it did.
    async fn follow(&mut self, mut line: Line) -> &'static str {
        // What was asked before is among all that is wanted.
        while self.changes.try_recv().is_ok() {}
        let mut changes: VecDeque<Change> = [Change::Want(Arc::clone(&self.own), 0)].into();
        if self.bus.is_some() {
            changes.push_back(Change::Want(bus::ALL.into(), 0));
        }
        let wanted = self.reader.channels.all_wanted().into_iter().chain(self.presence.all_wanted());
        changes.extend(wanted.map(|(told, round)| Change::Want(told, round)));
        let mut confirming: Option<(Vec<Change>, Confirming)> = None;
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut taken) = (Instant::now(), Vec::with_capacity(TAKEN_MAX));
        let mut turn = 0;
        loop {
            if confirming.is_none() && !changes.is_empty() {
                let batch: Vec<Change> = changes.drain(..changes.len().min(BATCH)).collect();
                let exchange = subscribe(line.connection.clone(), &batch);
                confirming = Some((batch, exchange));
            }
            // In no order: a flood of messages must not keep the heartbeat or a subscription waiting.
            tokio::select! {
                () = line.broken.cancelled() => return "the connection was lost, or told more than could be taken",
                () = line.stay.is_over() => return "the master of Redis is another now",
                () = self.anew.notified() => return "more was asked of it than could wait",
                answers = async { confirming.as_mut().expect("it is some").1.as_mut().await }, if confirming.is_some() => {
                    let (batch, _) = confirming.take().expect("it was some");
                    let Ok(answers) = answers else { return "subscriptions were not confirmed" };
                    if !self.confirmed(batch, answers) {
                        return "a subscription was refused";
                    }
                }
                count = line.pushes.recv_many(&mut taken, TAKEN_MAX) => {
                    if count == 0 {
                        return "the connection ended";
                    }
                    for push in taken.drain(..) {
                        line.waiting_bytes.fetch_sub(size(&push), Ordering::Relaxed);
                        if self.take(&push) {
                            heard = Instant::now();
                            if !self.status.up.swap(true, Ordering::Relaxed) {
                                self.status.links.fetch_add(1, Ordering::Relaxed);
                                info!("Redis tells of messages");
                            }
                        }
                    }
                    self.sink.settle();
                }
                change = self.changes.recv() => match change {
                    Some(change) => changes.push_back(change),
                    None => return "nobody needs it",
                },
                _ = beat.tick() => {
                    if heard.elapsed() > HEARTBEAT * (MISSED_MAX + 1) {
                        return "its own heartbeats do not come back";
                    }
                    // Not waited for: what comes back is what counts.
                    let (mut connection, own) = (line.connection.clone(), Arc::clone(&self.own));
                    self.tasks.spawn(async move {
                        let told: RedisResult<i64> = cmd("SPUBLISH").arg(&*own).arg("").query_async(&mut connection).await;
                        if let Err(error) = told {
                            debug!(%error, "a heartbeat was not taken");
                        }
                    });
                    turn += 1;
                    self.audit(turn);
                    self.presence.audit(turn);
                    self.beat();
                }
            }
        }
    }

    /// What the confirmations say; whether all of them are good.
    fn confirmed(&self, batch: Vec<Change>, answers: Vec<Value>) -> bool {
        for (change, answer) in batch.into_iter().zip(answers) {
            if let Err(refused) = judged(answer) {
                warn!(?refused, "Redis does not take a subscription");
                return false;
            }
            let Change::Want(told, round) = change else { continue };
            if names::is_seen(told.as_bytes()) {
                self.presence.subscribed(&told, round);
            } else if let Some(load) = self.reader.channels.subscribed(&told, round) {
                self.load(load);
            }
        }
        true
    }

    /// Takes a push; whether it was our own heartbeat.
    fn take(&self, push: &PushInfo) -> bool {
        let (PushKind::SMessage, [Value::BulkString(told), Value::BulkString(message), ..]) =
            (&push.kind, &push.data[..])
        else {
            return false;
        };
        if names::is_seen(told) {
            self.presence.pushed(told, message);
            return false;
        }
        let Ok(told) = std::str::from_utf8(told) else { return false };
        match &self.bus {
            _ if *told == *self.own && message.is_empty() => return true,
            Some(bus) if *told == *self.own => bus.answered(message),
            Some(bus) if told == bus::ALL => bus.heard(message),
            _ => {}
        }
        if *told == *self.own || told == bus::ALL {
            return false;
        }
        if let Some(load) = self.reader.channels.pushed(told, answer::pushed(message), &*self.sink) {
            self.load(load);
        }
        false
    }

    fn load(&self, load: Load) {
        let (reader, sink, loads) = (Arc::clone(&self.reader), Arc::clone(&self.sink), Arc::clone(&self.loads));
        self.tasks.spawn(async move {
            let Ok(_turn) = loads.acquire().await else { return };
            reader.load(load, &*sink).await;
        });
    }

    /// Says that this node lives and holds its members, and hears how many nodes do.
    fn beat(&self) {
        let (beat, lease) = self.presence.beat(bus::BEATS, &self.own);
        let (told, known, presence) = (self.beats.ask(beat), Arc::clone(&self.known), self.presence.clone());
        self.tasks.spawn(async move {
            match answer::beaten(told.await) {
                Ok(beaten) => {
                    known.store(u32::try_from(beaten.nodes).unwrap_or(u32::MAX).max(1), Ordering::Relaxed);
                    presence.beaten(&lease, &beaten);
                }
                Err(error) => debug!(%error, "a beat was not taken"),
            }
        });
    }

    /// Compares some live channels with Redis, which also keeps what is known of them there.
    fn audit(&self, turn: u64) {
        // Each of them about once in a quarter of an hour, and a few at least.
        let count = usize::try_from(self.reader.channels.live() / 1_024).unwrap_or(usize::MAX) + 4;
        for audited in self.reader.channels.sample(turn, count) {
            let (reader, sink, status) = (Arc::clone(&self.reader), Arc::clone(&self.sink), Arc::clone(&self.status));
            let loads = Arc::clone(&self.loads);
            self.tasks.spawn(async move {
                let Ok(_turn) = loads.acquire().await else { return };
                // It looks, and lets nothing go that is too old.
                let read = Read { start: Start::Top, messages_max: 0, bytes_max: 0, now_ms: 0 };
                let Ok(page) = reader.read(&audited.key, read).await else { return };
                let top = fanfare_core::Position { lineage: page.lineage, seq: page.top };
                if !reader.channels.is_behind(&audited, top) {
                    return;
                }
                // What was published just before is on its way, and is given time to come.
                grace().await;
                if let Some(load) = reader.channels.behind(&audited, top) {
                    status.found_behind.fetch_add(1, Ordering::Relaxed);
                    warn!("a channel was behind its log and is repaired");
                    reader.load(load, &*sink).await;
                }
            });
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what does not come has no event")]
pub(crate) async fn grace() {
    tokio::time::sleep(HEARTBEAT).await;
}

/// Asks for subscriptions and their ends, each by itself: channels of two slots may not be named in one command.
fn subscribe(mut connection: MultiplexedConnection, batch: &[Change]) -> Confirming {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    for change in batch {
        let (what, told) = match change {
            Change::Want(told, _) => ("SSUBSCRIBE", told),
            Change::Leave(told) => ("SUNSUBSCRIBE", told),
        };
        pipeline.cmd(what).arg(&**told);
    }
    let count = batch.len();
    async move { connection.req_packed_commands(&pipeline, 0, count).await }.boxed()
}

fn size(push: &PushInfo) -> usize {
    let of = |value: &Value| match value {
        Value::BulkString(bytes) => bytes.len() + 32,
        _ => 32,
    };
    push.data.iter().map(of).sum()
}
