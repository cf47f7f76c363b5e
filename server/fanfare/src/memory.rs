//! How memory is taken from the system; and watches how much the process has, and tells the node when that comes near
//! what it may have.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use fanfare_engine::{Node, Pressure};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

const EVERY: Duration = Duration::from_secs(1);

/// Has the kernel hand out memory in small pages. In huge ones a few bytes that stay keep two megabytes, and an idle
/// connection would weigh a quarter more than what it needs.
pub(crate) fn take_small_pages() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        debug!(%error, "the kernel hands out memory as it likes");
    }
}

/// Looks once a second.
pub(crate) struct MemoryTask {
    pub(crate) node: Arc<Node>,
    /// What the process may have, in bytes.
    pub(crate) bytes_max: u64,
    pub(crate) stop: CancellationToken,
}

impl MemoryTask {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) {
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                _ = every.tick() => self.look(),
            }
        }
    }

    fn look(&self) {
        // A file of the kernel's, in memory: reading it does not wait.
        let Some(used) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident) else { return };
        let (before, now) = (self.node.pressure(), Pressure::of(used, self.bytes_max));
        self.node.set_pressure(now);
        if now > before {
            warn!(used, max = self.bytes_max, "memory is short: new connections are refused");
        } else if now < before {
            info!(used, max = self.bytes_max, "there is memory again");
        }
    }
}

/// The resident memory of the process, in bytes.
fn resident(status: &str) -> Option<u64> {
    let row = status.lines().find_map(|row| row.strip_prefix("VmRSS:"))?;
    row.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(resident("VmPeak:\t  700 kB\nVmRSS:\t   512 kB\nThreads: 3\n"), Some(524_288));
        assert_eq!(resident("Threads: 3"), None);
    }
}
