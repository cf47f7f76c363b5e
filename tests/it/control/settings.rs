//! Channel settings and limits.

use anyhow::{Context, Result};
use fanfare_core::Limit;
use harness::eventually;
use harness::server::Server;
use reqwest::Method;
use serde_json::json;

use super::places;

#[tokio::test]
async fn channel_settings_are_replaced_as_a_whole_and_in_force_at_once() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}/channel-settings", owner.app);
    let before = owner.get(&path).await?;
    assert_eq!((before.header("etag"), &before.body["settings"]), (Some("\"v1\""), &json!([])));
    assert!(before.body["defaults"]["history"]["ttl_ms"].as_u64() > Some(0), "{}", before.body);
    let none = json!({ "pattern": "live:*", "history": { "ttl_ms": 0, "messages": 0, "bytes": 0 } });
    let replaced = owner.send_if(Method::PUT, &path, "\"v1\"", &json!({ "settings": [none] })).await?;
    assert_eq!((replaced.header("etag"), &replaced.body["settings"][0]["echo"]), (Some("\"v2\""), &json!(true)));
    assert_eq!(owner.get(&path).await?.body, replaced.body);
    let publisher = owner.publisher();
    eventually("nothing is kept of the channel", async || {
        publisher.publish("live:1", 1).await?;
        let page = publisher.get("/channels/live:1/messages").await?.ok()?;
        Ok((page["messages"].as_array().map(Vec::len) == Some(0)).then_some(()))
    })
    .await?;
    for (wrong, place) in [
        (json!({ "pattern": "a:**:b" }), "/settings/0/pattern"),
        (json!({ "pattern": "{sub}:a" }), "/settings/0/pattern"),
        (json!({ "pattern": "$stats:*" }), "/settings/0/pattern"),
        (json!({ "pattern": "a", "idempotency_ms": 86_400_001 }), "/settings/0/idempotency_ms"),
        (json!({ "pattern": "a", "echo": "yes" }), "/settings/0/echo"),
        (
            json!({ "pattern": "a", "history": { "ttl_ms": -1, "messages": 1, "bytes": 1 } }),
            "/settings/0/history/ttl_ms",
        ),
        (json!({ "pattern": "a", "history": [1, 1, 1] }), "/settings/0/history"),
        (json!({ "pattern": "a", "retention": 1 }), "/settings/0/retention"),
        (json!({}), "/settings/0/pattern"),
    ] {
        let answer = owner.send_if(Method::PUT, &path, "\"v2\"", &json!({ "settings": [wrong] })).await?;
        assert_eq!(places(&answer, "invalid_request")?, [place], "{wrong}");
    }
    assert_eq!(owner.get(&path).await?.body, replaced.body, "what was refused changed nothing");
    Ok(())
}

#[tokio::test]
async fn every_limit_is_shown_with_the_number_in_force() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let list = owner.get(&format!("/apps/{}/limits", owner.app)).await?.ok()?;
    let limits = list["limits"].as_array().context("a list")?;
    let names: Vec<_> = limits.iter().filter_map(|limit| limit["name"].as_str()).collect();
    let all: Vec<_> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
    assert_eq!(names, all);
    let hello = owner.connect_anonymous().await?.hello;
    let number = |name: &str| limits.iter().find(|limit| limit["name"] == name).map(|limit| &limit["max"]);
    assert_eq!(number("message_bytes"), Some(&hello["limits"]["message_bytes"]));
    assert_eq!(number("subscriptions"), Some(&hello["limits"]["subscriptions"]));
    Ok(())
}
