//! The channels of this node that somebody is subscribed to, and the fan-out.
//!
//! A message of the broker joins its channel's queue, in the channel's order; the channel is then *ready*, once,
//! however many messages join. Whoever published runs the ready channels at the end of its turn: one message goes
//! straight from publisher to sockets without waking a task, several that came meanwhile are joined in one write per
//! subscriber. A large fan-out is handed to a task after its first part, so that no turn grows long.
//!
//! Subscribers stand in chunks that are shared while they are walked and copied only if they change meanwhile. No lock
//! of the hub is held while an outbox is.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_core::measures::Stage;
use fanfare_core::{ChannelKey, ChannelName, Clock, Message};
use tokio_util::task::TaskTracker;

use crate::broker::Deliver;
use crate::directory::AppEntry;
use crate::outbox::{Delivery, JOINED_MAX, Outbox};
use crate::stats::AppStats;
use crate::usage::Usage;

const SHARDS: usize = 64;
const CHUNK: usize = 256;
/// Deliveries one turn makes itself; a task makes the rest.
const INLINE_MAX: u64 = 512;
/// How long a channel without subscribers is kept: people come back.
const LINGER: Duration = Duration::from_secs(15);

type Shard = HashMap<ChannelKey, Arc<Channel>>;

/// The channels of this node.
pub struct Hub {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
    ready: Mutex<VecDeque<Arc<Channel>>>,
    tasks: TaskTracker,
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

/// How far a fan-out has come.
struct Progress {
    channel: Arc<Channel>,
    batch: Vec<Arc<Delivery>>,
    chunk: usize,
}

impl Hub {
    pub(crate) fn new(clock: Arc<dyn Clock>, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            clock,
            ready: Mutex::default(),
            tasks,
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
        while let Some(channel) = self.next_ready() {
            let mut progress = Progress::of(channel);
            while let Some(count) = self.fan_out(&mut progress) {
                delivered += count;
                if delivered >= INLINE_MAX {
                    let hub = Arc::clone(self);
                    self.tasks.spawn(async move { hub.run_rest(progress).await });
                    return;
                }
            }
            self.finish(&progress.channel);
        }
    }

    /// Goes on where a turn stopped, and takes part in whatever else is ready: a chunk of each channel in turn, so that a
    /// crowd is in nobody's way.
    async fn run_rest(self: Arc<Self>, progress: Progress) {
        let mut running = VecDeque::from([progress]);
        while let Some(mut progress) = running.pop_front() {
            running.extend(self.next_ready().map(Progress::of));
            if self.fan_out(&mut progress).is_some() {
                running.push_back(progress);
                tokio::task::yield_now().await;
            } else {
                self.finish(&progress.channel);
            }
            if running.is_empty() {
                running.extend(self.next_ready().map(Progress::of));
            }
        }
    }

    /// Whether a channel waits to be fanned out.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn next_ready(&self) -> Option<Arc<Channel>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn make_ready(&self, channel: &Arc<Channel>) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(Arc::clone(channel));
    }

    /// Delivers the batch to the next chunk of subscribers; `None` when there is none.
    fn fan_out(&self, progress: &mut Progress) -> Option<u64> {
        let channel = &progress.channel;
        let chunk = channel.state().chunks.get(progress.chunk).cloned()?;
        progress.chunk += 1;
        let begun = self.clock.monotonic();
        let (mut messages, mut bytes) = (0, 0);
        for member in chunk.iter().flatten() {
            let wrote = member.outbox.deliver(member.slot, channel, &progress.batch);
            messages += wrote.messages;
            bytes += wrote.bytes;
        }
        // The platform's own channels are not the tenant's traffic: an idle app shows nothing.
        if messages > 0 && !channel.name().is_reserved() {
            let (stats, now) = (&channel.entry.stats, self.clock.monotonic());
            AppStats::add(&stats.messages_out, messages);
            AppStats::add(&stats.bytes_out, bytes);
            // Two clock readings per chunk: the figures are those of its oldest message and its last write.
            if let Some(first) = progress.batch.first() {
                stats.took(Stage::FanOut, begun.saturating_sub(first.arrived), messages);
                stats.took(Stage::Write, now.saturating_sub(begun), messages);
                stats.took(Stage::Delivery, now.saturating_sub(first.accepted), messages);
            }
        }
        Some(messages.max(1))
    }

    /// The batch is out: more may have come.
    fn finish(&self, channel: &Arc<Channel>) {
        let more = {
            let mut state = channel.state();
            state.scheduled = !state.pending.is_empty();
            state.scheduled
        };
        if more {
            self.make_ready(channel);
        }
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

impl Progress {
    fn of(channel: Arc<Channel>) -> Self {
        let batch = channel.state().take_batch();
        Self { channel, batch, chunk: 0 }
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
