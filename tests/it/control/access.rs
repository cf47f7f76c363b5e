//! The ACL of an app.

use anyhow::{Context, Result};
use harness::eventually;
use harness::server::Server;
use reqwest::Method;
use serde_json::{Value, json};

use super::places;

fn rule(pattern: &str, who: &str, operations: &[&str]) -> Value {
    json!({ "pattern": pattern, "who": who, "operations": operations, "effect": "allow" })
}

#[tokio::test]
async fn the_acl_is_replaced_as_a_whole_and_felt_by_live_connections() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut client = owner.connect_anonymous().await?;
    client.subscribe("demo:hello").await?;
    let path = format!("/apps/{}/acl", owner.app);
    let starter = owner.get(&path).await?.ok()?;
    let rules = json!({ "rules": [rule("room:*", "everyone", &["subscribe"])] });
    let replaced = owner.send_if(Method::PUT, &path, "\"v1\"", &rules).await?;
    assert_eq!(replaced.header("etag"), Some("\"v2\""));
    let replaced = replaced.ok()?;
    assert_eq!(owner.get(&path).await?.ok()?, replaced);
    let push = client.push().await?;
    assert_eq!(push["unsubscribed"]["channel"], "demo:hello", "{push}");
    assert_eq!(push["unsubscribed"]["error"]["code"], "forbidden");
    eventually("the new rule is in force", async || {
        Ok(client.command("subscribe", json!({ "channel": "room:9" })).await?.ok())
    })
    .await?;
    // A rule that keeps its id is changed; one that had none gets one.
    let mut kept = replaced["rules"][0].clone();
    kept["who"] = json!("role:staff");
    let again = json!({ "rules": [kept, rule("a", "user:ann", &["publish", "history"])] });
    let again = owner.send_if(Method::PUT, &path, "\"v2\"", &again).await?.ok()?;
    assert_eq!(again["rules"][0]["id"], replaced["rules"][0]["id"]);
    assert_eq!(again["rules"][0]["who"], "role:staff");
    let id = again["rules"][1]["id"].as_str().context("a rule has an id")?;
    assert!(id.starts_with("rul_") && starter["rules"][0]["id"] != id);
    Ok(())
}

#[tokio::test]
async fn a_wrong_rule_is_pointed_to_and_nothing_is_replaced() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}/acl", owner.app);
    let before = owner.get(&path).await?.ok()?;
    let good = rule("a", "everyone", &["publish"]);
    let own = before["rules"][0].clone();
    let with = |field: &str, value: Value| {
        let mut rule = good.clone();
        rule[field] = value;
        rule
    };
    for (rules, expected) in [
        (json!([good, with("pattern", json!("a:**:b"))]), vec!["/rules/1/pattern"]),
        (json!([with("pattern", json!("a b"))]), vec!["/rules/0/pattern"]),
        (json!([with("pattern", json!("{sub:x}"))]), vec!["/rules/0/pattern"]),
        (json!([with("pattern", json!("a:".repeat(200)))]), vec!["/rules/0/pattern"]),
        (json!([good, good, with("who", json!("nobody"))]), vec!["/rules/2/who"]),
        (json!([with("who", json!("user:"))]), vec!["/rules/0/who"]),
        (json!([with("operations", json!(["fly"]))]), vec!["/rules/0/operations/0"]),
        (
            json!([with("operations", json!([])), with("operations", json!(["sign"]))]),
            vec!["/rules/0/operations", "/rules/1/operations"],
        ),
        (json!([with("effect", json!("maybe"))]), vec!["/rules/0/effect"]),
        (json!([with("id", json!("rul_1"))]), vec!["/rules/0/id"]),
        (json!([with("id", json!("rul_01JD0000000000000000000000"))]), vec!["/rules/0/id"]),
        (json!([own, own]), vec!["/rules/1/id"]),
        (json!([with("priority", json!(1))]), vec!["/rules/0/priority"]),
        (json!([[null, "a", "everyone", ["publish"], "allow"]]), vec!["/rules/0"]),
        (json!(vec![good; 1_001]), vec!["/rules"]),
        (json!({}), vec!["/rules"]),
    ] {
        let answer = owner.send_if(Method::PUT, &path, "\"v1\"", &json!({ "rules": rules })).await?;
        assert_eq!(places(&answer, "invalid_request")?, expected, "{}", answer.body);
    }
    assert_eq!(owner.get(&path).await?.ok()?, before);
    Ok(())
}
