//! Presence in this process's memory: the reference for what the others do, and the embedded default.
//!
//! After a restart nobody is present: every connection of the node has ended with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fanfare_core::id::AppId;
use fanfare_core::{ChannelKey, Member, MemberId};

use super::{Change, Generation, Hear, How, Page, Placed, Presence, PresenceError, Put, Read, What};
use crate::broker::Pending;
use crate::limiter::Bucket;

const SHARDS: usize = 64;
/// One app may hold a quarter, whatever its plan says: no tenant's members keep those of others out.
const APP_SHARE: u64 = 4;
/// What a member costs beside its texts: its places here, among the node's memberships, and in a roster.
const MEMBER_OVERHEAD: u64 = 512;
/// Members of one shard whose time is over that a sweep takes out.
const SWEPT_MAX: usize = 1_000;

/// Bounds of presence in memory.
#[derive(Debug, Clone)]
pub struct MemoryPresenceOptions {
    /// Bytes of members over all apps, of which one may hold a quarter. Default 1 GiB.
    pub bytes_max: u64,
}

impl Default for MemoryPresenceOptions {
    fn default() -> Self {
        Self { bytes_max: 1024 * 1024 * 1024 }
    }
}

/// Presence in memory.
pub struct MemoryPresence {
    options: MemoryPresenceOptions,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Bytes of each app's members. Locked only to make a room, inside its shard, and to sweep.
    apps: Mutex<HashMap<AppId, Arc<AtomicU64>>>,
    bytes: AtomicU64,
    members: AtomicU64,
    ear: OnceLock<Arc<dyn Hear>>,
}

#[derive(Default)]
struct Shard {
    rooms: HashMap<ChannelKey, Room>,
    /// Members that leave by themselves, the next one first.
    expiries: BTreeSet<(u64, ChannelKey, MemberId)>,
}

/// A channel with members, or that is attached.
struct Room {
    version: u64,
    members: BTreeMap<MemberId, Held>,
    rate: Bucket,
    attached: bool,
    app_bytes: Arc<AtomicU64>,
}

struct Held {
    member: Arc<Member>,
    generation: Generation,
    expires_ms: Option<u64>,
}

impl MemoryPresence {
    /// Nobody is present.
    #[must_use]
    pub fn new(options: MemoryPresenceOptions) -> Self {
        Self {
            options,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            apps: Mutex::default(),
            bytes: AtomicU64::new(0),
            members: AtomicU64::new(0),
            ear: OnceLock::new(),
        }
    }

    /// Bytes of members held now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &ChannelKey) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self, app: AppId) -> Room {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let app_bytes = Arc::clone(apps.entry(app).or_default());
        Room { version: 0, members: BTreeMap::new(), rate: Bucket::default(), attached: false, app_bytes }
    }

    /// Makes room for a member in the place of one that weighed less, or gives room back.
    fn pay(&self, app_bytes: &AtomicU64, app_max: u64, before: u64, after: u64) -> Result<(), PresenceError> {
        if after <= before {
            app_bytes.fetch_sub(before - after, Ordering::Relaxed);
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
            return Ok(());
        }
        let more = after - before;
        let app_max = app_max.min(self.options.bytes_max / APP_SHARE);
        let take = |bytes: &AtomicU64, max: u64| {
            bytes
                .try_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held + more).filter(|sum| *sum <= max))
                .is_ok()
        };
        if !take(app_bytes, app_max) {
            return Err(PresenceError::AppBytes { max: app_max });
        }
        if !take(&self.bytes, self.options.bytes_max) {
            app_bytes.fetch_sub(more, Ordering::Relaxed);
            return Err(PresenceError::Full);
        }
        Ok(())
    }

    /// The next change of a room, told while its shard is locked: that is the order.
    fn changed(&self, channel: &ChannelKey, room: &mut Room, what: What) {
        room.version += 1;
        if room.attached
            && let Some(ear) = self.ear.get()
        {
            ear.changed(channel, &Change { version: room.version, count: room.members.len() as u64, what });
        }
    }

    fn put_now(&self, channel: &ChannelKey, put: Put) -> Result<Placed, PresenceError> {
        let mut shard = self.shard(channel);
        let Shard { rooms, expiries } = &mut *shard;
        if put.how != How::Enter && !rooms.contains_key(channel) {
            return Err(PresenceError::NotPresent);
        }
        let room = rooms.entry(channel.clone()).or_insert_with(|| self.room(channel.app()));
        let outcome = self.put_into(channel, room, expiries, put);
        if room.is_empty() {
            rooms.remove(channel);
        }
        outcome
    }

    fn put_into(
        &self,
        channel: &ChannelKey,
        room: &mut Room,
        expiries: &mut BTreeSet<(u64, ChannelKey, MemberId)>,
        put: Put,
    ) -> Result<Placed, PresenceError> {
        let Put { mut member, generation, how, expires_ms, rate: (rate, now), app_bytes_max } = put;
        let held = room.members.get_mut(&member.id);
        match (held, how) {
            (Some(held), _) if held.generation > generation => return Err(PresenceError::NotPresent),
            (Some(held), How::Resume) if held.member.user != member.user => return Err(PresenceError::NotPresent),
            (Some(held), How::Resume) => {
                held.generation = generation;
                return Ok(Placed { version: room.version, entered: false, since_ms: held.member.since_ms });
            }
            (Some(held), How::Enter | How::Update) => member.since_ms = held.member.since_ms,
            (None, How::Enter) => {}
            (None, How::Update | How::Resume) => return Err(PresenceError::NotPresent),
        }
        room.rate
            .draw(now, rate, 1)
            .map_err(|exceeded| PresenceError::Rate { max: rate.max, retry_after_ms: exceeded.retry_after_ms })?;
        let before = room.members.get(&member.id).map_or(0, |held| weight(&held.member));
        self.pay(&room.app_bytes, app_bytes_max, before, weight(&member))?;
        let gone = room.members.remove(&member.id);
        if let Some(at) = gone.as_ref().and_then(|gone| gone.expires_ms) {
            expiries.remove(&(at, channel.clone(), member.id.clone()));
        }
        if let Some(at) = expires_ms {
            expiries.insert((at, channel.clone(), member.id.clone()));
        }
        let member = Arc::new(member);
        room.members.insert(member.id.clone(), Held { member: Arc::clone(&member), generation, expires_ms });
        self.members.fetch_add(u64::from(gone.is_none()), Ordering::Relaxed);
        let since_ms = member.since_ms;
        if gone.as_ref().is_none_or(|gone| *gone.member != *member) {
            self.changed(channel, room, What::Here(member));
        }
        Ok(Placed { version: room.version, entered: gone.is_none(), since_ms })
    }

    fn leave_now(&self, channel: &ChannelKey, member: &MemberId, generation: Generation) -> bool {
        let mut shard = self.shard(channel);
        let Shard { rooms, expiries } = &mut *shard;
        let Some(room) = rooms.get_mut(channel) else { return false };
        if room.members.get(member).is_none_or(|held| held.generation != generation) {
            return false;
        }
        self.take_out(channel, room, expiries, member);
        if room.is_empty() {
            rooms.remove(channel);
        }
        true
    }

    fn take_out(
        &self,
        channel: &ChannelKey,
        room: &mut Room,
        expiries: &mut BTreeSet<(u64, ChannelKey, MemberId)>,
        member: &MemberId,
    ) {
        let Some(held) = room.members.remove(member) else { return };
        self.members.fetch_sub(1, Ordering::Relaxed);
        if let Some(at) = held.expires_ms {
            expiries.remove(&(at, channel.clone(), member.clone()));
        }
        let given_back = self.pay(&room.app_bytes, 0, weight(&held.member), 0);
        debug_assert!(given_back.is_ok(), "giving back never fails");
        self.changed(channel, room, What::Gone(member.clone()));
    }
}

fn weight(member: &Member) -> u64 {
    MEMBER_OVERHEAD + member.weight() as u64
}

impl Room {
    fn is_empty(&self) -> bool {
        self.members.is_empty() && !self.attached
    }

    fn page(&self, read: &Read) -> Page {
        let (version, count) = (self.version, self.members.len() as u64);
        if count > read.listed_max {
            return Page { version, count, members: None, next: None };
        }
        let from = read.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut members, mut bytes, mut more) = (Vec::new(), 0, false);
        for held in self.members.range((from, Bound::Unbounded)).map(|(_, held)| held) {
            bytes += held.member.weight() as u64;
            if members.len() >= read.limit as usize || (bytes > read.bytes_max && !members.is_empty()) {
                more = true;
                break;
            }
            members.push(Arc::clone(&held.member));
        }
        let next = members.last().filter(|_| more).map(|last| last.id.clone());
        Page { version, count, members: Some(members), next }
    }
}

impl Presence for MemoryPresence {
    fn tell(&self, ear: Arc<dyn Hear>) {
        let _first = self.ear.set(ear);
    }

    fn put(&self, channel: &ChannelKey, put: Put) -> Pending<Result<Placed, PresenceError>> {
        Pending::Ready(self.put_now(channel, put))
    }

    fn leave(
        &self,
        channel: &ChannelKey,
        member: &MemberId,
        generation: Generation,
    ) -> Pending<Result<bool, PresenceError>> {
        Pending::Ready(Ok(self.leave_now(channel, member, generation)))
    }

    fn read(&self, channel: &ChannelKey, read: Read) -> Pending<Result<Page, PresenceError>> {
        let shard = self.shard(channel);
        let nobody = || Page { version: 0, count: 0, members: Some(Vec::new()), next: None };
        Pending::Ready(Ok(shard.rooms.get(channel).map_or_else(nobody, |room| room.page(&read))))
    }

    fn attach(&self, channel: &ChannelKey) -> Pending<Result<(), PresenceError>> {
        let mut shard = self.shard(channel);
        let room = shard.rooms.entry(channel.clone()).or_insert_with(|| self.room(channel.app()));
        room.attached = true;
        Pending::Ready(Ok(()))
    }

    fn detach(&self, channel: &ChannelKey, wanted: &dyn Fn() -> bool) {
        let mut shard = self.shard(channel);
        let Some(room) = shard.rooms.get_mut(channel) else { return };
        room.attached = wanted();
        if room.is_empty() {
            shard.rooms.remove(channel);
        }
    }

    fn forget(&self, app: AppId) {
        // Most apps that go had no room, and rooms of all others are not looked through for them.
        if !self.apps.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&app) {
            return;
        }
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let Shard { rooms, expiries } = &mut *shard;
            rooms.retain(|channel, room| {
                if channel.app() != app {
                    return true;
                }
                for member in room.members.keys().cloned().collect::<Vec<_>>() {
                    self.take_out(channel, room, expiries, &member);
                }
                !room.is_empty()
            });
        }
    }

    fn sweep(&self, now_ms: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let Shard { rooms, expiries } = &mut *shard;
            for _ in 0..SWEPT_MAX {
                let Some((_, channel, member)) = expiries.first().filter(|(at, ..)| *at <= now_ms).cloned() else {
                    break;
                };
                let Some(room) = rooms.get_mut(&channel) else { break };
                self.take_out(&channel, room, expiries, &member);
                if room.is_empty() {
                    rooms.remove(&channel);
                }
            }
        }
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.retain(|_, bytes| Arc::strong_count(bytes) > 1);
    }

    fn members(&self) -> u64 {
        self.members.load(Ordering::Relaxed)
    }
}
