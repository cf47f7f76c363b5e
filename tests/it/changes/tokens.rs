//! A token that is replaced on the live connection.

use ::harness::client::Client;
use ::harness::server::Server;
use anyhow::Result;
use serde_json::json;

use super::lost;

#[tokio::test]
async fn a_refresh_with_fewer_rights_detaches_in_place_and_one_of_another_user_changes_nothing() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*", "hall:*"]).await?;
    for channel in ["room:1", "room:2", "hall:1"] {
        ann.subscribe(channel).await?;
    }

    for (what, token) in [
        ("of another user", owner.token_for("bob", &["room:*"])?),
        ("that expired", owner.token(&json!({ "sub": "ann", "exp": 1 }))?),
        ("nobody signed", "a.b.c".to_owned()),
    ] {
        let problem = ann.refused("refresh", json!({ "token": token })).await?;
        assert!(problem["code"].as_str().is_some_and(|code| code.starts_with("token_")), "{what}: {problem}");
        ann.nothing_came().await?;
    }

    let fewer = owner.token_for("ann", &["room:1"])?;
    ann.ok("refresh", json!({ "token": fewer })).await?;
    for channel in ["hall:1", "room:2"] {
        assert_eq!(lost(&mut ann, channel).await?["layer"], "token");
    }
    let publisher = owner.publisher();
    for channel in ["room:2", "hall:1", "room:1"] {
        publisher.publish(channel, channel).await?;
    }
    // What stays goes on without a new subscribe; what was taken is silent, and stays taken.
    assert_eq!(ann.message("room:1").await?["data"], "room:1");
    ann.nothing_came().await?;
    assert_eq!(ann.refused("subscribe", json!({ "channel": "room:2" })).await?["layer"], "token");
    assert_eq!(ann.refused("publish", json!({ "channel": "room:2", "data": 1 })).await?["layer"], "token");

    // More rights come the same way, without a reconnect.
    let more = owner.token_for("ann", &["room:*"])?;
    ann.ok("refresh", json!({ "token": more })).await?;
    ann.subscribe("room:2").await?;
    ann.nothing_came().await
}

#[tokio::test]
async fn a_token_of_a_weaker_key_is_bound_by_that_key_after_a_refresh_too() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let weak = owner.create_key("weak", &json!({ "room:1": ["subscribe", "publish"], "**": ["sign"] })).await?;
    let token = owner.with_key(&weak).token_for("ann", &["room:*"])?;
    ::harness::eventually("the key arrives", async || {
        let mut client = Client::open(&owner.app_url(), "early").await?;
        Ok(client.command("connect", json!({ "token": token })).await?.ok())
    })
    .await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:1").await?;
    ann.subscribe("room:2").await?;
    ann.ok("refresh", json!({ "token": token })).await?;
    assert_eq!(lost(&mut ann, "room:2").await?["layer"], "key");
    ann.publish("room:1", "hi").await?;
    assert_eq!(ann.message("room:1").await?["data"], "hi");
    Ok(())
}
