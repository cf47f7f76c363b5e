//! What a backend does for users: subscribe and unsubscribe them, send to them.

use ::harness::answer::Answer;
use ::harness::eventually;
use ::harness::owner::Owner;
use ::harness::server::Server;
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

async fn tell(owner: &Owner, method: Method, path: &str) -> Result<Value> {
    Answer::to(owner.publisher().request(method, path)).await?.ok()
}

#[tokio::test]
async fn a_backend_subscribes_users_inside_their_own_rights_and_ends_it() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (mut ann, mut ann_too) =
        (owner.connect_as("ann", &["room:*"]).await?, owner.connect_as("ann", &["hall:*"]).await?);
    let mut bob = owner.connect_as("bob", &["room:*"]).await?;
    let before = owner.publisher().publish("room:9", "before").await?;
    let told = tell(&owner, Method::PUT, "/users/ann/subscriptions/room:9").await?;
    assert_eq!(told, json!({ "connections": 1, "refused": 1, "nodes": { "applied": 1, "known": 1 } }));
    let push = ann.push().await?;
    let (lineage, seq) = before.position.split_once('.').context("a position")?;
    let expected = json!({ "channel": "room:9", "lineage": lineage, "seq": seq.parse::<u64>()? });
    assert_eq!(push["subscribed"], expected);
    owner.publisher().publish("room:9", "after").await?;
    assert_eq!(ann.message("room:9").await?["data"], "after");
    // The same again changes nothing.
    tell(&owner, Method::PUT, "/users/ann/subscriptions/room:9").await?;
    assert_eq!(ann.refused("subscribe", json!({ "channel": "room:9" })).await?["code"], "already_subscribed");
    ann_too.nothing_came().await?;
    bob.nothing_came().await?;

    let told = tell(&owner, Method::DELETE, "/users/ann/subscriptions/room:9").await?;
    assert_eq!((&told["connections"], &told["refused"]), (&json!(2), &json!(0)));
    let push = ann.push().await?;
    assert_eq!(
        (&push["unsubscribed"]["channel"], &push["unsubscribed"]["error"]["code"]),
        (&json!("room:9"), &json!("unsubscribed"))
    );
    owner.publisher().publish("room:9", "unheard").await?;
    ann.nothing_came().await?;
    ann_too.nothing_came().await?;

    let connection = bob.hello["connection"].as_str().context("an id")?.to_owned();
    tell(&owner, Method::PUT, &format!("/connections/{connection}/subscriptions/room:1")).await?;
    assert_eq!(bob.push().await?["subscribed"]["channel"], "room:1");
    tell(&owner, Method::DELETE, &format!("/connections/{connection}/subscriptions/room:1")).await?;
    assert_eq!(bob.push().await?["unsubscribed"]["channel"], "room:1");
    let told = tell(&owner, Method::PUT, &format!("/connections/{connection}/subscriptions/hall:1")).await?;
    assert_eq!((&told["connections"], &told["refused"]), (&json!(0), &json!(1)));
    bob.nothing_came().await?;
    let reserved = owner.publisher().request(Method::PUT, "/users/ann/subscriptions/$stats:overview");
    assert_eq!(Answer::to(reserved).await?.refusal()?, "invalid_channel");
    Ok(())
}

#[tokio::test]
async fn a_message_to_a_user_reaches_every_connection_it_has_and_nobody_else() -> Result<()> {
    let server = Server::start().await?;
    let (owner, other) = (server.sign_up().await?, server.sign_up().await?);
    let (mut ann, mut ann_too) =
        (owner.connect_as("ann", &["room:*"]).await?, owner.connect_as("ann", &["room:*"]).await?);
    let mut bob = owner.connect_as("bob", &["**"]).await?;
    let mut elsewhere = other.connect_as("ann", &["**"]).await?;
    let body = json!({ "name": "greet", "data": { "text": "hi" }, "id": "m-1", "headers": { "trace": "7" } });
    let sent = owner.publisher().post("/users/ann/messages", &body).await?.ok()?;
    assert_eq!(sent, json!({ "id": "m-1", "connections": 2, "nodes": { "applied": 1, "known": 1 } }));
    for client in [&mut ann, &mut ann_too] {
        let mut push = client.push().await?;
        let time = push["msg"].as_object_mut().and_then(|message| message.remove("time"));
        assert!(time.is_some_and(|time| time.is_u64()));
        let expected = json!({ "msg": {
            "channel": "$user", "id": "m-1", "name": "greet", "headers": { "trace": "7" }, "data": { "text": "hi" },
        }});
        assert_eq!(push, expected);
    }
    let body = json!({ "data": "but not here", "exclude": ann.hello["connection"] });
    let sent = owner.publisher().post("/users/ann/messages", &body).await?.ok()?;
    assert_eq!(sent["connections"], 1);
    assert_eq!(ann_too.push().await?["msg"]["data"], "but not here");
    assert_eq!(owner.publisher().post("/users/eve/messages", &json!({ "data": 1 })).await?.ok()?["connections"], 0);
    for client in [&mut ann, &mut bob, &mut elsewhere] {
        client.nothing_came().await?;
    }
    // Nobody subscribes to it.
    let refused = bob.refused("subscribe", json!({ "channel": "$user" })).await?;
    assert_eq!(refused["code"], "forbidden");
    Ok(())
}

#[tokio::test]
async fn a_message_to_a_user_keeps_to_the_rules_of_publishing() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let publisher = owner.publisher();
    for body in [json!({}), json!({ "data": 1, "dta": 2 })] {
        assert_eq!(publisher.post("/users/ann/messages", &body).await?.refusal()?, "invalid_request");
    }
    server.lower_limits(&json!({ "message_bytes": { "max": 500 } })).await?;
    // Not to ann, who shall hear nothing.
    let large = json!({ "data": "x".repeat(1_000) });
    eventually("the limit is in force", async || {
        let answer = publisher.post("/users/nobody/messages", &large).await?;
        Ok((answer.status == 413).then(|| answer.refusal()))
    })
    .await
    .map(|code| assert_eq!(code.ok().as_deref(), Some("message_too_large")))?;
    let key = owner.create_key("rooms", &json!({ "room:*": ["publish"], "**": ["manage"] })).await?;
    let rooms = owner.publisher_with(&key);
    eventually("the key arrives", async || Ok((rooms.get("/channels").await?.status == 200).then_some(()))).await?;
    assert_eq!(rooms.post("/users/ann/messages", &json!({ "data": 1 })).await?.refusal()?, "forbidden");
    ann.nothing_came().await
}
