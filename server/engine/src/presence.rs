//! Who is present on which channel: the seam behind it, and what a node adds.
//!
//! Read in this order: the seam [`Presence`] with its memory form ([`MemoryPresence`], the reference), `memberships`
//! (which connection of this node is a member where, and the grace of those whose link was lost), `roster` (a channel's
//! members as a node follows them, pure), `watch` (who is told, in batches).
//!
//! ```text
//!   command ─► Node ─► Presence::put ─► Hear::changed ─► roster ─┬─ 200 ms ─► diff ─► outboxes that watch
//!                                                                └─ newcomers ─► snapshot
//! ```
//!
//! A channel's changes are numbered by the form, under whatever orders them; a node that attaches hears each of them
//! once, in that order, and reads where one is missing. So what is told is exact whether a form is local or not.

mod memberships;
mod memory;
mod roster;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::id::AppId;
use fanfare_core::{ChannelKey, LimitValue, Member, MemberId};

use crate::broker::{BrokerError, Pending};

pub use memory::{MemoryPresence, MemoryPresenceOptions};

pub(crate) use memberships::{Membership, Memberships, NotEntered};
pub(crate) use watch::{BATCH, Watches};

/// Which link of a connection: one that resumed it is of a greater generation, and goes before the earlier ones.
pub type Generation = u64;

/// Why a form refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// The member is not there, or another generation of it is.
    #[error("this connection is not present on the channel")]
    NotPresent,
    /// The channel changes faster than it may.
    #[error("the channel takes {max} changes of presence a second")]
    Rate {
        /// How many a second.
        max: u64,
        /// When there is room again.
        retry_after_ms: u64,
    },
    /// The app's members weigh as much as they may.
    #[error("the app keeps {max} bytes of presence")]
    AppBytes {
        /// How many bytes.
        max: u64,
    },
    /// The form holds as much as it may.
    #[error("presence is full")]
    Full,
    /// It cannot be reached: nothing was changed.
    #[error("presence cannot be reached")]
    Unavailable,
    /// It did not answer in time: what was asked may have been done, and may be asked again.
    #[error("presence did not answer in time")]
    Unknown,
}

impl From<BrokerError> for PresenceError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Full => Self::Full,
            BrokerError::Unknown => Self::Unknown,
            _ => Self::Unavailable,
        }
    }
}

/// A member to be put in its place.
#[derive(Debug, Clone)]
pub struct Put {
    /// The member. `since_ms` counts only if it was not there before.
    pub member: Member,
    /// A member of a later generation is not replaced.
    pub generation: Generation,
    /// In whose place.
    pub how: How,
    /// When it leaves by itself, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// How fast the channel may change, and the moment on the clock that rates are counted by.
    pub rate: (LimitValue, Duration),
    /// How many bytes of members the app may keep.
    pub app_bytes_max: u64,
}

/// In whose place a member is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// In its own, or in none.
    Enter,
    /// In its own, which must be there.
    Update,
    /// In its own, which must be there and the same user's: only the generation is new.
    Resume,
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The channel's version with it.
    pub version: u64,
    /// Whether there is one member more.
    pub entered: bool,
    /// Since when the member is there, Unix milliseconds.
    pub since_ms: u64,
}

/// Which members to read.
#[derive(Debug, Clone)]
pub struct Read {
    /// Those after this one.
    pub after: Option<MemberId>,
    /// At most so many.
    pub limit: u32,
    /// At most about so many bytes, and one member at least.
    pub bytes_max: u64,
    /// A channel with more members than this lists none.
    pub listed_max: u64,
}

/// What a read found: everything in it is of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Grows with every change of the channel.
    pub version: u64,
    /// How many members it has.
    pub count: u64,
    /// Some of them, in the order of their ids; `None` when there are too many to be listed.
    pub members: Option<Vec<Arc<Member>>>,
    /// Read on after this one; `None` after the last.
    pub next: Option<MemberId>,
}

/// A change of a channel.
#[derive(Debug, Clone)]
pub struct Change {
    /// One more than before; more than that where changes were lost.
    pub version: u64,
    /// How many members there are now.
    pub count: u64,
    /// What changed.
    pub what: What,
}

/// What a change did.
#[derive(Debug, Clone)]
pub enum What {
    /// This member is there, in the place of the one with its id.
    Here(Arc<Member>),
    /// This one is there no more.
    Gone(MemberId),
}

/// Who hears of changes: the node. Called in the channel's order, under whatever makes it; must neither wait nor call
/// the form.
pub trait Hear: Send + Sync + 'static {
    /// A channel has changed.
    fn changed(&self, channel: &ChannelKey, change: &Change);

    /// Changes of a channel may not have been heard, and no later one need come to show it.
    fn missed(&self, channel: &ChannelKey);
}

/// Who is present on every channel. A form of it passes `tests/it/brokers.rs`.
///
/// Calls of `put` and `leave` for one channel, made one after the other by one caller, take effect in that order, whether
/// or not their answers have come.
pub trait Presence: Send + Sync + 'static {
    /// Says who hears of changes. The first call counts.
    fn tell(&self, ear: Arc<dyn Hear>);

    /// Puts a member in its place. What changes nothing is no change.
    fn put(&self, channel: &ChannelKey, put: Put) -> Pending<Result<Placed, PresenceError>>;

    /// Takes a member out, if it is of this generation. Answers whether it was.
    fn leave(
        &self,
        channel: &ChannelKey,
        member: &MemberId,
        generation: Generation,
    ) -> Pending<Result<bool, PresenceError>>;

    /// Reads.
    fn read(&self, channel: &ChannelKey, read: Read) -> Pending<Result<Page, PresenceError>>;

    /// From the answer on, every change of the channel is heard here.
    fn attach(&self, channel: &ChannelKey) -> Pending<Result<(), PresenceError>>;

    /// Nobody here needs the channel any more, unless it is `wanted` again: asked under whatever orders this call with
    /// those of `attach`.
    fn detach(&self, channel: &ChannelKey, wanted: &dyn Fn() -> bool);

    /// Takes out every member of an app that is gone, whoever entered them: at once, or soon.
    fn forget(&self, app: AppId);

    /// Called about once a second: takes out members whose time is over, a bounded number a call, at once or soon.
    fn sweep(&self, now_ms: u64);

    /// Members that are present through this node.
    fn members(&self) -> u64;
}
