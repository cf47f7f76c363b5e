//! What a client is told of presence, beside the messages of its subscriptions.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fanfare_core::{ChannelKey, ChannelName};
use fanfare_protocol::Frame;
use fanfare_protocol::native::{self, Occupancy, PresenceDiff, PresencePage};
use sha2::{Digest as _, Sha256};

use super::{Outbox, PUSH_BYTES_MAX, Signal, Slot, Wire};
use crate::hub::Channel;

/// A page goes to a client for which no more than this waits.
const PAGE_BELOW: usize = PUSH_BYTES_MAX / 4;

/// What a subscription is told of who is on its channel, beside its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wants {
    pub(crate) members: Members,
    /// How many there are.
    pub(crate) occupancy: bool,
}

/// What a subscription is told of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Members {
    /// Nothing.
    #[default]
    None,
    /// A page, then every change: it asked to.
    All,
    /// Who joins and who leaves: the channel's settings say so.
    Joins,
}

impl Wants {
    pub(crate) const NOTHING: Self = Self { members: Members::None, occupancy: false };

    pub(crate) fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }
}

/// Where a subscription stands with what it is told of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watching {
    /// It is told nothing.
    No,
    /// It waits for a page: changes before that mean nothing to it.
    Waits,
    /// It knows who is there, and is told every change.
    Live,
    /// It is told who joins and leaves.
    Joins,
    /// The same, but some could not be told.
    Missed,
}

impl Watching {
    pub(super) const fn members(self) -> Members {
        match self {
            Self::No => Members::None,
            Self::Waits | Self::Live => Members::All,
            Self::Joins | Self::Missed => Members::Joins,
        }
    }
}

/// A subscription that is told of who is on its channel, or whose channel's settings say that it should be.
pub(crate) struct Watched {
    pub(crate) slot: u32,
    pub(crate) channel: Arc<Channel>,
    pub(crate) wants: Wants,
}

/// What is told in one turn of a channel; each subscription takes of it what it wants.
#[derive(Debug, Default)]
pub(crate) struct Tidings {
    /// A page, or changes.
    pub(crate) members: Vec<Arc<PresencePush>>,
    /// Who joined and left.
    pub(crate) joins: Vec<Arc<PresencePush>>,
    /// That some did, for whom not all of these reached.
    pub(crate) missed: Option<Arc<PresencePush>>,
    pub(crate) occupancy: Option<Arc<PresencePush>>,
}

impl Tidings {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.joins.is_empty() && self.occupancy.is_none()
    }

    /// Whether what is said of members stands for everything.
    fn is_anew(&self) -> bool {
        self.members.first().is_some_and(|push| push.is_page())
    }
}

/// Presence on its way to watchers: encoded on first need in each wire format, then shared.
#[derive(Debug)]
pub(crate) struct PresencePush {
    what: What,
    native_json: OnceLock<Frame>,
    native_json_deflated: OnceLock<Frame>,
    event: OnceLock<Bytes>,
    line: OnceLock<Bytes>,
}

#[derive(Debug)]
enum What {
    Page(PresencePage),
    Diff(ChannelName, PresenceDiff),
    Joins(ChannelName, PresenceDiff),
    Missed { channel: ChannelName, version: u64, count: u64 },
    Occupancy(ChannelName, Occupancy),
}

/// What became of a telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// So many pushes were written or queued.
    Done(u64),
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

    /// Who joined and who left.
    pub(crate) fn joins(channel: ChannelName, diff: PresenceDiff) -> Arc<Self> {
        Self::of(What::Joins(channel, diff))
    }

    /// Somebody did, up to this version.
    pub(crate) fn missed(channel: ChannelName, version: u64, count: u64) -> Arc<Self> {
        Self::of(What::Missed { channel, version, count })
    }

    /// How many there are.
    pub(crate) fn occupancy(channel: ChannelName, occupancy: Occupancy) -> Arc<Self> {
        Self::of(What::Occupancy(channel, occupancy))
    }

    fn of(what: What) -> Arc<Self> {
        Arc::new(Self {
            what,
            native_json: OnceLock::new(),
            native_json_deflated: OnceLock::new(),
            event: OnceLock::new(),
            line: OnceLock::new(),
        })
    }

    /// Whether it stands for everything.
    pub(crate) const fn is_page(&self) -> bool {
        matches!(self.what, What::Page(_))
    }

    /// A number that stands for all it says, and never 0.
    pub(super) fn digest(&self) -> u64 {
        let hash = Sha256::digest(self.bytes(Wire::Poll));
        let (first, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
        u64::from_be_bytes(*first).max(1)
    }

    fn bytes(&self, wire: Wire) -> &Bytes {
        let plain = self.native_json.get_or_init(|| match &self.what {
            What::Page(page) => native::push_presence(page),
            What::Diff(channel, diff) => native::push_presence_diff(channel, diff),
            What::Joins(channel, diff) => native::push_join_leave(channel, diff),
            What::Missed { channel, version, count } => native::push_join_leave_missed(channel, *version, *count),
            What::Occupancy(channel, occupancy) => native::push_occupancy(channel, *occupancy),
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
            Wire::Stream | Wire::Poll => self.line.get_or_init(|| plain.line()),
        }
    }
}

impl Outbox {
    /// From now on the subscription is told this; of all members a page comes first.
    pub(crate) fn watch(&self, slot: u32, wants: Wants) {
        let mut state = self.state();
        if let Some(taken) = state.slots.get_mut(slot as usize).and_then(Option::as_mut) {
            taken.occupancy = wants.occupancy;
            if taken.watching.members() != wants.members {
                taken.watching = match wants.members {
                    Members::None => Watching::No,
                    Members::All => Watching::Waits,
                    Members::Joins => Watching::Joins,
                };
            }
        }
        if let Some(carried) = state.carried.as_mut().filter(|_| wants.members != Members::All) {
            carried.forget_page(slot);
        }
    }

    /// The subscriptions that are told of who is on their channel, or should be by its settings.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        let state = self.state();
        let watched = state.slots.iter().enumerate().filter_map(|(slot, taken)| {
            let taken = taken.as_ref()?;
            let wants = taken.wants();
            let slot = u32::try_from(slot).ok().filter(|_| !wants.is_nothing() || taken.manner.has_notices())?;
            Some(Watched { slot, channel: Arc::clone(&taken.channel), wants })
        });
        watched.collect()
    }

    /// Tells one subscription what it wants of this. A page stands for everything; whatever else is said of members follows
    /// what it was told.
    pub(crate) fn tell_presence(&self, slot: u32, channel: &ChannelKey, tidings: &Tidings) -> Told {
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
        let anew = tidings.is_anew();
        let (members, missed) = match taken.watching {
            Watching::Waits if !anew => return Told::Waits,
            Watching::No => (&[][..], None),
            Watching::Waits | Watching::Live => (&tidings.members[..], None),
            Watching::Joins => (&tidings.joins[..], None),
            Watching::Missed => (&[][..], tidings.missed.as_ref()),
        };
        let occupancy = tidings.occupancy.as_ref().filter(|_| taken.occupancy);
        if taken.wants().is_nothing() {
            return Told::Gone;
        }
        let is_page = taken.watching.members() == Members::All && anew;
        if waits > if is_page { PAGE_BELOW } else { PUSH_BYTES_MAX } {
            taken.fall_behind();
            return Told::Behind;
        }
        taken.watching = match taken.watching {
            Watching::No => Watching::No,
            Watching::Waits | Watching::Live => Watching::Live,
            Watching::Joins | Watching::Missed => Watching::Joins,
        };
        let asked = taken.watching.members() == Members::All;
        let (members, occupancy) = match &mut state.carried {
            Some(carried) => (
                if asked && !carried.is_news(slot, members, anew) { &[] } else { members },
                occupancy.filter(|push| carried.is_other(slot, push)),
            ),
            None => (members, occupancy),
        };
        let (mut blocked, mut told) = (false, 0);
        let mut is_behind = false;
        for push in members.iter().chain(missed).chain(occupancy) {
            if state.queued > PUSH_BYTES_MAX {
                // Some of it is left out: a page, or a word that something was missed, says so.
                if let Some(taken) = state.slots.get_mut(slot as usize).and_then(Option::as_mut) {
                    taken.fall_behind();
                }
                is_behind = true;
                break;
            }
            let frame = push.bytes(self.wire);
            blocked |= state.write(&[frame], |_| frame.clone());
            told += 1;
        }
        if self.wire == Wire::Stream && told > 0 {
            blocked |= state.write_place();
        }
        drop(state);
        if blocked {
            self.signal(Signal::Blocked);
        }
        if is_behind { Told::Behind } else { Told::Done(told) }
    }
}

impl Slot {
    pub(super) fn wants(&self) -> Wants {
        Wants { members: self.watching.members(), occupancy: self.occupancy }
    }

    /// The client could not take what was told of members.
    fn fall_behind(&mut self) {
        self.watching = match self.watching {
            Watching::No => Watching::No,
            Watching::Waits | Watching::Live => Watching::Waits,
            Watching::Joins | Watching::Missed => Watching::Missed,
        };
    }
}
