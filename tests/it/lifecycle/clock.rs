//! A node whose wall clock is wrong.

use std::process::Command;

use ::harness::eventually;
use ::harness::server::{Options, Server};
use anyhow::{Result, ensure};

use super::Directory;

/// A library that moves the wall clock of the process it is loaded into.
fn mover(directory: &Directory) -> Result<String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/it/lifecycle/clock.c");
    let library = format!("{}/clock.so", directory.text());
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o", &library, source]).status()?;
    ensure!(made.success(), "cc made no library");
    Ok(library)
}

async fn start(mover: &str, ahead_s: i64) -> Result<Server> {
    let options = Options::default().with("LD_PRELOAD", mover).with("CLOCK_AHEAD_S", ahead_s);
    Server::start_with(options).await
}

#[tokio::test]
async fn a_node_whose_clock_is_wrong_says_that_it_is_not_ready_and_serves_who_is_there() -> Result<()> {
    let directory = Directory::new("clock")?;
    let mover = mover(&directory)?;
    for ahead_s in [3_600, -3_600] {
        let server = start(&mover, ahead_s).await?;
        let owner = server.sign_up().await?;
        let told = eventually("readiness tells of the clock", async || {
            let ready = server.ready().await?;
            Ok((ready.status == 503).then_some(ready.body))
        })
        .await?;
        let reasons = told["reasons"].to_string();
        // A moment passes between the two readings.
        let told_s = ["3599 s", "3600 s", "3601 s"].iter().any(|apart| reasons.contains(apart));
        ensure!(told["ready"] == false && reasons.contains("clock") && told_s, "{told}");
        // Keys have no times, and what lives by the monotonic clock goes on.
        let mut anonymous = owner.connect_anonymous().await?;
        anonymous.subscribe("demo:a").await?;
        owner.publisher().publish("demo:a", 1).await?;
        anonymous.message("demo:a").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_clock_that_is_a_little_off_is_borne() -> Result<()> {
    let directory = Directory::new("clock-little")?;
    let server = start(&mover(&directory)?, 3).await?;
    let owner = server.sign_up().await?;
    eventually("the clocks were compared", async || {
        let told = reqwest::get(format!("{}/metrics", server.private_url())).await?.text().await?;
        let skew = told.lines().find_map(|line| line.strip_prefix("fanfare_clock_skew_seconds ")?.parse::<f64>().ok());
        Ok(skew.filter(|skew| *skew > 2.0))
    })
    .await?;
    ensure!(server.ready().await?.status == 200, "{}", server.ready().await?.body);
    // Skew of a minute is allowed for in tokens.
    owner.connect_as("ann", &["room:*"]).await.map(drop)
}
