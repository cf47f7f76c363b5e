//! Revocations of the tokens of single subscriptions: these end, and the connection goes on.

use ::harness::client::Client;
use ::harness::owner::Owner;
use ::harness::server::Server;
use ::harness::unix_now;
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

const ROOM: &str = "room:9";

fn signed(owner: &Owner, id: &str, label: &str, issued: u64, cap: &Value) -> Result<String> {
    owner.token(&json!({ "sub": "ann", "jti": id, "iat": issued, "ff": { "cap": cap, "labels": [label] } }))
}

fn for_room(owner: &Owner, id: &str, issued: u64) -> Result<String> {
    signed(owner, id, "visit", issued, &json!({ ROOM: ["subscribe", "publish"] }))
}

/// A connection that is on a hall by its own token and in the room by another.
async fn in_both(owner: &Owner, id: &str) -> Result<(Client, String)> {
    let own = signed(owner, "own", "home", unix_now() - 5, &json!({ "hall:*": ["subscribe"] }))?;
    let mut client = Client::connect(&owner.app_url(), "ann", Some(&own)).await?;
    client.subscribe("hall:1").await?;
    let token = for_room(owner, id, unix_now() - 5)?;
    client.ok("subscribe", json!({ "channel": ROOM, "token": token })).await?;
    Ok((client, token))
}

async fn revoke(owner: &Owner, what: &Value) -> Result<String> {
    let made = owner.publisher().post("/revocations", what).await?.ok()?;
    Ok(made["id"].as_str().context("an id")?.to_owned())
}

#[tokio::test]
async fn a_revoked_channel_token_ends_its_subscription_alone() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    for (round, what) in [json!({ "token": "visit-0" }), json!({ "label": "visit" })].into_iter().enumerate() {
        let (mut ann, token) = in_both(&owner, &format!("visit-{round}")).await?;
        let id = revoke(&owner, &what).await?;
        let ended = ann.push().await?["unsubscribed"].clone();
        assert_eq!((&ended["channel"], &ended["error"]["code"]), (&json!(ROOM), &json!("token_revoked")), "{what}");
        // Nothing of the room reaches it any more, and the same token brings nothing back.
        owner.publisher().publish(ROOM, "secret").await?;
        let again = json!({ "channel": ROOM, "token": token });
        assert_eq!(ann.refused("subscribe", again.clone()).await?["code"], "token_revoked");
        assert_eq!(ann.refused("publish", json!({ "channel": ROOM, "data": 1 })).await?["layer"], "token");
        owner.publisher().publish("hall:1", "still here").await?;
        assert_eq!(ann.message("hall:1").await?["data"], "still here");
        ann.nothing_came().await?;
        // One that is signed later works; so does this one, once the revocation is ended.
        let later = for_room(&owner, &format!("later-{round}"), unix_now() + 30)?;
        ann.ok("subscribe", json!({ "channel": ROOM, "token": later })).await?;
        ann.ok("unsubscribe", json!({ "channel": ROOM })).await?;
        let request = owner.publisher().request(Method::DELETE, &format!("/revocations/{id}"));
        ensure!(request.send().await?.status() == 204, "{what} is not ended");
        ann.ok("subscribe", again).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_channel_token_cannot_be_renewed_by_a_revoked_one_and_keeps_what_it_has() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (mut ann, _) = in_both(&owner, "first").await?;
    revoke(&owner, &json!({ "token": "second" })).await?;
    let revoked = for_room(&owner, "second", unix_now() - 5)?;
    let renew = json!({ "channel": ROOM, "token": revoked });
    assert_eq!(ann.refused("refresh", renew).await?["code"], "token_revoked");
    owner.publisher().publish(ROOM, "still here").await?;
    assert_eq!(ann.message(ROOM).await?["data"], "still here");
    ann.nothing_came().await
}

#[tokio::test]
async fn a_revoked_user_loses_the_connection_with_all_its_subscriptions() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (mut ann, _) = in_both(&owner, "visit").await?;
    revoke(&owner, &json!({ "user": "ann" })).await?;
    assert_eq!(ann.closed().await?, (4403, "token_revoked".to_owned()));
    Ok(())
}
