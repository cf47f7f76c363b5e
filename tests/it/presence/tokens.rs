//! Presence on a channel that its subscription's own token gives, and the connection's does not.

use anyhow::Result;
use harness::client::Client;
use harness::owner::Owner;
use harness::server::Server;
use harness::unix_now;
use serde_json::{Value, json};

use super::{ROOM, act, listed, told, watch};

fn channel_token(owner: &Owner, id: &str, operations: &Value) -> Result<String> {
    owner.token(&json!({
        "sub": "bob", "jti": id, "iat": unix_now(), "ff": { "cap": { ROOM: operations }, "info": { "name": "Other" } },
    }))
}

/// A connection whose own token gives nothing on the room.
async fn bob(owner: &Owner) -> Result<Client> {
    let cap = json!({ "hall:*": ["subscribe"] });
    let token = owner.token(&json!({ "sub": "bob", "ff": { "cap": cap, "info": { "name": "Bob" } } }))?;
    Client::connect(&owner.app_url(), "bob", Some(&token)).await
}

#[tokio::test]
async fn a_channel_token_gives_presence_on_its_channel_while_its_subscription_lasts() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &[ROOM]).await?;
    watch(&mut ann).await?;
    let mut bob = bob(&owner).await?;
    let enter = json!({ "channel": ROOM, "action": "enter" });
    assert_eq!(bob.refused("presence", enter.clone()).await?["layer"], "token");
    // A token that gives the subscription and no presence changes nothing about that.
    let poor = channel_token(&owner, "poor", &json!(["subscribe"]))?;
    bob.ok("subscribe", json!({ "channel": ROOM, "token": poor })).await?;
    assert_eq!(bob.refused("presence", enter.clone()).await?["layer"], "token");
    assert_eq!(bob.refused("presence", json!({ "channel": ROOM, "action": "get" })).await?["layer"], "token");
    bob.ok("unsubscribe", json!({ "channel": ROOM })).await?;

    let rich = channel_token(&owner, "rich", &json!(["subscribe", "presence", "presence.read"]))?;
    bob.ok("subscribe", json!({ "channel": ROOM, "token": rich, "presence": true })).await?;
    assert_eq!(told(&mut bob).await?["count"], 0);
    act(&mut bob, "enter", json!({ "data": 1 })).await?;
    let entered = told(&mut ann).await?["entered"][0].clone();
    // Who somebody is the connection's token says.
    assert_eq!((&entered["user"], &entered["info"]), (&json!("bob"), &json!({ "name": "Bob" })));
    assert_eq!(act(&mut bob, "get", json!({})).await?["count"], 1);
    let elsewhere = json!({ "channel": "room:8", "action": "enter" });
    assert_eq!(bob.refused("presence", elsewhere).await?["layer"], "token");

    bob.ok("unsubscribe", json!({ "channel": ROOM })).await?;
    assert_eq!(told(&mut ann).await?["left"], json!([{ "connection": bob.hello["connection"] }]));
    assert_eq!(bob.refused("presence", enter).await?["layer"], "token");
    Ok(())
}

#[tokio::test]
async fn who_is_present_by_a_channel_token_leaves_when_it_is_revoked_and_keeps_the_connection() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &[ROOM]).await?;
    watch(&mut ann).await?;
    let mut bob = bob(&owner).await?;
    bob.subscribe("hall:1").await?;
    let token = channel_token(&owner, "one", &json!(["subscribe", "presence", "presence.read"]))?;
    bob.ok("subscribe", json!({ "channel": ROOM, "token": token, "presence": true })).await?;
    told(&mut bob).await?;
    act(&mut bob, "enter", json!({})).await?;
    assert_eq!(told(&mut ann).await?["count"], 1);
    owner.publisher().post("/revocations", &json!({ "token": "one" })).await?.ok()?;
    let ended = loop {
        let push = bob.push().await?;
        if push.get("unsubscribed").is_some() {
            break push["unsubscribed"].clone();
        }
    };
    assert_eq!((&ended["channel"], &ended["error"]["code"]), (&json!(ROOM), &json!("token_revoked")));
    assert_eq!(told(&mut ann).await?["left"], json!([{ "connection": bob.hello["connection"] }]));
    assert_eq!(listed(&owner).await?["count"], 0);
    owner.publisher().publish("hall:1", "still here").await?;
    assert_eq!(bob.message("hall:1").await?["data"], "still here");
    Ok(())
}
