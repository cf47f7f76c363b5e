//! One client's write side: its socket, what the socket would not take yet, and the cursor of each subscription.
//!
//! Whoever delivers takes the lock for one push and writes straight to the socket while nothing waits before it; the
//! rest is queued, shared bytes all of it, and drained by the connection's task when the socket takes more. A client
//! that does not read fills its budget; from then on its subscriptions fall behind and catch up from history, unless
//! their channel says otherwise (`waiting.rs`).

mod budget;
mod carried;
mod delivery;
mod outside;
mod pace;
mod page;
mod presence;
mod signal;
mod slot;
mod waiting;

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, Bytes};
use fanfare_core::id::ConnectionId;
use fanfare_core::{ChannelName, Message, Position, Subject};
use fanfare_protocol::Frame;
use futures_util::task::AtomicWaker;

use crate::hub::Channel;
use crate::subscription::{Push, Subscription};
use crate::transport::Sink;
use crate::turn;

pub(crate) use budget::Budget;
use budget::Locked;
pub use delivery::{Delivery, Wire};
pub(crate) use page::{Ticket, Turn};
use presence::Watching;
pub(crate) use presence::{Members, PresencePush, Tidings, Told, Wants, Watched};
pub(crate) use signal::{Signal, Signals};
pub(crate) use slot::Freed;
use slot::Slot;
use waiting::Rare;
pub(crate) use waiting::{Dropped, Manner};

/// The most messages one push or one write joins.
pub(crate) const JOINED_MAX: usize = 64;
/// Bytes that may wait before subscriptions fall behind. One message more may wait: a message is never cut.
pub(crate) const PUSH_BYTES_MAX: usize = 256 * 1024;

/// Bytes that may wait for the end of a thread's turn. What is more is written at once.
pub(crate) const CORKED_BYTES_MAX: usize = 16 * 1024;

/// Where a subscription stands before its first page, when it did not say where.
const NOWHERE: Position = Position { lineage: fanfare_core::Lineage { epoch: 0, term: 0, nonce: 0 }, seq: 0 };

/// One client's write side. Shared by its task and by whoever delivers.
pub struct Outbox {
    wire: Wire,
    signals: AtomicU32,
    /// Second of the monotonic clock at which the task wants [`Signal::Tick`].
    due_s: AtomicU32,
    /// Microseconds of the last answer to a probe; 0 before there was one.
    round_trip_us: AtomicU32,
    waker: AtomicWaker,
    /// What waits for the app's connections together.
    budget: Arc<Budget>,
    state: Mutex<State>,
}

struct State {
    /// A ticket can make it another's until it has subscriptions.
    id: ConnectionId,
    /// `None` once nothing more can be written.
    sink: Option<Box<dyn Sink>>,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// What the app's budget knows to wait here.
    counted: usize,
    slots: Vec<Option<Box<Slot>>>,
    /// How many reads were ever begun.
    reads: u32,
    /// Who the client is, once connected, for whoever looks at the connection from outside.
    subject: Option<Arc<Subject>>,
    /// Told from outside, and not carried out yet. Hardly ever there.
    orders: Option<Box<outside::Orders>>,
    /// What is queued waits for the end of a turn, and not for the socket.
    corked: bool,
    /// What waits by policy; `None` for whoever keeps up.
    rare: Option<Box<Rare>>,
    /// What goes into the client's tickets, where it carries its subscriptions itself.
    carried: Option<Box<carried::Carried>>,
}

/// What one push or page did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wrote {
    /// Messages written or queued.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// What waits after a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing.
    Empty,
    /// So many bytes.
    Waiting(usize),
    /// Nothing can be written any more.
    Gone,
}

impl Outbox {
    pub(crate) fn new(id: ConnectionId, wire: Wire, sink: Box<dyn Sink>, budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            wire,
            signals: AtomicU32::new(0),
            due_s: AtomicU32::new(u32::MAX),
            round_trip_us: AtomicU32::new(0),
            waker: AtomicWaker::new(),
            budget,
            state: Mutex::new(State {
                id,
                sink: Some(sink),
                queue: VecDeque::new(),
                queued: 0,
                counted: 0,
                slots: Vec::new(),
                reads: 0,
                subject: None,
                orders: None,
                corked: false,
                rare: None,
                carried: None,
            }),
        })
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.state().id
    }

    /// The client goes on with a connection that it had before.
    pub(crate) fn resume(&self, id: ConnectionId) {
        self.state().id = id;
    }

    /// An answer or push for this connection alone.
    pub(crate) fn own(&self, frame: &Frame) -> Bytes {
        self.wire.own(frame)
    }

    fn state(&self) -> Locked<'_> {
        // A panic under this lock can only come from a sink; the link is then closed by its task.
        Locked { state: self.state.lock().unwrap_or_else(PoisonError::into_inner), budget: &self.budget }
    }

    /// Tells the task something.
    pub(crate) fn signal(&self, signal: Signal) {
        self.signals.fetch_or(signal as u32, Ordering::AcqRel);
        self.waker.wake();
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn take_signals(&self) -> Signals {
        if self.signals.load(Ordering::Acquire) == 0 {
            return Signals::NONE;
        }
        Signals::of(self.signals.swap(0, Ordering::AcqRel))
    }

    /// Hands messages of one channel to one subscription: the fan-out's inner step.
    pub(crate) fn deliver(&self, slot: u32, channel: &Arc<Channel>, batch: &[Arc<Delivery>]) -> Wrote {
        let mut state = self.state();
        let State { id, sink: Some(_), slots, queued, corked, rare, .. } = &mut *state else { return Wrote::default() };
        let Some(taken) = slots.get_mut(slot as usize).and_then(Option::as_mut) else { return Wrote::default() };
        // The slot may serve another channel by now.
        if !Arc::ptr_eq(&taken.channel, channel) {
            return Wrote::default();
        }
        let wire = taken.manner.wire(self.wire);
        if !batch.iter().all(|delivery| delivery.is_made_for(wire)) {
            // Milliseconds for a large message: whoever else wants this outbox does not wait for them.
            drop(state);
            batch.iter().for_each(|delivery| delivery.make_for(channel.name(), wire));
            return self.deliver(slot, channel, batch);
        }
        let mut straight = batch.len().min(JOINED_MAX);
        // Whoever keeps up is not asked what waits for others.
        let mut full = if *queued > 0 && !*corked && self.budget.is_over() { 0 } else { PUSH_BYTES_MAX };
        let waits = taken.manner.waits();
        if waits && *queued > 0 && !*corked {
            straight = 0;
        }
        if let Some(rare) = rare {
            let now = batch.last().map_or(Duration::ZERO, |last| last.arrived);
            let room;
            (straight, room) = rare.straight(slot, straight, taken.cursor.is_live().then_some(now));
            full = full.min(room);
        }
        let mut joined: [&[u8]; JOINED_MAX] = [&[]; JOINED_MAX];
        let mut whole: [Option<&Bytes>; JOINED_MAX] = [None; JOINED_MAX];
        let (mut count, mut bytes, mut behind) = (0, 0, None);
        for (index, delivery) in batch.iter().take(straight).enumerate() {
            if *queued + bytes >= full && taken.cursor.is_live() {
                if waits {
                    straight = index;
                    break;
                }
                taken.cursor.fall_behind();
                behind = Some(taken.manner.when_behind());
            }
            match taken.cursor.push(delivery) {
                Push::Deliver if is_left_out(*id, &delivery.message, taken.manner.echo) => {}
                Push::Deliver => {
                    let frame = delivery.bytes(channel.name(), wire);
                    joined[count] = frame;
                    whole[count] = Some(frame);
                    bytes += frame.len();
                    count += 1;
                }
                Push::Gap => behind = behind.or(Some(Signal::CatchUp)),
                Push::Drop | Push::Held => {}
            }
        }
        let mut blocked = state.write(&joined[..count], |index| whole[index].cloned().unwrap_or_default());
        if straight < batch.len() {
            behind = behind.or(self.keep(&mut state, slot, &batch[straight..]));
            // Nothing else would have the task look at what was kept.
            blocked |= (state.queued == 0 || state.corked) && state.rare.as_ref().is_some_and(|rare| rare.is_news());
        }
        if count > 0 && self.wire.tells_places() {
            blocked |= state.write_place();
        }
        drop(state);
        if blocked {
            self.signal(Signal::Blocked);
        }
        if let Some(signal) = behind {
            self.signal(signal);
        }
        Wrote { messages: count as u64, bytes: bytes as u64 }
    }

    /// Writes or queues ready-made frames. Returns how many bytes wait.
    pub(crate) fn send(&self, frames: &[Bytes]) -> usize {
        let mut state = self.state();
        let mut blocked = false;
        for part in frames.chunks(JOINED_MAX) {
            let mut joined: [&[u8]; JOINED_MAX] = [&[]; JOINED_MAX];
            for (slot, frame) in joined.iter_mut().zip(part) {
                *slot = frame;
            }
            blocked |= state.write(&joined[..part.len()], |index| part[index].clone());
        }
        blocked |= state.uncork();
        if self.wire == Wire::Stream && !frames.is_empty() {
            blocked |= state.write_place();
        }
        let queued = state.queued;
        drop(state);
        if blocked {
            self.signal(Signal::Blocked);
        }
        queued
    }

    /// Queues ready-made frames until the turn ends ([`turn`]). Answers `false`, having done nothing, when the socket
    /// refused bytes before.
    pub(crate) fn cork(self: &Arc<Self>, frames: &[Bytes]) -> bool {
        if frames.is_empty() {
            return true;
        }
        let mut state = self.state();
        let first = !state.corked;
        // A ticket follows at once, and would be another's behind what joins the queue later.
        if self.wire == Wire::Stream || state.sink.is_none() || (first && state.queued > 0) {
            return false;
        }
        state.corked = true;
        state.queued += frames.iter().map(Bytes::len).sum::<usize>();
        state.queue.extend(frames.iter().cloned());
        drop(state);
        if first {
            turn::corked(self);
        }
        true
    }

    /// Writes what waited for the end of the turn.
    pub(crate) fn uncork(&self) {
        let blocked = self.state().uncork();
        if blocked {
            self.signal(Signal::Blocked);
        }
    }

    /// Writes what waits, as far as it goes.
    pub(crate) fn flush(&self) -> Flushed {
        let mut state = self.state();
        state.flush();
        match (&state.sink, state.queued) {
            (None, _) => Flushed::Gone,
            (Some(_), 0) => Flushed::Empty,
            (Some(_), queued) => Flushed::Waiting(queued),
        }
    }

    /// Takes a place for a subscription; its deliveries are held until [`Outbox::open`].
    pub(crate) fn take_slot(
        &self,
        join: impl FnOnce(u32) -> (Arc<Channel>, u32),
        manner: Manner,
        start: Option<Position>,
    ) -> Ticket {
        let slot = {
            let mut state = self.state();
            let free = state.slots.iter().position(Option::is_none).unwrap_or_else(|| {
                state.slots.push(None);
                state.slots.len() - 1
            });
            u32::try_from(free).unwrap_or(u32::MAX)
        };
        // The hub's lock is taken without ours; only this task takes slots, so the place stays free. A message that
        // arrives before the slot is filled is in the log that is read next.
        let (channel, member) = join(slot);
        let cursor = Subscription::recovering(start.unwrap_or(NOWHERE));
        let mut state = self.state();
        let ticket = state.ticket(slot);
        let reading = Some(ticket.read);
        let (watching, occupancy) = (Watching::No, false);
        state.slots[slot as usize] =
            Some(Box::new(Slot { channel, member, manner, watching, occupancy, reading, cursor }));
        ticket
    }

    /// Frees the place and says what it held.
    pub(crate) fn free_slot(&self, slot: u32) -> Option<Freed> {
        let mut state = self.state();
        let taken = state.slots.get_mut(slot as usize)?.take()?;
        if let Some(carried) = &mut state.carried {
            carried.forget(slot);
        }
        state.forget(slot);
        while matches!(state.slots.last(), Some(None)) {
            state.slots.pop();
        }
        Some((*taken).freed())
    }

    /// The channel of the subscription that waits for this read; `None` when it ended meanwhile.
    pub(crate) fn channel(&self, ticket: Ticket) -> Option<Arc<Channel>> {
        self.state().waiting_for(ticket).map(|taken| Arc::clone(&taken.channel))
    }

    /// Has every subscription delivered to as its channel's settings say now.
    pub(crate) fn retune(&self, manner: impl Fn(&ChannelName) -> Manner) {
        for taken in self.state().slots.iter_mut().flatten() {
            taken.manner = manner(taken.channel.name());
        }
    }

    /// Whether more waits for the app's connections together than may.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.budget.is_over()
    }

    /// How many bytes wait in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.state().queued
    }

    /// Frees every place and says what they held.
    pub(crate) fn free_all(&self) -> Vec<Freed> {
        let slots = {
            let mut state = self.state();
            state.forget_all();
            std::mem::take(&mut state.slots)
        };
        slots.into_iter().flatten().map(|taken| (*taken).freed()).collect()
    }

    /// Lets the socket go; nothing more is written.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        if let Some(mut sink) = state.sink.take() {
            sink.finish();
        }
        state.queue = VecDeque::new();
        state.queued = 0;
        state.rare = None;
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Outbox").finish_non_exhaustive()
    }
}

/// Whether a connection is not to have a message.
fn is_left_out(id: ConnectionId, message: &Message, echo: bool) -> bool {
    message.draft.exclude == Some(id) || (!echo && message.origin == Some(id))
}

impl State {
    /// A read that begins.
    const fn ticket(&mut self, slot: u32) -> Ticket {
        self.reads = self.reads.wrapping_add(1);
        Ticket { slot, read: self.reads }
    }

    fn waiting_for(&mut self, ticket: Ticket) -> Option<&mut Slot> {
        let taken = self.slots.get_mut(ticket.slot as usize)?.as_deref_mut()?;
        (taken.reading == Some(ticket.read)).then_some(taken)
    }

    /// Writes straight to the socket if nothing waits, and queues the rest. Answers whether bytes wait that did not
    /// before.
    fn write(&mut self, joined: &[&[u8]], whole: impl Fn(usize) -> Bytes) -> bool {
        let Some(sink) = &mut self.sink else { return false };
        let mut written = 0;
        let waited = self.queued > 0;
        if !waited && !joined.is_empty() {
            let mut slices: [IoSlice<'_>; JOINED_MAX] = [IoSlice::new(&[]); JOINED_MAX];
            for (slice, frame) in slices.iter_mut().zip(joined) {
                *slice = IoSlice::new(frame);
            }
            match sink.try_write(&slices[..joined.len()]) {
                Ok(bytes) => written = bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The read side learns of it too, and ends the connection.
                Err(_) => {
                    self.sink = None;
                    return true;
                }
            }
        }
        for (index, frame) in joined.iter().enumerate() {
            if written >= frame.len() {
                written -= frame.len();
                continue;
            }
            let mut rest = whole(index);
            rest.advance(written);
            written = 0;
            self.queued += rest.len();
            self.queue.push_back(rest);
        }
        if self.corked && self.queued > CORKED_BYTES_MAX {
            return self.uncork();
        }
        !waited && self.queued > 0
    }

    /// Writes what waited for the end of a turn. Answers whether bytes wait for the socket from here on.
    fn uncork(&mut self) -> bool {
        if !std::mem::take(&mut self.corked) {
            return false;
        }
        self.flush();
        self.queued > 0 || self.sink.is_none()
    }

    fn flush(&mut self) {
        while let Some(sink) = self.sink.as_mut().filter(|_| self.queued > 0) {
            let mut slices: [IoSlice<'_>; JOINED_MAX] = [IoSlice::new(&[]); JOINED_MAX];
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            match sink.try_write(&slices[..count]) {
                Ok(written) => self.written(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.sink = None,
            }
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    fn written(&mut self, mut written: usize) {
        self.queued -= written;
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }
}
