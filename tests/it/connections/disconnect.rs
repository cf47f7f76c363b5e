//! `POST …/disconnect`.

use ::harness::answer::{Answer, http};
use ::harness::client::Client;
use ::harness::eventually;
use ::harness::owner::Owner;
use ::harness::server::Server;
use anyhow::{Context, Result};
use serde_json::{Value, json};

const DISCONNECTED: (u16, &str) = (4203, "disconnected");

async fn disconnect(owner: &Owner, body: Value) -> Result<u64> {
    let told = owner.publisher().post("/disconnect", &body).await?.ok()?;
    assert_eq!(told["nodes"], json!({ "applied": 1, "known": 1 }));
    told["connections"].as_u64().context("a number of connections")
}

async fn closed(client: &mut Client) -> Result<()> {
    let (status, reason) = client.closed().await?;
    assert_eq!((status, reason.as_str()), DISCONNECTED);
    Ok(())
}

#[tokio::test]
async fn whoever_is_meant_is_closed_and_nobody_else() -> Result<()> {
    let server = Server::start().await?;
    let (owner, other) = (server.sign_up().await?, server.sign_up().await?);
    let all = ["room:*", "demo:*"];
    let (mut ann, mut ann_too) = (owner.connect_as("ann", &all).await?, owner.connect_as("ann", &all).await?);
    let (mut bob, mut cid) = (owner.connect_as("bob", &all).await?, owner.connect_as("cid", &all).await?);
    let mut nobody = owner.connect_anonymous().await?;
    let mut elsewhere = other.connect_as("ann", &all).await?;
    cid.subscribe("room:9").await?;
    elsewhere.subscribe("room:9").await?;

    assert_eq!(disconnect(&owner, json!({ "user": "ann" })).await?, 2);
    closed(&mut ann).await?;
    closed(&mut ann_too).await?;
    let connection = bob.hello["connection"].clone();
    assert_eq!(disconnect(&owner, json!({ "connection": connection })).await?, 1);
    closed(&mut bob).await?;
    assert_eq!(disconnect(&owner, json!({ "channel": "room:9" })).await?, 1);
    closed(&mut cid).await?;
    for gone in [json!({ "user": "ann" }), json!({ "connection": connection }), json!({ "channel": "room:9" })] {
        eventually("those who are gone are counted no more", async || {
            Ok((disconnect(&owner, gone.clone()).await? == 0).then_some(()))
        })
        .await?;
    }
    nobody.nothing_came().await?;
    assert_eq!(disconnect(&owner, json!({ "all": true })).await?, 1);
    closed(&mut nobody).await?;
    elsewhere.nothing_came().await?;

    // The code says "come back now", and whoever still may does.
    owner.connect_as("ann", &all).await?.nothing_came().await
}

#[tokio::test]
async fn a_reason_is_told_before_the_close() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    disconnect(&owner, json!({ "user": "ann", "reason": "You signed in \"elsewhere\"." })).await?;
    let notice = json!({ "notice": { "kind": "disconnected", "reason": "You signed in \"elsewhere\"." } });
    assert_eq!(ann.push().await?, notice);
    closed(&mut ann).await
}

#[tokio::test]
async fn a_request_that_names_nobody_or_two_is_refused_with_its_place() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    for (body, place) in [
        (json!({}), ""),
        (json!({ "reason": "why" }), ""),
        (json!({ "user": "ann", "all": true }), ""),
        (json!({ "all": false }), "/all"),
        (json!({ "user": "" }), "/user"),
        (json!({ "user": "a".repeat(256) }), "/user"),
        (json!({ "connection": "con_1" }), "/connection"),
        (json!({ "channel": "a b" }), "/channel"),
        (json!({ "users": ["ann"] }), "/users"),
        (json!({ "user": "ann", "reason": "a\nb" }), "/reason"),
        (json!({ "user": "ann", "reason": "x".repeat(201) }), "/reason"),
    ] {
        let answer = owner.publisher().post("/disconnect", &body).await?;
        assert_eq!((answer.status, answer.body["errors"][0]["pointer"].as_str()), (400, Some(place)), "{body}");
    }
    ann.nothing_came().await
}

#[tokio::test]
async fn a_key_closes_only_what_it_manages_and_a_token_nothing() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*", "hall:*"]).await?;
    ann.subscribe("room:1").await?;
    let key = owner.create_key("rooms", &json!({ "room:*": ["manage"], "**": ["publish"] })).await?;
    let rooms = owner.publisher_with(&key);
    eventually("the key arrives", async || Ok((rooms.get("/channels").await?.status == 200).then_some(()))).await?;
    for body in [
        json!({ "user": "ann" }),
        json!({ "all": true }),
        json!({ "connection": ann.hello["connection"] }),
        json!({ "channel": "hall:1" }),
    ] {
        let answer = rooms.post("/disconnect", &body).await?;
        assert_eq!((answer.status, answer.body["layer"].as_str()), (403, Some("key")), "{body}");
    }
    let token = owner.token_for("ann", &["**"])?;
    let request = http()?.post(format!("{}/disconnect", owner.app_url())).bearer_auth(token);
    let answer = Answer::to(request.json(&json!({ "all": true }))).await?;
    assert_eq!(answer.refusal()?, "key_invalid");
    ann.nothing_came().await?;
    let told = rooms.post("/disconnect", &json!({ "channel": "room:1" })).await?.ok()?;
    assert_eq!(told["connections"], 1);
    closed(&mut ann).await
}
