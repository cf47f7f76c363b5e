//! Configuration that cannot be: it is refused by name, and what was in force stays.

use ::harness::eventually;
use ::harness::server::Server;
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bombs::Bystander;

#[tokio::test]
async fn documents_that_cannot_be_are_refused_with_their_place_and_change_nothing() -> Result<()> {
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:1").await?;
    let rule = json!({ "pattern": "room:*", "who": "everyone", "operations": ["subscribe"], "effect": "allow" });
    let with = |name: &str, value: Value| {
        let mut rule = rule.clone();
        rule[name] = value;
        json!({ "rules": [rule] })
    };
    let setting = |value: Value| json!({ "settings": [value] });
    let many = |count: usize| json!({ "rules": (0..count).map(|number| json!({ "pattern": format!("room:{number}"), "who": "everyone", "operations": ["subscribe"], "effect": "allow" })).collect::<Vec<_>>() });
    let documents = [
        ("acl", with("pattern", json!("room:[a-z]+"))),
        ("acl", with("pattern", json!(""))),
        ("acl", with("pattern", json!("x".repeat(100_000)))),
        ("acl", with("who", json!("nobody at all"))),
        ("acl", with("operations", json!(["fly"]))),
        ("acl", with("effect", json!("perhaps"))),
        ("acl", with("color", json!("red"))),
        ("acl", json!({ "rules": 1 })),
        ("acl", json!({})),
        ("acl", many(10_000)),
        ("channel-settings", setting(json!({ "pattern": "**:x" }))),
        ("channel-settings", setting(json!({ "pattern": "a", "slow": "never" }))),
        (
            "channel-settings",
            setting(json!({ "pattern": "a", "history": { "ttl_ms": -1, "messages": 1, "bytes": 1 } })),
        ),
        ("channel-settings", setting(json!({ "pattern": "a", "idempotency_ms": u64::MAX }))),
        ("channel-settings", setting(json!({ "pattern": "a", "join_leave": "yes" }))),
        ("channel-settings", json!({ "settings": [{ "pattern": "a" }, { "pattern": "a" }] })),
    ];
    let state = async |what: &str| -> Result<(String, Value)> {
        let answer = owner.get(&format!("/apps/{}/{what}", owner.app)).await?;
        Ok((answer.header("etag").context("it has a version")?.to_owned(), answer.body))
    };
    let before = [state("acl").await?, state("channel-settings").await?];
    for (what, document) in &documents {
        let (etag, _) = state(what).await?;
        let answer = owner.send_if(Method::PUT, &format!("/apps/{}/{what}", owner.app), &etag, document).await?;
        let shown: String = document.to_string().chars().take(120).collect();
        ensure!((400..=422).contains(&answer.status), "{shown}: {} {}", answer.status, answer.body);
        let code = answer.refusal()?;
        let is_named = answer.body["errors"].as_array().is_some_and(|errors| !errors.is_empty());
        ensure!(is_named || code != "invalid_request", "{shown}: no place is named: {}", answer.body);
        bystander.until(|| true).await?;
    }
    ensure!([state("acl").await?, state("channel-settings").await?] == before, "something was changed");
    // Of another version, right or wrong, nothing is taken either.
    let stale =
        owner.send_if(Method::PUT, &format!("/apps/{}/acl", owner.app), "\"v999\"", &json!({ "rules": [] })).await?;
    ensure!(stale.status == 412, "{} {}", stale.status, stale.body);
    owner.publisher().publish("room:1", "still here").await?;
    ensure!(ann.message("room:1").await?["data"] == "still here");
    bystander.settle("documents that cannot be")
}

#[tokio::test]
async fn a_row_that_cannot_be_read_closes_its_app_and_no_other() -> Result<()> {
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:1").await?;
    let pool = server.database().pool_as("fanfare_owner").await?;
    let app = owner.app.parse::<fanfare_core::id::AppId>()?.to_bytes();
    let settings = async |settings: &Value| {
        let query =
            sqlx::query("UPDATE fanfare.channel_settings SET settings = $1, revision = revision + 1 WHERE app_id = $2");
        query.bind(settings).bind(app).execute(&pool).await.map(drop)
    };
    settings(&json!([{ "pattern": "room:[a-z]+", "history": "much" }])).await?;
    // Nothing is guessed: whoever is there is let go, and nobody comes in.
    let (code, _) = ann.closed().await?;
    ensure!((4000..4500).contains(&code), "closed with {code}");
    ensure!(owner.connect_as("ann", &["room:*"]).await.is_err());
    for _ in 0..50 {
        bystander.until(|| true).await?;
    }
    settings(&json!([])).await?;
    eventually("the app works again", async || Ok(owner.connect_as("ann", &["room:*"]).await.is_ok().then_some(())))
        .await?;
    bystander.settle("a row that cannot be read")
}
