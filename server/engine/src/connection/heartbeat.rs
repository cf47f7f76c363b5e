//! What is due: a late connect, a token's end, a silent link's probe and its answer.

use std::num::NonZeroU32;
use std::time::Duration;

use fanfare_core::ErrorCode;
use fanfare_core::measures::Stage;

use super::{Connection, Phase};
use crate::transport::Reader;

impl Connection {
    /// Something is due: the close of a closing link, a late connect, an expired token, a probe.
    pub(super) fn tick(&mut self, reader: &impl Reader) {
        let now_s = self.node.second();
        if let Phase::Closing { until_s } = self.phase {
            // A tick may be older than the goodbye.
            return if now_s >= until_s { self.phase = Phase::Ended } else { self.outbox.tick_at(until_s) };
        }
        if self.session.subject().is_none() {
            return self.close(reader, ErrorCode::ConnectTimeout);
        }
        let now_ms = self.node.clock.unix_ms();
        if self.session.is_expired(now_ms) {
            return self.close(reader, ErrorCode::TokenExpired);
        }
        if self.session.ends_ms(&self.entry.peek()).is_some_and(|ends_ms| now_ms >= ends_ms) {
            self.recheck(reader);
            if self.phase != Phase::Open {
                return;
            }
        }
        self.tell_expiry(now_ms);
        if self.session.expires_ms().is_none() {
            // The ticket of an anonymous client holds from the moment in which it was made.
            self.carry();
        }
        // What waits for its second by rate.
        self.blocked |= self.outbox.keeps_back();
        let heartbeat_s = self.heartbeat_s();
        if self.probed_us.is_some() && now_s >= self.probed_s.saturating_add(self.heartbeat_timeout_s()) {
            return self.close(reader, ErrorCode::HeartbeatTimeout);
        }
        // Ticks come for other reasons too: one probe is on its way at a time.
        if self.probed_us.is_none() && now_s >= self.heard_s.saturating_add(heartbeat_s) {
            // Who cannot answer is not waited for: that the link is gone shows when it takes nothing more.
            if reader.is_one_way() {
                self.heard_s = now_s;
            } else {
                (self.probed_us, self.probed_s) = (Some(self.micros()), now_s);
            }
            self.say(reader.ping_frame());
        }
        self.schedule(now_s);
    }

    pub(super) fn heartbeat_s(&self) -> u32 {
        self.entry.peek().heartbeat_ms.div_ceil(1_000).max(1)
    }

    pub(super) fn heartbeat_timeout_s(&self) -> u32 {
        self.entry.peek().heartbeat_timeout_ms.div_ceil(1_000).max(1)
    }

    /// Asks for the next tick.
    pub(super) fn schedule(&self, now_s: u32) {
        self.outbox.tick_at(self.due_s(now_s));
        if self.outbox.keeps_back() {
            self.outbox.tick_by(now_s + 1);
        }
    }

    /// When something is due next: silence has lasted a heartbeat, the probe must be answered, the token's end is told, or
    /// time ends what the token gives. A tick that comes too early in that second asks for the next.
    pub(super) fn due_s(&self, now_s: u32) -> u32 {
        let (since_s, for_s) = match self.probed_us {
            Some(_) => (self.probed_s, self.heartbeat_timeout_s()),
            None => (self.heard_s, self.heartbeat_s()),
        };
        let ends_ms = self.session.ends_ms(&self.entry.peek()).unwrap_or(u64::MAX);
        let token_s = self.second_of(ends_ms.min(self.session.tell_ms()));
        since_s.saturating_add(for_s).min(token_s).max(now_s + 1)
    }

    /// The second of the monotonic clock in which a moment of the wall clock lies.
    pub(super) fn second_of(&self, unix_ms: u64) -> u32 {
        let left = Duration::from_millis(unix_ms.saturating_sub(self.node.clock.unix_ms()));
        u32::try_from(self.node.clock.monotonic().saturating_add(left).as_secs()).unwrap_or(u32::MAX)
    }

    pub(super) fn heard(&mut self) {
        self.heard_s = self.node.second();
        self.probed_us = None;
    }

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
