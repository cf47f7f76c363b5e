//! What a node does by the clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Node, Pressure};
use crate::budget::{self, Settling};
use crate::presence::BATCH;

impl Node {
    /// Until `stop`: once a second heartbeats, expiry, sweeps and live figures; more often changes of presence, and events.
    /// Beside that it settles what nodes share.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let settling = stop.run_until_cancelled(self.settle());
        let telling = stop.run_until_cancelled(self.tell_figures());
        tokio::join!(self.keep_time(&stop), settling, telling);
    }

    /// What other nodes measured is waited for here, so that nothing else waits for it.
    async fn tell_figures(&self) {
        if self.wide_bus.get().is_none() {
            return;
        }
        let mut second = every(Duration::from_secs(1));
        loop {
            second.tick().await;
            self.hear_events_of_others();
            self.tell_all_figures().await;
        }
    }

    async fn settle(&self) {
        let Some(budget) = self.budget.get() else { return };
        let (mut settling, mut turn) = (Settling::default(), every(budget::TURN));
        loop {
            turn.tick().await;
            settling.turn(&self.directory, &**budget, self.clock.monotonic()).await;
        }
    }

    async fn keep_time(&self, stop: &CancellationToken) {
        let mut second = every(Duration::from_secs(1));
        let mut batch = every(BATCH);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = second.tick() => self.tick(),
                _ = batch.tick() => {
                    self.tell_presence();
                    self.tell_events();
                }
            }
        }
    }

    /// What [`Node::run`] does each second.
    pub fn tick(&self) {
        let second = self.second();
        for entry in self.directory.entries() {
            entry.tick(second, self.clock.unix_ms());
            entry.registry.each(|outbox| outbox.tick_if_due(second));
        }
        if self.pressure() == Pressure::Critical {
            self.shed();
        }
        for key in self.hub.sweep() {
            self.broker.detach(&key, &|| self.hub.find(&key).is_some());
        }
        self.broker.sweep(self.clock.unix_ms());
        self.sweep_presence();
        if self.wide_bus.get().is_none() {
            self.tell_own_figures();
        }
    }

    /// The second of the monotonic clock.
    pub(crate) fn second(&self) -> u32 {
        u32::try_from(self.clock.monotonic().as_secs()).unwrap_or(u32::MAX - 1)
    }
}

/// Ticks that are late come later, not closer together.
fn every(span: Duration) -> Interval {
    let mut ticks = interval(span);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
