//! A cluster of a test's own, for what must not be done to the shared one: stopping it, or changing its roles.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use super::cluster::{LOGIN, as_unprivileged_user, binaries};
use crate::eventually;

/// The password in its URL, which must not show anywhere. The cluster trusts whoever reaches it.
pub const URL_PASSWORD: &str = "canary-of-a-url-93d0";

const DATABASE: &str = "fanfare";

/// A cluster with one empty database. It ends with the thread that started it, and is removed when this is dropped.
#[derive(Debug)]
pub struct OwnCluster {
    root: PathBuf,
    binaries: PathBuf,
    process: Option<Child>,
}

impl OwnCluster {
    /// Makes a cluster and starts it.
    ///
    /// # Errors
    /// When Postgres is not installed or does not start.
    pub async fn start() -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("fanfare-pg-{}-{number}", std::process::id()));
        fs::create_dir_all(&root)?;
        let mut cluster = Self { root, binaries: binaries()?, process: None };
        let mut initdb = cluster.command("initdb")?;
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        let made = initdb.arg("--no-instructions").output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        cluster.launch().await?;
        let mut admin = cluster.options("postgres", "postgres").connect().await?;
        sqlx::raw_sql("CREATE ROLE fanfare_login LOGIN CREATEROLE").execute(&mut admin).await?;
        sqlx::raw_sql("CREATE DATABASE fanfare OWNER fanfare_login").execute(&mut admin).await?;
        Ok(cluster)
    }

    /// Starts it again after [`stop`](Self::stop), and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn launch(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = self.command("postgres")?;
        command.arg("-k").arg(&self.root).args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        command.args(["-c", "logging_collector=off", "-c", "log_destination=stderr"]);
        self.process = Some(command.stdout(log.try_clone()?).stderr(log).spawn().context("start Postgres")?);
        let options = self.options("postgres", "postgres");
        let ready = eventually("Postgres starts", async || Ok(options.connect().await.ok().map(drop))).await;
        ready.with_context(|| fs::read_to_string(self.log_path()).unwrap_or_default())
    }

    /// Stops it as a failing machine would: nobody is asked, and the next start has to recover.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("Postgres does not run")?;
        signal(&process, "QUIT")?;
        process.wait()?;
        Ok(())
    }

    /// Where its database is, as a login that may migrate and is no superuser: what `DATABASE_URL` wants.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{LOGIN}:{URL_PASSWORD}@localhost:5432/{DATABASE}?host={}", self.root.display())
    }

    /// Where another database is, as another login.
    #[must_use]
    pub fn url_of(&self, login: &str, database: &str) -> String {
        format!("postgres://{login}@localhost:5432/{database}?host={}", self.root.display())
    }

    /// The database, as the superuser.
    ///
    /// # Errors
    /// When Postgres does not run.
    pub async fn admin(&self) -> Result<PgConnection> {
        Ok(self.options("postgres", DATABASE).connect().await?)
    }

    /// What it logged.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.root.join("log")
    }

    fn options(&self, role: &str, database: &str) -> PgConnectOptions {
        superuser_of(&self.root).username(role).database(database)
    }

    /// A program of Postgres's on the cluster's files, in the place of the thread that starts it: when that ends, in
    /// whatever way, the program gets what stops Postgres at once.
    fn command(&self, program: &str) -> Result<Command> {
        let words = as_unprivileged_user(&self.root)?;
        let lower = words.iter().map(String::as_str).chain(["setpriv", "--pdeathsig", "QUIT", "--"]);
        let lower: Vec<&str> = lower.collect();
        let mut command = Command::new(lower[0]);
        command.args(&lower[1..]).arg(self.binaries.join(program)).arg("-D").arg(self.root.join("data"));
        command.stdin(Stdio::null()).current_dir(&self.root).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        Ok(command)
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        if self.process.is_some() {
            // It may have ended by itself, which is as good.
            let _ = self.stop();
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// How to connect as the superuser of a cluster whose socket is in this directory, which trusts whoever can enter it.
#[must_use]
pub fn superuser_of(socket_directory: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&socket_directory.to_string_lossy())
        .port(5432)
        .username("postgres")
        .database(DATABASE)
        .disable_statement_logging()
}

fn signal(process: &Child, name: &str) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status()?;
    ensure!(status.success(), "cannot send {name} to Postgres");
    Ok(())
}
