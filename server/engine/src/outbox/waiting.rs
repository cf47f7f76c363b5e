//! What waits for a subscriber that takes less than comes, where its channel conflates or drops.
//!
//! ```text
//!   deliver ──socket takes it──► socket          Backlog: numbered in the order of the channel
//!      └──────it does not──────► Backlog ──room──► socket, after a word of what was let go
//! ```
//!
//! All backlogs of a connection and its queue share one budget. A message that does not fit in sends its subscription
//! back to reading from history, as everywhere: what is let go here is either replaced by a later message with its key
//! or told by number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_core::{ChannelSettings, LimitValue, Position, SlowPolicy};
use fanfare_protocol::Frame;

use super::pace::Pace;
use super::{Delivery, Outbox, PUSH_BYTES_MAX, Signal, State, Wire, Wrote, is_left_out};
use crate::hub::Channel;
use crate::stats::AppStats;
use crate::subscription::Push;

/// Messages of one backlog that are written before another has its turn. What the socket refuses of them can no longer
/// be let go.
const PART: usize = 16;

/// What a channel's settings say of its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(super) echo: bool,
    pub(super) slow: SlowPolicy,
    compression: bool,
    join_leave: bool,
    occupancy: bool,
}

impl Manner {
    pub(crate) const fn of(settings: &ChannelSettings) -> Self {
        let ChannelSettings { echo, slow, compression, join_leave, occupancy, .. } = *settings;
        Self { echo, slow, compression, join_leave, occupancy }
    }

    /// Whether subscribers are told of who is on the channel without asking.
    pub(super) const fn has_notices(self) -> bool {
        self.join_leave || self.occupancy
    }

    /// Whether what the socket does not take waits where it can still be let go.
    pub(super) const fn waits(self) -> bool {
        matches!(self.slow, SlowPolicy::Conflate | SlowPolicy::DropOldest)
    }

    /// In which form messages go to a client that takes this one.
    pub(super) const fn wire(self, wire: Wire) -> Wire {
        match wire {
            Wire::NativeJsonDeflate { .. } if !self.compression => Wire::NativeJson,
            Wire::NativeJsonDeflate { .. } | Wire::NativeJson | Wire::Events | Wire::Stream | Wire::Poll => wire,
        }
    }

    /// What the task is told when the budget is full.
    pub(super) const fn when_behind(self) -> Signal {
        match self.slow {
            SlowPolicy::Recover | SlowPolicy::Conflate | SlowPolicy::DropOldest => Signal::CatchUp,
            SlowPolicy::Disconnect => Signal::Slow,
        }
    }
}

/// Rare state of a connection: its backlogs, and its rate where the plan sets one.
#[derive(Default)]
pub(super) struct Rare {
    /// By place of the subscription.
    backlogs: BTreeMap<u32, Backlog>,
    /// Bytes in all of them.
    held: usize,
    /// The place whose turn is next when there is room.
    turn: u32,
    pace: Option<Pace>,
}

/// Messages that wait for one subscription.
#[derive(Default)]
struct Backlog {
    waiting: BTreeMap<u64, Waiting>,
    /// Where the latest message with each key waits.
    latest: HashMap<Box<str>, u64>,
    next: u64,
    bytes: usize,
    dropped: Option<Dropped>,
}

struct Waiting {
    delivery: Arc<Delivery>,
    bytes: usize,
}

/// Messages that were let go: those after `from` up to and including `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Where the subscriber stands without them.
    pub(crate) from: Position,
    /// The last of them.
    pub(crate) to: Position,
    /// How many they are.
    pub(crate) count: u64,
}

/// What keeping a message did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It waits.
    Beside,
    /// It waits in the place of an earlier one with its key.
    Instead,
    /// It waits, and so many older ones were let go.
    After(u64),
    /// There is no room for it, and nothing was changed that it would replace.
    Not,
}

/// What was written of the backlogs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Poured {
    pub(crate) wrote: Wrote,
    /// Whether bytes wait for the socket again.
    pub(crate) blocked: bool,
    /// Whether a subscription may go on reading from history.
    pub(crate) catch_up: bool,
    /// Whether the rest waits for the next second.
    pub(crate) paced: bool,
}

impl Outbox {
    /// Keeps what was not written, as the channel's policy says. Answers what the task is to be told.
    pub(super) fn keep(&self, state: &mut State, slot: u32, rest: &[Arc<Delivery>]) -> Option<Signal> {
        let State { id, queued, slots, rare, .. } = state;
        let taken = slots.get_mut(slot as usize)?.as_deref_mut()?;
        let (mut behind, mut conflated, mut dropped) = (None, 0, 0);
        let rare = rare.get_or_insert_default();
        let full = if self.budget.is_over() { 0 } else { PUSH_BYTES_MAX };
        for delivery in rest {
            let stood = taken.cursor.position();
            match taken.cursor.push(delivery) {
                Push::Deliver if is_left_out(*id, &delivery.message, taken.manner.echo) => {}
                Push::Deliver => {
                    let bytes = delivery.bytes(taken.channel.name(), taken.manner.wire(self.wire)).len();
                    let backlog = rare.backlogs.entry(slot).or_default();
                    let others = *queued + rare.held - backlog.bytes;
                    rare.held -= backlog.bytes;
                    let kept = backlog.keep(taken.manner.slow, delivery, bytes, full.saturating_sub(others));
                    rare.held += backlog.bytes;
                    match kept {
                        Kept::Beside => {}
                        Kept::Instead => conflated += 1,
                        Kept::After(count) => dropped += count,
                        Kept::Not => {
                            taken.cursor.place(stood);
                            taken.cursor.fall_behind();
                            behind = Some(taken.manner.when_behind());
                        }
                    }
                }
                Push::Gap => behind = behind.or(Some(Signal::CatchUp)),
                Push::Drop | Push::Held => {}
            }
        }
        let usage = taken.channel.usage();
        AppStats::add(&usage.conflated, conflated);
        AppStats::add(&usage.dropped, dropped);
        state.tidy(slot);
        behind
    }

    /// Writes what waits by policy, the subscriptions in turn, as far as the socket goes: for the task, when the queue is
    /// empty. `tell` words what was let go.
    pub(crate) fn pour(&self, now: Duration, tell: impl Fn(&Channel, &Dropped) -> Frame) -> Poured {
        let (mut state, mut poured) = (self.state(), Poured::default());
        while state.queued == 0
            && state.sink.is_some()
            && let Some(rare) = &mut state.rare
            && let Some(slot) = rare.next()
        {
            let count = rare.pace.as_mut().map_or(PART, |pace| pace.take(now, PART));
            if let Some(pace) = rare.pace.as_mut() {
                pace.known = count == 0;
            }
            if count == 0 {
                poured.paced = true;
                break;
            }
            let part = self.part(&mut state, (slot, count), &tell, &mut poured.wrote);
            let joined: Vec<&[u8]> = part.iter().map(|frame| &frame[..]).collect();
            poured.blocked |= state.write(&joined, |index| part[index].clone());
            poured.catch_up |= state.tidy(slot);
        }
        if poured.wrote.messages > 0 && self.wire.tells_places() {
            poured.blocked |= state.write_place();
        }
        poured
    }

    /// The next frames of a backlog.
    fn part(
        &self,
        state: &mut State,
        (slot, count): (u32, usize),
        tell: &impl Fn(&Channel, &Dropped) -> Frame,
        wrote: &mut Wrote,
    ) -> Vec<Bytes> {
        let State { slots, rare: Some(rare), .. } = state else { return Vec::new() };
        rare.turn = slot + 1;
        let taken = slots.get(slot as usize).and_then(Option::as_deref);
        let (Some(taken), Some(backlog)) = (taken, rare.backlogs.get_mut(&slot)) else { return Vec::new() };
        let held = backlog.bytes;
        let mut frames = Vec::with_capacity(PART + 1);
        frames.extend(backlog.dropped.take().map(|dropped| self.wire.own(&tell(&taken.channel, &dropped))));
        for delivery in std::iter::from_fn(|| backlog.pop()).take(count) {
            let frame = delivery.bytes(taken.channel.name(), taken.manner.wire(self.wire)).clone();
            wrote.messages += 1;
            wrote.bytes += frame.len() as u64;
            frames.push(frame);
        }
        rare.held -= held - backlog.bytes;
        frames
    }

    /// Whether anything waits by policy.
    pub(crate) fn keeps_back(&self) -> bool {
        self.state().rare.as_ref().is_some_and(|rare| !rare.backlogs.is_empty())
    }

    /// Sets how many messages a second may be sent; `None` counts none.
    pub(crate) fn set_pace(&self, value: Option<LimitValue>) {
        let mut state = self.state();
        match (value, &mut state.rare) {
            (None, None) => {}
            (None, Some(rare)) => {
                rare.pace = None;
                if rare.backlogs.is_empty() {
                    state.rare = None;
                }
            }
            (Some(value), rare) => match &mut rare.get_or_insert_default().pace {
                Some(pace) => pace.set(value),
                none => *none = Some(Pace::new(value)),
            },
        }
    }

    /// How many messages may be sent now; `None` where they are not counted.
    pub(crate) fn left(&self, now: Duration) -> Option<usize> {
        self.state().rare.as_ref().and_then(|rare| rare.pace.as_ref()).map(|pace| pace.left(now))
    }
}

impl State {
    /// Whether something waits for this subscription by policy.
    pub(super) fn keeps(&self, slot: u32) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.backlogs.contains_key(&slot))
    }

    /// Where a subscriber stands without what waits for it by policy; `None` when nothing does.
    pub(super) fn stands(rare: Option<&Rare>, slot: usize) -> Option<Position> {
        rare?.backlogs.get(&u32::try_from(slot).ok()?)?.begins()
    }

    /// Lets go of what waits for a subscription that ends.
    pub(super) fn forget(&mut self, slot: u32) {
        if self.rare.as_mut().is_some_and(|rare| rare.remove(slot)) {
            self.rare = None;
        }
    }

    /// Lets go of all that waits by policy.
    pub(super) fn forget_all(&mut self) {
        if let Some(rare) = &mut self.rare {
            **rare = Rare { pace: rare.pace.take(), ..Rare::default() };
        }
    }

    /// Counts messages that were sent as a page.
    pub(super) fn sent(&mut self, now: Duration, count: u64) {
        if let Some(pace) = self.rare.as_mut().and_then(|rare| rare.pace.as_mut()) {
            pace.charge(now, count);
        }
    }

    /// Gives back what a backlog without content costs. Answers whether its subscription waited for that to read on.
    fn tidy(&mut self, slot: u32) -> bool {
        let Some(rare) = &mut self.rare else { return false };
        if rare.backlogs.get(&slot).is_some_and(|backlog| !backlog.is_done()) {
            return false;
        }
        if rare.remove(slot) {
            self.rare = None;
        }
        self.slots.get(slot as usize).and_then(Option::as_deref).is_some_and(|taken| !taken.cursor.is_live())
    }
}

impl Rare {
    /// Bytes that wait here.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// How many of so many messages go straight to the socket, and how many bytes the queue may hold beside what is held
    /// here. Nothing passes what waits for the same subscription; `live` is the time for one that is live, since what is
    /// only held costs nothing of the rate.
    pub(super) fn straight(&mut self, slot: u32, count: usize, live: Option<Duration>) -> (usize, usize) {
        let count = if self.backlogs.contains_key(&slot) { 0 } else { count };
        let count = match (&mut self.pace, live) {
            (Some(pace), Some(now)) => pace.take(now, count),
            (Some(_), None) | (None, _) => count,
        };
        (count, PUSH_BYTES_MAX.saturating_sub(self.held))
    }

    /// Whether something waits of which the task may not know.
    pub(super) fn is_news(&self) -> bool {
        !self.backlogs.is_empty() && self.pace.as_ref().is_none_or(|pace| !pace.known)
    }

    /// Lets one backlog go. Answers whether nothing rare is left of the connection.
    fn remove(&mut self, slot: u32) -> bool {
        self.held -= self.backlogs.remove(&slot).map_or(0, |backlog| backlog.bytes);
        if let Some(pace) = self.pace.as_mut().filter(|_| self.backlogs.is_empty()) {
            // The task waits for nothing any more: what comes next is news to it.
            pace.known = false;
        }
        self.backlogs.is_empty() && self.pace.is_none()
    }

    /// The place whose turn it is.
    fn next(&self) -> Option<u32> {
        let mut from_turn = self.backlogs.range(self.turn..).chain(self.backlogs.range(..self.turn));
        from_turn.next().map(|(slot, _)| *slot)
    }
}

impl Backlog {
    /// Keeps a message of so many bytes behind the others, while those weigh less than `room`. One message more may wait:
    /// a message is never cut.
    fn keep(&mut self, policy: SlowPolicy, delivery: &Arc<Delivery>, bytes: usize, room: usize) -> Kept {
        match policy {
            SlowPolicy::Conflate => self.conflate(delivery, bytes, room),
            SlowPolicy::DropOldest => self.drop_oldest(delivery, bytes, room),
            SlowPolicy::Recover | SlowPolicy::Disconnect => Kept::Not,
        }
    }

    fn conflate(&mut self, delivery: &Arc<Delivery>, bytes: usize, room: usize) -> Kept {
        let key = delivery.message.draft.key.as_deref();
        let earlier = key.and_then(|key| self.latest.get(key).copied());
        let replaced = earlier.and_then(|number| self.waiting.get(&number)).map_or(0, |waiting| waiting.bytes);
        if self.bytes - replaced >= room {
            return Kept::Not;
        }
        if let Some(waiting) = earlier.and_then(|number| self.waiting.remove(&number)) {
            self.bytes -= waiting.bytes;
        }
        if let Some(key) = key {
            match self.latest.get_mut(key) {
                Some(number) => *number = self.next,
                None => drop(self.latest.insert(key.into(), self.next)),
            }
        }
        self.push(delivery, bytes);
        if earlier.is_some() { Kept::Instead } else { Kept::Beside }
    }

    fn drop_oldest(&mut self, delivery: &Arc<Delivery>, bytes: usize, room: usize) -> Kept {
        if room == 0 {
            // Others fill the budget: letting go of what waits here would make no room.
            return Kept::Not;
        }
        let mut count = 0;
        while self.bytes >= room
            && let Some((_, Waiting { delivery, bytes })) = self.waiting.pop_first()
        {
            self.bytes -= bytes;
            count += 1;
            let to = delivery.message.position;
            let dropped = self.dropped.get_or_insert(Dropped { from: before(to), to, count: 0 });
            dropped.to = to;
            dropped.count += 1;
        }
        self.push(delivery, bytes);
        if count == 0 { Kept::Beside } else { Kept::After(count) }
    }

    fn push(&mut self, delivery: &Arc<Delivery>, bytes: usize) {
        self.waiting.insert(self.next, Waiting { delivery: Arc::clone(delivery), bytes });
        self.next += 1;
        self.bytes += bytes;
    }

    /// The oldest that waits.
    fn pop(&mut self) -> Option<Arc<Delivery>> {
        let (number, Waiting { delivery, bytes }) = self.waiting.pop_first()?;
        self.bytes -= bytes;
        if let Some(key) = delivery.message.draft.key.as_deref()
            && self.latest.get(key) == Some(&number)
        {
            self.latest.remove(key);
        }
        Some(delivery)
    }

    /// Where its subscriber stands until something of it is written.
    fn begins(&self) -> Option<Position> {
        let first = || self.waiting.values().next().map(|first| before(first.delivery.message.position));
        self.dropped.map(|dropped| dropped.from).or_else(first)
    }

    /// Whether there is nothing to write or to tell.
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.dropped.is_none()
    }
}

const fn before(position: Position) -> Position {
    Position { seq: position.seq.saturating_sub(1), ..position }
}

/// Of a page's messages only the latest with each key, in their order; those without a key stay.
pub(super) fn conflated(channel: &Channel, mut deliver: Vec<Arc<Delivery>>) -> Vec<Arc<Delivery>> {
    let before = deliver.len();
    let mut later: HashSet<Box<str>> = HashSet::new();
    // From the end: the first to be met with a key is the latest.
    deliver.reverse();
    deliver.retain(|delivery| delivery.message.draft.key.as_ref().is_none_or(|key| later.insert(key.clone())));
    deliver.reverse();
    AppStats::add(&channel.usage().conflated, (before - deliver.len()) as u64);
    deliver
}
