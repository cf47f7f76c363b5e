//! Bytes that are meant to cost more than they weigh.

use std::time::Duration;

use ::harness::raw::{Raw, frame, place};
use ::harness::server::Server;
use ::harness::{TIMEOUT, eventually};
use anyhow::{Context, Result, ensure};
use fanfare_protocol::Frame;
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{Bystander, MIB, beside};

/// The first byte of the first of several frames of a text, and of those that follow.
const BEGUN: u8 = 0x01;
const CONTINUED: u8 = 0x00;
/// The first byte of a whole text that is compressed.
const COMPRESSED: u8 = 0xC1;

#[tokio::test]
async fn what_inflates_to_more_than_a_message_may_have_is_stopped_there() -> Result<()> {
    const CONNECTIONS: usize = 100;
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let large = usize::try_from(64 * MIB)?;
    let bomb = Frame::text(large, |out| out.resize(large, b' ')).deflated().payload();
    ensure!(bomb.len() < large / 200, "{} bytes are no bomb", bomb.len());
    let bomb = frame(COMPRESSED, &bomb);
    let attack = async {
        let all = (0..CONNECTIONS).map(async |_| -> Result<()> {
            let mut raw =
                Raw::handshake(&owner.app_url(), &[("Sec-WebSocket-Extensions", "permessage-deflate")]).await?;
            ensure!(raw.header("sec-websocket-extensions").is_some(), "compression was not agreed: {}", raw.head);
            // The server may close before it has read it all.
            let _ = raw.write(&bomb).await;
            let (number, _) = raw.closed().await?;
            ensure!(number == 1009, "closed with {number}");
            Ok(())
        });
        try_join_all(all).await.map(drop)
    };
    let grown = beside(&server, &mut bystander, attack).await?;
    // Inflated they would be 6.4 GB; a message's limit is 1 MiB.
    ensure!(grown <= CONNECTIONS as u64 * MIB, "{} MiB for {CONNECTIONS} connections", grown / MIB);
    bystander.settle("bombs that inflate")
}

#[tokio::test]
async fn messages_of_endless_fragments_are_ended() -> Result<()> {
    const CONNECTIONS: usize = 100;
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let attack = async {
        let all = (0..CONNECTIONS).map(async |number| -> Result<()> {
            let mut raw = Raw::open(&owner.app_url()).await?;
            let part: &[u8] = if number % 2 == 0 { b"" } else { b"x" };
            raw.write(&frame(BEGUN, part)).await?;
            for _ in 0..500 {
                if raw.write(&frame(CONTINUED, part)).await.is_err() {
                    break;
                }
            }
            let (number, reason) = raw.closed().await?;
            ensure!(number == 1008, "closed with {number} {reason}");
            Ok(())
        });
        try_join_all(all).await.map(drop)
    };
    let grown = beside(&server, &mut bystander, attack).await?;
    ensure!(grown <= 32 * MIB, "{} MiB for {CONNECTIONS} connections", grown / MIB);
    bystander.settle("endless fragments")
}

#[tokio::test]
async fn whoever_drips_a_handshake_is_cut_and_keeps_nobody_out() -> Result<()> {
    const CONNECTIONS: usize = 300;
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let url = owner.app_url();
    let (host, path) = place(&url)?;
    let attack = async {
        let all = (0..CONNECTIONS).map(async |_| -> Result<()> {
            let mut link = TcpStream::connect(host).await?;
            link.write_all(format!("GET {path}/socket HTTP/1.1\r\nHost: {host}\r\nX-Drip: ").as_bytes()).await?;
            let begun = Instant::now();
            let mut answer = [0; 256];
            loop {
                match timeout(Duration::from_millis(250), link.read(&mut answer)).await {
                    // A byte now and then, so that it is never silent.
                    Err(_) if link.write_all(b"a").await.is_ok() => {}
                    Err(_) | Ok(Ok(0) | Err(_)) => break,
                    Ok(Ok(_)) => {}
                }
                ensure!(begun.elapsed() < TIMEOUT, "it may drip for ever");
            }
            Ok(())
        });
        try_join_all(all).await.map(drop)
    };
    let grown = beside(&server, &mut bystander, attack).await?;
    ensure!(grown <= 32 * MIB, "{} MiB for {CONNECTIONS} connections", grown / MIB);
    bystander.settle("dripping handshakes")
}

#[tokio::test]
async fn a_declared_length_costs_nothing_before_it_is_there() -> Result<()> {
    const CONNECTIONS: usize = 100;
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let mut open = Vec::new();
    let attack = async {
        for number in 0..CONNECTIONS {
            let mut raw = Raw::open(&owner.app_url()).await?;
            if number % 2 == 0 {
                // As much as a message may have; then it says no more.
                raw.write(&[&[0x81, 0xFF][..], &(MIB - 64).to_be_bytes(), &[1, 2, 3, 4, b'{']].concat()).await?;
                open.push(raw);
            } else {
                raw.write(&[&[0x81, 0xFF][..], &(u64::MAX >> 1).to_be_bytes(), &[1, 2, 3, 4]].concat()).await?;
                let (number, _) = raw.closed().await?;
                ensure!(number == 1009, "closed with {number}");
            }
        }
        Ok(())
    };
    let grown = beside(&server, &mut bystander, attack).await?;
    ensure!(grown <= 32 * MIB, "{} MiB for {CONNECTIONS} connections", grown / MIB);
    // Whoever does not say who it is in time goes.
    for mut raw in open {
        let (number, _) = raw.closed().await.context("it is closed")?;
        ensure!(number == 4202, "closed with {number}");
    }
    eventually("their places are free", async || {
        let figures = owner.publisher().get("/connections").await?.ok()?;
        Ok(figures["items"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })
    .await?;
    bystander.settle("declared lengths")
}
