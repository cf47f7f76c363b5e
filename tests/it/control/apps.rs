//! Apps.

use anyhow::{Context, Result};
use harness::server::Server;
use reqwest::Method;
use serde_json::{Value, json};

use super::{each, places};

#[tokio::test]
async fn apps_are_made_listed_in_pages_and_changed() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let apps = format!("/tenants/{}/apps", owner.tenant);
    let made = owner.post(&apps, &json!({ "name": " staging " })).await?;
    assert_eq!(made.status, 201);
    let made = made.ok()?;
    assert_eq!((&made["name"], &made["version"], &made["origins"]), (&json!("staging"), &json!(1), &json!([])));
    assert_eq!(made["url"], format!("{}/v1/apps/{}", server.gateway_url(), made["id"].as_str().unwrap_or_default()));
    owner.post(&apps, &json!({ "name": "test" })).await?.ok()?;
    let first = owner.get(&format!("{apps}?limit=2")).await?.ok()?;
    let next = first["next"].as_str().context("there is a second page")?;
    let second = owner.get(&format!("{apps}?limit=2&after={next}")).await?.ok()?;
    assert_eq!([each(&first, "name"), each(&second, "name")].concat(), ["Production", "staging", "test"]);
    assert!(second.get("next").is_none(), "{second}");
    let taken = owner.post(&apps, &json!({ "name": "staging" })).await?;
    assert_eq!((taken.status, places(&taken, "conflict")?), (409, vec!["/name".to_owned()]));
    Ok(())
}

#[tokio::test]
async fn a_change_of_an_app_names_every_wrong_place_and_leaves_what_is_not_named() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}", owner.app);
    let change =
        async |version: u64, body: &Value| owner.send_if(Method::PATCH, &path, &format!("\"v{version}\""), body).await;
    let wrong = json!({ "name": "", "origins": ["https://a.example", "https://b.example/"], "heartbeat_ms": 1, "heartbeat_timeout_ms": 999 });
    let wrong = places(&change(1, &wrong).await?, "invalid_request")?;
    assert_eq!(wrong, ["/name", "/origins/1", "/heartbeat_ms", "/heartbeat_timeout_ms"]);
    let renamed = change(1, &json!({ "name": "live", "heartbeat_ms": 5_000 })).await?;
    assert_eq!(renamed.header("etag"), Some("\"v2\""));
    let opened = change(2, &json!({ "origins": ["https://a.example"] })).await?.ok()?;
    assert_eq!((&opened["name"], &opened["heartbeat_ms"]), (&json!("live"), &json!(5_000)));
    assert_eq!(opened["origins"], json!(["https://a.example"]));
    assert_eq!(opened["heartbeat_timeout_ms"], 5_000, "the interval, until it is set");
    let opened = change(3, &json!({ "heartbeat_timeout_ms": 1_000 })).await?.ok()?;
    assert_eq!((&opened["heartbeat_ms"], &opened["heartbeat_timeout_ms"]), (&json!(5_000), &json!(1_000)));
    let read = owner.get(&path).await?;
    assert_eq!((read.header("etag"), &read.body), (Some("\"v4\""), &opened));
    // A client is told the heartbeat as soon as the data plane hears of it.
    harness::eventually("the data plane knows the new heartbeat", async || {
        Ok((owner.connect_anonymous().await?.hello["heartbeat_ms"] == 5_000).then_some(()))
    })
    .await
}
