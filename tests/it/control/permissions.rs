//! The ACL's tester, its versions, and the way back to one.

use anyhow::{Context, Result};
use harness::eventually;
use harness::owner::Owner;
use harness::server::Server;
use reqwest::Method;
use serde_json::{Value, json};

use super::places;

fn rule(pattern: &str, who: &str, effect: &str) -> Value {
    json!({ "pattern": pattern, "who": who, "operations": ["subscribe", "publish"], "effect": effect })
}

async fn explain(owner: &Owner, body: &Value) -> Result<Value> {
    owner.post(&format!("/apps/{}/acl/explain", owner.app), body).await?.ok()
}

/// The first layer that refuses, and its rule.
fn refused(explanation: &Value) -> (Option<&str>, Option<&str>) {
    let layers = explanation["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let first = layers.iter().find(|layer| layer["allows"] == false);
    (first.and_then(|layer| layer["layer"].as_str()), first.and_then(|layer| layer["rule"].as_str()))
}

#[tokio::test]
async fn the_tester_says_what_the_data_plane_does_and_names_the_layer_and_the_rule() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let rules = json!({ "rules": [rule("room:*", "identified", "allow"), rule("room:9", "user:ann", "deny")] });
    let acl = owner.replace_acl(&rules).await?;
    let deny = acl["rules"][1]["id"].as_str().context("an id")?;
    let key = owner.key.split(':').next().context("an id")?;
    let weak = owner.create_key("weak", &json!({ "hall:*": ["subscribe"], "**": ["sign"] })).await?;
    let weak_id = weak.split(':').next().context("an id")?;
    eventually("the key arrives", async || {
        let token = owner.with_key(&weak).token(&json!({ "sub": "ann" }))?;
        let mut client = ::harness::client::Client::open(&owner.app_url(), "early").await?;
        Ok(client.command("connect", json!({ "token": token })).await?.ok())
    })
    .await?;
    for (sub, cap, signer, channel, expected) in [
        ("ann", Value::Null, key, "room:1", (None, None)),
        ("ann", Value::Null, key, "room:9", (Some("acl"), Some(deny))),
        ("bob", Value::Null, key, "room:9", (None, None)),
        ("ann", Value::Null, key, "hall:1", (Some("acl"), None)),
        ("ann", json!({ "hall:*": ["subscribe"] }), key, "hall:1", (None, None)),
        ("ann", json!({ "hall:*": ["publish"] }), key, "hall:1", (Some("token"), None)),
        ("ann", json!({ "{sub}:*": ["subscribe"] }), key, "ann:1", (None, None)),
        ("ann", json!({ "room:*": ["subscribe"] }), key, "room:9", (Some("acl"), Some(deny))),
        ("ann", Value::Null, weak_id, "room:1", (Some("key"), None)),
    ] {
        let mut body = json!({ "channel": channel, "operation": "subscribe", "sub": sub, "key": signer });
        let mut ff = json!({});
        if !cap.is_null() {
            body["cap"] = cap.clone();
            ff["cap"] = cap.clone();
        }
        let explanation = explain(&owner, &body).await?;
        assert_eq!(refused(&explanation), expected, "{body}: {explanation}");
        assert_eq!(explanation["allowed"], expected.0.is_none());
        assert_eq!(explanation["layers"].as_array().map(Vec::len), Some(5));
        // A client with such a token meets the same.
        let signing = if signer == key { owner.clone() } else { owner.with_key(&weak) };
        let token = signing.token(&json!({ "sub": sub, "ff": ff }))?;
        let mut client = ::harness::client::Client::connect(&owner.app_url(), sub, Some(&token)).await?;
        match client.command("subscribe", json!({ "channel": channel })).await? {
            Ok(_) => assert_eq!(expected, (None, None), "{body}"),
            Err(problem) => {
                assert_eq!((problem["layer"].as_str(), problem["rule"].as_str()), expected, "{body}: {problem}");
            }
        }
    }
    // Without a token, and with a key that is no more.
    let nobody = explain(&owner, &json!({ "channel": "room:1", "operation": "publish" })).await?;
    assert_eq!(refused(&nobody), (Some("acl"), None));
    owner.post(&format!("/apps/{}/keys/{weak_id}/revoke", owner.app), &json!({})).await?.ok()?;
    let dead = json!({ "channel": "hall:1", "operation": "subscribe", "sub": "ann", "key": weak_id });
    assert_eq!(refused(&explain(&owner, &dead).await?), (Some("key"), None));
    Ok(())
}

#[tokio::test]
async fn an_issuers_ceiling_and_switch_answer_the_tester() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    owner.replace_acl(&json!({ "rules": [rule("**", "identified", "allow")] })).await?;
    let key = include_str!("../../../server/core/src/public_key/fixtures/ed.pem");
    let ceiling = json!({ "room:*": ["subscribe"] });
    let body = json!({ "name": "id", "iss": "https://id.example/", "key": key, "ceiling": ceiling });
    let issuer = owner.post(&format!("/apps/{}/issuers", owner.app), &body).await?.ok()?;
    let asked =
        |channel: &str| json!({ "channel": channel, "operation": "subscribe", "sub": "ann", "issuer": issuer["id"] });
    assert_eq!(refused(&explain(&owner, &asked("room:1")).await?), (None, None));
    assert_eq!(refused(&explain(&owner, &asked("hall:1")).await?), (Some("issuer"), None));
    let path = format!("/apps/{}/issuers/{}", owner.app, issuer["id"].as_str().context("an id")?);
    owner.send_if(Method::PATCH, &path, "\"v1\"", &json!({ "enabled": false })).await?.ok()?;
    assert_eq!(refused(&explain(&owner, &asked("room:1")).await?), (Some("issuer"), None));
    let mut both = asked("room:1");
    both["key"] = owner.key.split(':').next().into();
    let path = format!("/apps/{}/acl/explain", owner.app);
    assert_eq!(places(&owner.post(&path, &both).await?, "invalid_request")?, ["/issuer"]);
    Ok(())
}

#[tokio::test]
async fn a_wrong_question_is_pointed_to() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}/acl/explain", owner.app);
    for (body, expected) in [
        (json!({ "channel": "a b", "operation": "subscribe" }), vec!["/channel"]),
        (json!({ "channel": "a", "operation": "manage" }), vec!["/operation"]),
        (json!({ "channel": "a", "operation": "fly" }), vec!["/operation"]),
        (json!({ "channel": "a", "operation": "publish", "sub": "ann" }), vec!["/key"]),
        (json!({ "channel": "a", "operation": "publish", "roles": vec!["r"; 65] }), vec!["/roles"]),
        (json!({ "channel": "a", "operation": "publish", "token": "x" }), vec!["/token"]),
        (json!({ "operation": "publish" }), vec!["/channel"]),
    ] {
        assert_eq!(places(&owner.post(&path, &body).await?, "invalid_request")?, expected, "{body}");
    }
    let unknown = json!({ "channel": "a", "operation": "publish", "key": "key_00000000000000000000000001" });
    assert_eq!(owner.post(&path, &unknown).await?.refusal()?, "not_found");
    Ok(())
}

#[tokio::test]
async fn an_earlier_version_is_read_and_put_in_force_again_as_a_new_one() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}/acl", owner.app);
    let first = owner.get(&path).await?.ok()?;
    owner.replace_acl(&json!({ "rules": [] })).await?;
    owner.replace_acl(&json!({ "rules": [rule("room:*", "everyone", "allow")] })).await?;
    let list = owner.get(&format!("{path}/versions")).await?.ok()?;
    let seen: Vec<_> = list["items"].as_array().context("items")?.iter().collect();
    let numbers: Vec<_> = seen.iter().map(|item| (item["version"].as_u64(), item["rules"].as_u64())).collect();
    assert_eq!(numbers, [(Some(3), Some(1)), (Some(2), Some(0)), (Some(1), Some(1))]);
    assert!(seen.iter().all(|item| item["created_at"].is_string()), "{list}");
    let kept = owner.get(&format!("{path}/versions/1")).await?.ok()?;
    assert_eq!(kept, first);
    assert_eq!(owner.get(&format!("{path}/versions/4")).await?.refusal()?, "not_found");

    let restore = format!("{path}/versions/1/restore");
    let stale = owner.send_if(Method::POST, &restore, "\"v2\"", &json!({})).await?;
    assert_eq!(stale.refusal()?, "precondition_failed");
    assert_eq!(owner.post(&restore, &json!({})).await?.refusal()?, "precondition_required");
    let mut client = owner.connect_anonymous().await?;
    eventually("the rules are in force", async || {
        Ok(client.command("subscribe", json!({ "channel": "room:9" })).await?.ok())
    })
    .await?;
    let restored = owner.send_if(Method::POST, &restore, "\"v3\"", &json!({})).await?;
    assert_eq!(restored.header("etag"), Some("\"v4\""));
    let restored = restored.ok()?;
    assert_eq!((&restored["version"], &restored["rules"]), (&json!(4), &first["rules"]));
    assert_eq!(client.push().await?["unsubscribed"]["channel"], "room:9");
    let audit = owner.get(&format!("/tenants/{}/audit", owner.tenant)).await?.ok()?;
    assert_eq!(audit["items"][0]["action"], "acl.restored");
    Ok(())
}
