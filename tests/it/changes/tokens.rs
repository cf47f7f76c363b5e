//! A token that is replaced on the live connection.

use ::harness::client::Client;
use ::harness::owner::Owner;
use ::harness::server::Server;
use ::harness::unix_now;
use anyhow::Result;
use serde_json::{Value, json};

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

/// A token for one channel.
fn channel_token(owner: &Owner, sub: &str, cap: &Value, lives_s: i64) -> Result<String> {
    let exp = unix_now().cast_signed() + lives_s;
    owner.token(&json!({ "sub": sub, "exp": exp, "ff": { "cap": cap } }))
}

#[tokio::test]
async fn a_channel_token_gives_its_one_subscription_and_nothing_else() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["hall:*"]).await?;
    let all = json!({ "room:*": ["subscribe", "publish", "history"] });
    let token = channel_token(&owner, "ann", &all, 600)?;

    // Somebody else's, one that gives something else, and none at all.
    for (token, code) in [
        (channel_token(&owner, "bob", &all, 600)?, "token_invalid"),
        (channel_token(&owner, "ann", &all, -600)?, "token_expired"),
        (channel_token(&owner, "ann", &json!({ "hall:*": ["subscribe"] }), 600)?, "forbidden"),
        ("a.b.c".to_owned(), "token_invalid"),
    ] {
        let problem = ann.refused("subscribe", json!({ "channel": "room:1", "token": token })).await?;
        assert_eq!(problem["code"], code, "{problem}");
    }
    assert_eq!(ann.refused("subscribe", json!({ "channel": "room:1" })).await?["layer"], "token");

    let ok = ann.ok("subscribe", json!({ "channel": "room:1", "token": token, "rewind": { "messages": 1 } })).await?;
    assert!(ok["expires_ms"].as_u64().is_some_and(|expires| expires > unix_now() * 1_000), "{ok}");
    // On its channel it gives what it says; what it says of other channels counts for nothing.
    ann.publish("room:1", "mine").await?;
    assert_eq!(ann.message("room:1").await?["data"], "mine");
    ann.ok("history", json!({ "channel": "room:1" })).await?;
    for (command, body) in [
        ("subscribe", json!({ "channel": "room:2" })),
        ("publish", json!({ "channel": "room:2", "data": 1 })),
        ("history", json!({ "channel": "room:2" })),
    ] {
        assert_eq!(ann.refused(command, body).await?["layer"], "token");
    }

    // A new one takes the place of the old; one that does not fit changes nothing.
    let other = channel_token(&owner, "ann", &json!({ "room:2": ["subscribe"] }), 600)?;
    let refused = ann.refused("refresh", json!({ "channel": "room:1", "token": other })).await?;
    assert_eq!(refused["layer"], "token");
    let lone = json!({ "channel": "room:3", "token": token });
    assert_eq!(ann.refused("refresh", lone).await?["code"], "not_subscribed");
    let less = channel_token(&owner, "ann", &json!({ "room:1": ["subscribe"] }), 700)?;
    ann.ok("refresh", json!({ "channel": "room:1", "token": less })).await?;
    assert_eq!(ann.refused("publish", json!({ "channel": "room:1", "data": 2 })).await?["layer"], "token");
    owner.publisher().publish("room:1", "still").await?;
    assert_eq!(ann.message("room:1").await?["data"], "still");

    // With the subscription its token is gone.
    ann.ok("unsubscribe", json!({ "channel": "room:1" })).await?;
    assert_eq!(ann.refused("subscribe", json!({ "channel": "room:1" })).await?["layer"], "token");
    ann.nothing_came().await
}

#[tokio::test]
async fn the_key_of_a_channel_token_and_the_acl_act_on_its_subscription_alone() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let key = super::fresh_key(&owner, None).await?;
    let mut ann = owner.connect_as("ann", &["hall:*"]).await?;
    ann.subscribe("hall:1").await?;
    let token = channel_token(&owner.with_key(&key), "ann", &json!({ "room:*": ["subscribe"] }), 600)?;
    for channel in ["room:1", "room:2"] {
        ann.ok("subscribe", json!({ "channel": channel, "token": token })).await?;
    }
    let by_own = channel_token(&owner, "ann", &json!({ "room:*": ["subscribe"] }), 600)?;
    ann.ok("refresh", json!({ "channel": "room:2", "token": by_own })).await?;
    super::revoke(&owner, &key).await?;
    assert_eq!(lost(&mut ann, "room:1").await?["code"], "token_revoked");
    for channel in ["hall:1", "room:2"] {
        owner.publisher().publish(channel, channel).await?;
        assert_eq!(ann.message(channel).await?["data"], channel);
    }
    ann.nothing_came().await
}

#[tokio::test]
async fn a_token_lowers_the_limits_of_its_connection_alone() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let limits = json!({ "subscriptions": 1, "message_bytes": 20, "publish_connection": 2 });
    let claims = json!({ "sub": "ann", "ff": { "cap": { "room:*": ["subscribe", "publish"] }, "limits": limits } });
    let mut ann = Client::connect(&owner.app_url(), "ann", Some(&owner.token(&claims)?)).await?;
    assert_eq!(ann.hello["limits"]["subscriptions"], 1);
    assert_eq!(ann.hello["limits"]["publish_connection"], json!({ "max": 2, "burst": 2 }));
    ann.subscribe("room:1").await?;
    let full = ann.refused("subscribe", json!({ "channel": "room:2" })).await?;
    assert_eq!((full["code"].as_str(), full["limit"].as_str()), (Some("limit_reached"), Some("subscriptions")));
    let large = json!({ "channel": "room:1", "data": "x".repeat(20) });
    assert_eq!(ann.refused("publish", large.clone()).await?["limit"], "message_bytes");
    ann.publish("room:1", 1).await?;
    // So near to its limits it is warned, too.
    let message = loop {
        let push = ann.push().await?;
        if push.get("notice").is_none() {
            break push;
        }
    };
    assert_eq!(message["msg"]["data"], 1);
    // Two a second: where the machine is slow, one comes back between two publishes, but not between many.
    let mut fast = None;
    for _ in 0..50 {
        fast = ann.command("publish", json!({ "channel": "room:1", "data": 2 })).await?.err();
        if fast.is_some() {
            break;
        }
    }
    assert_eq!(fast.map(|problem| problem["limit"].clone()), Some(json!("publish_connection")));
    let mut bob = owner.connect_as("bob", &["room:*"]).await?;
    bob.ok("publish", large).await?;
    bob.subscribe("room:2").await?;
    bob.subscribe("room:3").await.map(drop)
}
