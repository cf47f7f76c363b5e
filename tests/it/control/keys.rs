//! Keys.

use anyhow::{Context, Result, ensure};
use harness::eventually;
use harness::server::Server;
use reqwest::Method;
use serde_json::json;

use super::{each, places, refused};

#[tokio::test]
async fn a_secret_is_shown_once_and_the_key_does_what_its_capabilities_say() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let keys = format!("/apps/{}/keys", owner.app);
    let capabilities = json!({ "room:*": ["publish"] });
    let made = owner.post(&keys, &json!({ "name": "backend", "capabilities": capabilities })).await?;
    assert_eq!(made.status, 201);
    let made = made.ok()?;
    let printed = made["secret"].as_str().context("the secret is shown")?.to_owned();
    let (id, secret) = printed.split_once(':').context("a key has two halves")?;
    assert_eq!((&made["key"]["id"], &made["key"]["capabilities"]), (&json!(id), &capabilities));
    ensure!(secret.starts_with("ffs_") && secret.len() == 53, "256 bits and a checksum");
    assert_eq!(made["key"]["last_four"], secret[secret.len() - 4..]);
    let key = owner.publisher_with(&printed);
    eventually("the data plane knows the key", async || Ok(key.publish("room:9", 1).await.ok())).await?;
    let refusal = key.get("/channels/room:9/messages").await?;
    assert_eq!((refusal.refusal()?.as_str(), &refusal.body["layer"]), ("forbidden", &json!("key")));
    let renamed = owner.send_if(Method::PATCH, &format!("{keys}/{id}"), "\"v1\"", &json!({ "name": "worker" })).await?;
    assert_eq!((renamed.header("etag"), &renamed.body["name"]), (Some("\"v2\""), &json!("worker")));
    let list = owner.get(&keys).await?.ok()?;
    assert_eq!(each(&list, "name"), ["First key", "worker"], "the platform's own key is not among them");
    for answer in [&list, &renamed.body, &owner.get(&format!("/tenants/{}/audit", owner.tenant)).await?.ok()?] {
        let text = answer.to_string();
        ensure!(!text.contains(&secret[4..30]) && !text.contains("ffs_"), "a secret is shown again: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_worth_nothing_within_a_second_and_for_ever() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let keys = format!("/apps/{}/keys", owner.app);
    let printed = owner.create_key("backend", &json!({ "**": ["publish", "sign", "subscribe"] })).await?;
    let (key, id) = (owner.publisher_with(&printed), printed.split(':').next().unwrap_or_default());
    eventually("the data plane knows the key", async || Ok(key.publish("room:9", 1).await.ok())).await?;
    let mut signer = owner.clone();
    signer.key.clone_from(&printed);
    let mut client = signer.connect_as("ann", &["room:*"]).await?;
    let revoked = owner.post(&format!("{keys}/{id}/revoke"), &json!({})).await?.ok()?;
    assert_eq!(client.closed().await?, (4403, "token_revoked".to_owned()));
    let answer = key.post("/channels/room:9/messages", &json!({ "data": 2 })).await?;
    assert_eq!(answer.refusal()?, "key_invalid");
    // Again changes nothing, not even when.
    assert_eq!(owner.post(&format!("{keys}/{id}/revoke"), &json!({})).await?.ok()?, revoked);
    let list = owner.get(&keys).await?.ok()?;
    assert_eq!(each(&list, "state"), ["active", "revoked"]);
    let renamed = owner.send_if(Method::PATCH, &format!("{keys}/{id}"), "\"v2\"", &json!({ "name": "x" })).await?;
    refused(&renamed, "conflict")
}

#[tokio::test]
async fn what_no_key_can_be_is_refused_where_it_is_wrong() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let keys = format!("/apps/{}/keys", owner.app);
    for (body, place) in [
        (json!({ "name": "" }), "/name"),
        (json!({ "name": "a\u{0}b" }), "/name"),
        (json!({ "name": "x".repeat(101) }), "/name"),
        (json!({ "name": "x", "expires_at": "2020-01-01T00:00:00Z" }), "/expires_at"),
        (json!({ "name": "x", "expires_at": "soon" }), "/expires_at"),
        (json!({ "name": "x", "capabilities": { "a:*": ["fly"] } }), "/capabilities/a:*/0"),
        (json!({ "name": "x", "capabilities": { "a::b": ["publish"] } }), "/capabilities/a::b"),
        (json!({ "name": "x", "capabilities": [] }), "/capabilities"),
        (json!({ "name": "x", "kind": "platform" }), "/kind"),
        (json!({ "name": "x", "id": "key_01JD0000000000000000000000" }), "/id"),
        (json!({}), "/name"),
    ] {
        let answer = owner.post(&keys, &body).await?;
        assert_eq!(places(&answer, "invalid_request").with_context(|| body.to_string())?, [place], "{body}");
    }
    let list = owner.get(&keys).await?.ok()?;
    assert_eq!(each(&list, "name"), ["First key"], "nothing was made");
    Ok(())
}
