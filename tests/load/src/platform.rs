//! A server process of one's own: the real binary on free ports of 127.0.0.1, with a data directory that goes with it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// From an empty directory, so initdb and every migration are in it.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's binary.
    pub binary: PathBuf,
    /// A Postgres; without it the server starts its own.
    pub database_url: Option<String>,
    /// Its data directory. Without it, a new one that is removed afterwards.
    pub data: Option<PathBuf>,
    /// Where its log goes. Without it, a new file that is removed afterwards; what is in it when the server does not
    /// start is in the error.
    pub log: Option<PathBuf>,
    /// Further variables, such as `FANFARE_STOP__DRAIN_MS`.
    pub variables: Vec<(String, String)>,
    /// Ports of the gateway, the control plane and the private listener; 0 is a free one.
    pub ports: [u16; 3],
    /// Part of the names of files that are made for it.
    pub name: String,
}

impl Options {
    /// The embedded defaults on free ports.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            binary: binary.into(),
            database_url: None,
            data: None,
            log: None,
            variables: Vec::new(),
            ports: [0; 3],
            name: name.into(),
        }
    }
}

/// A running server. It stops when this is dropped, and dies with the thread that started it.
#[derive(Debug)]
pub struct Platform {
    /// Realtime and data-plane REST.
    pub gateway_url: String,
    /// The dashboard and control-plane REST.
    pub control_url: String,
    /// Health, readiness, metrics.
    pub private_url: String,
    /// The app that was made at the first start: what `FANFARE_URL` wants.
    pub app_url: Option<String>,
    /// A key of that app: what `FANFARE_KEY` wants.
    pub key: Option<String>,
    /// The link that claims the first tenant.
    pub welcome_url: Option<String>,
    /// Its log.
    pub log: PathBuf,
    /// Its data directory.
    pub data: PathBuf,
    process: Child,
    /// Files that were made for it and go with it.
    removes: [bool; 2],
}

impl Platform {
    /// Starts a server and waits until it says where it is.
    ///
    /// # Errors
    /// When it does not start in time; the error ends with its log.
    pub fn start(options: &Options) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("fanfare-{}-{}-{}", options.name, std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let data = options.data.clone().unwrap_or_else(|| std::env::temp_dir().join(&name));
        let log = options.log.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("{name}.log")));
        let mut command = command(options, &data);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::options().create(true).append(true).open(&log)?);
        let (process, lines) = spawn(command)?;
        // From here on, dropping it stops the process.
        let mut platform = Self {
            gateway_url: String::new(),
            control_url: String::new(),
            private_url: String::new(),
            app_url: None,
            key: None,
            welcome_url: None,
            removes: [options.data.is_none(), options.log.is_none()],
            log,
            data,
            process,
        };
        platform.read_addresses(&lines).with_context(|| {
            format!("the server did not start:\n{}", fs::read_to_string(&platform.log).unwrap_or_default())
        })?;
        Ok(platform)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to stop, as an operator would, and waits.
    ///
    /// # Errors
    /// When it does not stop in time, or says that it failed.
    pub fn stop(mut self) -> Result<()> {
        self.signal("TERM")?;
        let status = self.wait(STOP_TIMEOUT)?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Kills it, as a failing machine would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Sends it a signal by name, such as `STOP`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status()?;
        ensure!(status.success(), "cannot send {name} to the server");
        Ok(())
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it does not in time.
    #[expect(clippy::disallowed_methods, reason = "the standard library cannot wait for a process with a timeout")]
    pub fn wait(&mut self, timeout: Duration) -> Result<std::process::ExitStatus> {
        let polls = timeout.as_millis() / POLL_INTERVAL.as_millis();
        for _ in 0..polls {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        bail!("the server still runs after {timeout:?}")
    }

    /// Reads what the server prints when it is up.
    fn read_addresses(&mut self, lines: &Receiver<String>) -> Result<()> {
        loop {
            let line = lines.recv_timeout(START_TIMEOUT).context("it does not say where it is")?;
            self.read_line(line.trim());
            // The last line of what it prints.
            if line.contains("Ctrl-C") {
                break;
            }
        }
        ensure!(!self.private_url.is_empty(), "it does not say its addresses");
        Ok(())
    }

    fn read_line(&mut self, line: &str) {
        let exported = |name: &str| {
            let (_, value) = line.split_once(&format!("export {name}="))?;
            Some(value.trim().trim_matches(['\'', '"']).to_owned())
        };
        if let Some(url) = exported("FANFARE_URL") {
            self.app_url = Some(url);
        }
        if let Some(key) = exported("FANFARE_KEY") {
            self.key = Some(key);
        }
        if line.contains("/welcome#") {
            self.welcome_url = Some(line.to_owned());
        }
        let mut words = line.split_whitespace();
        let (Some(what), Some(url)) = (words.next(), words.next()) else { return };
        match what {
            "Gateway" => url.clone_into(&mut self.gateway_url),
            "Dashboard" => url.clone_into(&mut self.control_url),
            "Private" => url.clone_into(&mut self.private_url),
            _ => {}
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        if matches!(self.process.try_wait(), Ok(None)) && self.signal("TERM").is_ok() {
            let _ = self.wait(STOP_TIMEOUT);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let [data, log] = self.removes;
        if data {
            let _ = fs::remove_dir_all(&self.data);
        }
        if log {
            let _ = fs::remove_file(&self.log);
        }
    }
}

/// The server's command line and environment: nothing of ours but where programs and files are.
fn command(options: &Options, data: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(&options.binary).arg("serve").arg("--data").arg(data);
    let kept = ["PATH", "HOME", "TMPDIR", "FANFARE_PG_BIN", "RUST_BACKTRACE"];
    let kept: Vec<(&str, OsString)> =
        kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
    command.env_clear().envs(kept);
    for (listener, port) in ["GATEWAY", "CONTROL", "PRIVATE"].into_iter().zip(options.ports) {
        command.env(format!("FANFARE_LISTEN__{listener}"), format!("127.0.0.1:{port}"));
    }
    if let Some(url) = &options.database_url {
        command.env("DATABASE_URL", url);
    }
    command.envs(options.variables.iter().map(|(name, value)| (name, value)));
    command
}

/// Starts it from a thread that reads what it prints for as long as it lives: the kernel signals a process when the
/// *thread* that started it ends, and a runtime's threads come and go.
fn spawn(mut command: Command) -> Result<(Child, Receiver<String>)> {
    let (started, child) = mpsc::sync_channel(1);
    let (printed, lines) = mpsc::sync_channel(256);
    std::thread::spawn(move || {
        let mut spawned = command.spawn();
        let stdout = spawned.as_mut().ok().and_then(|child| child.stdout.take());
        if started.send(spawned).is_err() {
            return;
        }
        for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok)) {
            // Nobody listens any more once the addresses are known, and the server must never wait for us.
            let _ = printed.try_send(line);
        }
    });
    let child = child.recv().context("the thread that starts the server ended")?;
    Ok((child.context("start setpriv (of util-linux)")?, lines))
}
