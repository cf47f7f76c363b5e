//! A client that stops reading is nobody's problem but its own, and loses nothing that history keeps.

use ::harness::TIMEOUT;
use ::harness::client::Client;
use ::harness::ledger::Ledger;
use ::harness::server::Server;
use anyhow::{Context, Result};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::{keep, read_to};

/// Together some times what all buffers between server and client hold.
const MESSAGES: u64 = 400;
const BYTES: usize = 48 * 1024;

/// A link whose buffer is small, so that a reader that stops is felt soon.
pub(crate) async fn narrow_link(url: &str) -> Result<TcpStream> {
    let host = url.split('/').nth(2).context("a URL has a host")?;
    let address = lookup_host(host).await?.next().context("the host has an address")?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(16 * 1024)?;
    Ok(timeout(TIMEOUT, socket.connect(address)).await??)
}

#[tokio::test]
async fn a_stalled_reader_catches_up_without_a_loss_and_holds_nobody_else_up() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    keep(&owner, 1_000).await?;
    let token = owner.token_for("slow", &["room:*"])?;
    let link = narrow_link(&owner.app_url()).await?;
    let mut slow = Client::open_over(link, &owner.app_url(), "slow").await?;
    slow.introduce(Some(&token)).await?;
    let mut fast = owner.connect_as("fast", &["room:*"]).await?;
    slow.subscribe("room:9").await?;
    fast.subscribe("room:9").await?;

    // While one does not read, each message reaches the other before the next is published.
    let mut ledger = Ledger::new();
    let publisher = owner.publisher();
    for number in 1..=MESSAGES {
        let data = format!("{number}:{}", "x".repeat(BYTES));
        publisher.publish_into(&mut ledger, "room:9", data).await?;
        assert_eq!(fast.message("room:9").await?["seq"], number);
    }
    // It reads again: everything comes, in order, and then what is new.
    read_to(&mut slow, "room:9", MESSAGES).await?;
    publisher.publish_into(&mut ledger, "room:9", "live again").await?;
    read_to(&mut slow, "room:9", MESSAGES + 1).await?;
    read_to(&mut fast, "room:9", MESSAGES + 1).await?;
    let journals = [slow.journals(), fast.journals()].concat();
    let summary = ledger.check_settled(&journals).map_err(|violations| anyhow::anyhow!("{violations:#?}"))?;
    assert_eq!(summary.delivered as u64, 2 * (MESSAGES + 1));
    Ok(())
}
