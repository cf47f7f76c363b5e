//! A node that runs out of something goes on with what it has.

use std::process::Command;

use ::harness::client::Client;
use ::harness::server::{Options, Server};
use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;

/// Processor time of a process so far, in ticks of a hundredth of a second.
fn ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("a name in brackets")?.1.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

#[tokio::test]
async fn without_descriptors_new_connections_are_turned_away_and_old_ones_live() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    let pid = server.platform().pid();
    let limited = Command::new("prlimit").args(["--pid", &pid.to_string(), "--nofile=512:512"]).status()?;
    ensure!(limited.success(), "prlimit");
    let host = server.gateway_url().rsplit_once('/').context("a URL has a host")?.1.to_owned();
    let mut idle = Vec::new();
    for _ in 0..480 {
        idle.push(TcpStream::connect(&host).await?);
    }
    // One of the last is answered and let go, though it has not said a word.
    ::harness::eventually("somebody is turned away", async || {
        let turned_away = |socket: &TcpStream| {
            let mut answer = [0; 64];
            socket.try_read(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 503 ")
        };
        Ok(idle.iter().any(turned_away).then_some(()))
    })
    .await?;

    // What is there works, Postgres and the snapshot included, and nothing spins.
    let before = ticks(pid)?;
    let begun = tokio::time::Instant::now();
    ann.publish("room:9", 1).await?;
    ann.message("room:9").await?;
    owner.get(&format!("/apps/{}/limits", owner.app)).await?.ok()?;
    ::harness::eventually("a second passes", async || Ok((begun.elapsed().as_secs() >= 2).then_some(()))).await?;
    let used = ticks(pid)? - before;
    ensure!(used < 60, "{used} hundredths of a second of processor time in two seconds of waiting");
    drop(idle);
    ::harness::eventually("there is room again", async || Ok(owner.connect_anonymous().await.is_ok().then_some(())))
        .await
}

#[tokio::test]
async fn without_memory_nobody_new_is_let_in_and_rest_goes_on() -> Result<()> {
    let server = Server::start_with(Options::default().with("FANFARE_NODE__MEMORY_BYTES_MAX", 1_000_000)).await?;
    let owner = server.sign_up().await?;
    ::harness::eventually("the node has looked", async || Ok(owner.connect_anonymous().await.is_err().then_some(())))
        .await?;
    // A proper handshake is answered, and the refusal is the first frame.
    let mut refused = Client::open(&owner.app_url(), "anonymous").await?;
    let told = refused.receive().await?;
    let problem = &told["error"];
    ensure!(problem["code"] == "overloaded" && problem["retry_after_ms"].is_u64(), "{told}");
    owner.publisher().publish("room:9", 1).await.map(drop)
}
