//! The real server, alone: its own database, data directory and ports.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use fanfare_load::platform::{Options as Launch, Platform};
use serde_json::{Value, json};

use crate::answer::{Answer, http};
use crate::owner::Owner;
use crate::postgres::{self, Database};
use crate::redis::Redis;
use crate::{TIMEOUT, eventually};

/// A password that no list of common ones knows.
pub const PASSWORD: &str = "correct-horse-battery-staple-9";

/// Where a server's data is.
#[derive(Debug, Clone, Default)]
pub enum Home {
    /// A database of its own in the cluster that tests share.
    #[default]
    Shared,
    /// A database elsewhere.
    Url(String),
    /// A Postgres that the server itself runs: the embedded defaults.
    Embedded,
}

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where its data is.
    pub home: Home,
    /// Variables over the harness's own, such as `("FANFARE_STOP__DRAIN_MS", "1000")`.
    pub variables: Vec<(String, String)>,
    /// What a shell does before it becomes the server.
    pub prelude: Option<&'static str>,
    /// Whether it keeps everything in its own memory, also where servers are to work over Redis.
    pub in_memory: bool,
}

impl Options {
    /// A server whose data is there.
    #[must_use]
    pub fn at(home: Home) -> Self {
        Self { home, ..Self::default() }
    }

    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// One that forgets with its process, whatever others work over: for tests of just that.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { in_memory: true, ..Self::default() }
    }

    /// Has a shell do this before it becomes the server, such as `trap '' XFSZ`.
    #[must_use]
    pub fn after(self, prelude: &'static str) -> Self {
        Self { prelude: Some(prelude), ..self }
    }
}

/// A running server. It is killed when this is dropped, and its database goes.
#[derive(Debug)]
pub struct Server {
    options: Options,
    platform: Option<Platform>,
    ports: [u16; 3],
    data: PathBuf,
    database: Option<Database>,
    /// Where every server is to work over Redis, its own.
    redis: Option<Redis>,
}

/// Names a variable that, where it is set, has every server work over a Redis of its own: what holds in memory holds there.
pub const OVER_REDIS: &str = "FANFARE_TEST_OVER_REDIS";

/// Whether servers work over Redis unless they say otherwise.
#[must_use]
pub fn is_over_redis() -> bool {
    std::env::var_os(OVER_REDIS).is_some()
}

impl Server {
    /// Starts a server with the harness's options.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(options: Options) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let database = match options.home {
            Home::Shared => Some(postgres::database().await?),
            Home::Url(_) | Home::Embedded => None,
        };
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let data = std::env::temp_dir().join(format!("fanfare-it-{}-{number}", std::process::id()));
        let names_one = options.variables.iter().any(|(name, _)| name == "REDIS_URL");
        let wants_one = is_over_redis() && !names_one && !options.in_memory;
        let redis = if wants_one { Some(Redis::start().await?) } else { None };
        let mut server = Self { options, platform: None, ports: [0; 3], data, database, redis };
        server.launch().await?;
        Ok(server)
    }

    /// Its database in the shared cluster.
    ///
    /// # Panics
    /// When it has none there.
    #[must_use]
    pub const fn database(&self) -> &Database {
        self.database.as_ref().expect("the server is at home in the shared cluster")
    }

    /// How the next [`launch`](Self::launch) starts it.
    pub const fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where the dashboard and the control plane are.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.platform().control_url
    }

    /// Where the data plane is.
    #[must_use]
    pub fn gateway_url(&self) -> &str {
        &self.platform().gateway_url
    }

    /// Where health, readiness and metrics are.
    #[must_use]
    pub fn private_url(&self) -> &str {
        &self.platform().private_url
    }

    /// Its process.
    ///
    /// # Panics
    /// Between [`stop`](Self::stop) or [`kill`](Self::kill) and [`launch`](Self::launch).
    #[must_use]
    pub const fn platform(&self) -> &Platform {
        self.platform.as_ref().expect("the server runs")
    }

    /// What it logged so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.log_path())?)
    }

    /// Starts it, again if it was stopped: with the same ports, data and database.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn launch(&mut self) -> Result<()> {
        let defaults = [
            ("FANFARE_CONTROL__HOLD_SIGN_UPS", "false"),
            ("FANFARE_CONTROL__SIGN_UP__BURST", "1000"),
            ("FANFARE_CONTROL__SIGN_UP__PERIOD_MS", "1"),
            ("FANFARE_CONTROL__SIGN_IN__BURST", "1000"),
            ("FANFARE_CONTROL__SIGN_IN__PERIOD_MS", "1"),
            ("FANFARE_STOP__DRAIN_MS", "100"),
        ];
        let mut variables: Vec<_> = defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        variables.extend(self.redis.iter().map(|redis| ("REDIS_URL".to_owned(), redis.url())));
        variables.extend(self.options.variables.iter().cloned());
        let launch = Launch {
            database_url: match &self.options.home {
                Home::Shared => Some(self.database().url.clone()),
                Home::Url(url) => Some(url.clone()),
                Home::Embedded => None,
            },
            data: Some(self.data.clone()),
            log: Some(self.log_path()),
            variables,
            ports: self.ports,
            ..Launch::new(self.program()?, "it")
        };
        let platform = tokio::task::spawn_blocking(move || Platform::start(&launch)).await??;
        let urls = [&platform.gateway_url, &platform.control_url, &platform.private_url];
        for (port, url) in self.ports.iter_mut().zip(urls) {
            *port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).context("a URL has a port")?;
        }
        self.platform = Some(platform);
        Ok(())
    }

    /// What is started: the binary, or a script that becomes it.
    fn program(&self) -> Result<PathBuf> {
        let binary = binary()?;
        let Some(prelude) = self.options.prelude else { return Ok(binary) };
        let script = self.data.with_extension("start");
        fs::write(&script, format!("#!/bin/sh\n{prelude}\nexec '{}' \"$@\"\n", binary.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
        Ok(script)
    }

    /// Stops it as an operator would; [`launch`](Self::launch) starts it again.
    ///
    /// # Errors
    /// When it does not stop cleanly.
    pub async fn stop(&mut self) -> Result<()> {
        let platform = self.platform.take().context("the server does not run")?;
        tokio::task::spawn_blocking(move || platform.stop()).await?
    }

    /// Waits for it to end after a signal; its exit code.
    ///
    /// # Errors
    /// When it does not end in time, or by a signal.
    pub async fn ended(&mut self) -> Result<i32> {
        let mut platform = self.platform.take().context("the server does not run")?;
        let status = tokio::task::spawn_blocking(move || platform.wait(TIMEOUT)).await??;
        status.code().with_context(|| format!("the server ended with {status}"))
    }

    /// Kills it as a failing machine would; [`launch`](Self::launch) starts it again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.platform.take().context("the server does not run")?.kill()
    }

    /// Signs up somebody new, and waits until the data plane knows their app.
    ///
    /// # Errors
    /// When that fails.
    pub async fn sign_up(&self) -> Result<Owner> {
        static SIGNED_UP: AtomicU32 = AtomicU32::new(0);
        let email = format!("owner-{}@example.com", SIGNED_UP.fetch_add(1, Ordering::Relaxed));
        self.sign_up_as(&email).await
    }

    /// Signs up somebody by address, and waits until the data plane knows their app.
    ///
    /// # Errors
    /// When that fails.
    pub async fn sign_up_as(&self, email: &str) -> Result<Owner> {
        Owner::sign_up_at(self.gateway_url(), self.control_url(), email).await
    }

    /// Claims the tenant of the first start with the code of the welcome link.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn claim(&self, code: &str, email: &str) -> Result<Owner> {
        let http = http()?;
        let request = http.post(format!("{}/api/v1/welcome", self.control_url())).header("X-Fanfare-CSRF", "1");
        let body = json!({ "code": code, "email": email, "password": PASSWORD });
        let made = Answer::to(request.json(&body)).await?.ok()?;
        Owner::new(http, self, email, &made)
    }

    /// Waits until the data plane knows an owner's app and key: it hears of them by the change feed.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn await_app(&self, owner: &Owner) -> Result<()> {
        eventually("the gateway knows the app", async || {
            let answer = owner.publisher().get("/channels").await?;
            Ok((answer.status == 200).then_some(()))
        })
        .await
    }

    /// Lowers limits of every app, by name, as tenants can in the database; no page or operation does it yet.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn lower_limits(&self, lowered: &Value) -> Result<()> {
        self.database().lower_limits(lowered).await
    }

    /// Readiness as orchestrators see it.
    ///
    /// # Errors
    /// When the private listener does not answer.
    pub async fn ready(&self) -> Result<Answer> {
        Answer::to(http()?.get(format!("{}/ready", self.private_url()))).await
    }

    /// What it knows of all nodes.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn nodes(&self) -> Result<Answer> {
        Answer::to(http()?.get(format!("{}/nodes", self.private_url()))).await
    }

    fn log_path(&self) -> PathBuf {
        self.data.with_extension("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.platform.take() {
            // Dropping it stops it, and its Postgres, before its files go.
            Some(platform) if matches!(self.options.home, Home::Embedded) => drop(platform),
            // It may be gone already, which is as good.
            Some(platform) => drop(platform.kill()),
            None => {}
        }
        let _ = fs::remove_dir_all(&self.data);
        // The log of a failed test is what one looks at next.
        if !std::thread::panicking() {
            let _ = fs::remove_file(self.log_path());
        }
    }
}

/// The text at a place of a JSON document.
pub(crate) fn text(document: &Value, pointer: &str) -> Result<String> {
    let text = document.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no text at {pointer} in {document}"))?.to_owned())
}

/// The server's binary: where cargo puts it, and no older than what it is made of.
///
/// # Errors
/// When it has to be built first.
pub fn binary() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("FANFARE_TEST_BINARY") {
        return Ok(given.into());
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = tests.parent().expect("the tests are one directory below the workspace");
    // Our own binary lies in <target>/<profile>/deps.
    let own = std::env::current_exe()?;
    let profile = own.ancestors().nth(2).context("tests run from cargo's target directory")?;
    let binary = profile.join("fanfare");
    let built = fs::metadata(&binary).and_then(|file| file.modified());
    let built = built.with_context(|| format!("no {}: run `cargo build -p fanfare` first", binary.display()))?;
    let mut newest = (SystemTime::UNIX_EPOCH, PathBuf::new());
    for directory in ["server", "migrations"] {
        newest_source(&root.join(directory), &mut newest)?;
    }
    let (changed, source) = newest;
    ensure!(
        changed <= built,
        "{} is older than {}: run `cargo build -p fanfare` first (or set FANFARE_TEST_BINARY)",
        binary.display(),
        source.display()
    );
    Ok(binary)
}

/// The source that changed last, of those the binary is built from.
fn newest_source(directory: &Path, newest: &mut (SystemTime, PathBuf)) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if !["tests", "benches", "examples"].iter().any(|other| name == *other) {
                newest_source(&path, newest)?;
            }
        } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "sql") {
            let changed = entry.metadata()?.modified()?;
            if changed > newest.0 && !is_tests_only(&path) {
                *newest = (changed, path);
            }
        }
    }
    Ok(())
}

/// Whether a file holds a module's tests, which are not in the binary.
fn is_tests_only(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
}
