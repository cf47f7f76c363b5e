//! What an app may do on all nodes together: the seam that divides it, and what a node adds.
//!
//! ```text
//!   draw ─► Rate (its bucket here, in parts) ─┐ used, refused
//!                                             ├─ each 0.1 to 1 s ─► Budget::settle ─► this node's part, how full the whole is
//!   connections of this node ─────────────────┘                                   └─► connections elsewhere
//! ```
//!
//! A draw never waits: it is measured against a bucket of this node, which stands as full as the whole bucket stood when
//! this node last heard, and of which a draw takes more the smaller this node's part is. What was drawn is told afterwards
//! and charged to the whole, so that what nodes gave away before they heard of each other is paid back.
//!
//! Read in this order: the seam [`Budget`], [`SharedMemory`] (its form of several nodes in one process, which is the
//! reference), `rate` (one rate on this node), `settling` (when what is told).

mod memory;
mod rate;
mod settling;
#[cfg(test)]
mod tests;

use std::time::Duration;

use fanfare_core::id::AppId;
use fanfare_core::{Limit, LimitValue, Signer};

use crate::broker::Pending;

pub use memory::{NodeBudget, SharedMemory};

pub(crate) use rate::{Rate, Watched};
pub(crate) use settling::{Settling, TURN};

/// The whole of something, in millionths.
pub const WHOLE: u32 = 1_000_000;

/// Which limit of which app is held by all nodes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The app: nothing is shared across apps.
    pub app: AppId,
    /// Its limit.
    pub limit: Limit,
    /// Whose, where each signer has its own.
    pub signer: Option<Signer>,
}

/// What a node used of one account since it last told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Use {
    /// Which.
    pub account: Account,
    /// For how long this word holds, if the node says nothing more.
    pub holds: Duration,
    /// How much.
    pub used: Used,
}

/// How much was used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Used {
    /// Of a rate.
    Rate {
        /// The limit as this node knows it.
        value: LimitValue,
        /// How much was drawn.
        drawn: u64,
        /// How much was asked for, a second; 0 from a node that needs no part any more.
        demand: f64,
        /// Since when it was drawn.
        over: Duration,
        /// When the bucket is full again as this node knows it, where it drew from the whole; zero where from a part.
        full_in: Duration,
    },
    /// Of a number that stands: how much this node has now.
    Count(u64),
}

/// What a node is told of one account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// Of a rate.
    Rate {
        /// What this node may draw from now, in millionths of the whole, at least 1. As long as the bucket is nearly full
        /// parts may be more than the whole together.
        part: u32,
        /// What it may draw from while nothing is heard: all nodes' together are not more than the whole.
        alone: u32,
        /// When the whole bucket is full again.
        full_in: Duration,
    },
    /// Of a number that stands: how much the other nodes have.
    Elsewhere(u64),
}

/// What of limits is shared at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sharing {
    /// Rates that were drawn from lately.
    pub rates: u64,
    /// Whether nothing can be heard, and each node goes on with a part of its own.
    pub is_away: bool,
    /// Times that began.
    pub times_away: u64,
}

/// Nothing can be settled now. What nodes were told last goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what all nodes share cannot be reached")]
pub struct Away;

/// Divides what an app may do among the nodes.
pub trait Budget: Send + Sync + 'static {
    /// How many nodes are known to live, this one included.
    fn nodes(&self) -> u32;

    /// Tells what this node used, and hears its parts, in this order.
    fn settle(&self, uses: Vec<Use>) -> Pending<Result<Vec<Part>, Away>>;
}
