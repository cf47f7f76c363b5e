//! A Redis with a replica, and sentinels that watch over them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::{Client, TlsCertificates, cmd};

use crate::certificates::Authority;
use crate::{eventually, free_port};

/// What the sentinels call it.
const NAME: &str = "main";
const SENTINELS: usize = 3;
/// How long a master may be silent until sentinels take it for dead.
const DOWN_AFTER_MS: u32 = 1_000;

/// One master, one replica, three sentinels, on ports of this machine. They end, and their files go, when this is dropped.
#[derive(Debug)]
pub struct Sentinels {
    root: PathBuf,
    servers: [Process; 2],
    sentinels: Vec<Process>,
    /// Who signed the certificates of all, where they speak TLS.
    tls: Option<Authority>,
}

#[derive(Debug)]
struct Process {
    port: u16,
    child: Option<Child>,
}

impl Sentinels {
    /// Starts all of them; each of the two keeps nothing on disk.
    ///
    /// # Errors
    /// When `redis-server` is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_as(None).await
    }

    /// The same, all of them over TLS.
    ///
    /// # Errors
    /// When `redis-server` is not installed or does not start.
    pub async fn start_tls() -> Result<Self> {
        Self::start_as(Some(Authority::new()?)).await
    }

    async fn start_as(tls: Option<Authority>) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("fanfare-sentinels-{}-{number}", std::process::id()));
        fs::create_dir_all(&root)?;
        let [one, two] = [Process::new()?, Process::new()?];
        let mut all = Self { root, servers: [one, two], sentinels: Vec::new(), tls };
        all.launch_as(0, None)?;
        all.answers(0).await?;
        all.launch_as(1, Some(all.servers[0].port))?;
        all.is_replicated(0).await?;
        for number in 0..SENTINELS {
            let process = Process::new()?;
            let file = all.root.join(format!("sentinel-{number}.conf"));
            let watched = all.servers[0].port;
            fs::write(
                &file,
                format!(
                    "bind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {watched} 2\n\
                     sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\nsentinel failover-timeout {NAME} 2000\n"
                ),
            )?;
            let mut arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
            arguments.extend(all.listening(process.port)?);
            all.sentinels.push(process);
            all.sentinels[number].child = Some(all.spawn(&arguments)?);
        }
        all.is_watched(0).await?;
        Ok(all)
    }

    /// What `REDIS_URL` wants.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|process| format!("127.0.0.1:{}", process.port)).collect();
        format!("{}+sentinel://{}/{NAME}", self.scheme(), hosts.join(","))
    }

    /// What makes others trust them, where they speak TLS.
    #[must_use]
    pub fn ca(&self) -> Option<PathBuf> {
        self.tls.as_ref().map(Authority::ca)
    }

    const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "rediss" } else { "redis" }
    }

    fn listening(&self, port: u16) -> Result<Vec<String>> {
        match &self.tls {
            None => Ok(vec!["--port".to_owned(), port.to_string()]),
            Some(authority) => authority.redis(port),
        }
    }

    /// A connection to whoever listens there.
    async fn speak(&self, port: u16) -> Result<MultiplexedConnection> {
        let url = format!("{}://127.0.0.1:{port}", self.scheme());
        let client = match self.ca() {
            None => Client::open(url)?,
            Some(ca) => {
                let root_cert = Some(fs::read(ca)?);
                Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert })?
            }
        };
        Ok(client.get_multiplexed_async_connection().await?)
    }

    /// Which of the two is the master, as most sentinels say.
    ///
    /// # Errors
    /// When they do not agree.
    pub async fn master(&self) -> Result<usize> {
        eventually("sentinels agree on a master", async || {
            let mut votes = [0; 2];
            for sentinel in &self.sentinels {
                let told = self.master_of(sentinel.port).await;
                let voted = self.servers.iter().position(|server| told.as_ref().ok() == Some(&server.port));
                if let Some(voted) = voted {
                    votes[voted] += 1;
                }
            }
            Ok(votes.iter().position(|votes| *votes > SENTINELS / 2))
        })
        .await
    }

    /// A connection to one of the two, for looking behind the server's back.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connection(&self, number: usize) -> Result<MultiplexedConnection> {
        self.speak(self.servers[number].port).await
    }

    /// Ends one of the two as a failing machine would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.servers[number].kill()
    }

    /// Stops one of the two where it stands, or lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self, number: usize, frozen: bool) -> Result<()> {
        let child = self.servers[number].child.as_ref().context("it does not run")?;
        let signal = if frozen { "-STOP" } else { "-CONT" };
        ensure!(
            Command::new("kill").args([signal, &child.id().to_string()]).status()?.success(),
            "cannot send {signal}"
        );
        Ok(())
    }

    /// Has all sentinels know nobody but this user, who may ask for the master and nothing else.
    ///
    /// # Errors
    /// When they do not take it.
    pub async fn guard(&self, user: &str, password: &str) -> Result<()> {
        for sentinel in &self.sentinels {
            let mut admin = self.speak(sentinel.port).await?;
            let rights = ["on", &format!(">{password}"), "resetchannels", "-@all", "+sentinel|master"];
            let () = cmd("ACL").arg("SETUSER").arg(user).arg(&rights).query_async(&mut admin).await?;
            let () = cmd("ACL").arg("SETUSER").arg("default").arg("off").query_async(&mut admin).await?;
        }
        Ok(())
    }

    /// Ends a sentinel.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_sentinel(&mut self, number: usize) -> Result<()> {
        self.sentinels[number].kill()
    }

    /// Waits until the other is the master, after this one ended.
    ///
    /// # Errors
    /// When sentinels do not promote it.
    pub async fn promoted(&self, other: usize) -> Result<()> {
        eventually("the replica is promoted", async || Ok((self.master().await? == other).then_some(()))).await
    }

    /// Starts one that ended again, empty and as a replica of the other, and waits until it has everything and most
    /// sentinels know it as one.
    ///
    /// # Errors
    /// When it does not start or get there.
    pub async fn launch(&mut self, number: usize) -> Result<()> {
        self.launch_as(number, Some(self.servers[1 - number].port))?;
        self.is_replicated(1 - number).await?;
        self.is_watched(1 - number).await
    }

    /// Where one of the two is, without asking sentinels.
    #[must_use]
    pub fn url_of(&self, number: usize) -> String {
        format!("{}://127.0.0.1:{}", self.scheme(), self.servers[number].port)
    }

    /// Waits until this one is a master whose replica has everything.
    ///
    /// # Errors
    /// When it does not become one.
    pub async fn is_replicated(&self, master: usize) -> Result<()> {
        eventually("the replica has everything", async || {
            let Ok(mut connection) = self.connection(master).await else { return Ok(None) };
            let info: String = cmd("INFO").arg("replication").query_async(&mut connection).await?;
            Ok(info.contains("state=online").then_some(()))
        })
        .await
        .with_context(|| self.log())
    }

    /// What the sentinels had to say.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    fn launch_as(&mut self, number: usize, replica_of: Option<u16>) -> Result<()> {
        let port = self.servers[number].port;
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(ToOwned::to_owned).into();
        arguments.extend(["--repl-diskless-sync-delay", "0"].map(ToOwned::to_owned));
        arguments.extend(self.listening(port)?);
        if let Some(master) = replica_of {
            arguments.extend(["--replicaof".to_owned(), format!("127.0.0.1 {master}")]);
        }
        self.servers[number].child = Some(self.spawn(&arguments)?);
        Ok(())
    }

    fn spawn(&self, arguments: &[String]) -> Result<Child> {
        let log = File::options().create(true).append(true).open(self.root.join("log"))?;
        let mut command = Command::new("redis-server");
        command.args(arguments).current_dir(&self.root).stdout(log.try_clone()?).stderr(log);
        command.spawn().context("start redis-server")
    }

    async fn answers(&self, number: usize) -> Result<()> {
        eventually("Redis answers", async || Ok(self.connection(number).await.ok().map(drop)))
            .await
            .with_context(|| self.log())
    }

    async fn master_of(&self, sentinel: u16) -> Result<u16> {
        let mut connection = self.speak(sentinel).await?;
        let (_, port): (String, u16) =
            cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(NAME).query_async(&mut connection).await?;
        Ok(port)
    }

    async fn is_watched(&self, master: usize) -> Result<()> {
        eventually("most sentinels know all", async || {
            let mut know = 0;
            for sentinel in &self.sentinels {
                let Ok(mut connection) = self.speak(sentinel.port).await else { return Ok(None) };
                let replicas: Vec<HashMap<String, String>> =
                    cmd("SENTINEL").arg("REPLICAS").arg(NAME).query_async(&mut connection).await?;
                let known: HashMap<String, String> =
                    cmd("SENTINEL").arg("MASTER").arg(NAME).query_async(&mut connection).await?;
                let is = |of: &HashMap<String, String>, field: &str, value: &str| {
                    of.get(field).is_some_and(|known| known == value)
                };
                let replica = self.servers[1 - master].port.to_string();
                let has_replica =
                    replicas.iter().any(|known| is(known, "port", &replica) && is(known, "flags", "slave"));
                let port = self.servers[master].port.to_string();
                let is_whole = is(&known, "port", &port)
                    && is(&known, "num-other-sentinels", &(SENTINELS - 1).to_string())
                    && is(&known, "flags", "master");
                know += usize::from(has_replica && is_whole);
            }
            Ok((know > SENTINELS / 2).then_some(()))
        })
        .await
        .with_context(|| self.log())
    }
}

impl Process {
    fn new() -> Result<Self> {
        Ok(Self { port: free_port()?, child: None })
    }

    fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for process in self.servers.iter_mut().chain(&mut self.sentinels).filter(|process| process.child.is_some()) {
            // It may have ended by itself, which is as good.
            let _ = process.kill();
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}
