//! How a node goes away: nobody new, then every connection is told to move, finished and closed, in waves.
//!
//! ```text
//! not ready, sockets refused ─▶ wave: "reconnect" ┄ a second ┄▶ its answers, close 4200     (each connection once)
//!                                  wave: "reconnect" ┄┄┄┄┄┄┄┄▶ …
//!                                                                      … time is over: cut
//! ```
//!
//! Waves are drawn by lot over all apps, so that neither the other nodes nor one tenant's backends get everybody at once.
//! REST requests are answered throughout; whoever stops the listeners afterwards finishes those.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::seq::SliceRandom;

use super::Node;
use crate::outbox::{Outbox, Signal};

/// How far apart waves are.
const WAVE: Duration = Duration::from_millis(100);
/// From being told to being closed.
const LEAD: Duration = Duration::from_secs(1);
/// A client is told a moment below this, so that it is gone before it is closed.
pub(crate) const MOVE_WITHIN_MS: u64 = 500;
/// So many clients a second trouble nobody: few connections need no long window.
const PACE_PER_S: f64 = 200.0;
/// How long those that were cut may take to be gone.
const CUT_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked whether everybody has gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a node is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOptions {
    /// How long everything may take; what is left then is cut.
    pub within: Duration,
    /// Over what time connections are told to move; at most half of `within`, and less when there are few.
    pub window: Duration,
}

impl Node {
    /// Takes nobody new, moves every connection elsewhere in waves, and waits until they are gone or time is up.
    pub async fn drain(&self, options: DrainOptions) {
        self.draining.cancel();
        self.tasks.close();
        let moved = async {
            self.move_in_waves(options).await;
            self.gone().await;
            self.tasks.wait().await;
        };
        if tokio::time::timeout(options.within, moved).await.is_err() {
            let connections = self.population.count();
            tracing::warn!(connections, "connections were cut: the time to drain is over");
            self.signal_everybody(Signal::Cut);
            if tokio::time::timeout(CUT_WITHIN, self.gone()).await.is_err() {
                tracing::warn!(connections = self.population.count(), "connections are left that do not end");
            }
        }
    }

    /// Whether the node takes new connections.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    async fn move_in_waves(&self, DrainOptions { within, window }: DrainOptions) {
        let everybody = self.everybody();
        let paced = Duration::from_secs_f64(everybody.len() as f64 / PACE_PER_S);
        let window = window.min(within / 2).min(paced);
        let turns = |time: Duration| usize::try_from(time.as_millis() / WAVE.as_millis()).unwrap_or(usize::MAX);
        let (waves, lead) = (turns(window).max(1), turns(LEAD.min(within / 4)));
        let waves: Vec<_> = everybody.chunks(everybody.len().div_ceil(waves).max(1)).collect();
        let mut turn = tokio::time::interval(WAVE);
        for number in 0..waves.len() + lead {
            turn.tick().await;
            tell(waves.get(number), Signal::Drain);
            tell(number.checked_sub(lead).and_then(|told| waves.get(told)), Signal::Part);
        }
        // Whoever was let in just before the drain began and is in no wave.
        self.signal_everybody(Signal::Part);
    }

    /// Every connection there is, in an order drawn by lot.
    fn everybody(&self) -> Vec<Weak<Outbox>> {
        let mut everybody = Vec::new();
        for entry in self.directory.entries() {
            entry.registry.each(|outbox| everybody.push(Arc::downgrade(outbox)));
        }
        self.chance.with(|dice| everybody.shuffle(dice));
        everybody
    }

    fn signal_everybody(&self, signal: Signal) {
        for entry in self.directory.entries() {
            entry.signal_all(signal);
        }
    }

    async fn gone(&self) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        while self.population.count() > 0 {
            look.tick().await;
        }
    }
}

fn tell(wave: Option<&&[Weak<Outbox>]>, signal: Signal) {
    for outbox in wave.into_iter().flat_map(|wave| wave.iter()).filter_map(Weak::upgrade) {
        outbox.signal(signal);
    }
}
