//! What a client carries from one request to the next: tickets that say where its subscriptions are.
//!
//! A ticket is made under the outbox's lock, so that it says neither more nor less than what was written before it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::ChannelName;
use fanfare_core::id::AppId;
use fanfare_protocol::native;

use super::presence::Watching;
use super::{Members, NOWHERE, Outbox, PresencePush, State, Wire};
use crate::node::Node;
use crate::ticket::PLAIN_BYTES_MAX;

/// What a subscription takes in a ticket at most, its names left out: four numbers, two digests, and what is between them.
const PLACE_BYTES_MAX: usize = 160;

/// What goes into the client's tickets beside its subscriptions.
pub(super) struct Carried {
    node: Arc<Node>,
    app: AppId,
    /// A ticket as JSON, up to its subscriptions.
    head: String,
    /// By place of the subscription, what stands for the page of presence that the client was told last.
    told: BTreeMap<u32, u64>,
    /// Likewise, for how many it was told to be there.
    counted: BTreeMap<u32, u64>,
}

impl Carried {
    /// Whether what is told of members says anything to a client that asked for it. A page that it was told by an earlier
    /// request does not.
    pub(super) fn is_news(&mut self, slot: u32, members: &[Arc<PresencePush>], is_page: bool) -> bool {
        let Some(first) = members.first() else { return false };
        let page = is_page.then(|| first.digest());
        let known = self.told.remove(&slot);
        if let Some(page) = page {
            self.told.insert(slot, page);
        }
        page.is_none() || page != known
    }

    /// Whether there are not as many on a channel as the client was told by an earlier request.
    pub(super) fn is_other(&mut self, slot: u32, occupancy: &PresencePush) -> bool {
        let digest = occupancy.digest();
        self.counted.insert(slot, digest) != Some(digest)
    }

    /// Whether a subscription is told of presence as it asked, or will be: a ticket may be made before the first page is.
    fn watches(&self, slot: u32, watching: Watching) -> bool {
        watching.members() == Members::All || self.told.contains_key(&slot)
    }

    /// The subscription is not told of presence any more.
    pub(super) fn forget_page(&mut self, slot: u32) {
        self.told.remove(&slot);
    }

    /// The subscription ended.
    pub(super) fn forget(&mut self, slot: u32) {
        self.forget_page(slot);
        self.counted.remove(&slot);
    }
}

impl Outbox {
    /// How its messages are encoded.
    pub(crate) const fn wire(&self) -> Wire {
        self.wire
    }

    /// Whether the client carries its subscriptions itself.
    pub(crate) const fn carries(&self) -> bool {
        self.wire.carries()
    }

    /// What the client's tickets say of it from now on, as JSON up to its subscriptions.
    pub(crate) fn carry(&self, node: &Arc<Node>, app: AppId, head: String) {
        let mut state = self.state();
        let (told, counted) = match state.carried.take() {
            Some(before) => (before.told, before.counted),
            None => (BTreeMap::new(), BTreeMap::new()),
        };
        state.carried = Some(Box::new(Carried { node: Arc::clone(node), app, head, told, counted }));
    }

    /// The subscription is told of presence, and was told this page last, by an earlier request; 0 where it was told none.
    pub(crate) fn was_told(&self, slot: u32, digest: u64) {
        if let Some(carried) = &mut self.state().carried {
            carried.told.insert(slot, digest);
        }
    }

    /// What stands for how many the client was told, by an earlier request, to be on the subscription's channel.
    pub(crate) fn was_counted(&self, slot: u32, digest: u64) {
        if let Some(carried) = &mut self.state().carried {
            carried.counted.insert(slot, digest);
        }
    }

    /// Whether so many bytes more would fit into a ticket: those of one more subscription, told of presence or not, or of a
    /// token.
    pub(crate) fn has_room(&self, more: Option<(&ChannelName, bool)>, bytes: usize) -> bool {
        let state = self.state();
        let Some(carried) = &state.carried else { return !self.wire.carries() };
        let there = state.slots.iter().zip(0..).filter_map(|(slot, index)| {
            let slot = slot.as_deref()?;
            let names = 1 + usize::from(carried.watches(index, slot.watching)) + usize::from(slot.occupancy);
            Some((slot.channel.name(), names))
        });
        // Whether the settings of its channel want more to be told is not known yet.
        let more = more.map(|(name, watched)| (name, 2 + usize::from(watched)));
        let places = there.chain(more).map(|(name, names)| names * name.as_str().len() + PLACE_BYTES_MAX);
        carried.head.len() + places.sum::<usize>() + bytes <= PLAIN_BYTES_MAX
    }

    /// The client takes everything that waits, whatever it weighs, and then the end: the last words, or a ticket to be back
    /// with. Nothing is written behind that, whoever delivers.
    pub(crate) fn settle(&self, last: Option<Bytes>) {
        let mut state = self.state();
        state.corked = false;
        let last = last.or_else(|| state.ticket_line());
        let Some(mut sink) = state.sink.take() else { return };
        state.queued = 0;
        sink.settle(std::mem::take(&mut state.queue).into_iter().chain(last).collect());
        sink.finish();
    }
}

impl State {
    /// Says where the subscriptions stand. Answers as [`State::write`] does.
    pub(super) fn write_place(&mut self) -> bool {
        if self.carried.is_some() {
            return self.ticket_line().is_some_and(|line| self.write(&[&line], |_| line.clone()));
        }
        let Self { sink: Some(sink), slots, rare, .. } = self else { return false };
        // A cursor is past what waits by policy, and a client that came back from there would never have it.
        let mut told = slots.iter().enumerate().filter_map(|(index, slot)| {
            let slot = slot.as_deref()?;
            let place = Self::stands(rare.as_deref(), index).unwrap_or_else(|| slot.cursor.position());
            (place != NOWHERE).then(|| (slot.channel.key(), place))
        });
        sink.place(&mut told).is_some_and(|place| self.write(&[&place], |_| place.clone()))
    }

    fn ticket_line(&self) -> Option<Bytes> {
        let carried = self.carried.as_deref()?;
        let (mut places, mut watched, mut counted) = (String::new(), String::new(), String::new());
        for (slot, index) in self.slots.iter().zip(0..) {
            let Some(slot) = slot.as_deref() else { continue };
            let place = Self::stands(self.rare.as_deref(), index as usize).unwrap_or_else(|| slot.cursor.position());
            if place == NOWHERE {
                continue;
            }
            let (name, lineage) = (slot.channel.name().as_str(), place.lineage);
            // Names hold nothing that JSON would escape.
            let (epoch, term, nonce, seq) = (lineage.epoch, lineage.term, lineage.nonce, place.seq);
            write!(places, ",[\"{name}\",{epoch},{term},{nonce},{seq}]").expect("memory takes every write");
            if carried.watches(index, slot.watching) {
                let told = carried.told.get(&index).copied().unwrap_or(0);
                write!(watched, ",[\"{name}\",{told}]").expect("memory takes every write");
            }
            if let Some(digest) = carried.counted.get(&index).filter(|_| slot.occupancy) {
                write!(counted, ",[\"{name}\",{digest}]").expect("memory takes every write");
            }
        }
        let mut plain = carried.head.clone();
        for (name, list) in [("p", &places), ("w", &watched), ("o", &counted)] {
            if let Some(list) = list.strip_prefix(',') {
                write!(plain, ",\"{name}\":[{list}]").expect("memory takes every write");
            }
        }
        plain.push('}');
        let ticket = carried.node.seal_carried(carried.app, plain.as_bytes());
        debug_assert!(ticket.is_ok(), "no more was let in than fits");
        ticket.ok().map(|ticket| Wire::Poll.own(&native::push_ticket(&ticket)))
    }
}
