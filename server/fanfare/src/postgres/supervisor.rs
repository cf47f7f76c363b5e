//! Holds the Postgres process: starts it, starts it again when it dies, and takes it down with the server.
//!
//! The process is spawned by a thread of its own. The kernel sends Postgres its SIGINT when *that thread* ends
//! (`PR_SET_PDEATHSIG` is about threads), so the thread lives exactly as long as the server wants Postgres: it ends
//! when told to, or with the server, even by SIGKILL.

use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::cluster::Cluster;
use super::leftover;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const TELL_EVERY: Duration = Duration::from_secs(2);
const STOP_WITHIN: Duration = Duration::from_secs(20);
const RESTART_WAIT_MIN: Duration = Duration::from_millis(200);
const RESTART_WAIT_MAX: Duration = Duration::from_secs(10);
/// A process that lived this long ended for a new reason: the waits begin anew.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// The thread that holds the process.
#[derive(Debug)]
pub(super) struct Supervisor {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Supervisor {
    /// Starts Postgres and returns when it takes connections.
    pub(super) fn start(cluster: &Cluster, ready_within: Duration) -> Result<Self> {
        let (stop, stopping) = mpsc::sync_channel(1);
        let (started, first_start) = mpsc::sync_channel(1);
        let cluster = cluster.clone();
        let thread = std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || supervise(&cluster, &stopping, &started, ready_within))
            .context("cannot start a thread for Postgres")?;
        first_start.recv().map_err(|_| anyhow!("the thread that holds Postgres ended"))??;
        Ok(Self { stop, thread })
    }

    /// Stops Postgres: fast, and if that takes too long, at once.
    pub(super) fn stop(self, cluster: &Cluster) {
        // A full channel says the same already; a closed one, that the thread has ended.
        let _ = self.stop.try_send(());
        if cluster.postmaster().is_some()
            && let Err(slow) = cluster.stop_process("fast", STOP_WITHIN)
        {
            warn!(error = format!("{slow:#}"), "Postgres does not stop as asked; making it stop");
            if let Err(stuck) = cluster.stop_process("immediate", STOP_WITHIN) {
                error!(error = format!("{stuck:#}"), "Postgres does not stop");
                return;
            }
        }
        if self.thread.join().is_err() {
            error!("the thread that held Postgres panicked");
        }
    }
}

fn supervise(cluster: &Cluster, stop: &Receiver<()>, started: &SyncSender<Result<()>>, ready_within: Duration) {
    let mut first = Some(started);
    let mut wait = RESTART_WAIT_MIN;
    loop {
        let begun = Instant::now();
        match run_once(cluster, stop, first, ready_within) {
            Ok(Ended::AsAsked) => return,
            Ok(Ended::ByItself(how)) => {
                error!(how, log = %cluster.log_path().display(), "the private Postgres ended; starting it again");
            }
            Err(failure) => match first.take() {
                Some(started) => {
                    let _ = started.send(Err(failure));
                    return;
                }
                None => error!(error = format!("{failure:#}"), "the private Postgres does not start; trying again"),
            },
        }
        first = None;
        wait = if begun.elapsed() > STEADY_AFTER { RESTART_WAIT_MIN } else { (wait * 2).min(RESTART_WAIT_MAX) };
        if stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

enum Ended {
    AsAsked,
    ByItself(String),
}

fn run_once(
    cluster: &Cluster,
    stop: &Receiver<()>,
    first: Option<&SyncSender<Result<()>>>,
    ready_within: Duration,
) -> Result<Ended> {
    leftover::clear(cluster)?;
    let mut command = cluster.server_command()?;
    let log_len = cluster.log_len();
    let mut child = command.spawn().context("cannot run `setpriv` (util-linux): is it installed?")?;
    match wait_ready(cluster, &mut child, stop, ready_within)? {
        Waited::Ready => {}
        Waited::Stopped => return Ok(Ended::AsAsked),
        Waited::Failed(why) => bail!("{why}; its log says:\n{}", cluster.log_tail(log_len)),
    }
    match first {
        Some(started) => {
            let _ = started.send(Ok(()));
        }
        None => info!("the private Postgres is ready again"),
    }
    let status = child.wait().context("cannot wait for Postgres")?;
    let as_asked = stop.try_recv() != Err(mpsc::TryRecvError::Empty);
    Ok(if as_asked { Ended::AsAsked } else { Ended::ByItself(status.to_string()) })
}

enum Waited {
    Ready,
    /// The server wants to stop meanwhile.
    Stopped,
    Failed(String),
}

fn wait_ready(cluster: &Cluster, child: &mut Child, stop: &Receiver<()>, within: Duration) -> Result<Waited> {
    let begun = Instant::now();
    let mut told = begun;
    loop {
        // `setpriv` becomes Postgres, so the numbers agree, and a file of an earlier process is told apart.
        if cluster.postmaster().is_some_and(|postmaster| postmaster.pid == child.id() && postmaster.is_ready) {
            return Ok(Waited::Ready);
        }
        if let Some(status) = child.try_wait().context("cannot look after Postgres")? {
            return Ok(Waited::Failed(format!("Postgres did not start ({status})")));
        }
        if begun.elapsed() > within {
            return Ok(Waited::Failed(format!("Postgres is not ready after {} s", within.as_secs())));
        }
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            info!(seconds = begun.elapsed().as_secs(), "waiting for Postgres, which may be recovering from a crash");
        }
        if stop.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            return Ok(Waited::Stopped);
        }
    }
}
