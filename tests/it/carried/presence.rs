//! Presence of clients that are connected by one request after the other.

use std::time::Duration;

use ::harness::carried::Carried;
use ::harness::eventually;
use ::harness::server::Server;
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

/// A client may be away for this long.
const GRACE: Duration = Duration::from_secs(10);

fn presence(frames: &[Value]) -> Vec<&Value> {
    frames.iter().filter_map(|frame| frame.get("presence")).collect()
}

#[tokio::test]
async fn a_member_stays_while_it_polls_and_leaves_when_it_does_not() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut watcher = owner.connect_as("bob", &["room:*"]).await?;
    watcher.ok("subscribe", json!({ "channel": "room:9", "presence": true })).await?;
    assert_eq!(watcher.push().await?["presence"]["count"], 0);
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    ann.command("presence", json!({ "channel": "room:9", "action": "enter", "data": "here" })).await?;
    let entered = watcher.push().await?["presence"].clone();
    assert_eq!((&entered["count"], &entered["entered"][0]["data"]), (&json!(1), &json!("here")));

    let (began, mut last) = (Instant::now(), Instant::now());
    while began.elapsed() < GRACE + Duration::from_secs(2) {
        let polled = ann.peek("poll?wait_ms=3000", &[]).await?;
        ann.take(&polled, &[])?;
        last = Instant::now();
    }
    watcher.nothing_came().await?;
    ann.command("presence", json!({ "channel": "room:9", "action": "update", "data": "still" })).await?;
    assert_eq!(watcher.push().await?["presence"]["updated"][0]["data"], "still");
    let left = watcher.push().await?["presence"].clone();
    assert_eq!((&left["count"], left["left"].as_array().map(Vec::len)), (&json!(0), Some(1)), "{left}");
    assert!(last.elapsed() >= GRACE, "it left after {:?}", last.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_watcher_is_told_who_is_there_once_and_what_changed_between_two_polls() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut member = owner.connect_as("bob", &["room:*"]).await?;
    member.ok("presence", json!({ "channel": "room:9", "action": "enter" })).await?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    let (_, mut told) = ann.command("subscribe", json!({ "channel": "room:9", "presence": true })).await?;
    if presence(&told).is_empty() {
        told = ann.poll(&[]).await?.frames;
    }
    assert_eq!(presence(&told).first().context("who is there")?["count"], 1);
    for _ in 0..3 {
        let frames = ann.look().await?.frames;
        assert!(frames.is_empty(), "it is known: {frames:?}");
    }
    // What happens between two polls comes as everything anew, and then is known as well.
    member.ok("presence", json!({ "channel": "room:9", "action": "leave" })).await?;
    let told = ann.poll(&[]).await?.frames;
    let page = *presence(&told).first().context("a change")?;
    assert_eq!(page["count"], 0, "{page}");
    member.ok("presence", json!({ "channel": "room:9", "action": "enter" })).await?;
    let mut count = json!(0);
    while count != 1 {
        let frames = ann.poll(&[]).await?.frames;
        count = presence(&frames).last().context("a change")?["count"].clone();
    }
    Ok(())
}

#[tokio::test]
async fn how_many_there_are_is_told_once_and_again_when_it_is_another_number() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}/channel-settings", owner.app);
    let etag = owner.get(&path).await?.header("etag").context("settings have a version")?.to_owned();
    let settings = json!({ "settings": [{ "pattern": "live:*", "occupancy": true, "join_leave": true }] });
    owner.send_if(Method::PUT, &path, &etag, &settings).await?.ok()?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["live:*"])?)).await?;
    ann.command("subscribe", json!({ "channel": "live:1" })).await?;
    let counts = |frames: &[Value]| -> Vec<Value> {
        frames.iter().filter_map(|frame| frame["occupancy"].get("subscribers")).cloned().collect()
    };
    // It comes with a poll that waits, once the settings are there.
    eventually("ann is told", async || {
        let polled = ann.peek("poll?wait_ms=1000", &[]).await?;
        ann.take(&polled, &[])?;
        Ok((counts(&polled.frames) == [1]).then_some(()))
    })
    .await?;
    let polled = ann.peek("poll?wait_ms=2500", &[]).await?;
    ann.take(&polled, &[])?;
    assert!(polled.frames.is_empty(), "it is the number that was told: {:?}", polled.frames);
    let mut bob = owner.connect_as("bob", &["live:*"]).await?;
    bob.subscribe("live:1").await?;
    let polled = ann.poll(&[]).await?;
    assert_eq!(counts(&polled.frames), [2], "{:?}", polled.frames);
    Ok(())
}
