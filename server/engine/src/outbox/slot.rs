//! A subscription's place in its client's outbox.

use std::sync::Arc;

use super::presence::Watching;
use super::{Delivery, Manner};
use crate::hub::Channel;
use crate::subscription::Subscription;

/// What a place holds.
pub(super) struct Slot {
    pub(super) channel: Arc<Channel>,
    pub(super) member: u32,
    pub(super) manner: Manner,
    /// Whether it is told of presence.
    pub(super) watching: Watching,
    /// Which read its page comes from; there is one at a time.
    pub(super) reading: Option<u32>,
    pub(super) cursor: Subscription<Arc<Delivery>>,
}

/// What a place held that is free again.
#[derive(Debug)]
pub(crate) struct Freed {
    pub(crate) channel: Arc<Channel>,
    pub(crate) member: u32,
    /// Whether it was told of presence.
    pub(crate) watched: bool,
}

impl Slot {
    pub(super) fn freed(self) -> Freed {
        let watched = self.watching != Watching::No;
        Freed { channel: self.channel, member: self.member, watched }
    }
}
