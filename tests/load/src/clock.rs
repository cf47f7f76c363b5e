//! Time, for pacing and for latencies.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static BEGUN: LazyLock<Instant> = LazyLock::new(read);

/// Time since the program began to look at it.
pub(crate) fn now() -> Duration {
    let begun = *BEGUN;
    read().saturating_duration_since(begun)
}

#[expect(clippy::disallowed_methods, reason = "this is the clock file of the load generator")]
fn read() -> Instant {
    Instant::now()
}
