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
    /// What it is told of members, and how far.
    pub(super) watching: Watching,
    /// Whether it is told how many there are.
    pub(super) occupancy: bool,
    /// Which read its page comes from; there is one at a time.
    pub(super) reading: Option<u32>,
    pub(super) cursor: Subscription<Arc<Delivery>>,
}

/// What a place held that is free again.
#[derive(Debug)]
pub(crate) struct Freed {
    pub(crate) channel: Arc<Channel>,
    pub(crate) member: u32,
    /// Whether it was told of who is on its channel.
    pub(crate) watched: bool,
}

impl Slot {
    pub(super) fn freed(self) -> Freed {
        let watched = !self.wants().is_nothing();
        Freed { channel: self.channel, member: self.member, watched }
    }
}
