//! The channels this node hears, each with one owner: whoever holds its shard's lock.
//!
//! ```text
//!   attach ─▶ Wanted ──subscribed──▶ Loading ──read, held messages follow──▶ Live
//!               ▲                      ▲                                      │
//!               └── the link ended ────┼────── a number was skipped, an audit ┘
//! ```
//!
//! *Loading*: what is pushed is held, bounded; a read after the confirmation tells what was missed. *Live*: the next number
//! is delivered, known ones are dropped, anything else is repaired by a read. Subscribers notice nothing of that: what
//! reaches them is contiguous, or of another lineage, which their own cursors tell from a continuation.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_core::{ChannelKey, Clock, Message, Position};
use fanfare_engine::BrokerError;
use fanfare_engine::broker::{Deliver, Page};
use tokio::sync::oneshot;

use crate::link::Change;

const SHARDS: usize = 64;
/// Messages held while a read is under way. What is more is read again.
const HELD_MAX: usize = 1_024;
/// Bytes held while a read is under way.
const HELD_BYTES_MAX: usize = 1024 * 1024;
/// Bytes held for all channels together: when a link comes back, all of them are read.
const ALL_HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Tells one spell of a channel on a link from the next.
pub(crate) type Round = u64;

type Shard = HashMap<Arc<str>, Channel>;

/// The channels, by the name they are told under.
pub(crate) struct Channels {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    rounds: AtomicU64,
    repairs: AtomicU64,
    live: AtomicU64,
    /// Bytes held for all of them.
    held: AtomicUsize,
    clock: Arc<dyn Clock>,
}

type Waiter = oneshot::Sender<Result<(), BrokerError>>;

struct Channel {
    key: ChannelKey,
    round: Round,
    state: State,
    /// Up to where everything was delivered; nothing before the first read.
    position: Option<Position>,
    waiters: Vec<Waiter>,
}

enum State {
    /// Not subscribed, or not yet.
    Wanted,
    Loading(Held),
    Live,
}

#[derive(Default)]
struct Held {
    messages: Vec<Arc<Message>>,
    bytes: usize,
    /// Something was let go: what follows must be read again.
    dropped: bool,
}

/// What is to be read for a channel, and for which spell.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) told: Arc<str>,
    pub(crate) key: ChannelKey,
    pub(crate) round: Round,
    /// What follows this, or where the log ends.
    pub(crate) after: Option<Position>,
}

/// Whether a channel is heard.
pub(crate) enum Attached {
    Already,
    /// Once it is subscribed to and read.
    Soon(oneshot::Receiver<Result<(), BrokerError>>),
}

impl Channels {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            rounds: AtomicU64::new(0),
            repairs: AtomicU64::new(0),
            live: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            clock,
        }
    }

    fn shard(&self, told: &str) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(told) % SHARDS as u64).unwrap_or(0);
        // What is done under the lock leaves a channel in one of its states at every step.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round(&self) -> Round {
        self.rounds.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Reads that were needed because something was missed.
    pub(crate) fn repairs(&self) -> u64 {
        self.repairs.load(Ordering::Relaxed)
    }

    /// Somebody wants to hear a channel. The link is asked under the channel's lock, as when one is left: what it is asked
    /// last is how the channel stands.
    pub(crate) fn attach(&self, told: &str, key: &ChannelKey, ask: impl FnOnce(Change)) -> Attached {
        let mut shard = self.shard(told);
        let (waiter, attached) = oneshot::channel();
        if let Some(channel) = shard.get_mut(told) {
            if matches!(channel.state, State::Live) {
                return Attached::Already;
            }
            // Those whose patience ended are not kept while Redis is away.
            channel.waiters.retain(|waiter| !waiter.is_closed());
            channel.waiters.push(waiter);
            return Attached::Soon(attached);
        }
        let round = self.round();
        let channel = Channel { key: key.clone(), round, state: State::Wanted, position: None, waiters: vec![waiter] };
        let told: Arc<str> = told.into();
        shard.insert(Arc::clone(&told), channel);
        ask(Change::Want(told, round));
        Attached::Soon(attached)
    }

    /// Nobody wants to hear a channel any more, unless it is `wanted` again.
    pub(crate) fn detach(&self, told: &str, wanted: &dyn Fn() -> bool, ask: impl FnOnce(Change)) {
        let mut shard = self.shard(told);
        if wanted() {
            return;
        }
        if let Some((told, channel)) = shard.remove_entry(told) {
            self.leaves(&channel.state);
            ask(Change::Leave(told));
        }
    }

    /// The link has come up, anew: every channel is wanted on it. In which spell.
    pub(crate) fn all_wanted(&self) -> Vec<(Arc<str>, Round)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            for (told, channel) in shard.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
                self.enter(channel, State::Wanted);
                channel.round = self.round();
                all.push((Arc::clone(told), channel.round));
            }
        }
        all
    }

    /// A channel is subscribed to: from here on it is pushed, and what was missed is to be read.
    pub(crate) fn subscribed(&self, told: &str, round: Round) -> Option<Load> {
        let mut shard = self.shard(told);
        let (told, channel) = found(&mut shard, told)?;
        if channel.round != round || !matches!(channel.state, State::Wanted) {
            return None;
        }
        self.enter(channel, State::Loading(Held::default()));
        Some(channel.load(told))
    }

    /// A message was pushed, or one that cannot be read. What is to be read where it does not follow.
    pub(crate) fn pushed(&self, told: &str, message: Option<Message>, sink: &dyn Deliver) -> Option<Load> {
        let mut shard = self.shard(told);
        let (told, channel) = found(&mut shard, told)?;
        match &mut channel.state {
            // It is in what will be read.
            State::Wanted => None,
            State::Loading(held) => {
                held.hold(message.map(Arc::new), &self.held);
                None
            }
            State::Live => {
                if let Some(message) = &message {
                    let (next, last) = (message.position, channel.position);
                    if last.is_some_and(|last| last.lineage == next.lineage && next.seq <= last.seq) {
                        return None;
                    }
                    if last.is_some_and(|last| follows(next, last)) {
                        channel.deliver(Arc::new(message.clone()), sink, &*self.clock);
                        return None;
                    }
                }
                let mut held = Held::default();
                held.hold(message.map(Arc::new), &self.held);
                Some(self.repair(told, channel, held))
            }
        }
    }

    /// Has a live channel read what it may have missed.
    fn repair(&self, told: Arc<str>, channel: &mut Channel, held: Held) -> Load {
        self.repairs.fetch_add(1, Ordering::Relaxed);
        channel.round = self.round();
        self.enter(channel, State::Loading(held));
        channel.load(told)
    }

    /// What was read for a channel. What is to be read next, and how many messages were delivered.
    pub(crate) fn loaded(&self, load: &Load, page: &Page, sink: &dyn Deliver) -> Option<Load> {
        let mut shard = self.shard(&load.told);
        let (told, channel) = found(&mut shard, &load.told)?;
        let held = match &mut channel.state {
            State::Loading(held) if channel.round == load.round => {
                let held = std::mem::take(held);
                self.held.fetch_sub(held.bytes, Ordering::Relaxed);
                held
            }
            // A later spell has its own.
            State::Wanted | State::Loading(_) | State::Live => return None,
        };
        let top = Position { lineage: page.lineage, seq: page.top };
        match channel.position {
            None => channel.position = Some(top),
            Some(last) => {
                if page.continues(last) {
                    // What subscribers get next is of another lineage, and their own cursors find that it goes on.
                    channel.position = Some(Position { lineage: page.lineage, seq: last.seq });
                } else if last.lineage != page.lineage {
                    // Whatever is delivered shows every subscriber's cursor that the log is another one.
                    channel.position = Some(Position { lineage: page.lineage, seq: 0 });
                }
                for message in &page.messages {
                    // What is no longer kept is missing here and told by each subscriber's own cursor.
                    if channel.position.is_none_or(|last| message.position.seq > last.seq) {
                        channel.deliver(Arc::clone(message), sink, &*self.clock);
                    }
                }
                if page.messages.is_empty() {
                    channel.position = Some(top);
                }
            }
        }
        let mut again = held.dropped || channel.position.is_some_and(|position| position.seq < page.top);
        for message in held.messages {
            let Some(last) = channel.position.filter(|_| !again) else { break };
            if follows(message.position, last) {
                channel.deliver(message, sink, &*self.clock);
            } else if message.position.lineage != last.lineage || message.position.seq > last.seq {
                again = true;
            }
        }
        if again {
            channel.round = self.round();
            self.enter(channel, State::Loading(Held::default()));
            return Some(channel.load(told));
        }
        self.enter(channel, State::Live);
        for waiter in channel.waiters.drain(..) {
            // Whoever waited may have gone.
            let _ = waiter.send(Ok(()));
        }
        None
    }

    /// Whether a read is still needed.
    pub(crate) fn is_loading(&self, load: &Load) -> bool {
        let shard = self.shard(&load.told);
        shard
            .get(&*load.told)
            .is_some_and(|channel| channel.round == load.round && matches!(channel.state, State::Loading(_)))
    }

    /// Some of the live channels, others each time: where each of them stands.
    pub(crate) fn sample(&self, turn: u64, count: usize) -> Vec<Load> {
        let index = usize::try_from(turn % SHARDS as u64).unwrap_or(0);
        let shard = self.shards[index].lock().unwrap_or_else(PoisonError::into_inner);
        let live = shard.iter().filter(|(_, channel)| matches!(channel.state, State::Live));
        let skip = usize::try_from(turn / SHARDS as u64).unwrap_or(0) * count;
        let total = live.clone().count().max(1);
        live.skip(skip % total).take(count).map(|(told, channel)| channel.load(Arc::clone(told))).collect()
    }

    /// Whether a live channel has not delivered everything up to there.
    pub(crate) fn is_behind(&self, audited: &Load, top: Position) -> bool {
        self.shard(&audited.told).get(&*audited.told).is_some_and(|channel| channel.is_behind(audited, top))
    }

    /// An audit found a live channel behind its log. What is to be read, where that is still so.
    pub(crate) fn behind(&self, audited: &Load, top: Position) -> Option<Load> {
        let mut shard = self.shard(&audited.told);
        let (told, channel) = found(&mut shard, &audited.told)?;
        channel.is_behind(audited, top).then(|| self.repair(told, channel, Held::default()))
    }

    /// Channels that are heard.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    fn leaves(&self, state: &State) {
        match state {
            State::Wanted => {}
            State::Loading(held) => {
                self.held.fetch_sub(held.bytes, Ordering::Relaxed);
            }
            State::Live => {
                self.live.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn enter(&self, channel: &mut Channel, state: State) {
        self.leaves(&channel.state);
        if matches!(state, State::Live) {
            self.live.fetch_add(1, Ordering::Relaxed);
        }
        channel.state = state;
    }
}

fn found<'a>(shard: &'a mut Shard, told: &str) -> Option<(Arc<str>, &'a mut Channel)> {
    let (name, _) = shard.get_key_value(told)?;
    let name = Arc::clone(name);
    shard.get_mut(told).map(|channel| (name, channel))
}

fn follows(next: Position, last: Position) -> bool {
    next.lineage == last.lineage && next.seq == last.seq + 1
}

impl Channel {
    fn load(&self, told: Arc<str>) -> Load {
        Load { told, key: self.key.clone(), round: self.round, after: self.position }
    }

    fn is_behind(&self, audited: &Load, top: Position) -> bool {
        matches!(self.state, State::Live)
            && self.position.is_some_and(|position| {
                if position.lineage == top.lineage {
                    position.seq < top.seq
                } else {
                    // Not where it has moved on, to this lineage or a later one.
                    self.position == audited.after
                }
            })
    }

    /// Under the shard's lock: the order of deliveries is the order of the log.
    fn deliver(&mut self, message: Arc<Message>, sink: &dyn Deliver, clock: &dyn Clock) {
        self.position = Some(message.position);
        // Accepted somewhere, perhaps by another clock: how long ago, as near as both clocks can tell.
        let age = Duration::from_millis(clock.unix_ms().saturating_sub(message.time_ms));
        sink.deliver(&self.key, message, clock.monotonic().saturating_sub(age));
    }
}

impl Held {
    fn hold(&mut self, message: Option<Arc<Message>>, all: &AtomicUsize) {
        let weight = message.as_ref().map_or(0, |message| message.draft.weight());
        let fits = self.messages.len() < HELD_MAX
            && self.bytes + weight <= HELD_BYTES_MAX
            && all.load(Ordering::Relaxed) + weight <= ALL_HELD_BYTES_MAX;
        match message.filter(|_| fits && !self.dropped) {
            Some(message) => {
                self.bytes += weight;
                all.fetch_add(weight, Ordering::Relaxed);
                self.messages.push(message);
            }
            None => {
                all.fetch_sub(self.bytes, Ordering::Relaxed);
                *self = Self { dropped: true, ..Self::default() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use fanfare_core::id::AppId;
    use fanfare_core::{ChannelName, Data, Draft, Lineage};
    use fanfare_engine::SystemClock;
    use fanfare_engine::broker::Earlier;

    use super::*;

    const OLD: Lineage = Lineage { epoch: 1, term: 1, nonce: 1 };
    const NEW: Lineage = Lineage { epoch: 1, term: 2, nonce: 2 };

    #[derive(Default)]
    struct Ear(Mutex<Vec<Position>>);

    impl Deliver for Ear {
        fn deliver(&self, _: &ChannelKey, message: Arc<Message>, _: Duration) {
            self.0.lock().expect("nobody panicked").push(message.position);
        }
    }

    impl Ear {
        fn take(&self) -> Vec<(u64, u64)> {
            let heard = std::mem::take(&mut *self.0.lock().expect("nobody panicked"));
            heard.into_iter().map(|position| (position.lineage.term, position.seq)).collect()
        }
    }

    fn message(lineage: Lineage, seq: u64, bytes: usize) -> Message {
        Message {
            id: "".into(),
            position: Position { lineage, seq },
            time_ms: 0,
            publisher: None,
            origin: None,
            draft: Arc::new(Draft::new(Data::Bytes(vec![0; bytes].into()))),
        }
    }

    fn page(lineage: Lineage, seqs: std::ops::Range<u64>, top: u64) -> Page {
        let messages = seqs.map(|seq| Arc::new(message(lineage, seq, 1))).collect();
        Page { lineage, top, first: 1, messages, earlier: Vec::new() }
    }

    fn channels() -> Channels {
        Channels::new(Arc::new(SystemClock::new()))
    }

    /// Wants a channel, and brings it to where it is read.
    fn begin(channels: &Channels, told: &str) -> Load {
        let key = ChannelKey::from_broker(AppId::new(1, 1), ChannelName::parse("a").expect("valid"));
        let mut asked = None;
        channels.attach(told, &key, |change| asked = Some(change));
        let Some(Change::Want(_, round)) = asked else { panic!("it is new") };
        assert!(channels.subscribed(told, round + 1).is_none(), "of another spell");
        channels.subscribed(told, round).expect("it is to be read")
    }

    #[test]
    fn what_is_pushed_while_a_page_is_read_follows_it_once() {
        let (channels, ear) = (channels(), Ear::default());
        let load = begin(&channels, "c");
        assert!(channels.loaded(&load, &page(OLD, 0..0, 3), &ear).is_none());
        for seq in [3, 4, 4, 5] {
            assert!(channels.pushed("c", Some(message(OLD, seq, 1)), &ear).is_none());
        }
        assert_eq!(ear.take(), [(1, 4), (1, 5)]);
        // One is missed: what comes meanwhile is held, and what both tell is delivered once.
        let load = channels.pushed("c", Some(message(OLD, 7, 1)), &ear).expect("a read");
        assert!(channels.pushed("c", Some(message(OLD, 8, 1)), &ear).is_none());
        assert!(channels.loaded(&load, &page(OLD, 6..8, 7), &ear).is_none());
        assert_eq!((ear.take(), channels.repairs(), channels.live()), (vec![(1, 6), (1, 7), (1, 8)], 1, 1));
        // One that cannot be read is as good as missed.
        let load = channels.pushed("c", None, &ear).expect("a read");
        assert!(channels.loaded(&load, &page(OLD, 9..10, 9), &ear).is_some(), "and read again: it may be later still");
        assert_eq!(ear.take(), [(1, 9)]);
    }

    #[test]
    fn a_page_of_an_earlier_spell_changes_nothing() {
        let (channels, ear) = (channels(), Ear::default());
        let load = begin(&channels, "c");
        let wanted = channels.all_wanted();
        assert!(channels.loaded(&load, &page(OLD, 0..0, 3), &ear).is_none() && channels.live() == 0);
        assert!(!channels.is_loading(&load));
        let again = channels.subscribed("c", wanted[0].1).expect("a read");
        assert!(channels.loaded(&again, &page(OLD, 0..0, 3), &ear).is_none() && channels.live() == 1);
        let mut left = false;
        channels.detach("c", &|| true, |_| panic!("it is wanted"));
        channels.detach("c", &|| false, |change| left = matches!(change, Change::Leave(_)));
        assert!(left && channels.live() == 0);
    }

    /// A channel that counts as heard while the link was told last to leave it would be deaf without anybody knowing.
    #[test]
    fn what_the_link_is_asked_last_is_how_the_channel_stands() {
        let (channels, asked) = (channels(), Mutex::new(None));
        let key = ChannelKey::from_broker(AppId::new(1, 1), ChannelName::parse("a").expect("valid"));
        let ask = |change| {
            // Whoever is between both steps is overtaken, where that can be.
            std::thread::yield_now();
            *asked.lock().expect("nobody panicked") = Some(change);
        };
        for _ in 0..200 {
            std::thread::scope(|threads| {
                for _ in 0..2 {
                    threads.spawn(|| (0..200).for_each(|_| channels.detach("c", &|| false, ask)));
                    threads.spawn(|| (0..200).for_each(|_| drop(channels.attach("c", &key, ask))));
                }
            });
            let wanted = channels.shard("c").get("c").map(|channel| channel.round);
            match &*asked.lock().expect("nobody panicked") {
                Some(Change::Want(_, round)) => assert_eq!(wanted, Some(*round)),
                Some(Change::Leave(_)) | None => assert_eq!(wanted, None),
            }
        }
    }

    #[test]
    fn another_lineage_goes_on_or_is_told_by_what_is_delivered() {
        for (end, heard) in [(5, vec![(2, 6)]), (4, vec![(2, 6)])] {
            let (channels, ear) = (channels(), Ear::default());
            let load = begin(&channels, "c");
            assert!(channels.loaded(&load, &page(OLD, 0..0, 5), &ear).is_none());
            let load = channels.pushed("c", Some(message(NEW, 6, 1)), &ear).expect("a read");
            assert_eq!(load.after.map(|after| after.seq), Some(5));
            let earlier = vec![Earlier { term: 1, nonce: 1, top: end }];
            let page = Page { earlier, ..page(NEW, 6..7, 6) };
            assert!(channels.loaded(&load, &page, &ear).is_none());
            assert_eq!((ear.take(), channels.live()), (heard, 1), "{end}");
        }
    }

    #[test]
    fn what_is_held_is_bounded_for_one_channel_and_for_all_and_given_back() {
        let (channels, ear) = (channels(), Ear::default());
        let names: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
        let loads: Vec<Load> = names.iter().map(|name| begin(&channels, name)).collect();
        for (name, seq) in names.iter().flat_map(|name| (1..=20).map(move |seq| (name, seq))) {
            assert!(channels.pushed(name, Some(message(OLD, seq, 50_000)), &ear).is_none());
        }
        let held = || channels.held.load(Ordering::Relaxed);
        assert!((ALL_HELD_BYTES_MAX - 1_050_000..=ALL_HELD_BYTES_MAX).contains(&held()), "{}", held());
        assert!(channels.pushed(&names[0], Some(message(OLD, 21, 50_000)), &ear).is_none(), "more than one may hold");
        let before = held();
        for (load, name) in loads.iter().zip(&names).take(50) {
            let next = channels.loaded(load, &page(OLD, 0..0, 0), &ear);
            assert_eq!(next.is_some(), *name == names[0], "what was let go of is read again");
        }
        assert!(held() < before);
        channels.all_wanted();
        assert_eq!(held(), 0);
    }
}
