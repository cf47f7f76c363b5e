//! What a client is told of presence, beside the messages of its subscriptions.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fanfare_core::{ChannelKey, ChannelName};
use fanfare_protocol::Frame;
use fanfare_protocol::native::{self, PresenceDiff, PresencePage};

use super::{Outbox, PUSH_BYTES_MAX, Signal, Wire};
use crate::hub::Channel;

/// A page goes to a client for which no more than this waits.
const PAGE_BELOW: usize = PUSH_BYTES_MAX / 4;

/// Whether a subscription is told of presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watching {
    /// It did not ask to.
    No,
    /// It waits for a page: changes before that mean nothing to it.
    Waits,
    /// It knows who is there, and is told every change.
    Live,
}

/// Presence on its way to watchers: encoded on first need in each wire format, then shared.
#[derive(Debug)]
pub(crate) struct PresencePush {
    what: What,
    native_json: OnceLock<Frame>,
    native_json_deflated: OnceLock<Frame>,
    event: OnceLock<Bytes>,
}

#[derive(Debug)]
enum What {
    Page(PresencePage),
    Diff(ChannelName, PresenceDiff),
}

/// What became of a telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was written or queued.
    Done,
    /// The client takes nothing more for now: it needs a page once it does.
    Behind,
    /// The client waits for a page.
    Waits,
    /// The subscription is gone, or is not told any more.
    Gone,
}

impl PresencePush {
    /// Who is there.
    pub(crate) fn page(page: PresencePage) -> Arc<Self> {
        Self::of(What::Page(page))
    }

    /// What has changed.
    pub(crate) fn diff(channel: ChannelName, diff: PresenceDiff) -> Arc<Self> {
        Self::of(What::Diff(channel, diff))
    }

    fn of(what: What) -> Arc<Self> {
        Arc::new(Self {
            what,
            native_json: OnceLock::new(),
            native_json_deflated: OnceLock::new(),
            event: OnceLock::new(),
        })
    }

    /// Whether it stands for everything.
    pub(crate) const fn is_page(&self) -> bool {
        matches!(self.what, What::Page(_))
    }

    fn bytes(&self, wire: Wire) -> &Bytes {
        let plain = self.native_json.get_or_init(|| match &self.what {
            What::Page(page) => native::push_presence(page),
            What::Diff(channel, diff) => native::push_presence_diff(channel, diff),
        });
        match wire {
            // One compressed form serves every window that the whole push fits into.
            Wire::NativeJsonDeflate { window_bits }
                if plain.payload_bytes() <= 1 << window_bits || window_bits >= 15 =>
            {
                self.native_json_deflated.get_or_init(|| plain.deflated()).websocket()
            }
            Wire::NativeJson | Wire::NativeJsonDeflate { .. } => plain.websocket(),
            Wire::Events => self.event.get_or_init(|| plain.event()),
        }
    }
}

impl Outbox {
    /// From now on the subscription is told of presence; a page comes first.
    pub(crate) fn watch(&self, slot: u32) {
        self.set_watching(slot, Watching::Waits);
    }

    /// From now on it is not.
    pub(crate) fn unwatch(&self, slot: u32) {
        self.set_watching(slot, Watching::No);
    }

    fn set_watching(&self, slot: u32, watching: Watching) {
        if let Some(taken) = self.state().slots.get_mut(slot as usize).and_then(Option::as_mut) {
            taken.watching = watching;
        }
    }

    /// The subscriptions that are told of presence.
    pub(crate) fn watching(&self) -> Vec<(u32, Arc<Channel>)> {
        let state = self.state();
        let watching = state.slots.iter().enumerate().filter_map(|(slot, taken)| {
            let taken = taken.as_ref().filter(|taken| taken.watching != Watching::No)?;
            Some((u32::try_from(slot).ok()?, Arc::clone(&taken.channel)))
        });
        watching.collect()
    }

    /// Tells one subscription: a page, which stands for everything (`anew`), or changes that follow what it was told.
    pub(crate) fn tell_presence(
        &self,
        slot: u32,
        channel: &ChannelKey,
        pushes: &[Arc<PresencePush>],
        anew: bool,
    ) -> Told {
        let mut state = self.state();
        let waits = state.queued;
        if state.sink.is_none() {
            return Told::Gone;
        }
        let Some(taken) = state.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return Told::Gone };
        // The slot may serve another channel by now.
        if taken.channel.key() != channel {
            return Told::Gone;
        }
        match taken.watching {
            Watching::No => return Told::Gone,
            Watching::Waits if !anew => return Told::Waits,
            Watching::Waits | Watching::Live => {}
        }
        if waits > if anew { PAGE_BELOW } else { PUSH_BYTES_MAX } {
            taken.watching = Watching::Waits;
            return Told::Behind;
        }
        taken.watching = Watching::Live;
        let (mut blocked, mut told) = (false, Told::Done);
        for push in pushes {
            if state.queued > PUSH_BYTES_MAX {
                // Some of the changes are left out: a page says them.
                if let Some(taken) = state.slots.get_mut(slot as usize).and_then(Option::as_mut) {
                    taken.watching = Watching::Waits;
                }
                told = Told::Behind;
                break;
            }
            let frame = push.bytes(self.wire);
            blocked |= state.write(&[frame], |_| frame.clone());
        }
        drop(state);
        if blocked {
            self.signal(Signal::Blocked);
        }
        told
    }
}
