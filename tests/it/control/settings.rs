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
        (json!({ "pattern": "a", "slow": "wait" }), "/settings/0/slow"),
        (json!({ "pattern": "a", "presence": 1 }), "/settings/0/presence"),
        (json!({ "pattern": "a", "compression": "br" }), "/settings/0/compression"),
        (json!({ "pattern": "a", "message_bytes": 0 }), "/settings/0/message_bytes"),
        (json!({ "pattern": "a", "publish_rate": { "max": 1, "burst": 0 } }), "/settings/0/publish_rate/burst"),
        (json!({ "pattern": "a", "publish_rate": { "max": 1, "per": "s" } }), "/settings/0/publish_rate/per"),
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

#[tokio::test]
async fn an_app_lowers_its_own_limits_and_takes_that_back() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}/limits", owner.app);
    let before = owner.get(&path).await?;
    assert_eq!(before.header("etag"), Some("\"v1\""));
    let lowered =
        json!({ "lowered": { "message_bytes": { "max": 1_000 }, "publish_connection": { "max": 5, "burst": 9 } } });
    let answer = owner.send_if(Method::PUT, &path, "\"v1\"", &lowered).await?;
    assert_eq!(answer.header("etag"), Some("\"v2\""));
    let body = answer.ok()?;
    let of = |name: &str| body["limits"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name)).cloned();
    let bytes = of("message_bytes").context("it is listed")?;
    assert_eq!((&bytes["max"], &bytes["lowered_from"]["max"]), (&json!(1_000), &json!(1024 * 1024)));
    eventually("the number is in force", async || {
        let hello = owner.connect_anonymous().await?.hello;
        Ok((hello["limits"]["publish_connection"] == json!({ "max": 5, "burst": 9 })).then_some(()))
    })
    .await?;
    for (wrong, place) in [
        (json!({ "message_bytes": { "max": 2_000_000 } }), "/lowered/message_bytes/max"),
        (json!({ "message_bytes": { "max": 0 } }), "/lowered/message_bytes/max"),
        (json!({ "publish_app": { "max": 1 } }), "/lowered/publish_app/burst"),
        (json!({ "connections": { "max": 1, "burst": 1 } }), "/lowered/connections/burst"),
    ] {
        let answer = owner.send_if(Method::PUT, &path, "\"v2\"", &json!({ "lowered": wrong })).await?;
        assert_eq!(places(&answer, "invalid_request")?, [place], "{wrong}");
    }
    let unknown = owner.send_if(Method::PUT, &path, "\"v2\"", &json!({ "lowered": { "wings": { "max": 2 } } })).await?;
    assert_eq!(unknown.status, 400, "{}", unknown.body);
    let back = owner.send_if(Method::PUT, &path, "\"v2\"", &json!({ "lowered": {} })).await?.ok()?;
    assert_eq!(back["limits"], before.body["limits"]);
    Ok(())
}

#[tokio::test]
async fn what_is_used_and_refused_is_shown() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}/limits", owner.app);
    let lowered = json!({ "lowered": { "subscriptions": { "max": 1 } } });
    owner.send_if(Method::PUT, &path, "\"v1\"", &lowered).await?.ok()?;
    let mut ann = eventually("the number is in force", async || {
        let ann = owner.connect_as("ann", &["room:*"]).await?;
        Ok((ann.hello["limits"]["subscriptions"] == json!(1)).then_some(ann))
    })
    .await?;
    ann.subscribe("room:1").await?;
    ann.refused("subscribe", json!({ "channel": "room:2" })).await?;
    let of = |list: &serde_json::Value, name: &str| {
        let all = list["limits"].as_array().into_iter().flatten();
        all.clone().find(|one| one["name"] == name).map(|one| one["used"].clone()).unwrap_or_default()
    };
    let list = eventually("a node tells", async || {
        let list = owner.get(&path).await?.ok()?;
        Ok((of(&list, "subscriptions")["rejected_today"] == 1).then_some(list))
    })
    .await?;
    let expected = json!({ "of": 1, "peak_minute": 1, "peak_today": 1, "rejected_today": 1, "near_today": 1 });
    assert_eq!(of(&list, "subscriptions"), expected);
    assert!(of(&list, "connections")["now"].as_u64() >= Some(1), "{list}");
    assert!(list["used_at"].is_string());
    Ok(())
}
