//! The cluster's files: where they are, how they are made, and what they say of the process that uses them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::Instant;
use tracing::info;

use super::account::RunAs;
use super::binaries::{self, Binaries};

/// A unix socket's path fits in 107 bytes and ends in this.
const SOCKET_NAME: &str = ".s.PGSQL.5432";
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// A log larger than this is moved aside at the next start.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What a cluster is called while it is made.
const HALF_MADE: &str = "cluster.new-";

/// One cluster on disk.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    root: PathBuf,
    run_dir: PathBuf,
    binaries: Binaries,
    run_as: RunAs,
}

/// What `postmaster.pid` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    pub(super) is_ready: bool,
}

impl Cluster {
    /// Chooses binaries and account for the cluster of this data directory, and refuses another major version.
    pub(super) fn locate(data: &Path, pg_bin: Option<&Path>) -> Result<Self> {
        let root = data.join("postgres");
        let made_by = fs::read_to_string(root.join("cluster/PG_VERSION")).ok();
        let wanted =
            made_by.as_deref().map(|text| text.trim().parse()).transpose().context("PG_VERSION is unreadable")?;
        let binaries = binaries::find(pg_bin, data, wanted)?;
        let run_as = RunAs::find()?;
        run_as.ensure_reachable(&root)?;
        run_as.ensure_reachable(&binaries.dir.join("postgres"))?;
        let run_dir = run_dir(&root);
        Ok(Self { root, run_dir, binaries, run_as })
    }

    pub(super) fn version(&self) -> &str {
        &self.binaries.version
    }

    pub(super) const fn major(&self) -> u32 {
        self.binaries.major
    }

    pub(super) fn bin(&self) -> &Path {
        &self.binaries.dir
    }

    pub(super) fn files(&self) -> PathBuf {
        self.root.join("cluster")
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where to connect, as the owner role.
    pub(super) fn url(&self) -> String {
        format!(
            "postgres://fanfare_owner@localhost/fanfare?host={}",
            percent_encode(self.run_dir.as_os_str().as_bytes())
        )
    }

    /// Makes the cluster if there is none; whether it did. A half-made one never takes the real one's place.
    pub(super) fn create_if_missing(&self) -> Result<bool> {
        self.run_as.make_private_dir(&self.root)?;
        self.make_run_dir()?;
        if self.files().join("PG_VERSION").is_file() {
            return Ok(false);
        }
        ensure!(!self.files().exists(), "{} exists and is no Postgres cluster: move it away", self.files().display());
        info!(directory = %self.files().display(), version = self.version(), "making a private Postgres, once");
        self.remove_half_made()?;
        // Of this process alone: the initdb of a killed server may still be cleaning up after itself.
        let new = self.root.join(format!("{HALF_MADE}{}", std::process::id()));
        let mut initdb = self.run_as.command(&self.binaries.dir.join("initdb"));
        initdb.arg("-D").arg(&new).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        initdb.args(["--no-sync", "--no-instructions"]);
        checked("initdb", initdb.stdin(Stdio::null()).output())?;
        self.create_database(&new)?;
        fs::rename(&new, self.files()).context("cannot put the new cluster in its place")?;
        Ok(true)
    }

    fn remove_half_made(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root).context("cannot list the private Postgres's directory")? {
            let entry = entry.context("cannot list the private Postgres's directory")?;
            if entry.file_name().to_string_lossy().starts_with(HALF_MADE) {
                let path = entry.path();
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Makes the database through a single-user Postgres, so that nothing else ever sees the cluster without it.
    fn create_database(&self, files: &Path) -> Result<()> {
        let mut single = self.run_as.command(&self.binaries.dir.join("postgres"));
        single.arg("--single").arg("-D").arg(files).args(["-F", "-c", "exit_on_error=true", "postgres"]);
        let mut child = single
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start a single-user Postgres")?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // The server's own role is no superuser, here as with a Postgres of one's own.
        let statements = b"CREATE ROLE fanfare_owner LOGIN CREATEROLE\nCREATE DATABASE fanfare OWNER fanfare_owner\n";
        stdin.write_all(statements).context("a single-user Postgres ended early")?;
        drop(stdin);
        checked("a single-user Postgres", child.wait_with_output()).map(drop)
    }

    /// The server process, ready to be spawned, in a process group of its own: Ctrl-C is for the server to handle.
    pub(super) fn server_command(&self) -> Result<Command> {
        let path = self.log_path();
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::rename(&path, self.root.join("log.1")).context("cannot move Postgres's log aside")?;
        }
        let log = File::options().create(true).append(true).open(&path).context("cannot open Postgres's log")?;
        let mut command = self.run_as.command(&self.binaries.dir.join("postgres"));
        command.arg("-D").arg(self.files()).arg("-k").arg(&self.run_dir);
        for setting in [
            "listen_addresses=",
            "port=5432",
            "unix_socket_permissions=0700",
            "shared_buffers=64MB",
            "max_connections=60",
            "cluster_name=fanfare",
            "logging_collector=off",
            "log_destination=stderr",
        ] {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().context("cannot share Postgres's log")?).stderr(log);
        command.process_group(0);
        Ok(command)
    }

    /// Asks a running Postgres to end and waits until it has. `fast` is SIGINT, `immediate` SIGQUIT.
    pub(super) fn stop_process(&self, mode: &str, within: Duration) -> Result<()> {
        let mut pg_ctl = self.run_as.command(&self.binaries.dir.join("pg_ctl"));
        pg_ctl.arg("stop").arg("-D").arg(self.files());
        pg_ctl.args(["-w", "-m", mode, "-t", &within.as_secs().to_string()]);
        checked("pg_ctl stop", pg_ctl.stdin(Stdio::null()).output()).map(drop)
    }

    /// What Postgres says of itself; `None` when it does not run or has not got that far.
    pub(super) fn postmaster(&self) -> Option<Postmaster> {
        parse_postmaster(&fs::read_to_string(self.files().join("postmaster.pid")).ok()?)
    }

    /// Waits until the owner's Postgres takes connections.
    pub(super) fn wait_ready(&mut self, until: Instant) -> Result<()> {
        while !self.postmaster().is_some_and(|postmaster| postmaster.is_ready) {
            ensure!(Instant::now() < until, "the private Postgres of the other fanfare process does not get ready");
            super::pause();
        }
        Ok(())
    }

    /// How long Postgres's log is now.
    pub(super) fn log_len(&self) -> usize {
        fs::metadata(self.log_path()).map_or(0, |log| usize::try_from(log.len()).unwrap_or_default())
    }

    /// The end of what Postgres logged after this length, for the message that says why it did not start.
    pub(super) fn log_tail(&self, after: usize) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = log.get(after..).unwrap_or_default();
        let text = String::from_utf8_lossy(&log[log.len().saturating_sub(4096)..]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    fn make_run_dir(&self) -> Result<()> {
        // Outside the data directory somebody else may have made it first, to read what passes through the socket.
        if let Ok(metadata) = fs::symlink_metadata(&self.run_dir) {
            let ours = [0, self.run_as.uid()].contains(&metadata.uid());
            ensure!(metadata.is_dir() && ours, "{} belongs to somebody else: remove it", self.run_dir.display());
        }
        self.run_as.make_private_dir(&self.run_dir)
    }
}

/// The socket's directory: in the cluster's, or, where that makes the path too long for a socket, a short one.
fn run_dir(root: &Path) -> PathBuf {
    let near = root.join("run");
    if near.as_os_str().len() + 1 + SOCKET_NAME.len() < SOCKET_PATH_BYTES_MAX {
        return near;
    }
    // FNV-1a: the same data directory must lead to the same place in every process and version.
    let hash = root
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    PathBuf::from(format!("/tmp/fanfare-{hash:016x}"))
}

fn percent_encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Line 1 is the process, line 8 its state, written when it changes.
fn parse_postmaster(text: &str) -> Option<Postmaster> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    Some(Postmaster { pid, is_ready: lines.nth(6).is_some_and(|state| state.trim() == "ready") })
}

fn checked(what: &str, output: std::io::Result<Output>) -> Result<Output> {
    let output = output.with_context(|| format!("cannot run {what}: is `setpriv` (util-linux) installed?"))?;
    if !output.status.success() {
        bail!("{what} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_always_fits() {
        assert_eq!(run_dir(Path::new("/var/lib/fanfare/postgres")), Path::new("/var/lib/fanfare/postgres/run"));
        for length in 60..140 {
            let root = PathBuf::from(format!("/{}", "x".repeat(length)));
            let dir = run_dir(&root);
            assert!(dir.join(SOCKET_NAME).as_os_str().len() < SOCKET_PATH_BYTES_MAX, "{}", dir.display());
            assert_eq!(dir, run_dir(&root));
        }
    }

    #[test]
    fn the_state_of_postgres_is_read_from_its_own_file() {
        let starting = "4711\n/data\n1700000000\n5432\n/run\n\n 1 2\nstarting\n";
        assert_eq!(parse_postmaster(starting), Some(Postmaster { pid: 4711, is_ready: false }));
        let ready = starting.replace("starting", "ready   ");
        assert_eq!(parse_postmaster(&ready), Some(Postmaster { pid: 4711, is_ready: true }));
        assert_eq!(parse_postmaster("4711\n"), Some(Postmaster { pid: 4711, is_ready: false }));
        assert_eq!(parse_postmaster(""), None);
    }

    #[test]
    fn paths_survive_in_the_url() {
        assert_eq!(percent_encode(b"/data dir/run?x=1&y"), "/data%20dir/run%3Fx%3D1%26y");
    }
}
