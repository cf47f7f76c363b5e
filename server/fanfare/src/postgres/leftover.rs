//! What an earlier server left behind: a Postgres that still runs, its last processes on their way out, or a file that
//! names a process that is long gone.
//!
//! It is called by the holder of the lock, so nobody else is using the cluster on purpose.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;
use tracing::{info, warn};

use super::cluster::Cluster;

const STOP_WITHIN: Duration = Duration::from_secs(30);

/// Returns when no process uses the cluster's files and no stale process file is in the way.
pub(super) fn clear(cluster: &Cluster) -> Result<()> {
    let files = cluster.files();
    let pid_file = files.join("postmaster.pid");
    if !pid_file.exists() {
        return Ok(());
    }
    let users = processes_in(&files);
    if let Some(postmaster) = cluster.postmaster().filter(|postmaster| users.contains(&postmaster.pid)) {
        info!(pid = postmaster.pid, "stopping the Postgres that an earlier server left behind");
        stop(cluster, &files);
    }
    // Processes of a killed postmaster end by themselves when they notice. Starting beside them would corrupt data.
    let until = Instant::now() + STOP_WITHIN;
    loop {
        let users = processes_in(&files);
        if users.is_empty() {
            break;
        }
        ensure!(Instant::now() < until, "processes of an earlier Postgres do not end: {users:?}");
        super::pause();
    }
    // Its number may by now be that of any other process, which Postgres would take for its old self, above all in
    // containers, where numbers repeat.
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", pid_file.display()))
        }
        _ => Ok(()),
    }
}

/// Asks it to stop, and if it stays makes it. A failure is not an answer: the Postgres of a killed server ends by itself,
/// perhaps just now. Whether anything is left is for the caller to see.
fn stop(cluster: &Cluster, files: &Path) {
    for mode in ["fast", "immediate"] {
        let Err(error) = cluster.stop_process(mode, STOP_WITHIN) else { return };
        if processes_in(files).is_empty() {
            return;
        }
        warn!(error = format!("{error:#}"), mode, "it does not stop as asked");
    }
}

/// Every process of Postgres works in the cluster's directory, and nothing else does.
fn processes_in(directory: &Path) -> Vec<u32> {
    let Ok(directory) = directory.canonicalize() else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let is_postgres =
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("postgres"));
        is_postgres && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == directory)
    })
    .collect()
}
