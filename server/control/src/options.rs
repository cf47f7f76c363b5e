//! What an operator can set about the control plane.

use std::time::Duration;

use serde::Deserialize;

use crate::proxy::Network;

/// Everything there is to set, with defaults that suit a server of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The proxies in front of this server, whose `X-Forwarded-For` is believed. None by default.
    pub trusted_proxies: Vec<Network>,
    /// How long a session lasts without a request, in seconds. An hour by default; an open dashboard asks more often.
    pub session_idle_s: u32,
    /// How long a session lasts at most, in seconds. A day by default.
    pub session_absolute_s: u32,
    /// How often one neighbourhood of addresses (/24, /64) may sign up. 10 at once, one more each minute.
    pub sign_up: Rate,
    /// How often one neighbourhood of addresses may try to sign in. 20 at once, one more every six seconds.
    pub sign_in: Rate,
    /// Whether apps of people who signed up are held to 20 connections and 10 publishes a second until an operator lifts
    /// it: their addresses are not verified. On by default. The tenant behind the welcome link is never held.
    pub hold_sign_ups: bool,
    /// How many passwords may be hashed at once; 0, the default, takes as many as there are processors.
    pub hashes_max: u16,
}

/// So many at once, and one more after each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many at once after a quiet time.
    pub burst: u32,
    /// After how many milliseconds one more is allowed.
    pub period_ms: u32,
}

impl Rate {
    /// The period; never zero.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_millis(u64::from(self.period_ms.max(1)))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            // The bounds of security.md for whoever may change everything; NIST SP 800-63B allows more without a second
            // factor, but the more a session may do, the shorter it should live.
            session_idle_s: 3_600,
            session_absolute_s: 86_400,
            sign_up: Rate { burst: 10, period_ms: 60_000 },
            sign_in: Rate { burst: 20, period_ms: 6_000 },
            hold_sign_ups: true,
            hashes_max: 0,
        }
    }
}
