//! What the black-box suite stands on: a Postgres, a server, its users, and a judge.
//!
//! - [`postgres`]: one private cluster for all tests that run at the same time, a migrated database of its own for each
//!   test.
//! - [`store`]: a store on such a database, with a clock that tests move and tenants that sign up.
//! - [`server`]: the real `fanfare` binary on free ports, with its own database and data directory.
//! - [`command`]: the same binary as a command that ends.
//! - [`owner`], [`publisher`], [`client`]: users as types — who signed up, a backend with a key, a socket. The client is
//!   not ours below the frames, so that it judges our WebSocket layer.
//! - [`carried`]: a client that polls or reads a stream, and carries its ticket.
//! - [`raw`]: requests and frames by hand, for what no client of good will sends.
//! - [`ledger`]: the checker of `delivery.md`: no loss, no duplicate, no other order, no unjustified recovery.
//!
//! A test shows its guarantee; what it takes to set it up is here:
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! let server = harness::server::Server::start().await?;
//! let owner = server.sign_up().await?;
//! let mut ann = owner.connect_as("ann", &["room:*"]).await?;
//! ann.subscribe("room:9").await?;
//! owner.publisher().publish("room:9", "hi").await?;
//! assert_eq!(ann.message("room:9").await?["data"], "hi");
//! # Ok(())
//! # }
//! ```

pub mod answer;
pub mod carried;
pub mod certificates;
pub mod client;
pub mod command;
mod journals;
pub mod jwks;
pub mod nginx;
pub mod owner;
pub mod postgres;
pub mod proxy;
pub mod publisher;
pub mod raw;
pub mod redis;
pub mod sentinels;
pub mod server;
pub mod store;
pub mod topology;

pub use fanfare_load::ledger;

use std::time::Duration;

/// How long anything that must happen may take before a test fails. Generous: machines are slow at times, and a passing
/// test never waits for it.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Work beside the test, which ends with it.
#[derive(Debug)]
pub struct Beside<T>(tokio::task::JoinSet<T>);

impl<T: Send + 'static> Beside<T> {
    /// Begins it.
    pub fn begin(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut set = tokio::task::JoinSet::new();
        set.spawn(work);
        Self(set)
    }

    /// What it came to.
    ///
    /// # Errors
    /// When it panicked.
    ///
    /// # Panics
    /// Never: it was begun once, and is waited for once.
    pub async fn done(mut self) -> anyhow::Result<T> {
        Ok(self.0.join_next().await.expect("it was begun")?)
    }
}

/// A port of this machine that nobody listens at. Another program may take it before it is used.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Seconds since 1970, for the claims of tokens.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "tokens are judged by the real server, which has the real time")]
pub fn unix_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("the clock is set").as_secs()
}

/// Asks again until there is an answer or the time is over: for what another process does in its own time.
///
/// # Errors
/// When there is no answer in time; `what` says which.
#[expect(clippy::disallowed_methods, reason = "polls another process, which has no event to wait for")]
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
