//! Time, as the rest of the house sees it.

use std::time::Duration;

/// Where time comes from. Tests hand in one they move.
pub trait Clock: Send + Sync + 'static {
    /// Unix milliseconds, for what people and tokens see. May jump.
    fn unix_ms(&self) -> u64;

    /// Time since some fixed moment, for intervals and limits. Never goes back.
    fn monotonic(&self) -> Duration;
}
