//! Pages of a channel's log on their way to a subscription that is not live.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::Position;

use crate::broker::Page;
use crate::hub::Channel;

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
