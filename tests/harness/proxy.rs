//! A TCP proxy between a server and what it works with, which fails when it is told to.
//!
//! ```text
//! server ─▶ Proxy (127.0.0.1, any port) ─▶ a socket of the machine: Postgres, Redis
//!              └ Silent: bytes wait on both sides, nobody is told     (a cable that was pulled)
//!              └ Cut: connections end, and new ones are refused       (a process that died)
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Road {
    /// Connections before this one carry nothing any more.
    silent_before: u64,
    /// Nor do those from here on.
    silent: bool,
    /// Connections before this one have ended.
    cut_before: u64,
}

/// A proxy. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    road: watch::Sender<Road>,
    accepted: watch::Receiver<u64>,
    _connections: JoinSet<()>,
}

impl Proxy {
    /// A proxy to a Unix socket.
    ///
    /// # Errors
    /// When the machine gives no port.
    pub async fn to_unix(target: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (road, rules) = watch::channel(Road { silent_before: 0, silent: false, cut_before: 0 });
        let (count, accepted) = watch::channel(0);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            // Its own set, so that they end with this task.
            let mut carried = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = *count.borrow();
                count.send_replace(number + 1);
                carried.spawn(carry(client, target.clone(), number, rules.clone()));
                while carried.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, road, accepted, _connections: connections })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing is carried, on old connections and on new ones, and nobody is told.
    pub fn silence(&self) {
        self.road.send_modify(|road| road.silent = true);
    }

    /// What is there carries nothing any more, for good; new connections work.
    pub fn silence_existing(&self) {
        let accepted = *self.accepted.borrow();
        self.road.send_modify(|road| (road.silent_before, road.silent) = (accepted, false));
    }

    /// Everything is carried again, what waited first.
    pub fn heal(&self) {
        self.road.send_modify(|road| (road.silent_before, road.silent) = (0, false));
    }

    /// Ends the connections there are.
    pub fn cut(&self) {
        let accepted = *self.accepted.borrow();
        self.road.send_modify(|road| road.cut_before = accepted);
    }

    /// How many connections there have been.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        *self.accepted.borrow()
    }
}

/// Carries one connection until either side ends, or it is cut.
async fn carry(client: TcpStream, target: PathBuf, number: u64, mut rules: watch::Receiver<Road>) {
    let Ok(server) = UnixStream::connect(target).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (there, back) = (rules.clone(), rules.clone());
    tokio::select! {
        // One side that says nothing more may still listen.
        _ = async {
            tokio::join!(pump(from_client, to_server, number, there), pump(from_server, to_client, number, back))
        } => {}
        _ = rules.wait_for(|road| number < road.cut_before) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: u64,
    mut rules: watch::Receiver<Road>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes).await
        && count > 0
    {
        if rules.wait_for(|road| !road.silent && number >= road.silent_before).await.is_err()
            || to.write_all(&bytes[..count]).await.is_err()
        {
            return;
        }
    }
    // The other side sees that there is no more; that it is gone already is as good.
    let _ = to.shutdown().await;
}
