//! Probes: how long a silent client takes to answer.

use std::num::NonZeroU32;
use std::time::Duration;

use fanfare_core::measures::Stage;

use super::Connection;

impl Connection {
    pub(super) fn micros(&self) -> NonZeroU32 {
        NonZeroU32::new(self.node.clock.monotonic().as_micros() as u32).unwrap_or(NonZeroU32::MIN)
    }

    /// The client has answered a probe.
    pub(super) fn on_pong(&mut self) {
        if let Some(asked) = self.probed_us.take() {
            let span = Duration::from_micros(self.micros().get().wrapping_sub(asked.get()).into());
            self.entry.stats.took(Stage::RoundTrip, span, 1);
            self.outbox.answered_within(span);
        }
    }
}
