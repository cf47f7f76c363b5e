//! The channels of this node that somebody is subscribed to, and the fan-out.
//!
//! A message of the broker joins its channel's queue, in the channel's order; the channel is then *ready*, once,
//! however many messages join. Whoever published runs the ready channels at the end of its turn: one message goes
//! straight from publisher to sockets without waking a task, several that came meanwhile are joined in one write per
//! subscriber. After its first parts a large fan-out is handed to a task, so that no turn grows long. Whose part is next,
//! here and there, `fair.rs` says: apps take turns by what their parts cost, and the channels of an app take turns.
//!
//! Subscribers stand in chunks that are shared while they are walked and copied only if they change meanwhile. No lock
//! of the hub is held while an outbox is.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_core::measures::Stage;
use fanfare_core::{ChannelKey, ChannelName, Clock, Message};
use tokio_util::task::TaskTracker;

use crate::broker::Deliver;
use crate::directory::AppEntry;
use crate::fair::Turns;
use crate::outbox::{Delivery, JOINED_MAX, Outbox};
use crate::stats::AppStats;
use crate::turn;
use crate::usage::Usage;

const SHARDS: usize = 64;
const CHUNK: usize = 256;
/// Deliveries one turn makes itself; tasks make the rest.
const INLINE_MAX: u64 = 1_024;
/// Such tasks at one moment: more would only take from each other.
const TASKS_MAX: u32 = 4;
/// Bytes after which a part ends before its subscribers do: a megabyte to a few hundred of them takes long.
const PART_BYTES_MAX: u64 = 1024 * 1024;
/// What a delivery costs beside its bytes: a call of the kernel takes as long as copying about so many.
const DELIVERY_COST: u64 = 4 * 1024;
/// How long a channel without subscribers is kept: people come back.
const LINGER: Duration = Duration::from_secs(15);

type Shard = HashMap<ChannelKey, Arc<Channel>>;

/// The channels of this node.
pub struct Hub {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
    ready: Mutex<Turns<FanOut>>,
    tasks: TaskTracker,
    /// Tasks that work off what is ready.
    working: AtomicU32,
    swept: AtomicU64,
}

/// One channel with its subscribers here.
pub struct Channel {
    key: ChannelKey,
    entry: Arc<AppEntry>,
    state: Mutex<ChannelState>,
}

#[derive(Default)]
struct ChannelState {
    /// Messages that no subscriber has got yet. Beyond `PENDING_MAX` and `PENDING_BYTES_MAX` the oldest are let go: the
    /// newer ones then show every subscriber that something is missing, and it is read from history.
    pending: VecDeque<Arc<Delivery>>,
    pending_bytes: usize,
    /// In the ready queue or being fanned out.
    scheduled: bool,
    chunks: Vec<Arc<Vec<Option<Member>>>>,
    free: Vec<u32>,
    members: u32,
    /// When the last subscriber left.
    empty_since: Option<Duration>,
}

const PENDING_MAX: usize = 8_192;
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Clone)]
struct Member {
    outbox: Arc<Outbox>,
    slot: u32,
}

/// A channel that is being fanned out, and how far that has come.
#[derive(Debug)]
struct FanOut {
    channel: Arc<Channel>,
    /// What is delivered; taken when it begins.
    batch: Option<Vec<Arc<Delivery>>>,
    chunk: usize,
    /// The place in that chunk.
    at: usize,
}

/// What a part of a fan-out did.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    messages: u64,
    bytes: u64,
    /// Whether it was the last.
    last: bool,
}

impl Part {
    const fn cost(self) -> u64 {
        self.bytes + self.messages * DELIVERY_COST
    }
}

impl Hub {
    pub(crate) fn new(clock: Arc<dyn Clock>, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            clock,
            ready: Mutex::default(),
            tasks,
            working: AtomicU32::new(0),
            swept: AtomicU64::new(0),
        })
    }

    fn shard(&self, key: &ChannelKey) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, key: &ChannelKey) -> Option<Arc<Channel>> {
        self.shard(key).get(key).cloned()
    }

    /// Adds a subscriber; from here on deliveries reach its slot.
    pub(crate) fn join(
        &self,
        key: &ChannelKey,
        entry: &Arc<AppEntry>,
        outbox: &Arc<Outbox>,
        slot: u32,
    ) -> (Arc<Channel>, u32) {
        let member = Member { outbox: Arc::clone(outbox), slot };
        let mut shard = self.shard(key);
        let channel = shard.entry(key.clone()).or_insert_with(|| {
            let channel = Arc::new(Channel { key: key.clone(), entry: Arc::clone(entry), state: Mutex::default() });
            entry.occupied(&channel);
            channel
        });
        // Under the shard's lock the sweep cannot take the channel away.
        let index = channel.state().add(member);
        (Arc::clone(channel), index)
    }

    /// Removes a subscriber.
    pub(crate) fn leave(&self, channel: &Channel, member: u32) {
        channel.state().remove(member, self.clock.monotonic());
    }

    /// Makes every ready channel's deliveries, the first of them here and now.
    pub(crate) fn run_ready(self: &Arc<Self>) {
        let mut delivered = 0;
        let mut next = self.ready().next();
        while let Some(mut fan_out) = next {
            let part = self.deliver_part(&mut fan_out);
            delivered += part.messages.max(1);
            if delivered >= INLINE_MAX {
                self.done(fan_out, part, false);
                return self.work();
            }
            next = self.done(fan_out, part, true);
        }
    }

    /// Has a task work off what is ready, unless enough of them do.
    fn work(self: &Arc<Self>) {
        if self.has_ready()
            && let Some(working) = Working::begin(self)
        {
            self.tasks.spawn(working.run());
        }
    }

    /// Whether a channel waits to be fanned out.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready().is_empty()
    }

    fn ready(&self) -> MutexGuard<'_, Turns<FanOut>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_ready(&self, channel: &Arc<Channel>) {
        self.ready().push(channel.key.app(), FanOut::of(Arc::clone(channel)));
    }

    /// Delivers the batch to the next subscribers.
    fn deliver_part(&self, fan_out: &mut FanOut) -> Part {
        let FanOut { channel, batch, chunk: number, at } = fan_out;
        let (chunk, batch, mut part) = {
            let mut state = channel.state();
            let batch = batch.get_or_insert_with(|| state.take_batch());
            let last = *number + 1 >= state.chunks.len();
            let Some(chunk) = state.chunks.get(*number) else { return Part { last: true, ..Part::default() } };
            (Arc::clone(chunk), batch, Part { last, ..Part::default() })
        };
        let begun = self.clock.monotonic();
        let from = std::mem::take(at);
        for (index, member) in chunk.iter().enumerate().skip(from) {
            let Some(member) = member else { continue };
            let wrote = member.outbox.deliver(member.slot, channel, batch);
            part.messages += wrote.messages;
            part.bytes += wrote.bytes;
            if part.bytes >= PART_BYTES_MAX && index + 1 < chunk.len() {
                *at = index + 1;
                break;
            }
        }
        if *at == 0 {
            *number += 1;
        } else {
            part.last = false;
        }
        let Part { messages, bytes, .. } = part;
        // The platform's own channels are not the tenant's traffic: an idle app shows nothing.
        if messages > 0 && !channel.name().is_reserved() {
            let (stats, now) = (&channel.entry.stats, self.clock.monotonic());
            AppStats::add(&stats.messages_out, messages);
            AppStats::add(&stats.bytes_out, bytes);
            // Two clock readings per part: the figures are those of its oldest message and its last write.
            if let Some(first) = batch.first() {
                stats.took(Stage::FanOut, begun.saturating_sub(first.arrived), messages);
                stats.took(Stage::Write, now.saturating_sub(begun), messages);
                stats.took(Stage::Delivery, now.saturating_sub(first.accepted), messages);
            }
        }
        part
    }

    /// A part is out. If it was the last, more messages may have come. Answers what is next, where that is `wanted`.
    fn done(&self, fan_out: FanOut, part: Part, wanted: bool) -> Option<FanOut> {
        let app = fan_out.channel.key.app();
        let rest = if part.last {
            let mut state = fan_out.channel.state();
            state.scheduled = !state.pending.is_empty();
            state.scheduled.then(|| FanOut::of(Arc::clone(&fan_out.channel)))
        } else {
            Some(fan_out)
        };
        let mut ready = self.ready();
        ready.done(app, part.cost(), rest);
        if wanted { ready.next() } else { None }
    }

    /// Drops channels nobody came back to, an eighth of the shards a call. Answers which ones.
    pub(crate) fn sweep(&self) -> Vec<ChannelKey> {
        let (turn, now) = (self.swept.fetch_add(1, Ordering::Relaxed), self.clock.monotonic());
        let mut gone = Vec::new();
        for (_, shard) in self.shards.iter().enumerate().filter(|(index, _)| *index as u64 % 8 == turn % 8) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, channel| {
                // Not under the channel's lock: whoever lists the app's channels asks each of them for its subscribers.
                let leave = channel.state().is_left(now);
                if leave {
                    channel.entry.vacated(key.channel());
                    gone.push(key.clone());
                }
                !leave
            });
        }
        gone
    }
}

impl FanOut {
    const fn of(channel: Arc<Channel>) -> Self {
        Self { channel, batch: None, chunk: 0, at: 0 }
    }
}

/// A task that works off what is ready; also one that panicked counts no more.
struct Working(Arc<Hub>);

impl Working {
    fn begin(hub: &Arc<Hub>) -> Option<Self> {
        let counted = |working| (working < TASKS_MAX).then_some(working + 1);
        hub.working.try_update(Ordering::AcqRel, Ordering::Acquire, counted).ok().map(|_| Self(Arc::clone(hub)))
    }

    /// Part by part, as their turns come, so that a crowd is in nobody's way.
    async fn run(self) {
        let hub = Arc::clone(&self.0);
        let mut next = hub.ready().next();
        while let Some(mut fan_out) = next {
            let part = hub.deliver_part(&mut fan_out);
            next = hub.done(fan_out, part, true);
            tokio::task::yield_now().await;
        }
        drop(self);
        // Whoever made something ready meanwhile may have counted on this task.
        hub.work();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Deliver for Hub {
    fn deliver(&self, key: &ChannelKey, message: Arc<Message>, accepted: Duration) {
        let Some(channel) = self.find(key) else { return };
        let delivery = Arc::new(Delivery::new(message, accepted, self.clock.monotonic()));
        let first = {
            let mut state = channel.state();
            if state.members == 0 {
                return;
            }
            state.push(delivery);
            !std::mem::replace(&mut state.scheduled, true)
        };
        if first {
            self.make_ready(&channel);
        }
    }
}

/// The hub as a broker knows it that delivers in its own time.
pub(crate) struct FansOut(pub(crate) Arc<Hub>);

impl Deliver for FansOut {
    fn deliver(&self, key: &ChannelKey, message: Arc<Message>, accepted: Duration) {
        self.0.deliver(key, message, accepted);
    }

    fn settle(&self) {
        turn::step(&self.0);
    }
}

impl Channel {
    /// What the hub and the broker know it by.
    #[must_use]
    pub const fn key(&self) -> &ChannelKey {
        &self.key
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &ChannelName {
        self.key.channel()
    }

    /// What its app uses, and what slow clients were not sent.
    pub(crate) fn usage(&self) -> &Usage {
        &self.entry.usage
    }

    /// Its subscriptions on this node.
    #[must_use]
    pub fn subscribers(&self) -> u32 {
        self.state().members
    }

    /// The connections that are subscribed to it here.
    pub(crate) fn outboxes(&self) -> Vec<Arc<Outbox>> {
        // The chunks are shared, so that no lock is held while they are walked.
        let chunks = self.state().chunks.clone();
        chunks.iter().flat_map(|chunk| chunk.iter().flatten()).map(|member| Arc::clone(&member.outbox)).collect()
    }

    fn state(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Channel").field("key", &self.key).finish_non_exhaustive()
    }
}

impl ChannelState {
    fn push(&mut self, delivery: Arc<Delivery>) {
        self.pending_bytes += delivery.message.draft.weight();
        self.pending.push_back(delivery);
        while self.pending.len() > PENDING_MAX || (self.pending_bytes > PENDING_BYTES_MAX && self.pending.len() > 1) {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Arc<Delivery>> {
        let delivery = self.pending.pop_front()?;
        self.pending_bytes -= delivery.message.draft.weight();
        Some(delivery)
    }

    fn add(&mut self, member: Member) -> u32 {
        self.members += 1;
        self.empty_since = None;
        if let Some(index) = self.free.pop() {
            let chunk = &mut self.chunks[index as usize / CHUNK];
            Arc::make_mut(chunk)[index as usize % CHUNK] = Some(member);
            return index;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Arc::new(Vec::with_capacity(1)));
        }
        let last = self.chunks.len() - 1;
        let chunk = Arc::make_mut(&mut self.chunks[last]);
        chunk.push(Some(member));
        u32::try_from(last * CHUNK + chunk.len() - 1).unwrap_or(u32::MAX)
    }

    fn remove(&mut self, index: u32, now: Duration) {
        let Some(chunk) = self.chunks.get_mut(index as usize / CHUNK) else { return };
        if Arc::make_mut(chunk)[index as usize % CHUNK].take().is_none() {
            return;
        }
        self.members -= 1;
        if self.members == 0 {
            self.chunks = Vec::new();
            self.free = Vec::new();
            self.empty_since = Some(now);
        } else {
            self.free.push(index);
        }
    }

    /// Whether nobody came back in time.
    fn is_left(&self, now: Duration) -> bool {
        !self.scheduled && self.empty_since.is_some_and(|since| now >= since + LINGER)
    }

    fn take_batch(&mut self) -> Vec<Arc<Delivery>> {
        let count = self.pending.len().min(JOINED_MAX);
        let batch = std::iter::from_fn(|| self.pop()).take(count).collect();
        if self.pending.is_empty() && self.pending.capacity() > JOINED_MAX {
            self.pending = VecDeque::new();
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use fanfare_core::id::{AppId, ConnectionId};
    use fanfare_core::{App, ChannelSettings, Data, Draft, Lineage, Position};

    use super::*;
    use crate::SystemClock;
    use crate::broker::Page;
    use crate::directory::Directory;
    use crate::outbox::{Manner, Turn, Wire};
    use crate::transport::Sink;

    const LINEAGE: Lineage = Lineage { epoch: 1, term: 1, nonce: 1 };

    /// A socket that takes everything and notes whose it is.
    struct Note(u64, Arc<Mutex<Vec<u64>>>);

    impl Sink for Note {
        fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> std::io::Result<usize> {
            self.1.lock().expect("nobody panicked").push(self.0);
            Ok(bytes.iter().map(|slice| slice.len()).sum())
        }

        fn finish(&mut self) {}
    }

    struct World {
        hub: Arc<Hub>,
        directory: Directory,
        written: Arc<Mutex<Vec<u64>>>,
    }

    impl World {
        fn new() -> Self {
            let hub = Hub::new(Arc::new(SystemClock::new()), TaskTracker::new());
            Self { hub, directory: Directory::default(), written: Arc::default() }
        }

        /// A channel of an app with so many subscribers.
        fn channel(&self, app: u64, name: &str, subscribers: u64) -> ChannelKey {
            let id = AppId::new(app, 0);
            self.directory.upsert(App { id, ..App::for_tests() });
            let entry = self.directory.entry(id).expect("it was put there");
            let key = ChannelKey::from_broker(id, ChannelName::parse(name).expect("valid"));
            for number in 0..subscribers {
                let sink = Box::new(Note(app, Arc::clone(&self.written)));
                let outbox = Outbox::new(ConnectionId::new(number, app.into()), Wire::NativeJson, sink, Arc::default());
                let manner = Manner::of(ChannelSettings::defaults());
                let ticket = outbox.take_slot(|slot| self.hub.join(&key, &entry, &outbox, slot), manner, None);
                let page = Page { lineage: LINEAGE, top: 0, first: 1, messages: Vec::new(), earlier: Vec::new() };
                let place = Some(Position { lineage: LINEAGE, seq: 0 });
                let turn = Turn { page: &page, accepted: Duration::ZERO, place, catches_up: false };
                outbox.open(ticket, &turn, |_| None);
            }
            key
        }

        fn publish(&self, key: &ChannelKey, seq: u64, bytes: usize) {
            let message = Message {
                id: "".into(),
                position: Position { lineage: LINEAGE, seq },
                time_ms: 0,
                publisher: None,
                origin: None,
                draft: Arc::new(Draft::new(Data::Bytes(vec![b'a'; bytes].into()))),
            };
            self.hub.deliver(key, Arc::new(message), Duration::ZERO);
        }

        /// Whose sockets were written to, in order, once everything is out.
        async fn written(&self) -> Vec<u64> {
            self.hub.run_ready();
            self.hub.tasks.close();
            self.hub.tasks.wait().await;
            std::mem::take(&mut *self.written.lock().expect("nobody panicked"))
        }
    }

    #[tokio::test]
    async fn an_app_with_much_to_deliver_waits_for_itself_and_another_does_not() {
        for (channels, subscribers, bytes, wait_max) in
            [(40, 100, 10, 400), (1, 4_000, 10, 300), (1, 1_000, 100_000, 20), (2_000, 1, 10, 300)]
        {
            let world = World::new();
            let crowd: Vec<ChannelKey> =
                (0..channels).map(|number| world.channel(1, &format!("c:{number}"), subscribers)).collect();
            let lone = world.channel(2, "c:0", 1);
            crowd.iter().for_each(|key| world.publish(key, 1, bytes));
            world.publish(&lone, 1, 10);
            let written = world.written().await;
            let before = written.iter().position(|app| *app == 2).expect("it is delivered");
            let what = format!("{channels} channels of {subscribers} subscribers, {bytes} bytes");
            assert_eq!(written.len() as u64, channels * subscribers + 1, "{what}");
            assert!(before <= wait_max, "{before} deliveries of the other app came before: {what}");
        }
    }

    #[tokio::test]
    async fn channels_of_one_app_take_turns_and_every_message_arrives_once_in_order() {
        let world = World::new();
        let keys = [world.channel(1, "a", 1_000), world.channel(1, "b", 1)];
        for seq in 1..=200 {
            keys.iter().for_each(|key| world.publish(key, seq, 1_000));
        }
        // 64 messages are joined in one write.
        assert_eq!(world.written().await.len(), 4 * 1_001);
        assert!(!world.hub.has_ready());
        assert_eq!(world.hub.working.load(Ordering::Relaxed), 0);
        for key in &keys {
            assert!(!world.hub.find(key).expect("it is there").state().scheduled);
        }
    }
}
