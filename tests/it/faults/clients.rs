//! Clients that vanish, that do not read, that are many, and a machine that has no time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::harness::client::Client;
use ::harness::eventually;
use ::harness::ledger::Ledger;
use ::harness::owner::Owner;
use ::harness::publisher::messages;
use ::harness::server::Server;
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bombs::{Bystander, MIB, beside};
use crate::recovery::stalling::narrow_link;

/// Descriptors that a process holds.
fn descriptors(server: &Server) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", server.platform().pid()))?.count())
}

async fn heartbeat(owner: &Owner) -> Result<()> {
    let path = format!("/apps/{}", owner.app);
    let etag = owner.get(&path).await?.header("etag").context("the app has a version")?.to_owned();
    let change = json!({ "heartbeat_ms": 5_000, "heartbeat_timeout_ms": 1_000 });
    owner.send_if(Method::PATCH, &path, &etag, &change).await?.ok()?;
    eventually("the heartbeat arrives", async || {
        Ok((owner.connect_anonymous().await?.hello["heartbeat_ms"] == 5_000).then_some(()))
    })
    .await
}

/// What burns time until this is dropped: also when a test fails, or its runtime would wait for ever.
struct Burning(Arc<AtomicBool>);

impl Drop for Burning {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

async fn enter(client: &mut Client) -> Result<Value> {
    client.ok("presence", json!({ "channel": "room:9", "action": "enter" })).await
}

async fn present(owner: &Owner) -> Result<u64> {
    let page = owner.publisher().get("/channels/room:9/presence").await?.ok()?;
    page["count"].as_u64().context("a count")
}

#[tokio::test]
async fn clients_that_say_nothing_any_more_are_let_go_with_all_they_held() -> Result<()> {
    const CLIENTS: usize = 100;
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    heartbeat(&owner).await?;
    eventually("the first are gone", async || {
        let page = owner.publisher().get("/connections").await?.ok()?;
        Ok(page["items"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })
    .await?;
    let before = descriptors(&server)?;
    let mut silent = try_join_all((0..CLIENTS).map(async |number| -> Result<Client> {
        let mut client = owner.connect_as(&format!("user-{number}"), &["room:*"]).await?;
        enter(&mut client).await?;
        Ok(client)
    }))
    .await?;
    ensure!(present(&owner).await? == CLIENTS as u64 && descriptors(&server)? >= before + CLIENTS);
    // Their links stay open, and nobody answers a ping: nothing reads them.
    eventually("their connections are let go", async || {
        let page = owner.publisher().get("/connections").await?.ok()?;
        Ok(page["items"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })
    .await?;
    eventually("they leave presence", async || Ok((present(&owner).await? == 0).then_some(()))).await?;
    eventually("their descriptors are free", async || Ok((descriptors(&server)? < before + 10).then_some(()))).await?;
    ensure!(silent[0].closed().await? == (4201, "heartbeat_timeout".to_owned()));
    Ok(())
}

#[tokio::test]
async fn readers_that_stand_still_cost_their_share_and_lose_nothing() -> Result<()> {
    const STALLED: usize = 40;
    const MESSAGES: u64 = 120;
    const BYTES: usize = 48 * 1024;
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let token = owner.token_for("slow", &["room:*"])?;
    let mut slow = Vec::new();
    for _ in 0..STALLED {
        let link = narrow_link(&owner.app_url()).await?;
        let mut client = Client::open_over(link, &owner.app_url(), "slow").await?;
        client.introduce(Some(&token)).await?;
        client.subscribe("room:1").await?;
        slow.push(client);
    }
    let publisher = owner.publisher();
    let attack = async {
        for number in 1..=MESSAGES {
            let data = format!("{number}:{}", "x".repeat(BYTES));
            publisher.post(&messages("room:1"), &json!({ "data": data })).await?.ok()?;
        }
        Ok(())
    };
    let grown = beside(&server, &mut bystander, attack).await?;
    // History, a budget of 256 KiB and a message for each, and room for what the allocator keeps.
    let bound = MESSAGES * BYTES as u64 + STALLED as u64 * (256 * 1024 + BYTES as u64) + 32 * MIB;
    ensure!(grown <= bound, "{} MiB for {STALLED} readers", grown / MIB);
    for client in &mut slow {
        for number in 1..=MESSAGES {
            ensure!(client.message("room:1").await?["seq"] == number, "{number} is missing");
        }
    }
    bystander.settle("readers that stand still")
}

#[tokio::test]
async fn a_channel_with_a_crowd_keeps_its_order_and_holds_nobody_else_up() -> Result<()> {
    const CROWD: usize = 300;
    const MESSAGES: usize = 50;
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let mut crowd = try_join_all((0..CROWD).map(async |_| -> Result<Client> {
        let mut client = owner.connect_as("ann", &["room:*"]).await?;
        client.subscribe("room:1").await?;
        Ok(client)
    }))
    .await?;
    let mut ledger = Ledger::new();
    let publisher = owner.publisher();
    let attack = async {
        for number in 0..MESSAGES {
            publisher.publish_into(&mut ledger, "room:1", json!(number)).await?;
        }
        try_join_all(crowd.iter_mut().map(async |client| -> Result<()> {
            for _ in 0..MESSAGES {
                client.message("room:1").await?;
            }
            Ok(())
        }))
        .await
        .map(drop)
    };
    beside(&server, &mut bystander, attack).await?;
    let journals: Vec<_> = crowd.iter().flat_map(|client| client.journals()).collect();
    let summary = ledger.check_settled(&journals).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    ensure!(summary.delivered == CROWD * MESSAGES, "{summary:?}");
    bystander.settle("a channel with a crowd")
}

#[tokio::test]
async fn on_a_machine_without_time_to_spare_nobody_is_taken_for_gone() -> Result<()> {
    const BURNERS: usize = 4;
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    heartbeat(&owner).await?;
    let mut watcher = owner.connect_as("watcher", &["room:*"]).await?;
    let mut members = Vec::new();
    for number in 0..20 {
        let mut client = owner.connect_as(&format!("user-{number}"), &["room:*"]).await?;
        enter(&mut client).await?;
        members.push(client);
    }
    watcher.ok("subscribe", json!({ "channel": "room:9", "presence": true })).await?;
    ensure!(watcher.push().await?["presence"]["count"] == members.len());
    let burning = Burning(Arc::new(AtomicBool::new(true)));
    let burners: Vec<_> = (0..BURNERS)
        .map(|_| {
            let burn = Arc::clone(&burning.0);
            tokio::task::spawn_blocking(move || {
                while burn.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            })
        })
        .collect();
    // Two heartbeats and more: members live by answering, and by what they say.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(14) {
        for client in &mut members {
            client.ok("ping", json!({})).await?;
        }
        watcher.nothing_came().await?;
    }
    drop(burning);
    for burner in burners {
        burner.await?;
    }
    ensure!(present(&owner).await? == members.len() as u64);
    watcher.nothing_came().await
}
