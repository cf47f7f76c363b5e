//! The dashboard's way onto the data plane.

use anyhow::{Context, Result};
use harness::client::Client;
use harness::server::Server;
use serde_json::{Value, json};

use super::refused;

#[tokio::test]
async fn a_live_token_reads_the_apps_figures_and_messages_and_changes_nothing() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let live = owner.post(&format!("/apps/{}/live-token", owner.app), &json!({})).await?.ok()?;
    let token = live["token"].as_str().context("a token")?;
    assert_eq!(live["url"], format!("{}/socket", owner.app_url().replacen("http", "ws", 1)));
    let mut client = Client::connect(&owner.app_url(), "dashboard", Some(token)).await?;
    client.subscribe("$stats:overview").await?;
    client.subscribe("room:9").await?;
    owner.publisher().publish("room:9", "hi").await?;
    let (mut message, mut figures) = (None, None);
    while message.is_none() || figures.is_none() {
        let push = client.push().await?;
        match push["msg"]["channel"].as_str() {
            Some("room:9") => message = Some(push["msg"]["data"].clone()),
            Some("$stats:overview") => figures = Some(push["msg"]["data"].clone()),
            _ => anyhow::bail!("unexpected {push}"),
        }
    }
    assert_eq!(message, Some(json!("hi")));
    let figures = figures.context("figures come each second")?;
    assert_eq!((&figures["connections"], &figures["subscriptions"]), (&json!(1), &json!(2)), "{figures}");
    for place in ["/time", "/in/messages", "/in/bytes", "/out/messages", "/out/bytes"] {
        assert!(figures.pointer(place).is_some_and(Value::is_number), "{place} of {figures}");
    }
    let history = client.ok("history", json!({ "channel": "room:9" })).await?;
    assert_eq!(history["messages"][0]["data"], "hi");
    for channel in ["room:9", "demo:hello"] {
        let refusal = client.refused("publish", json!({ "channel": channel, "data": 1 })).await?;
        assert_eq!(refusal["code"], "forbidden", "{channel}");
    }
    for channel in ["$other", "$sys:all", "$stats:a:b"] {
        let refusal = client.refused("subscribe", json!({ "channel": channel })).await?;
        assert_eq!(refusal["code"], "forbidden", "{channel}");
    }
    Ok(())
}

#[tokio::test]
async fn figures_are_not_for_everybody_and_the_platforms_key_is_nobodys() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut anybody = owner.connect_anonymous().await?;
    assert_eq!(anybody.refused("subscribe", json!({ "channel": "$stats:overview" })).await?["code"], "forbidden");
    let mut user = owner.connect_as("ann", &["**"]).await?;
    assert_eq!(user.refused("subscribe", json!({ "channel": "$stats:overview" })).await?["code"], "forbidden");
    let live = owner.post(&format!("/apps/{}/live-token", owner.app), &json!({})).await?.ok()?;
    let token = live["token"].as_str().context("a token")?;
    let kid = jsonwebtoken::decode_header(token)?.kid.context("a token names its key")?;
    let hidden = owner.post(&format!("/apps/{}/keys/{kid}/revoke", owner.app), &json!({})).await?;
    refused(&hidden, "not_found")
}
