//! Who is told of a channel's presence on this node, and when.
//!
//! A channel that somebody watches has one roster. Every [`BATCH`] what has changed is told to all its watchers, encoded
//! once; newcomers are told everything at once. One telling of a channel runs at a time, so that nobody is told a change
//! before the page it changes. Nothing here is locked while an outbox is.
//!
//! Some ask to watch; others are told because the channel's settings say so: who joins and leaves without a page before it,
//! and how many there are. What these could not take they are owed: a word that something was missed, and the count as it
//! is by then.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_core::{ChannelKey, Limit};
use fanfare_protocol::native::{Occupancy, PresenceDiff, PresencePage};
use tokio_util::task::TaskTracker;

use super::roster::{Roster, Telling};
use super::{Change, Hear, Page, Presence, PresenceError, Read};
use crate::broker::Pending;
use crate::directory::AppEntry;
use crate::hub::Channel;
use crate::outbox::{Members, Outbox, PresencePush, Tidings, Told, Wants};
use crate::stats::AppStats;

/// How long changes are collected.
pub(crate) const BATCH: Duration = Duration::from_millis(200);

const SHARDS: usize = 64;
/// Watchers told before other tasks have their turn.
const CHUNK: usize = 256;
/// Members and bytes of the page that a watcher is told first.
const PAGE_MEMBERS: usize = 1_000;
const PAGE_BYTES: usize = 128 * 1024;
/// The count of a crowded channel, and how many are on one whose settings want that, are told once in so many batches:
/// they are told to many.
const COUNT_BATCHES: u8 = 5;

type Shard = HashMap<ChannelKey, Arc<Watch>>;

/// The channels of this node whose presence somebody watches.
pub(crate) struct Watches {
    form: Arc<dyn Presence>,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Those with something to tell, each once.
    dirty: Mutex<Vec<Arc<Watch>>>,
    flushing: AtomicBool,
    tasks: TaskTracker,
}

/// One channel and its watchers.
pub(crate) struct Watch {
    channel: Arc<Channel>,
    entry: Arc<AppEntry>,
    state: Mutex<State>,
}

/// Which link watches: that of a resumed connection is another than the one before. It is where its outbox lies, which
/// stays while the watcher does.
type WatcherId = usize;

fn id(outbox: &Arc<Outbox>) -> WatcherId {
    Arc::as_ptr(outbox).addr()
}

struct State {
    roster: Roster,
    watchers: HashMap<WatcherId, Watcher>,
    /// Those that were not told anything yet, or could not take the last telling: they wait for a page.
    waiting: Vec<WatcherId>,
    /// Those that could not take notices which they did not ask for.
    owed: Vec<WatcherId>,
    /// Whether somebody tells just now.
    running: bool,
    /// Whether it is among the dirty.
    dirty: bool,
    /// Whether it must be read, which failed before.
    unread: bool,
    /// Batches since the count of a crowded channel was told.
    batches: u8,
    /// How many there were when that was told last, and batches since.
    occupancy: Option<(Occupancy, Arc<PresencePush>)>,
    occupancy_batches: u8,
    /// The page that was encoded last: newcomers of one version share it.
    page: Option<(u64, Arc<PresencePush>)>,
}

#[derive(Clone)]
struct Watcher {
    outbox: Arc<Outbox>,
    slot: u32,
    wants: Wants,
}

/// What is told in one turn, and to whom.
struct Turn {
    tidings: Tidings,
    watchers: Vec<(WatcherId, Watcher)>,
}

/// What a batch of a channel comes to.
struct Batch {
    turn: Option<Turn>,
    /// Whether there is more to tell that is not due yet.
    more: bool,
}

/// A page is read by somebody who is told of changes.
pub(crate) struct Peek {
    watch: Arc<Watch>,
    version: u64,
}

impl Watches {
    pub(crate) fn new(form: Arc<dyn Presence>, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            form,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            dirty: Mutex::default(),
            flushing: AtomicBool::new(false),
            tasks,
        })
    }

    fn shard(&self, key: &ChannelKey) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &ChannelKey) -> Option<Arc<Watch>> {
        self.shard(key).get(key).cloned()
    }

    /// Adds a watcher, whose slot is ready for it, or has one be told something else; tells it who is there, if it wants to
    /// know.
    pub(crate) fn watch(
        self: &Arc<Self>,
        entry: &Arc<AppEntry>,
        channel: &Arc<Channel>,
        (outbox, slot): (&Arc<Outbox>, u32),
        wants: Wants,
    ) {
        let (key, id) = (channel.key(), id(outbox));
        let (watch, is_new) = {
            let mut shard = self.shard(key);
            let is_new = !shard.contains_key(key);
            let watch = shard.entry(key.clone()).or_insert_with(|| Watch::new(channel, entry));
            // Under the shard's lock whoever goes last cannot take the watch away.
            let mut state = watch.state();
            let before = state.watchers.insert(id, Watcher { outbox: Arc::clone(outbox), slot, wants });
            let had = before.map_or(Members::None, |before| before.wants.members);
            if wants.members != Members::All {
                state.waiting.retain(|waiting| *waiting != id);
            } else if had != Members::All {
                state.waiting.push(id);
            }
            if wants.occupancy {
                if wants.members != Members::All {
                    state.owed.push(id);
                }
                self.mark(watch, &mut state);
            }
            drop(state);
            (Arc::clone(watch), is_new)
        };
        if is_new {
            match self.form.attach(key) {
                Pending::Ready(attached) => self.attached(&watch, attached),
                Pending::Later(attached) => {
                    let (watches, watch) = (Arc::clone(self), Arc::clone(&watch));
                    self.tasks.spawn(async move { watches.attached(&watch, attached.await) });
                }
            }
        }
        self.welcome(&watch);
    }

    /// Removes a watcher.
    pub(crate) fn unwatch(&self, key: &ChannelKey, outbox: &Arc<Outbox>) {
        {
            let mut shard = self.shard(key);
            let Some(watch) = shard.get(key) else { return };
            let mut state = watch.state();
            state.watchers.remove(&id(outbox));
            state.waiting.retain(|waiting| *waiting != id(outbox));
            state.owed.retain(|owed| *owed != id(outbox));
            if !state.watchers.is_empty() {
                if state.occupancy.is_some() {
                    self.mark(watch, &mut state);
                }
                return;
            }
            drop(state);
            shard.remove(key);
        }
        self.form.detach(key, &|| self.find(key).is_some());
    }

    /// Notes that somebody who may be told of changes reads a page.
    pub(crate) fn peek(&self, key: &ChannelKey) -> Option<Peek> {
        let watch = self.find(key)?;
        watch.state().roster.begin_peek();
        Some(Peek { watch, version: 0 })
    }

    fn attached(self: &Arc<Self>, watch: &Arc<Watch>, attached: Result<(), PresenceError>) {
        match attached {
            Ok(()) => self.read(watch),
            Err(_) => self.read_later(watch),
        }
    }

    /// Reads all there is to list.
    fn read(self: &Arc<Self>, watch: &Arc<Watch>) {
        let listed_max = watch.listed_max();
        let limit = u32::try_from(listed_max).unwrap_or(u32::MAX);
        let read = Read { after: None, limit, bytes_max: u64::MAX, listed_max };
        match self.form.read(watch.channel.key(), read) {
            Pending::Ready(page) => self.have_read(watch, page),
            Pending::Later(page) => {
                let (watches, watch) = (Arc::clone(self), Arc::clone(watch));
                self.tasks.spawn(async move { watches.have_read(&watch, page.await) });
            }
        }
    }

    fn have_read(self: &Arc<Self>, watch: &Arc<Watch>, page: Result<Page, PresenceError>) {
        let again = match page {
            Ok(page) => {
                let mut state = watch.state();
                let again = state.roster.read(page, watch.listed_max());
                if state.roster.has_news() || state.watchers.values().any(Watcher::is_told_unasked) {
                    self.mark(watch, &mut state);
                }
                again
            }
            Err(_) => true,
        };
        if again { self.read_later(watch) } else { self.welcome(watch) }
    }

    /// The next batch reads.
    fn read_later(&self, watch: &Arc<Watch>) {
        let mut state = watch.state();
        state.unread = true;
        self.mark(watch, &mut state);
    }

    /// There is something to tell with the next batch.
    fn mark(&self, watch: &Arc<Watch>, state: &mut State) {
        if !std::mem::replace(&mut state.dirty, true) {
            self.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(watch));
        }
    }

    /// Tells newcomers who is there, unless somebody tells just now: whoever does tells them too.
    fn welcome(self: &Arc<Self>, watch: &Arc<Watch>) {
        loop {
            let Some(turn) = watch.begin_welcome() else { return };
            let (mut waiting, mut told) = (Vec::new(), 0);
            for (id, watcher) in &turn.watchers {
                match watcher.tell(&turn.tidings, watch.channel.key()) {
                    Told::Done(pushes) => told += pushes,
                    Told::Behind => waiting.push(*id),
                    Told::Waits | Told::Gone => {}
                }
            }
            AppStats::add(&watch.entry.stats.presence_out, told);
            let mut state = watch.state();
            state.running = false;
            if !waiting.is_empty() {
                // They take it when they have taken what waits.
                state.waiting.extend(waiting);
                self.mark(watch, &mut state);
                return;
            }
        }
    }

    /// Tells what has changed, in a task: it may be told to many.
    pub(crate) fn flush(self: &Arc<Self>) {
        let is_idle = || self.dirty.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if is_idle() || self.flushing.swap(true, Ordering::AcqRel) {
            return;
        }
        let watches = Arc::clone(self);
        self.tasks.spawn(async move {
            let done = Flushing(&watches.flushing);
            let dirty = std::mem::take(&mut *watches.dirty.lock().unwrap_or_else(PoisonError::into_inner));
            for watch in dirty {
                watches.flush_one(&watch).await;
                tokio::task::yield_now().await;
            }
            drop(done);
        });
    }

    async fn flush_one(self: &Arc<Self>, watch: &Arc<Watch>) {
        let (batch, unread) = {
            let mut state = watch.state();
            state.dirty = false;
            let unread = std::mem::take(&mut state.unread) || state.may_list(watch.listed_max());
            if unread && !state.roster.is_reading() {
                state.roster.read_anew();
            }
            match state.begin_turn(&watch.channel) {
                Ok(batch) => {
                    if batch.more {
                        self.mark(watch, &mut state);
                    }
                    (batch, unread)
                }
                Err(Busy) => {
                    state.unread = unread;
                    return self.mark(watch, &mut state);
                }
            }
        };
        if unread {
            self.read(watch);
        }
        let Some(Turn { tidings, watchers }) = batch.turn else { return self.welcome(watch) };
        let (mut behind, mut owed) = (Vec::new(), Vec::new());
        for chunk in watchers.chunks(CHUNK) {
            let mut told = 0;
            for (id, watcher) in chunk {
                match watcher.tell(&tidings, watch.channel.key()) {
                    Told::Done(pushes) => told += pushes,
                    Told::Behind if watcher.wants.members == Members::All => behind.push(*id),
                    Told::Behind => owed.push(*id),
                    Told::Waits | Told::Gone => {}
                }
            }
            AppStats::add(&watch.entry.stats.presence_out, told);
            tokio::task::yield_now().await;
        }
        {
            let mut state = watch.state();
            state.running = false;
            if !behind.is_empty() || !owed.is_empty() {
                state.waiting.extend(behind);
                state.owed.extend(owed);
                self.mark(watch, &mut state);
            }
        }
        self.welcome(watch);
    }
}

/// A flush that runs; also one that panicked has ended.
struct Flushing<'a>(&'a AtomicBool);

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Hear for Watches {
    fn changed(&self, channel: &ChannelKey, change: &Change) {
        let Some(watch) = self.find(channel) else { return };
        let mut state = watch.state();
        state.unread |= state.roster.hear(change, watch.listed_max());
        self.mark(&watch, &mut state);
    }

    fn missed(&self, channel: &ChannelKey) {
        let Some(watch) = self.find(channel) else { return };
        let mut state = watch.state();
        if state.roster.miss() {
            state.unread = true;
            self.mark(&watch, &mut state);
        }
    }
}

/// Somebody tells just now.
struct Busy;

impl Watch {
    fn new(channel: &Arc<Channel>, entry: &Arc<AppEntry>) -> Arc<Self> {
        let state = State {
            roster: Roster::new(),
            watchers: HashMap::new(),
            waiting: Vec::new(),
            owed: Vec::new(),
            running: false,
            dirty: false,
            unread: false,
            batches: 0,
            occupancy: None,
            occupancy_batches: COUNT_BATCHES,
            page: None,
        };
        Arc::new(Self { channel: Arc::clone(channel), entry: Arc::clone(entry), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed_max(&self) -> u64 {
        self.entry.peek().limits.get(Limit::PresenceMembers).max
    }

    /// A turn for those who wait for a page; `None` when nobody does, or it is not this caller's turn.
    fn begin_welcome(&self) -> Option<Turn> {
        let mut state = self.state();
        if state.running || state.waiting.is_empty() || state.roster.is_reading() {
            return None;
        }
        state.running = true;
        let (members, occupancy) = (vec![state.page(self.channel.key())], state.held_occupancy());
        let tidings = Tidings { members, occupancy, ..Tidings::default() };
        let waiting = std::mem::take(&mut state.waiting);
        let watchers = state.those(waiting);
        Some(Turn { tidings, watchers })
    }
}

impl State {
    /// Whether a crowded channel has become few enough to be listed; with some room, so that it does not flap.
    fn may_list(&self, listed_max: u64) -> bool {
        self.roster.is_crowded() && self.roster.count() <= listed_max - listed_max / 10
    }

    /// A turn for everybody, or for those who are owed something; none when there is nothing to tell.
    fn begin_turn(&mut self, channel: &Channel) -> Result<Batch, Busy> {
        if self.running {
            return Err(Busy);
        }
        let (mut tidings, waits) = self.members(channel.key());
        let is_stale = self.count(channel, &mut tidings);
        let more = is_stale || waits;
        if self.roster.is_reading() {
            // Whoever has read marks it again.
            return Ok(Batch { turn: None, more });
        }
        let owed = std::mem::take(&mut self.owed);
        let (for_all, is_owed) = (!tidings.is_empty(), !owed.is_empty());
        let watchers = if for_all {
            self.watchers.iter().map(|(id, watcher)| (*id, watcher.clone())).collect()
        } else {
            self.those(owed)
        };
        if watchers.is_empty() {
            return Ok(Batch { turn: None, more });
        }
        self.running = true;
        let name = channel.name().clone();
        tidings.missed = Some(PresencePush::missed(name, self.roster.version(), self.roster.count()));
        // A count that is about to be told anew is not told as it was.
        if is_owed && tidings.occupancy.is_none() && !is_stale {
            tidings.occupancy = self.held_occupancy();
        }
        Ok(Batch { turn: Some(Turn { tidings, watchers }), more })
    }

    fn held_occupancy(&self) -> Option<Arc<PresencePush>> {
        self.occupancy.as_ref().map(|(_, push)| Arc::clone(push))
    }

    fn those(&self, ids: Vec<WatcherId>) -> Vec<(WatcherId, Watcher)> {
        ids.into_iter().filter_map(|id| Some((id, self.watchers.get(&id)?.clone()))).collect()
    }

    /// What there is to tell of members, and whether there is more that is not due yet.
    fn members(&mut self, key: &ChannelKey) -> (Tidings, bool) {
        let mut tidings = Tidings::default();
        self.batches = self.batches.saturating_add(1);
        if self.roster.is_crowded() && self.batches < COUNT_BATCHES && !self.roster.is_anew() {
            return (tidings, self.roster.is_untold());
        }
        self.batches = 0;
        let wants_joins = self.watchers.values().any(|watcher| watcher.wants.members == Members::Joins);
        let name = || key.channel().clone();
        match self.roster.tell() {
            Telling::Nothing => {}
            Telling::Anew => {
                // Everybody gets the page, whoever waits for one too.
                self.waiting.clear();
                self.page = None;
                tidings.members = vec![self.page(key)];
                if wants_joins {
                    tidings.joins = vec![PresencePush::missed(name(), self.roster.version(), self.roster.count())];
                }
            }
            Telling::Diffs(diffs) => {
                if wants_joins {
                    let joins = diffs.iter().filter(|diff| !(diff.entered.is_empty() && diff.left.is_empty()));
                    let without_updates = |diff: &PresenceDiff| PresenceDiff { updated: Vec::new(), ..diff.clone() };
                    tidings.joins = joins.map(|diff| PresencePush::joins(name(), without_updates(diff))).collect();
                }
                tidings.members = diffs.into_iter().map(|diff| PresencePush::diff(name(), diff)).collect();
            }
        }
        (tidings, false)
    }

    /// Adds how many there are, if somebody wants to know, that has changed, and it is time. Answers whether it will be.
    fn count(&mut self, channel: &Channel, tidings: &mut Tidings) -> bool {
        self.occupancy_batches = self.occupancy_batches.saturating_add(1);
        if !self.watchers.values().any(|watcher| watcher.wants.occupancy) {
            self.occupancy = None;
            return false;
        }
        if self.roster.is_reading() {
            return false;
        }
        let (subscribers, members) = (channel.subscribers().into(), self.roster.count());
        let now = Occupancy { subscribers, members, version: self.roster.version() };
        let is_known = |told: Occupancy| (told.subscribers, told.members) == (subscribers, members);
        if self.occupancy.as_ref().is_some_and(|(told, _)| is_known(*told)) {
            return false;
        }
        if self.occupancy_batches < COUNT_BATCHES {
            return true;
        }
        self.occupancy_batches = 0;
        let push = PresencePush::occupancy(channel.name().clone(), now);
        self.occupancy = Some((now, Arc::clone(&push)));
        tidings.occupancy = Some(push);
        false
    }

    /// The first page, as it is now.
    fn page(&mut self, key: &ChannelKey) -> Arc<PresencePush> {
        let version = self.roster.version();
        if let Some((held, page)) = &self.page
            && *held == version
        {
            return Arc::clone(page);
        }
        let Page { version, count, members, next } = self.roster.first_page(PAGE_MEMBERS, PAGE_BYTES);
        let channel = key.channel().clone();
        let page = PresencePush::page(PresencePage { channel, version, count, members, next });
        self.page = Some((version, Arc::clone(&page)));
        page
    }
}

impl Watcher {
    fn is_told_unasked(&self) -> bool {
        self.wants.occupancy || self.wants.members == Members::Joins
    }

    fn tell(&self, tidings: &Tidings, key: &ChannelKey) -> Told {
        self.outbox.tell_presence(self.slot, key, tidings)
    }
}

impl Peek {
    /// The page was read at this version.
    pub(crate) const fn at(&mut self, version: u64) {
        self.version = version;
    }
}

impl Drop for Peek {
    fn drop(&mut self) {
        self.watch.state().roster.end_peek(self.version);
    }
}
