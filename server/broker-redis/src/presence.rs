//! Presence in Redis: who is on a channel, on whatever node, and when a node that died takes its members along.
//!
//! ```text
//!   put, leave ─▶ own (what this node holds) ─▶ the channel's lane ─▶ ff_put, ff_leave ─▶ SPUBLISH {p17}d:… ─▶ every node
//!   each 0.7 s: ff_beat renews the lease; one that ended is claimed by one node, which takes its members out (ff_reap)
//! ```
//!
//! Members of this node are held under one lease, which lives ten seconds. Where it ended, or Redis came back with another
//! data set, a new one is taken and everybody is entered again: whoever stood in Redis in the same words has not changed,
//! and nobody is told anything. Members that a backend entered are held by none, and stay.
//!
//! While Redis is away nobody leaves and nobody is told anything: time in which no node was heard counts for no lease.

mod own;
mod rooms;
pub(crate) mod told;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fanfare_core::id::AppId;
use fanfare_core::{ChannelKey, MemberId};
use fanfare_engine::Pending;
use fanfare_engine::presence::{Generation, Hear, How, Page, Placed, Presence, PresenceError, Put, Read};
use redis::{Cmd, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::answer::{self, Beaten, Outcome};
use crate::channels::Round;
use crate::lane::Silence;
use crate::link;
use crate::names;
use crate::reader::Reader;
use crate::{Asks, Lanes};

use own::{Before, Held, Lease, Own};
use rooms::{Attached, Pushed, Rooms, Spell};

/// How long a subscription may take until the channel is heard.
const ATTACH_WITHIN: Duration = Duration::from_secs(5);
/// How long all nodes are given to enter their members into a Redis that lost them, before watchers are told.
const SETTLE: Duration = Duration::from_secs(3);
/// Members that are entered again at one moment.
const AGAIN_MAX: usize = 256;

/// Presence over Redis. Cloning shares it.
#[derive(Clone)]
pub struct RedisPresence(Arc<Inner>);

struct Inner {
    reader: Arc<Reader>,
    lanes: Arc<Lanes>,
    asks: Asks,
    rooms: Rooms,
    own: Own,
    ear: OnceLock<Arc<dyn Hear>>,
    /// Members are being entered again.
    entering: AtomicBool,
    found_behind: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What a put is measured against.
#[derive(Clone, Copy)]
struct Bounds {
    /// When the member leaves by itself; 0 for never.
    till_ms: u64,
    rate: u64,
    burst: u64,
    app_bytes_max: u64,
}

impl Bounds {
    /// Of a member that was admitted before.
    const NONE: Self = Self { till_ms: 0, rate: 1, burst: 1, app_bytes_max: 0 };

    fn of(put: &Put) -> Self {
        let rate = put.rate.0;
        // Numbers of Lua are exact to 2⁵³, which no platform holds.
        let app_bytes_max = put.app_bytes_max.min(1 << 53);
        Self { till_ms: put.expires_ms.unwrap_or(0), rate: rate.max, burst: rate.burst.max(1), app_bytes_max }
    }
}

impl RedisPresence {
    pub(crate) fn new(
        reader: Arc<Reader>,
        lanes: Arc<Lanes>,
        asks: Asks,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Self {
        let own = Own::new(fresh_lease(&reader));
        let (ear, entering) = (OnceLock::new(), AtomicBool::new(false));
        let (rooms, found_behind) = (Rooms::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { reader, lanes, asks, rooms, own, ear, entering, found_behind, tasks, stop }))
    }

    /// Channels whose presence is heard.
    pub(crate) fn live(&self) -> u64 {
        self.0.rooms.live()
    }

    /// Channels that an audit found behind.
    pub(crate) fn found_behind(&self) -> u64 {
        self.0.found_behind.load(Ordering::Relaxed)
    }

    /// The link has come up, anew: what is wanted on it.
    pub(crate) fn all_wanted(&self) -> Vec<(Arc<str>, Round)> {
        self.0.rooms.all_wanted()
    }

    /// A channel is subscribed to, if it is one of presence.
    pub(crate) fn subscribed(&self, told: &str, round: Round) {
        if let Some(key) = self.0.rooms.subscribed(told, round) {
            self.0.missed(&key);
        }
    }

    /// Something was pushed for a channel of presence.
    pub(crate) fn pushed(&self, told: &[u8], bytes: &[u8]) {
        // One that cannot be read is a hole before the next.
        let Some((version, change)) = told::pushed(bytes) else { return };
        match (self.0.rooms.pushed(told, version), self.0.ear.get(), change) {
            (Pushed::Told(key), Some(ear), Some(change)) => ear.changed(&key, &change),
            (Pushed::Told(key), Some(ear), None) => ear.missed(&key),
            (Pushed::Anew, ..) => self.0.settle_later(self.0.rooms.unsettle()),
            (Pushed::Told(_) | Pushed::Untold, ..) => {}
        }
    }

    /// What says that this node lives, and under which lease it holds its members.
    pub(crate) fn beat(&self, key: &str, node: &str) -> (Cmd, Arc<str>) {
        let Lease { name, is_new } = self.0.own.state().lease.clone();
        let mut beat = self.0.reader.functions.beat(key);
        beat.arg(node).arg(&*name).arg(u8::from(is_new));
        (beat, name)
    }

    /// What Redis said to that.
    pub(crate) fn beaten(&self, lease: &str, beaten: &Beaten) {
        let is_lost = {
            let mut own = self.0.own.state();
            let is_lost = own.is_another(&beaten.lineage) | !beaten.holds;
            if is_lost {
                own.renew(lease, || fresh_lease(&self.0.reader));
            } else {
                own.is_known(lease);
            }
            is_lost
        };
        if is_lost {
            info!("Redis may have lost members of this node: they are entered again");
            self.0.settle_later(self.0.rooms.unsettle());
        } else if let Some(spell) = self.0.rooms.as_before() {
            self.0.settle(spell);
        }
        self.enter_again();
        if let Some(ended) = &beaten.ended {
            self.reap(ended.clone());
        }
    }

    /// Enters everybody under the lease that replaced another, if that is due.
    fn enter_again(&self) {
        let inner = Arc::clone(&self.0);
        if !inner.own.state().is_due || inner.entering.swap(true, Ordering::AcqRel) {
            return;
        }
        self.0.tasks.spawn(async move {
            let lease = inner.own.state().lease.name.clone();
            let whole = inner.enter_everybody().await;
            let mut own = inner.own.state();
            // Where it was not whole, or another lease has replaced this one, the next beat goes on.
            if whole && own.lease.name == lease {
                own.is_due = false;
            }
            drop(own);
            inner.entering.store(false, Ordering::Release);
        });
    }

    /// Takes out the members of a node that is gone.
    fn reap(&self, lease: String) {
        let inner = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            loop {
                let mut call = inner.reader.functions.reap();
                call.arg(&lease);
                match answer::count(inner.reader.lane.ask(call).await) {
                    Ok(0) => return info!("the members of a node that is gone were taken out"),
                    Ok(_) => {}
                    // Another node claims it.
                    Err(error) => return debug!(%error, "members of a node that is gone are still there"),
                }
            }
        });
    }

    /// Compares some channels with Redis.
    pub(crate) fn audit(&self, turn: u64) {
        let count = usize::try_from(self.live() / 1_024).unwrap_or(usize::MAX) + 4;
        for audited in self.0.rooms.sample(turn, count) {
            let inner = Arc::clone(&self.0);
            self.0.tasks.spawn(async move {
                let Ok(page) = inner.ask_page(&audited.key, &Read { limit: 0, ..NOBODY }).await else { return };
                if audited.version.is_none() || !inner.rooms.is_elsewhere(&audited, page.version) {
                    return;
                }
                link::grace().await;
                if inner.rooms.is_elsewhere(&audited, page.version) {
                    inner.rooms.forget_version(&audited.told);
                    inner.found_behind.fetch_add(1, Ordering::Relaxed);
                    warn!("presence of a channel was behind and is read again");
                    inner.missed(&audited.key);
                }
            });
        }
    }
}

const NOBODY: Read = Read { after: None, limit: 0, bytes_max: 0, listed_max: u64::MAX };

fn fresh_lease(reader: &Reader) -> String {
    format!("{:032x}", reader.chance.next::<u128>())
}

#[expect(clippy::disallowed_methods, reason = "that no other node is still to come has no event")]
async fn settled() {
    tokio::time::sleep(SETTLE).await;
}

impl Inner {
    fn missed(&self, key: &ChannelKey) {
        if let Some(ear) = self.ear.get() {
            ear.missed(key);
        }
    }

    fn settle(&self, spell: Spell) {
        for key in self.rooms.settle(spell) {
            self.missed(&key);
        }
    }

    fn settle_later(self: &Arc<Self>, spell: Spell) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            if inner.stop.run_until_cancelled(settled()).await.is_some() {
                inner.settle(spell);
            }
        });
    }

    /// Whether everybody stands in Redis, or stands there for another node.
    async fn enter_everybody(&self) -> bool {
        let everybody = self.own.state().everybody();
        for some in everybody.chunks(AGAIN_MAX) {
            let mut asked = Vec::with_capacity(some.len());
            for (channel, id) in some {
                // Whoever has left meanwhile is not entered again.
                let own = self.own.state();
                let Some(held) = own.get(channel, id).cloned() else { continue };
                let put = self.put_call((channel, id), ("again", &held), &own.lease, Bounds::NONE);
                let (lease, told) = (Arc::clone(&own.lease.name), self.lanes.of(channel).ask(put));
                drop(own);
                asked.push((channel, id, held, lease, told));
            }
            for (channel, id, held, lease, told) in asked {
                match answer::placed(told.await) {
                    Ok(Outcome::Placed(_)) => self.own.state().is_known(&lease),
                    // It goes on at another node.
                    Ok(Outcome::Absent) => self.own.state().leave(channel, id, held.generation),
                    Ok(_) | Err(_) => return false,
                }
            }
        }
        true
    }

    fn put_call(
        &self,
        (channel, id): (&ChannelKey, &MemberId),
        (how, held): (&str, &Held),
        lease: &Lease,
        bounds: Bounds,
    ) -> Cmd {
        let mut call = self.reader.functions.put(&self.reader.partitions.names(channel).room());
        call.arg(how).arg(id.to_string()).arg(held.generation);
        match id {
            MemberId::Connection(_) => call.arg(&*lease.name).arg(u8::from(lease.is_new)),
            // No node holds it.
            MemberId::User(_) => call.arg("-").arg(0),
        };
        let Bounds { till_ms, rate, burst, app_bytes_max } = bounds;
        call.arg(till_ms).arg(held.weight).arg(rate).arg(burst).arg(app_bytes_max);
        call.arg(&*held.user).arg(held.since_ms).arg(&*held.told);
        call
    }

    /// Hands a put in, and notes it where this node holds the member. Under which lease.
    fn ask_put(
        &self,
        at: (&ChannelKey, &MemberId),
        how: How,
        held: Held,
        bounds: Bounds,
    ) -> (Option<Before>, Arc<str>, impl Future<Output = Result<Value, Silence>> + Send + use<>) {
        let (channel, id) = at;
        let word = match how {
            How::Enter => "enter",
            How::Update => "update",
            How::Resume => "resume",
        };
        let mut own = self.own.state();
        let call = self.put_call(at, (word, &held), &own.lease, bounds);
        let before = id.connection().and_then(|_| own.note(channel, id, how, held));
        let lease = Arc::clone(&own.lease.name);
        (before, lease, self.lanes.of(channel).ask(call))
    }

    /// Hands a read in.
    fn ask_page(
        &self,
        channel: &ChannelKey,
        read: &Read,
    ) -> impl Future<Output = Result<Page, PresenceError>> + Send + use<> {
        let mut call = self.reader.functions.who(&self.reader.partitions.names(channel).room());
        call.arg(read.after.as_ref().map(MemberId::to_string).unwrap_or_default());
        call.arg(read.limit).arg(read.bytes_max.min(1 << 53)).arg(read.listed_max.min(1 << 53));
        let told = self.reader.lane.ask(call);
        async move { answer::members(told.await) }
    }
}

impl Presence for RedisPresence {
    fn tell(&self, ear: Arc<dyn Hear>) {
        let _first = self.0.ear.set(ear);
    }

    fn put(&self, channel: &ChannelKey, put: Put) -> Pending<Result<Placed, PresenceError>> {
        let (inner, channel, bounds) = (Arc::clone(&self.0), channel.clone(), Bounds::of(&put));
        let Put { member, generation, how, rate: (rate, _), app_bytes_max, .. } = put;
        let held = Held {
            generation,
            since_ms: member.since_ms,
            weight: member.weight() as u64,
            user: told::user(&member).into(),
            told: told::write(&member).into(),
            note: 0,
        };
        let (before, lease, told) = inner.ask_put((&channel, &member.id), how, held, bounds);
        Pending::Later(Box::pin(async move {
            let refused = match answer::placed(told.await) {
                Ok(Outcome::Placed(placed)) => {
                    inner.own.state().is_known(&lease);
                    return Ok(placed);
                }
                Ok(Outcome::Absent) => PresenceError::NotPresent,
                Ok(Outcome::Rate { retry_after_ms }) => PresenceError::Rate { max: rate.max, retry_after_ms },
                Ok(Outcome::Bytes) => PresenceError::AppBytes { max: app_bytes_max },
                Ok(Outcome::LeaseEnded) => {
                    // The next beat has everybody entered under another.
                    inner.own.state().renew(&lease, || fresh_lease(&inner.reader));
                    PresenceError::Unavailable
                }
                // Where it was done, whoever ends the member takes it out.
                Err(PresenceError::Unknown) => {
                    inner.own.state().is_doubtful(&lease, || fresh_lease(&inner.reader));
                    return Err(PresenceError::Unknown);
                }
                Err(error) => error,
            };
            if let Some(before) = before {
                inner.own.state().undo(&channel, &member.id, before);
            }
            Err(refused)
        }))
    }

    fn leave(
        &self,
        channel: &ChannelKey,
        member: &MemberId,
        generation: Generation,
    ) -> Pending<Result<bool, PresenceError>> {
        let mut call = self.0.reader.functions.leave(&self.0.reader.partitions.names(channel).room());
        call.arg(member.to_string()).arg(generation);
        let (lease, told) = {
            let mut own = self.0.own.state();
            own.leave(channel, member, generation);
            (Arc::clone(&own.lease.name), self.0.lanes.of(channel).ask(call))
        };
        let (inner, is_own) = (Arc::clone(&self.0), member.connection().is_some());
        Pending::Later(Box::pin(async move {
            let left = answer::count(told.await);
            if left.is_err() && is_own {
                // It may still stand there: everybody else is entered under another lease, and this one is left to end.
                inner.own.state().renew(&lease, || fresh_lease(&inner.reader));
            }
            Ok(left? > 0)
        }))
    }

    fn read(&self, channel: &ChannelKey, read: Read) -> Pending<Result<Page, PresenceError>> {
        let (inner, told) = (Arc::clone(&self.0), self.0.reader.partitions.names(channel).seen());
        let page = inner.ask_page(channel, &read);
        Pending::Later(Box::pin(async move {
            let page = page.await?;
            inner.rooms.read(&told, page.version);
            Ok(page)
        }))
    }

    fn attach(&self, channel: &ChannelKey) -> Pending<Result<(), PresenceError>> {
        let told = self.0.reader.partitions.names(channel).seen();
        match self.0.rooms.attach(told, channel, |change| self.0.asks.ask(change)) {
            Attached::Already => Pending::Ready(Ok(())),
            Attached::Soon(attached) => Pending::Later(Box::pin(async move {
                match timeout(ATTACH_WITHIN, attached).await {
                    Ok(Ok(attached)) => attached,
                    // It is still wanted: whoever asks again finds it there when Redis is.
                    Ok(Err(_)) | Err(_) => Err(PresenceError::Unavailable),
                }
            })),
        }
    }

    fn detach(&self, channel: &ChannelKey, wanted: &dyn Fn() -> bool) {
        let told = self.0.reader.partitions.names(channel).seen();
        self.0.rooms.detach(&told, wanted, |change| self.0.asks.ask(change));
    }

    fn forget(&self, app: AppId) {
        self.0.own.state().forget(app);
        let inner = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            let members = names::members(app);
            loop {
                match answer::count(inner.reader.lane.ask(inner.reader.functions.clear(&members)).await) {
                    Ok(0) => return,
                    Ok(_) => {}
                    // Every node does this; what is left is seen by nobody, for the app is gone.
                    Err(error) => return warn!(%error, "members of an app that is gone are still in Redis"),
                }
            }
        });
    }

    fn sweep(&self, now_ms: u64) {
        let mut call = self.0.reader.functions.due();
        call.arg(now_ms);
        let told = self.0.reader.lane.ask(call);
        self.0.tasks.spawn(async move {
            if let Err(error) = answer::count(told.await) {
                debug!(%error, "members whose time is over were not looked for");
            }
        });
    }

    fn members(&self) -> u64 {
        self.0.own.state().count()
    }
}
