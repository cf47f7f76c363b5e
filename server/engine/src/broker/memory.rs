//! The broker in this process's memory: the reference for what the others do, and the embedded default.
//!
//! Its lineages carry a random epoch, the start time as the term, and a nonce of the process: after a restart every
//! position is of another epoch, which is the truth.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fanfare_core::id::AppId;
use fanfare_core::settings::History;
use fanfare_core::{ChannelKey, Lineage, Message, Position, Seq};
use sha2::{Digest, Sha256};

use super::{Append, Appended, Broker, BrokerError, Deliver, Durability, Page, Pending, Read, Remove, Start};
use crate::chance::Chance;
use crate::limiter::Bucket;

const SHARDS: usize = 64;
/// One app may hold a quarter of the broker, whatever its plan says: no tenant's history or channels fill it for all.
const APP_SHARE: u64 = 4;
/// What a message costs beside its payload: the structures around it.
const MESSAGE_OVERHEAD: u64 = 256;
/// What an id costs that is remembered, with the tables around it.
const ID_BYTES: u64 = 128;
/// Ids remembered per channel. A channel that gets more of them forgets the oldest early, and so does one that finds no
/// room for another.
const IDS_MAX: usize = 65_536;

/// Bounds of the memory broker.
#[derive(Debug, Clone)]
pub struct MemoryOptions {
    /// Bytes of history, and of message ids, over all apps. Default 1 GiB.
    pub bytes_max: u64,
    /// Channels that are remembered over all apps, of which one may hold a quarter. Default 2,000,000.
    pub channels_max: u64,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { bytes_max: 1024 * 1024 * 1024, channels_max: 2_000_000 }
    }
}

/// The broker in memory.
pub struct MemoryBroker {
    options: MemoryOptions,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Bytes kept of each app, shared by its channels. Locked only to make a channel, inside the channel's shard, and to sweep.
    apps: Mutex<HashMap<AppId, Arc<AtomicU64>>>,
    sink: OnceLock<Arc<dyn Deliver>>,
    term: u64,
    nonce: u32,
    chance: Chance,
    channels: AtomicU64,
    bytes: AtomicU64,
    swept: AtomicU64,
}

#[derive(Default)]
struct Shard {
    logs: HashMap<ChannelKey, Log>,
}

struct Log {
    lineage: Lineage,
    top: Seq,
    messages: VecDeque<Arc<Message>>,
    /// When the oldest of them was published, where it is looked at for each publish: its own memory is long cold.
    oldest_ms: u64,
    bytes: u64,
    app_bytes: Arc<AtomicU64>,
    ids: Option<Box<Ids>>,
    history: History,
    rate: Bucket,
    attached: bool,
    used_ms: u64,
}

#[derive(Default)]
struct Ids {
    known: HashMap<IdHash, Known>,
    oldest: VecDeque<(u64, IdHash)>,
}

/// Stands for an id and whose it is: ids are many, and as long as publishers like.
type IdHash = [u8; 16];

#[derive(Clone, Copy)]
struct Known {
    content: [u8; 16],
    seq: Seq,
}

impl MemoryBroker {
    /// An empty broker; the start time is its term.
    #[must_use]
    pub fn new(options: MemoryOptions, started_ms: u64, chance: Chance) -> Self {
        Self {
            options,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            apps: Mutex::default(),
            sink: OnceLock::new(),
            term: started_ms,
            nonce: chance.next(),
            chance,
            channels: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            swept: AtomicU64::new(0),
        }
    }

    /// Says who hears of messages. The first call counts.
    pub fn deliver_to(&self, sink: Arc<dyn Deliver>) {
        let _first = self.sink.set(sink);
    }

    /// Bytes of history held now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn shard(&self, channel: &ChannelKey) -> MutexGuard<'_, Shard> {
        // The remainder is below SHARDS, which is a usize.
        let index = usize::try_from(self.hasher.hash_one(channel) % SHARDS as u64).unwrap_or(0);
        // Nothing between lock and unlock leaves a log half changed, so a panic elsewhere does not spoil it.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel's log, made when there is none and the app has fewer than so many.
    fn log<'a>(
        &self,
        shard: &'a mut Shard,
        channel: &ChannelKey,
        (now_ms, app_max): (u64, u64),
    ) -> Result<&'a mut Log, BrokerError> {
        match shard.logs.entry(channel.clone()) {
            Entry::Occupied(log) => Ok(log.into_mut()),
            Entry::Vacant(place) => {
                let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
                let app_bytes = apps.entry(channel.app()).or_default();
                let max = (self.options.channels_max / APP_SHARE).min(app_max).max(1);
                // Every channel of the app holds its counter of bytes, and this map does once.
                if Arc::strong_count(app_bytes) as u64 > max {
                    return Err(BrokerError::AppChannels { max });
                }
                if self.channels.load(Ordering::Relaxed) >= self.options.channels_max {
                    return Err(BrokerError::Full);
                }
                self.channels.fetch_add(1, Ordering::Relaxed);
                let app_bytes = Arc::clone(app_bytes);
                let epoch = self.chance.next();
                Ok(place.insert(Log {
                    lineage: Lineage { epoch, term: self.term, nonce: self.nonce },
                    top: 0,
                    messages: VecDeque::new(),
                    oldest_ms: 0,
                    bytes: 0,
                    app_bytes,
                    ids: None,
                    history: History::default(),
                    rate: Bucket::default(),
                    attached: false,
                    used_ms: now_ms,
                }))
            }
        }
    }

    fn append(&self, channel: &ChannelKey, append: Append) -> Result<Appended, BrokerError> {
        if append.durability > Durability::Memory {
            // There is no other machine.
            return Err(BrokerError::NotReplicated);
        }
        let named = append.idempotent.then(|| (id_hash(&append), content_hash(&append)));
        let mut shard = self.shard(channel);
        let log = self.log(&mut shard, channel, (append.time_ms, append.app_channels_max))?;
        log.used_ms = append.time_ms;
        self.forget(log, append.time_ms);
        if let Some(seq) = log.known(named)? {
            return Ok(Appended {
                position: Position { lineage: log.lineage, seq },
                id: append.id,
                duplicate: true,
                durability: Durability::Memory,
            });
        }
        log.rate
            .draw(append.monotonic, append.rate, 1)
            .map_err(|exceeded| BrokerError::Rate { max: append.rate.max, retry_after_ms: exceeded.retry_after_ms })?;
        log.history = append.history;
        let weight = append.draft.weight() as u64 + MESSAGE_OVERHEAD;
        // One that is larger than all that is kept is not kept.
        let kept = append.history.is_kept() && weight <= append.history.bytes;
        let weight = if kept { weight } else { 0 };
        if kept {
            self.trim(log, append.time_ms, weight);
        }
        self.make_room(log, weight + named.map_or(0, |_| ID_BYTES), append.app_bytes_max)?;
        log.top += 1;
        let position = Position { lineage: log.lineage, seq: log.top };
        if let Some((id, content)) = named {
            self.remember(
                log,
                id,
                append.time_ms.saturating_add(append.idempotency_ms),
                Known { content, seq: log.top },
            );
        }
        let message = Arc::new(Message {
            id: append.id.clone(),
            position,
            time_ms: append.time_ms,
            publisher: append.publisher,
            origin: append.origin,
            draft: append.draft,
        });
        if kept {
            if log.messages.is_empty() {
                log.oldest_ms = append.time_ms;
            }
            log.messages.push_back(Arc::clone(&message));
            log.bytes += weight;
            self.take(log, weight);
        } else {
            self.trim(log, u64::MAX, 0);
        }
        // Under the shard's lock: the order of deliveries is the order of the log.
        if let Some(sink) = self.sink.get().filter(|_| log.attached) {
            sink.deliver(channel, message, append.monotonic);
        }
        Ok(Appended { position, id: append.id, duplicate: false, durability: Durability::Memory })
    }

    fn take(&self, log: &Log, bytes: u64) {
        log.app_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, log: &Log, bytes: u64) {
        log.app_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Sees to it that so many bytes may come. The channel's own ids go before anything is refused.
    fn make_room(&self, log: &mut Log, incoming: u64, app_bytes_max: u64) -> Result<(), BrokerError> {
        let app_bytes_max = app_bytes_max.min(self.options.bytes_max / APP_SHARE);
        while let Err(refusal) = self.has_room(log, incoming, app_bytes_max) {
            if !self.forget_oldest(log) {
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn has_room(&self, log: &Log, incoming: u64, app_bytes_max: u64) -> Result<(), BrokerError> {
        if incoming == 0 {
            // What keeps nothing needs no room, however little there is.
            Ok(())
        } else if log.app_bytes.load(Ordering::Relaxed) + incoming > app_bytes_max {
            Err(BrokerError::AppBytes { max: app_bytes_max })
        } else if self.bytes.load(Ordering::Relaxed) + incoming > self.options.bytes_max {
            Err(BrokerError::Full)
        } else {
            Ok(())
        }
    }

    fn remember(&self, log: &mut Log, id: IdHash, until_ms: u64, known: Known) {
        if log.ids.as_ref().is_some_and(|ids| ids.oldest.len() >= IDS_MAX) {
            self.forget_oldest(log);
        }
        let ids = log.ids.get_or_insert_default();
        ids.oldest.push_back((until_ms, id));
        ids.known.insert(id, known);
        self.take(log, ID_BYTES);
    }

    /// Forgets the ids whose time is over.
    fn forget(&self, log: &mut Log, now_ms: u64) {
        let oldest_until = |log: &Log| log.ids.as_ref()?.oldest.front().map(|(until_ms, _)| *until_ms);
        while let Some(until_ms) = oldest_until(log)
            && until_ms <= now_ms
        {
            self.forget_oldest(log);
        }
    }

    fn forget_oldest(&self, log: &mut Log) -> bool {
        let Some(ids) = &mut log.ids else { return false };
        let Some((_, id)) = ids.oldest.pop_front() else { return false };
        ids.known.remove(&id);
        if ids.oldest.is_empty() {
            log.ids = None;
        }
        self.give_back(log, ID_BYTES);
        true
    }

    /// Drops what is too old, and what must go so that `incoming` more bytes fit.
    fn trim(&self, log: &mut Log, now_ms: u64, incoming: u64) {
        let history = log.history;
        let extra = usize::from(incoming > 0);
        while !log.messages.is_empty() {
            let expired = log.oldest_ms.saturating_add(history.ttl_ms) <= now_ms;
            let crowded = log.messages.len() + extra > history.messages as usize;
            let heavy = log.bytes + incoming > history.bytes;
            if !(expired || crowded || heavy) {
                return;
            }
            let Some(oldest) = log.messages.pop_front() else { return };
            log.oldest_ms = log.messages.front().map_or(0, |next| next.time_ms);
            let weight = oldest.draft.weight() as u64 + MESSAGE_OVERHEAD;
            log.bytes -= weight;
            self.give_back(log, weight);
        }
        if log.messages.is_empty() {
            log.messages = VecDeque::new();
        }
    }

    fn remove_now(&self, channel: &ChannelKey, remove: Remove) -> u64 {
        let mut shard = self.shard(channel);
        let Some(log) = shard.logs.get_mut(channel) else { return 0 };
        match remove {
            Remove::All => {
                let (count, bytes) = (log.messages.len() as u64, std::mem::take(&mut log.bytes));
                log.messages = VecDeque::new();
                self.give_back(log, bytes);
                count
            }
            Remove::Message(position) => {
                let Some(message) = log.at(position).filter(|message| !message.is_deleted()) else { return 0 };
                let (weight, deleted) = (message.draft.weight() as u64, message.deleted());
                *message = Arc::new(deleted);
                log.bytes -= weight;
                self.give_back(log, weight);
                1
            }
        }
    }

    fn read_now(&self, channel: &ChannelKey, read: Read) -> Result<Page, BrokerError> {
        let mut shard = self.shard(channel);
        let log = self.log(&mut shard, channel, (read.now_ms, u64::MAX))?;
        log.used_ms = log.used_ms.max(read.now_ms);
        self.trim(log, read.now_ms, 0);
        Ok(log.page(read))
    }
}

impl Log {
    /// The number of the message that has this id, if it is there.
    fn known(&self, named: Option<(IdHash, [u8; 16])>) -> Result<Option<Seq>, BrokerError> {
        let (Some((id, content)), Some(ids)) = (named, &self.ids) else { return Ok(None) };
        match ids.known.get(&id) {
            Some(known) if known.content == content => Ok(Some(known.seq)),
            Some(_) => Err(BrokerError::IdReused),
            None => Ok(None),
        }
    }

    /// The message at this position, if it is kept.
    fn at(&mut self, position: Position) -> Option<&mut Arc<Message>> {
        let first = self.messages.front()?.position.seq;
        let index = position.seq.checked_sub(first).filter(|_| position.lineage == self.lineage)?;
        self.messages.get_mut(usize::try_from(index).ok()?)
    }

    fn page(&self, read: Read) -> Page {
        let first = self.messages.front().map_or(self.top + 1, |message| message.position.seq);
        // Numbers have no holes, so an index is a difference.
        let index =
            |seq: Seq| usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX).min(self.messages.len());
        let count = read.messages_max as usize;
        let messages = match read.start {
            Start::Top => Vec::new(),
            Start::After(seq) => bounded(self.messages.range(index(seq.saturating_add(1))..), count, read.bytes_max),
            Start::Last(last) => {
                let from = self.messages.len().saturating_sub(last as usize);
                bounded(self.messages.range(from..), count, read.bytes_max)
            }
            Start::Since(time_ms) => {
                let from = self.messages.partition_point(|message| message.time_ms < time_ms);
                bounded(self.messages.range(from..), count, read.bytes_max)
            }
            Start::Before(seq) => {
                let to = seq.map_or(self.messages.len(), index);
                bounded(self.messages.range(..to).rev(), count, read.bytes_max)
            }
        };
        Page { lineage: self.lineage, top: self.top, first, messages, earlier: Vec::new() }
    }
}

/// Takes messages while they fit; the first always does.
fn bounded<'a>(messages: impl Iterator<Item = &'a Arc<Message>>, count: usize, bytes: u64) -> Vec<Arc<Message>> {
    let mut weight = 0;
    messages
        .take(count)
        .enumerate()
        .take_while(|(index, message)| {
            weight += message.draft.weight() as u64;
            *index == 0 || weight <= bytes
        })
        .map(|(_, message)| Arc::clone(message))
        .collect()
}

struct Sha(Sha256);

impl Hasher for Sha {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl Sha {
    fn half(self) -> [u8; 16] {
        let whole = self.0.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }
}

fn id_hash(append: &Append) -> IdHash {
    let mut sha = Sha(Sha256::new());
    (&append.scope, &append.id).hash(&mut sha);
    sha.half()
}

/// What makes two publishes with one id the same.
fn content_hash(append: &Append) -> [u8; 16] {
    let mut sha = Sha(Sha256::new());
    let draft = &append.draft;
    match &draft.data {
        fanfare_core::Data::Json(json) => (0_u8, json.get()).hash(&mut sha),
        fanfare_core::Data::Bytes(bytes) => (1_u8, bytes).hash(&mut sha),
        // Nobody publishes it.
        fanfare_core::Data::Deleted => 2_u8.hash(&mut sha),
    }
    (&draft.name, &draft.key, &draft.headers).hash(&mut sha);
    sha.half()
}

impl Broker for MemoryBroker {
    fn publish(&self, channel: &ChannelKey, append: Append) -> Pending<Result<Appended, BrokerError>> {
        Pending::Ready(self.append(channel, append))
    }

    fn read(&self, channel: &ChannelKey, read: Read) -> Pending<Result<Page, BrokerError>> {
        Pending::Ready(self.read_now(channel, read))
    }

    fn remove(&self, channel: &ChannelKey, remove: Remove) -> Pending<Result<u64, BrokerError>> {
        Pending::Ready(Ok(self.remove_now(channel, remove)))
    }

    fn attach(&self, channel: &ChannelKey) -> Pending<Result<(), BrokerError>> {
        let mut shard = self.shard(channel);
        Pending::Ready(self.log(&mut shard, channel, (0, u64::MAX)).map(|log| log.attached = true))
    }

    fn detach(&self, channel: &ChannelKey, wanted: &dyn Fn() -> bool) {
        if let Some(log) = self.shard(channel).logs.get_mut(channel) {
            log.attached = wanted();
        }
    }

    fn sweep(&self, now_ms: u64) {
        // An eighth of the shards a call: every channel is looked at each eight seconds.
        let turn = self.swept.fetch_add(1, Ordering::Relaxed);
        for index in (0..SHARDS as u64).filter(|index| index % 8 == turn % 8) {
            let index = usize::try_from(index).unwrap_or(0);
            let mut shard = self.shards[index].lock().unwrap_or_else(PoisonError::into_inner);
            let before = shard.logs.len();
            shard.logs.retain(|_, log| {
                self.trim(log, now_ms, 0);
                self.forget(log, now_ms);
                // What knows the lineage lives longest: a position stays good as long as any of its history could.
                let idle_ms = now_ms.saturating_sub(log.used_ms);
                log.attached || !log.messages.is_empty() || log.ids.is_some() || idle_ms < log.history.ttl_ms + 60_000
            });
            self.channels.fetch_sub((before - shard.logs.len()) as u64, Ordering::Relaxed);
        }
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.retain(|_, bytes| Arc::strong_count(bytes) > 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fanfare_core::{ChannelName, Data, Draft, LimitValue};

    use super::super::Scope;
    use super::*;

    const NOW_MS: u64 = 10_000;

    fn named(id: u64, app_bytes_max: u64) -> Append {
        Append {
            id: format!("{id:0>200}").into(),
            idempotent: true,
            scope: Scope::User("u".repeat(200).into()),
            publisher: None,
            origin: None,
            draft: Arc::new(Draft::new(Data::Bytes([0; 8].into()))),
            time_ms: NOW_MS,
            monotonic: Duration::ZERO,
            history: History::NONE,
            durability: Durability::Memory,
            idempotency_ms: 86_400_000,
            rate: LimitValue::rate(1_000_000, 1_000_000),
            app_bytes_max,
            app_channels_max: u64::MAX,
        }
    }

    #[test]
    fn ids_are_paid_for_and_the_oldest_give_way() {
        let broker = MemoryBroker::new(MemoryOptions::default(), 1_000, Chance::new(Some(7)));
        let key = ChannelKey::from_broker(AppId::new(1, 0), ChannelName::parse("a").expect("valid"));
        let max = 100 * ID_BYTES;
        for id in 0..10_000 {
            assert!(!broker.append(&key, named(id, max)).expect("accepted").duplicate);
            assert!(broker.bytes() <= max);
        }
        assert!(broker.append(&key, named(9_950, max)).expect("accepted").duplicate, "the latest are remembered");
        assert!(!broker.append(&key, named(0, max)).expect("accepted").duplicate, "the first had to go");
        let other = ChannelKey::from_broker(AppId::new(1, 0), ChannelName::parse("b").expect("valid"));
        assert_eq!(broker.append(&other, named(0, max)), Err(BrokerError::AppBytes { max }), "it has none to give");
        (0..8).for_each(|_| broker.sweep(NOW_MS + 86_400_001));
        assert_eq!(broker.bytes(), 0);
    }
}
