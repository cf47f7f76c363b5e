//! A Redis of a test's own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use redis::Client;
use redis::aio::MultiplexedConnection;

use crate::eventually;

/// A Redis on a Unix socket in a directory of its own. It ends, and its files go, when this is dropped.
#[derive(Debug)]
pub struct Redis {
    root: PathBuf,
    arguments: Vec<String>,
    /// As whom the harness speaks to it, where not everybody may.
    user: Option<String>,
    process: Option<Child>,
}

impl Redis {
    /// One that keeps everything in memory and evicts nothing.
    ///
    /// # Errors
    /// When `redis-server` is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(&["--save", "", "--appendonly", "no"]).await
    }

    /// One with these arguments.
    ///
    /// # Errors
    /// When `redis-server` is not installed or does not start.
    pub async fn start_with(arguments: &[&str]) -> Result<Self> {
        Self::start_as(None, arguments).await
    }

    /// One with these arguments, which knows nobody but this user and perhaps others.
    ///
    /// # Errors
    /// When `redis-server` is not installed or does not start.
    pub async fn start_for(user: &str, password: &str, arguments: &[&str]) -> Result<Self> {
        Self::start_as(Some(format!("?user={user}&pass={password}")), arguments).await
    }

    async fn start_as(user: Option<String>, arguments: &[&str]) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("fanfare-redis-{}-{number}", std::process::id()));
        fs::create_dir_all(&root)?;
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut redis = Self { root, arguments, user, process: None };
        redis.launch().await?;
        Ok(redis)
    }

    /// Starts it, again after [`kill`](Self::kill), with what it has on disk.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn launch(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.root.join("log"))?;
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket"]).arg(self.socket()).arg("--dir").arg(&self.root);
        command.args(&self.arguments).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn().context("start redis-server")?);
        let ready = eventually("Redis answers", async || Ok(self.connection().await.ok().map(drop))).await;
        ready.with_context(|| fs::read_to_string(self.root.join("log")).unwrap_or_default())
    }

    /// Ends it as a failing machine would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("Redis does not run")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Stops it where it stands, or lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let process = self.process.as_ref().context("Redis does not run")?;
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &process.id().to_string()]).status()?;
        ensure!(status.success(), "cannot send {signal} to Redis");
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("redis.sock")
    }

    /// What `REDIS_URL` wants.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// A connection, for looking behind the server's back.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connection(&self) -> Result<MultiplexedConnection> {
        let url = self.url() + self.user.as_deref().unwrap_or_default();
        Ok(Client::open(url)?.get_multiplexed_async_connection().await?)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.process.is_some() {
            // It may have ended by itself, which is as good.
            let _ = self.kill();
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}
