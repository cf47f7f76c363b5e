//! Trying rules on what clients did: through the front door, and only on one's own.

use anyhow::{Context, Result};
use harness::client::Client;
use harness::eventually;
use harness::owner::Owner;
use harness::server::{Home, Options, Server};
use serde_json::{Value, json};

use super::places;

fn rule(pattern: &str, who: &str, effect: &str) -> Value {
    json!({ "pattern": pattern, "who": who, "operations": ["subscribe", "publish"], "effect": effect })
}

async fn dry_run(owner: &Owner, rules: &Value) -> Result<Value> {
    owner.post(&format!("/apps/{}/acl/dry-run", owner.app), &json!({ "rules": rules })).await?.ok()
}

#[tokio::test]
async fn a_change_is_tried_on_what_clients_did_and_changes_nothing() -> Result<()> {
    // Written often, so that no test waits for ten seconds.
    let often = Options::at(Home::Shared).with("FANFARE_STATISTICS__EVERY_MS", 200);
    let server = Server::start_with(often).await?;
    let owner = server.sign_up().await?;
    let stranger = server.sign_up().await?;
    let open = json!([rule("room:*", "everyone", "allow")]);
    owner.replace_acl(&json!({ "rules": open })).await?;
    let token = owner.token(&json!({ "sub": "ann" }))?;
    let mut ann = eventually("the rules arrive", async || {
        let mut ann = Client::connect(&owner.app_url(), "ann", Some(&token)).await?;
        Ok(ann.command("subscribe", json!({ "channel": "room:9" })).await?.ok().map(|_| ann))
    })
    .await?;
    for _ in 0..20 {
        ann.publish("room:9", "hi").await?;
    }
    let refused = ann.command("subscribe", json!({ "channel": "hall:1" })).await?;
    assert!(refused.is_err(), "no rule gives it");
    let _nobody = Client::connect(&owner.app_url(), "nobody", None).await?;

    let closed = json!([
        rule("room:*", "identified", "allow"),
        rule("room:9", "user:ann", "deny"),
        rule("hall:*", "everyone", "allow")
    ]);
    let run = eventually("what happened is kept", async || {
        let run = dry_run(&owner, &closed).await?;
        let samples = run["refused"]["samples"].as_array().context("samples")?.len();
        Ok((samples >= 2 && run["allowed"]["kinds"] == 1).then_some(run))
    })
    .await?;
    let samples = run["refused"]["samples"].as_array().context("samples")?;
    let of = |operation: &str| samples.iter().find(|sample| sample["operation"] == operation).context("a sample");
    let (subscribe, publish) = (of("subscribe")?, of("publish")?);
    assert_eq!(
        (&subscribe["sub"], &subscribe["channel"], &subscribe["rule"]),
        (&json!("ann"), &json!("room:9"), &json!(1))
    );
    assert!(publish["count"].as_u64().is_some_and(|count| (1..20).contains(&count)), "not each message: {publish}");
    assert_eq!(run["allowed"]["samples"][0]["channel"], "hall:1");
    assert_eq!((&run["left_out"], &run["unknown_claims"]), (&json!(0), &json!([])));

    // With a deny rule alone nobody is let in without a token.
    let run = eventually("the anonymous connection is kept", async || {
        let run = dry_run(&owner, &json!([rule("room:*", "identified", "allow")])).await?;
        let samples = run["refused"]["samples"].as_array().context("samples")?;
        Ok(samples.iter().any(|sample| sample["operation"].is_null()).then_some(run))
    })
    .await?;
    assert_eq!(run["refused"]["kinds"], 1, "{run}");
    let same = dry_run(&owner, &open).await?;
    assert_eq!((&same["refused"]["count"], &same["allowed"]["count"]), (&json!(0), &json!(0)));
    let others = dry_run(&stranger, &json!([])).await?;
    assert_eq!(others["judged"], 0, "{others}");
    assert_eq!(owner.get(&format!("/apps/{}/acl", owner.app)).await?.ok()?["version"], 2, "nothing was changed");

    let wrong = json!({ "rules": [rule("room:*", "everyone", "allow"), json!({ "pattern": "a", "who": "everyone", "operations": ["sign"], "effect": "allow" })] });
    let answer = owner.post(&format!("/apps/{}/acl/dry-run", owner.app), &wrong).await?;
    assert_eq!(places(&answer, "invalid_request")?, ["/rules/1/operations"]);
    Ok(())
}
