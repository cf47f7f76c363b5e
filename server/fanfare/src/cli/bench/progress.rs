//! How far a run is, on a terminal.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;

use super::Run;
use super::subscriber::Subscriber;

const EVERY: Duration = Duration::from_millis(250);
const WIDTH: usize = 30;

/// Counts as they stand.
#[derive(Default)]
pub(super) struct Progress {
    connected: Mutex<Vec<Subscriber>>,
    pub(super) sent: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Progress {
    /// One more client is subscribed.
    pub(super) fn keep(&self, subscriber: Subscriber) {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).push(subscriber);
    }

    /// All of them.
    pub(super) fn take(&self) -> Vec<Subscriber> {
        std::mem::take(&mut self.connected.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn connected(&self) -> usize {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Shows it until what is returned is dropped; nothing where nobody looks.
pub(super) fn show(run: Arc<Run>, wanted: bool) -> JoinSet<()> {
    let mut showing = JoinSet::new();
    if !wanted || !stderr().is_terminal() {
        return showing;
    }
    showing.spawn(async move {
        let _clear = Clear;
        let mut ticks = interval(EVERY);
        loop {
            ticks.tick().await;
            let line = line(&run);
            // A terminal that is gone shows nothing.
            let _ = write!(stderr().lock(), "\r{line}\x1b[K");
        }
    });
    showing
}

/// Takes the line away again.
struct Clear;

impl Drop for Clear {
    fn drop(&mut self) {
        let _ = write!(stderr().lock(), "\r\x1b[K");
    }
}

fn line(run: &Run) -> String {
    let (progress, read) = (&run.progress, |count: &AtomicU64| count.load(Ordering::Relaxed));
    let (sent, connected) = (read(&progress.sent), progress.connected());
    if sent == 0 && connected > 0 {
        let all = run.plan.connections as usize;
        return format!("{} connecting {connected} of {all}", bar(connected as f64 / all as f64));
    }
    let all = run.plan.rate * run.plan.duration.as_secs_f64();
    format!(
        "{} published {sent}, acknowledged {}, delivered {}",
        bar(sent as f64 / all),
        read(&progress.acknowledged),
        read(&progress.received)
    )
}

fn bar(share: f64) -> String {
    let full = ((share.clamp(0.0, 1.0)) * WIDTH as f64) as usize;
    format!("[{}{}]", "#".repeat(full), "-".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_never_longer_than_itself() {
        for (share, full) in [(-1.0, 0), (0.0, 0), (0.5, 15), (1.0, 30), (2.0, 30), (f64::NAN, 0)] {
            let bar = bar(share);
            assert_eq!((bar.len(), bar.matches('#').count()), (WIDTH + 2, full), "{share}");
        }
    }
}
