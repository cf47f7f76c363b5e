//! Ids of a stranger mean nothing among one's own: not in a path, a body, a cursor or a header.

use anyhow::{Context, Result};
use harness::answer::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{CHANNEL, World};

#[tokio::test]
async fn a_strangers_ids_mean_nothing_among_ones_own() -> Result<()> {
    let mut world = World::new().await?;
    let before = world.state().await?;
    let own = format!("/apps/{}", world.stranger.app);
    let key = world.victim.key.split(':').next().unwrap_or_default().to_owned();
    let rename = json!({ "name": "mallorys" });
    let stranger = &world.stranger;
    let rule =
        json!({ "id": world.rule, "pattern": "a", "who": "everyone", "operations": ["publish"], "effect": "allow" });
    let answers = [
        ("rename a key", stranger.send_if(Method::PATCH, &format!("{own}/keys/{key}"), "\"v1\"", &rename).await?, 404),
        ("revoke a key", stranger.post(&format!("{own}/keys/{key}/revoke"), &json!({})).await?, 404),
        (
            "take a rule over",
            stranger.send_if(Method::PUT, &format!("{own}/acl"), "\"v1\"", &json!({ "rules": [rule] })).await?,
            400,
        ),
    ];
    for (what, answer, status) in &answers {
        assert_eq!(answer.status, *status, "{what}: {}", answer.body);
        world.tells_nothing(&format!("{key}{}", world.rule), &answer.body.to_string()).context(*what)?;
    }
    // A position of the victim's in the channel of that name in one's own app.
    let from = format!("/channels/{CHANNEL}/messages?from={}", world.position);
    assert_eq!(world.stranger.publisher().get(&from).await?.refusal()?, "invalid_position");
    assert_eq!(world.state().await?, before);
    Ok(())
}

#[tokio::test]
async fn a_cursor_shows_no_list_but_ones_own() -> Result<()> {
    let world = World::new().await?;
    for (list, of_victim, of_stranger) in [
        ("apps", &world.victim.tenant, &world.stranger.tenant),
        ("audit", &world.victim.tenant, &world.stranger.tenant),
    ] {
        // A page of one row, so that there is a cursor.
        if list == "apps" {
            world.victim.post(&format!("/tenants/{of_victim}/apps"), &json!({ "name": "canary-2" })).await?.ok()?;
        }
        let page = world.victim.get(&format!("/tenants/{of_victim}/{list}?limit=1")).await?.ok()?;
        let cursor = page["next"].as_str().with_context(|| format!("{list} of the victim has two pages"))?;
        let answer = world.stranger.get(&format!("/tenants/{of_stranger}/{list}?after={cursor}")).await?;
        world.tells_nothing("", &answer.body.to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn an_idempotency_key_repeats_nobody_elses_answer() -> Result<()> {
    let world = World::new().await?;
    let create = async |owner: &harness::owner::Owner| -> Result<Value> {
        let request = owner.request(Method::POST, &format!("/api/v1/apps/{}/keys", owner.app));
        let request = request.header("X-Fanfare-CSRF", "1").header("Idempotency-Key", "same");
        let answer = Answer::to(request.json(&json!({ "name": "backend" }))).await?;
        assert_eq!(answer.header("idempotency-replayed"), None);
        answer.ok()
    };
    let victims = create(&world.victim).await?;
    let strangers = create(&world.stranger).await?;
    assert_ne!(victims["secret"], strangers["secret"]);
    assert_ne!(victims["key"]["id"], strangers["key"]["id"]);
    Ok(())
}
