//! Clients that want to use up the server: what they cost is bounded, and another tenant notices nothing.

mod crowds;
mod frames;

use std::time::Duration;

use ::harness::client::Client;
use ::harness::ledger::{Ledger, Outcome};
use ::harness::owner::Owner;
use ::harness::server::Server;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::Instant;

pub(super) const MIB: u64 = 1024 * 1024;

/// Memory that the server's process has in use, in bytes.
pub(super) fn memory(server: &Server) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.platform().pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Somebody else's traffic, which goes on all the while.
pub(super) struct Bystander {
    owner: Owner,
    ann: Client,
    ledger: Ledger,
    delays: Vec<Duration>,
}

impl Bystander {
    pub(super) async fn new(server: &Server) -> Result<Self> {
        let owner = server.sign_up().await?;
        let mut ann = owner.connect_as("ann", &["room:*"]).await?;
        ann.subscribe("room:9").await?;
        Ok(Self { owner, ann, ledger: Ledger::new(), delays: Vec::new() })
    }

    /// Publishes and receives until `done` says so, and once more; comes and goes too.
    pub(super) async fn until(&mut self, mut done: impl FnMut() -> bool) -> Result<()> {
        let publisher = self.owner.publisher();
        loop {
            let is_last = done();
            let begun = Instant::now();
            let outcome = publisher.publish_into(&mut self.ledger, "room:9", json!(self.delays.len())).await?;
            ensure!(matches!(outcome, Outcome::Acked(_)), "a publish was not acknowledged: {outcome:?}");
            self.ann.message("room:9").await?;
            self.delays.push(begun.elapsed());
            if self.delays.len().is_multiple_of(20) {
                self.owner.connect_as("bob", &["room:*"]).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Nothing was lost; how long it took is told.
    pub(super) fn settle(mut self, what: &str) -> Result<()> {
        let summary =
            self.ledger.check_settled(&self.ann.journals()).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        ensure!(summary.acked == summary.delivered, "{summary:?}");
        self.delays.sort_unstable();
        let count = self.delays.len();
        let (median, p99) = (self.delays[count / 2], self.delays[(count * 99).div_ceil(100) - 1]);
        eprintln!("{what}: {count} messages of another tenant, median {median:?}, p99 {p99:?}");
        Ok(())
    }
}

/// Runs an attack beside somebody else's traffic; how much memory the server has more of after it than before.
pub(super) async fn beside(
    server: &Server,
    bystander: &mut Bystander,
    attack: impl Future<Output = Result<()>>,
) -> Result<u64> {
    let before = memory(server)?;
    let (ended, peak) = (std::cell::Cell::new(false), std::cell::Cell::new(before));
    let attack = async {
        let outcome = attack.await;
        ended.set(true);
        outcome
    };
    let look = || {
        peak.set(peak.get().max(memory(server).unwrap_or_default()));
        ended.get()
    };
    let (attacked, traffic) = tokio::join!(attack, bystander.until(look));
    attacked?;
    traffic?;
    Ok(peak.get() - before)
}
