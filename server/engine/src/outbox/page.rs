//! Pages of a channel's log on their way to a subscription that is not live.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_core::{Message, Position, SlowPolicy};
use fanfare_protocol::Frame;

use super::{Delivery, JOINED_MAX, Manner, Outbox, Signal, Wrote, is_left_out, waiting};
use crate::broker::Page;
use crate::hub::Channel;
use crate::subscription::Turned;

/// A read that a subscription waits for. Its place may serve another by the time the page comes, so a place alone does
/// not say whose page it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) slot: u32,
    pub(super) read: u32,
}

/// A page that was read for a subscription.
#[derive(Debug)]
pub(crate) struct Turn<'p> {
    pub(crate) page: &'p Page,
    /// When it was read.
    pub(crate) accepted: Duration,
    /// Where the subscription stands, if that was not known before.
    pub(crate) place: Option<Position>,
    /// Whether it was behind, and not just made.
    pub(crate) catches_up: bool,
}

/// A subscription that wants its next page.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) slot: u32,
    pub(crate) channel: Arc<Channel>,
    pub(crate) position: Position,
}

impl Outbox {
    /// Forgets what a subscription held, because a page is about to be read for it. Answers nothing when one is being
    /// read already.
    pub(crate) fn reading(&self, slot: u32) -> Option<Ticket> {
        let mut state = self.state();
        let ticket = state.ticket(slot);
        let taken = state.slots.get_mut(slot as usize)?.as_mut().filter(|taken| taken.reading.is_none())?;
        taken.reading = Some(ticket.read);
        taken.cursor.reading();
        Some(ticket)
    }

    /// A read has failed: another may be made.
    pub(crate) fn not_read(&self, ticket: Ticket) {
        if let Some(taken) = self.state().waiting_for(ticket) {
            taken.reading = None;
        }
    }

    /// A page for a subscription: first what `announce` says of it, then its messages and those held, as one write.
    /// Answers what was written, and whether another page is needed.
    pub(crate) fn open(
        &self,
        ticket: Ticket,
        turn: &Turn<'_>,
        announce: impl FnOnce(&Turned<Arc<Delivery>>) -> Option<Frame>,
    ) -> (Wrote, bool) {
        let mut state = self.state();
        let id = state.id;
        let Some(taken) = state.waiting_for(ticket) else { return (Wrote::default(), false) };
        taken.reading = None;
        if let Some(position) = turn.place {
            taken.cursor.place(position);
        }
        let wrap = |message: &Arc<Message>| Arc::new(Delivery::read(Arc::clone(message), turn.accepted));
        let mut turned = taken.cursor.page(turn.page, wrap);
        let (channel, Manner { echo, slow, .. }) = (Arc::clone(&taken.channel), taken.manner);
        if turn.catches_up && slow == SlowPolicy::Conflate {
            turned.deliver = waiting::conflated(&channel, turned.deliver);
        }
        let announced = announce(&turned).map(|frame| self.wire.own(&frame));
        let shown = turned.deliver.iter().filter(|delivery| !is_left_out(id, &delivery.message, echo));
        let mut wrote = Wrote::default();
        let shown = shown.map(|delivery| {
            let frame = delivery.bytes(channel.name(), self.wire).clone();
            wrote.messages += 1;
            wrote.bytes += frame.len() as u64;
            frame
        });
        let frames: Vec<Bytes> = announced.into_iter().chain(shown).collect();
        let mut blocked = false;
        for part in frames.chunks(JOINED_MAX) {
            let joined: Vec<&[u8]> = part.iter().map(|frame| &frame[..]).collect();
            blocked |= state.write(&joined, |index| part[index].clone());
        }
        state.sent(turn.accepted, wrote.messages);
        if self.wire.tells_places() {
            blocked |= state.write_place();
        }
        drop(state);
        if blocked {
            self.signal(Signal::Blocked);
        }
        (wrote, turned.again)
    }

    /// The subscriptions that are not live: each wants a page, after what waits for it by policy.
    pub(crate) fn wanting(&self) -> Vec<Wanted> {
        let state = self.state();
        let behind = state.slots.iter().enumerate().filter_map(|(slot, taken)| {
            let taken = taken.as_ref().filter(|taken| !taken.cursor.is_live())?;
            let slot = u32::try_from(slot).ok().filter(|slot| !state.keeps(*slot))?;
            Some(Wanted { slot, channel: Arc::clone(&taken.channel), position: taken.cursor.position() })
        });
        behind.collect()
    }
}
