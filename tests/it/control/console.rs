//! What happens in an app, as the dashboard's console hears it.

use anyhow::{Context, Result, bail};
use harness::client::Client;
use harness::eventually;
use harness::owner::Owner;
use harness::server::Server;
use serde_json::{Value, json};

const CHANNEL: &str = "$debug:events";
const PAYLOAD: &str = "canary-payload";

/// A member's live link.
async fn dashboard(owner: &Owner) -> Result<Client> {
    let live = owner.post(&format!("/apps/{}/live-token", owner.app), &json!({})).await?.ok()?;
    Client::connect(&owner.app_url(), "dashboard", Some(live["token"].as_str().context("a token")?)).await
}

/// Reads until an event of this kind fits; what came before is left out.
async fn event(
    dashboard: &mut Client,
    seen: &mut Vec<Value>,
    kind: &str,
    fits: impl Fn(&Value) -> bool,
) -> Result<Value> {
    loop {
        if let Some(at) = seen.iter().position(|event| event["kind"] == kind && fits(event)) {
            return Ok(seen.drain(..=at).next_back().unwrap_or_default());
        }
        let push = dashboard.push().await.with_context(|| format!("waits for {kind}; seen {seen:?}"))?;
        let Some(events) = push["msg"]["data"]["events"].as_array() else { bail!("unexpected {push}") };
        assert_eq!(push["msg"]["data"]["dropped"], 0);
        seen.extend(events.iter().cloned());
    }
}

#[tokio::test]
async fn whoever_watches_hears_what_happens_and_no_payload() -> Result<()> {
    let server = Server::start().await?;
    let (owner, other) = (server.sign_up().await?, server.sign_up().await?);
    let mut dashboard = dashboard(&owner).await?;
    dashboard.subscribe(CHANNEL).await?;
    // Another tenant's clients are nobody's here.
    let mut stranger = other.connect_as("mallory", &["room:*"]).await?;
    stranger.subscribe("room:9").await?;

    let mut seen = Vec::new();
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let connection = ann.hello["connection"].clone();
    let is_anns = |event: &Value| event["connection"] == connection;
    let came = event(&mut dashboard, &mut seen, "connected", is_anns).await?;
    assert_eq!((&came["user"], &came["transport"]), (&json!("ann"), &json!("websocket")));
    assert!(came["time"].is_u64() && came["id"].is_string(), "{came}");

    ann.subscribe("room:9").await?;
    let began = event(&mut dashboard, &mut seen, "subscribed", is_anns).await?;
    assert_eq!(began["channel"], "room:9");

    ann.publish("room:9", PAYLOAD).await?;
    ann.message("room:9").await?;
    let published = event(&mut dashboard, &mut seen, "published", is_anns).await?;
    assert_eq!(
        (&published["channel"], &published["seq"], &published["user"]),
        (&json!("room:9"), &json!(1), &json!("ann"))
    );
    let sent = owner.publisher().publish("room:9", PAYLOAD).await?;
    ann.message("room:9").await?;
    let published = event(&mut dashboard, &mut seen, "published", |event| event["message"] == sent.id).await?;
    assert_eq!((&published["key"], &published["seq"]), (&json!(owner.key.split(':').next()), &json!(2)));

    // A command that is refused, by which layer, and on which channel; and a request.
    ann.refused("publish", json!({ "channel": "hall:1", "data": PAYLOAD })).await?;
    let refused = event(&mut dashboard, &mut seen, "refused", is_anns).await?;
    for (field, value) in [("code", "forbidden"), ("layer", "token"), ("operation", "publish"), ("channel", "hall:1")] {
        assert_eq!(refused[field], value, "{refused}");
    }
    ann.refused("history", json!({ "channel": "hall:1" })).await?;
    let refused = event(&mut dashboard, &mut seen, "refused", is_anns).await?;
    assert_eq!((&refused["operation"], &refused["channel"]), (&json!("history"), &json!("hall:1")));
    let answer = owner.publisher().get("/channels/a%20b/messages").await?;
    let refused = event(&mut dashboard, &mut seen, "refused", |event| event["code"] == "invalid_channel").await?;
    assert_eq!(refused["operation"], "GET /v1/apps/{app}/channels/{channel}/messages");
    assert_eq!(refused["request"], answer.body["request_id"]);

    let weak = owner.create_key("weak", &json!({ "only:*": ["publish"] })).await?;
    let weak = owner.publisher_with(&weak);
    let publish = eventually("the key arrives", async || {
        let answer = weak.post("/channels/room:9/messages", &json!({ "data": PAYLOAD })).await?;
        Ok((answer.status == 403).then_some(answer))
    })
    .await?;
    let id = publish.body["request_id"].clone();
    let refused = event(&mut dashboard, &mut seen, "refused", |event| event["request"] == id).await?;
    assert_eq!((&refused["layer"], &refused["code"]), (&json!("key"), &json!("forbidden")));

    ann.ok("unsubscribe", json!({ "channel": "room:9" })).await?;
    let ended = event(&mut dashboard, &mut seen, "unsubscribed", is_anns).await?;
    assert_eq!((&ended["channel"], &ended["reason"]), (&json!("room:9"), &Value::Null));
    owner.publisher().post("/disconnect", &json!({ "user": "ann" })).await?.ok()?;
    assert_eq!(ann.closed().await?.0, 4203);
    drop(ann);
    let gone = event(&mut dashboard, &mut seen, "disconnected", is_anns).await?;
    assert_eq!((&gone["reason"], &gone["user"]), (&json!("disconnected"), &json!("ann")));

    let mut late = self::dashboard(&owner).await?;
    late.ok("subscribe", json!({ "channel": CHANNEL, "rewind": { "messages": 200 } })).await?;
    let mut all = Vec::new();
    event(&mut late, &mut all, "disconnected", is_anns).await?;
    let history = late.ok("history", json!({ "channel": CHANNEL })).await?.to_string();
    assert!(history.contains("\"ann\"") && !history.contains(PAYLOAD) && !history.contains("mallory"), "{history}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_told_while_nobody_watches_and_only_to_who_may() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["**"]).await?;
    ann.subscribe("room:9").await?;
    assert_eq!(ann.refused("subscribe", json!({ "channel": CHANNEL })).await?["code"], "forbidden");
    let mut anybody = owner.connect_anonymous().await?;
    assert_eq!(anybody.refused("subscribe", json!({ "channel": CHANNEL })).await?["code"], "forbidden");
    owner.publisher().publish("room:9", 1).await?;

    let mut dashboard = dashboard(&owner).await?;
    dashboard.ok("subscribe", json!({ "channel": CHANNEL, "rewind": { "messages": 200 } })).await?;
    let mut seen = Vec::new();
    event(&mut dashboard, &mut seen, "subscribed", |event| event["channel"] == CHANNEL).await?;
    let history = dashboard.ok("history", json!({ "channel": CHANNEL })).await?.to_string();
    assert!(!history.contains("room:9"), "what happened before was not gathered: {history}");
    Ok(())
}
