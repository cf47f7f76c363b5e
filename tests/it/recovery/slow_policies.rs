//! What a client that does not read gets once it reads again, by its channel's slow policy.

use std::collections::BTreeMap;

use ::harness::client::Client;
use ::harness::eventually;
use ::harness::owner::Owner;
use ::harness::publisher::messages;
use ::harness::server::Server;
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::stalling::narrow_link;
use super::text;

/// Together some times what all buffers between server and client hold.
const MESSAGES: u64 = 400;
const BYTES: usize = 48 * 1024;

/// Sets the slow policy of `live:*`, and waits until it is in force.
pub(super) async fn policy(owner: &Owner, policy: &str) -> Result<()> {
    let path = format!("/apps/{}/channel-settings", owner.app);
    let etag = owner.get(&path).await?.header("etag").context("settings have a version")?.to_owned();
    let settings = json!([{ "pattern": "live:*", "slow": policy }, { "pattern": "probe", "message_bytes": 1 }]);
    owner.send_if(Method::PUT, &path, &etag, &json!({ "settings": settings })).await?.ok()?;
    eventually("the settings arrive", async || {
        let probe = owner.publisher().post(&messages("probe"), &json!({ "data": "large" })).await?;
        Ok((probe.status == 413).then_some(()))
    })
    .await
}

/// A subscriber that does not read while much is published.
async fn stalled(server: &Server, slow: &str) -> Result<(Owner, Client)> {
    let owner = server.sign_up().await?;
    policy(&owner, slow).await?;
    let link = narrow_link(&owner.app_url()).await?;
    let mut client = Client::open_over(link, &owner.app_url(), "slow").await?;
    client.introduce(Some(&owner.token_for("slow", &["live:*"])?)).await?;
    client.subscribe("live:1").await?;
    let publisher = owner.publisher();
    for number in 1..=MESSAGES {
        let (data, key) = (format!("{number}:{}", "x".repeat(BYTES)), format!("key-{}", number % 3));
        publisher.post(&messages("live:1"), &json!({ "data": data, "key": key })).await?.ok()?;
    }
    Ok((owner, client))
}

fn seq(position: &Value) -> Result<u64> {
    Ok(text(position)?.rsplit_once('.').context("a position reads <lineage>.<seq>")?.1.parse()?)
}

#[tokio::test]
async fn where_a_channel_conflates_the_latest_of_each_key_comes() -> Result<()> {
    let server = Server::start().await?;
    let (_owner, mut client) = stalled(&server, "conflate").await?;
    let (mut at, mut count, mut latest) = (0, 0, BTreeMap::new());
    while at < MESSAGES {
        let message = client.message("live:1").await?;
        let next = message["seq"].as_u64().context("a number")?;
        assert!(next > at, "{next} came after {at}");
        (at, count) = (next, count + 1);
        latest.insert(text(&message["key"])?.to_owned(), next);
    }
    assert!(count < MESSAGES, "nothing was replaced");
    let expected = [("key-0", MESSAGES - 1), ("key-1", MESSAGES), ("key-2", MESSAGES - 2)];
    assert_eq!(latest, expected.map(|(key, seq)| (key.to_owned(), seq)).into());
    client.nothing_came().await
}

#[tokio::test]
async fn where_a_channel_drops_it_is_told_how_many_and_the_newest_come() -> Result<()> {
    let server = Server::start().await?;
    let (_owner, mut client) = stalled(&server, "drop_oldest").await?;
    let (mut at, mut dropped) = (0, 0);
    while at < MESSAGES {
        let push = client.push().await?;
        if let Some(gap) = push.get("gap") {
            assert_eq!((seq(&gap["from"])?, &gap["channel"]), (at, &json!("live:1")));
            at = seq(&gap["to"])?;
            dropped += gap["dropped"].as_u64().context("a number")?;
        } else {
            at += 1;
            assert_eq!(push["msg"]["seq"], at, "{push}");
        }
    }
    assert!(dropped > 0, "nothing was let go");
    client.nothing_came().await
}

#[tokio::test]
async fn where_a_channel_does_not_wait_the_connection_is_closed() -> Result<()> {
    let server = Server::start().await?;
    let (_owner, mut client) = stalled(&server, "disconnect").await?;
    assert_eq!(client.closed().await?, (4102, "slow_consumer".to_owned()));
    Ok(())
}
