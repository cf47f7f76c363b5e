//! Joins, leaves and how many there are, told to every subscriber where the channel's settings say so.

use anyhow::{Context, Result};
use harness::answer::http;
use harness::client::Client;
use harness::server::Server;
use serde_json::{Value, json};

use super::{ROOM, act, put, remove, with_settings};

/// The next push of this kind; others may come before it.
async fn next(client: &mut Client, kind: &str) -> Result<Value> {
    loop {
        let mut push = client.push().await?;
        if let Some(told) = push.get_mut(kind) {
            return Ok(told.take());
        }
    }
}

/// Waits for the count to become this.
async fn counted(client: &mut Client, subscribers: u64, members: u64) -> Result<()> {
    loop {
        let told = next(client, "occupancy").await?;
        if (&told["subscribers"], &told["members"]) == (&json!(subscribers), &json!(members)) {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn live_subscriptions_are_told_who_joins_and_leaves_once_the_settings_say_so() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (mut ann, mut bob) = (owner.connect_as("ann", &[ROOM]).await?, owner.connect_as("bob", &[ROOM]).await?);
    ann.subscribe(ROOM).await?;
    act(&mut bob, "enter", json!({})).await?;
    act(&mut bob, "leave", json!({})).await?;
    ann.nothing_came().await?;
    with_settings(&owner, json!({ "pattern": "room:*", "join_leave": true, "occupancy": true })).await?;
    counted(&mut ann, 1, 0).await?;
    act(&mut bob, "enter", json!({ "data": { "mood": "up" } })).await?;
    let joined = next(&mut ann, "join_leave").await?;
    assert_eq!((&joined["joined"][0]["user"], &joined["joined"][0]["data"]), (&json!("bob"), &json!({ "mood": "up" })));
    assert_eq!((&joined["count"], &joined["left"]), (&json!(1), &json!([])));
    counted(&mut ann, 1, 1).await?;
    put(&owner, "robot", &json!({})).await?.ok()?;
    assert_eq!(next(&mut ann, "join_leave").await?["joined"][0]["user"], "robot");
    bob.subscribe(ROOM).await?;
    counted(&mut ann, 2, 2).await?;
    remove(&owner, "robot").await?;
    assert_eq!(next(&mut ann, "join_leave").await?["left"], json!([{ "user": "robot" }]));
    // What is told without asking is in step with what is asked.
    let page = act(&mut ann, "get", json!({})).await?;
    assert_eq!((&page["count"], page["version"].as_u64()), (&json!(1), joined["version"].as_u64().map(|at| at + 2)));
    Ok(())
}

#[tokio::test]
async fn event_streams_are_told_too_and_other_apps_nothing() -> Result<()> {
    let server = Server::start().await?;
    let (owner, other) = (server.sign_up().await?, server.sign_up().await?);
    for owner in [&owner, &other] {
        with_settings(owner, json!({ "pattern": "room:*", "join_leave": true, "occupancy": true })).await?;
    }
    let mut elsewhere = other.connect_as("ann", &[ROOM]).await?;
    elsewhere.subscribe(ROOM).await?;
    counted(&mut elsewhere, 1, 0).await?;
    let token = owner.token_for("ann", &[ROOM])?;
    let request = http()?.get(format!("{}/sse?channels={ROOM}", owner.app_url())).bearer_auth(token);
    let mut stream = request.send().await?.error_for_status()?;
    put(&owner, "robot", &json!({})).await?.ok()?;
    let mut heard = String::new();
    while !(heard.contains("\"join_leave\"") && heard.contains("\"members\":1")) {
        let chunk = tokio::time::timeout(harness::TIMEOUT, stream.chunk()).await??.context("the stream goes on")?;
        heard.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(heard.contains("robot"), "{heard}");
    elsewhere.nothing_came().await
}
