//! The private Postgres of the embedded defaults: one cluster in the data directory, reached through a unix socket
//! only, run by an unprivileged account from the machine's own binaries, and never alive without a Fanfare server.
//!
//! ```text
//! <data>/postgres.lock      held by the server that owns the cluster
//! <data>/postgres/cluster   what initdb made
//! <data>/postgres/run       the socket's directory, 0700
//! <data>/postgres/log       what Postgres has to say, the last start and the one before
//! ```
//!
//! [`binaries`] finds a Postgres, [`account`] whom to run it as, [`cluster`] makes and checks the files, and
//! [`supervisor`] holds the process. Whoever has the lock is the owner; a process that finds it taken (a second role,
//! `fanfare migrate` beside a running server) uses the owner's Postgres and leaves its life to the owner.

mod account;
mod binaries;
mod cluster;
mod leftover;
mod supervisor;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;
use tracing::info;

pub(crate) use self::account::own_uid;
use self::cluster::Cluster;
use self::supervisor::Supervisor;

/// How long a start may take; recovery after a crash replays at most a gigabyte of log.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A running private Postgres.
#[derive(Debug)]
pub(crate) struct PrivatePostgres {
    cluster: Cluster,
    owned: Option<Owned>,
}

/// What only the process that started the cluster has.
#[derive(Debug)]
struct Owned {
    supervisor: Supervisor,
    /// Unlocked when dropped, after Postgres has stopped.
    _lock: File,
}

impl PrivatePostgres {
    /// Makes the cluster if there is none, starts it, and returns when it takes connections. Blocks.
    ///
    /// # Errors
    /// When there are no usable binaries, the files belong to another major version, or Postgres does not start.
    pub(crate) fn start(data: &Path, pg_bin: Option<&Path>) -> Result<Self> {
        let lock_path = data.join("postgres.lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .with_context(|| format!("cannot open {}", lock_path.display()))?;
        let mut cluster = Cluster::locate(data, pg_bin)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                info!("another fanfare process runs the private Postgres here; using it");
                cluster.wait_ready(Instant::now() + READY_WITHIN)?;
                return Ok(Self { cluster, owned: None });
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", lock_path.display()));
            }
        }
        let begun = Instant::now();
        leftover::clear(&cluster)?;
        let fresh = cluster.create_if_missing()?;
        let supervisor = Supervisor::start(&cluster, READY_WITHIN)?;
        info!(
            version = cluster.version(),
            fresh,
            took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "private Postgres is ready"
        );
        Ok(Self { cluster, owned: Some(Owned { supervisor, _lock: lock }) })
    }

    /// Where to connect, as the cluster's owner role.
    pub(crate) fn url(&self) -> String {
        self.cluster.url()
    }

    /// Stops the cluster if this process owns it. Blocks, at most some seconds.
    pub(crate) fn stop(self) {
        if let Some(owned) = self.owned {
            owned.supervisor.stop(&self.cluster);
            info!("private Postgres has stopped");
        }
    }
}

/// The wait between two looks at another process, which has no way to call us.
#[expect(clippy::disallowed_methods, reason = "files and processes are looked at, there is no event to wait for")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// What `fanfare check` says about the embedded Postgres without starting it.
///
/// # Errors
/// For the reasons a start would fail that can be seen beforehand.
pub(crate) fn inspect(data: &Path, pg_bin: Option<&Path>) -> Result<(u32, PathBuf)> {
    let cluster = Cluster::locate(data, pg_bin)?;
    Ok((cluster.major(), cluster.bin().to_path_buf()))
}
