//! Who is present: told to those who watch, listed to those who ask, and true of every connection.

mod notices;
mod tokens;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::answer::Answer;
use harness::client::Client;
use harness::owner::Owner;
use harness::server::Server;
use reqwest::Method;
use serde_json::{Value, json};

const ROOM: &str = "room:9";

async fn act(client: &mut Client, action: &str, more: Value) -> Result<Value> {
    let mut body = json!({ "channel": ROOM, "action": action });
    more.as_object().into_iter().flatten().for_each(|(name, value)| body[name] = value.clone());
    client.ok("presence", body).await
}

/// Subscribes with presence; the first push lists the members.
async fn watch(client: &mut Client) -> Result<Value> {
    client.ok("subscribe", json!({ "channel": ROOM, "presence": true })).await?;
    told(client).await
}

/// The next push, which must be of presence.
async fn told(client: &mut Client) -> Result<Value> {
    let mut push = client.push().await?;
    let fields = push.get_mut("presence").map(Value::take);
    fields.with_context(|| format!("expected presence, got {push}"))
}

/// What is read over REST.
async fn listed(owner: &Owner) -> Result<Value> {
    owner.publisher().get(&format!("/channels/{ROOM}/presence")).await?.ok()
}

async fn put(owner: &Owner, user: &str, body: &Value) -> Result<Answer> {
    let request = owner.publisher().request(Method::PUT, &format!("/channels/{ROOM}/presence/{user}"));
    Answer::to(request.json(body)).await
}

async fn remove(owner: &Owner, user: &str) -> Result<Answer> {
    Answer::to(owner.publisher().request(Method::DELETE, &format!("/channels/{ROOM}/presence/{user}"))).await
}

async fn with_settings(owner: &Owner, setting: Value) -> Result<()> {
    let path = format!("/apps/{}/channel-settings", owner.app);
    let etag = owner.get(&path).await?.header("etag").context("it has a version")?.to_owned();
    owner.send_if(Method::PUT, &path, &etag, &json!({ "settings": [setting] })).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn others_see_who_enters_changes_and_leaves() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (mut ann, mut bob) = (owner.connect_as("ann", &[ROOM]).await?, owner.connect_as("bob", &[ROOM]).await?);
    assert_eq!(watch(&mut ann).await?, json!({ "channel": ROOM, "version": 0, "count": 0, "members": [] }));
    assert_eq!(act(&mut bob, "enter", json!({ "data": { "mood": "up" } })).await?, json!({}));
    let diff = told(&mut ann).await?;
    let entered = &diff["entered"][0];
    assert_eq!(
        (&entered["user"], &entered["data"], &diff["count"]),
        (&json!("bob"), &json!({ "mood": "up" }), &json!(1))
    );
    assert_eq!(entered["connection"], bob.hello["connection"]);
    let version = diff["version"].as_u64().context("a version")?;
    act(&mut bob, "update", json!({ "data": 2 })).await?;
    let diff = told(&mut ann).await?;
    assert_eq!(
        (&diff["from"], &diff["version"], &diff["updated"][0]["data"]),
        (&json!(version), &json!(version + 1), &json!(2))
    );
    act(&mut bob, "leave", json!({})).await?;
    let diff = told(&mut ann).await?;
    assert_eq!((&diff["count"], &diff["left"]), (&json!(0), &json!([{ "connection": bob.hello["connection"] }])));
    ann.nothing_came().await
}

#[tokio::test]
async fn a_lost_link_leaves_after_the_grace_and_an_unsubscribe_at_once() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &[ROOM]).await?;
    watch(&mut ann).await?;
    let (mut bob, mut eve) = (owner.connect_as("bob", &[ROOM]).await?, owner.connect_as("eve", &[ROOM]).await?);
    eve.subscribe(ROOM).await?;
    act(&mut bob, "enter", json!({})).await?;
    act(&mut eve, "enter", json!({})).await?;
    let mut count = json!(0);
    while count != 2 {
        count = told(&mut ann).await?["count"].clone();
    }
    eve.ok("unsubscribe", json!({ "channel": ROOM })).await?;
    assert_eq!(told(&mut ann).await?["left"], json!([{ "connection": eve.hello["connection"] }]));
    let lost = bob.hello["connection"].clone();
    let since = tokio::time::Instant::now();
    drop(bob.vanish());
    assert_eq!(listed(&owner).await?["count"], 1, "the grace has begun");
    // The harness waits for a push no longer than a grace may last.
    let left = loop {
        match told(&mut ann).await {
            Ok(left) => break left,
            Err(_) if since.elapsed() < Duration::from_secs(20) => {}
            Err(error) => return Err(error),
        }
    };
    assert_eq!(left["left"], json!([{ "connection": lost }]));
    ensure!(since.elapsed() >= Duration::from_secs(9), "it left after {:?}", since.elapsed());
    assert_eq!(listed(&owner).await?["count"], 0);
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_taken_ends_presence_and_says_so() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &[ROOM]).await?;
    watch(&mut ann).await?;
    act(&mut ann, "enter", json!({})).await?;
    assert_eq!(told(&mut ann).await?["count"], 1);
    let deny = |operation| json!({ "pattern": ROOM, "who": "everyone", "operations": [operation], "effect": "deny" });
    owner.replace_acl(&json!({ "rules": [deny("presence")] })).await?;
    let ended = ann.push().await?["presence_ended"].clone();
    assert_eq!((&ended["what"], &ended["error"]["code"]), (&json!("membership"), &json!("forbidden")));
    assert_eq!(told(&mut ann).await?["count"], 0);
    assert_eq!(ann.refused("presence", json!({ "channel": ROOM, "action": "enter" })).await?["layer"], "acl");
    owner.replace_acl(&json!({ "rules": [deny("presence"), deny("presence.read")] })).await?;
    assert_eq!(ann.push().await?["presence_ended"]["what"], "updates");
    assert_eq!(ann.refused("presence", json!({ "channel": ROOM, "action": "get" })).await?["code"], "forbidden");
    ann.nothing_came().await
}

#[tokio::test]
async fn entering_and_seeing_are_two_rights() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let with = async |operation: &str| {
        let token = owner.token(&json!({ "sub": operation, "ff": { "cap": { ROOM: ["subscribe", operation] } } }))?;
        Client::connect(&owner.app_url(), operation, Some(&token)).await
    };
    let (mut enters, mut sees) = (with("presence").await?, with("presence.read").await?);
    act(&mut enters, "enter", json!({})).await?;
    for body in [json!({ "channel": ROOM, "action": "get" }), json!({ "channel": ROOM, "action": "enter" })] {
        let (client, ok) = if body["action"] == "get" { (&mut enters, "get") } else { (&mut sees, "enter") };
        assert_eq!(client.refused("presence", body).await?["layer"], "token", "{ok}");
    }
    let subscribe = json!({ "channel": ROOM, "presence": true });
    assert_eq!(enters.refused("subscribe", subscribe).await?["layer"], "token");
    assert_eq!(watch(&mut sees).await?["members"][0]["user"], "presence");
    // A token reads over REST too, and manages nothing.
    let token = owner.token(&json!({ "ff": { "cap": { ROOM: ["presence.read"] } } }))?;
    let url = format!("{}/channels/{ROOM}/presence", owner.app_url());
    let http = reqwest::Client::new();
    assert_eq!(Answer::to(http.get(&url).bearer_auth(&token)).await?.ok()?["count"], 1);
    let put = http.put(format!("{url}/robot")).bearer_auth(&token).json(&json!({}));
    assert_eq!(Answer::to(put).await?.refusal()?, "forbidden");
    let key = owner.create_key("publishes", &json!({ "**": ["publish"] })).await?;
    server.await_app(&owner).await?;
    let publisher = owner.publisher_with(&key);
    harness::eventually("the key is known", async || {
        Ok((publisher.get("/channels").await?.status != 401).then_some(()))
    })
    .await?;
    assert_eq!(publisher.get(&format!("/channels/{ROOM}/presence")).await?.refusal()?, "forbidden");
    Ok(())
}

#[tokio::test]
async fn members_are_listed_in_pages() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut clients = Vec::new();
    for number in 0..5 {
        let mut client = owner.connect_as(&format!("user-{number}"), &[ROOM]).await?;
        act(&mut client, "enter", json!({ "data": number })).await?;
        clients.push(client);
    }
    put(&owner, "robot", &json!({})).await?.ok()?;
    let (mut over_rest, mut over_socket) = (Vec::new(), Vec::new());
    let (mut after, mut version) = (String::new(), None);
    loop {
        let page = owner.publisher().get(&format!("/channels/{ROOM}/presence?limit=2{after}")).await?.ok()?;
        ensure!(page["count"] == 6 && page["version"] == *version.get_or_insert(page["version"].clone()), "{page}");
        over_rest.extend(page["members"].as_array().context("a list")?.iter().map(|member| member["user"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={}", next.replace(':', "%3A"));
    }
    let mut after = json!({ "limit": 4 });
    loop {
        let page = act(&mut clients[0], "get", after).await?;
        over_socket
            .extend(page["members"].as_array().context("a list")?.iter().map(|member| member["user"].to_string()));
        let Some(next) = page.get("next") else { break };
        after = json!({ "limit": 4, "after": next });
    }
    let names: Vec<String> = (0..5).map(|n| format!("\"user-{n}\"")).chain(["\"robot\"".to_owned()]).collect();
    assert_eq!((&over_rest, &over_socket), (&names, &names));
    for wrong in ["limit=0", "limit=1001", "after=nobody", "page=2"] {
        let path = format!("/channels/{ROOM}/presence?{wrong}");
        assert_eq!(owner.publisher().get(&path).await?.refusal()?, "invalid_request", "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn a_backend_enters_users_and_takes_them_out() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &[ROOM]).await?;
    watch(&mut ann).await?;
    let member = put(&owner, "o%27neil%20%26%20co", &json!({ "info": { "n": 1 }, "data": [1.50] })).await?.ok()?;
    assert_eq!((&member["user"], &member["connection"]), (&json!("o'neil & co"), &Value::Null));
    let diff = told(&mut ann).await?;
    assert_eq!((&diff["entered"][0]["user"], &diff["entered"][0]["info"]), (&json!("o'neil & co"), &json!({ "n": 1 })));
    assert_eq!(put(&owner, "o%27neil%20%26%20co", &json!({ "data": 2 })).await?.ok()?["since"], member["since"]);
    assert_eq!(told(&mut ann).await?["updated"][0]["data"], 2);
    assert_eq!(remove(&owner, "o%27neil%20%26%20co").await?.status, 204);
    assert_eq!(told(&mut ann).await?["left"], json!([{ "user": "o'neil & co" }]));
    assert_eq!(remove(&owner, "o%27neil%20%26%20co").await?.refusal()?, "not_found");
    put(&owner, "brief", &json!({ "ttl_s": 1 })).await?.ok()?;
    harness::eventually("its time is over", async || Ok((listed(&owner).await?["count"] == 0).then_some(()))).await?;
    let long = "x".repeat(1_100);
    for (user, body) in [("a", json!({ "data": long })), ("a", json!({ "info": 1 })), ("a", json!({ "ttl": 1 }))] {
        assert_eq!(put(&owner, user, &body).await?.refusal()?, "invalid_request", "{body}");
    }
    assert_eq!(put(&owner, &"x".repeat(256), &json!({})).await?.refusal()?, "invalid_request");
    let reserved = owner.publisher().request(Method::PUT, "/channels/$stats:x/presence/a").json(&json!({}));
    assert_eq!(Answer::to(reserved).await?.refusal()?, "invalid_channel");
    Ok(())
}

#[tokio::test]
async fn a_channel_can_be_without_presence() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &[ROOM]).await?;
    watch(&mut ann).await?;
    act(&mut ann, "enter", json!({})).await?;
    told(&mut ann).await?;
    with_settings(&owner, json!({ "pattern": ROOM, "presence": false })).await?;
    for what in ["membership", "updates"] {
        let ended = ann.push().await?["presence_ended"].clone();
        assert_eq!((&ended["what"], &ended["error"]["code"]), (&json!(what), &json!("presence_off")));
    }
    assert_eq!(ann.refused("presence", json!({ "channel": ROOM, "action": "enter" })).await?["code"], "presence_off");
    assert_eq!(put(&owner, "robot", &json!({})).await?.refusal()?, "presence_off");
    assert_eq!(owner.publisher().get(&format!("/channels/{ROOM}/presence")).await?.refusal()?, "presence_off");
    Ok(())
}

#[tokio::test]
async fn the_same_channel_of_two_apps_has_different_members() -> Result<()> {
    let server = Server::start().await?;
    let (ann, bob) = (server.sign_up().await?, server.sign_up().await?);
    let (mut of_ann, mut of_bob) = (ann.connect_as("ann", &[ROOM]).await?, bob.connect_as("bob", &[ROOM]).await?);
    watch(&mut of_ann).await?;
    watch(&mut of_bob).await?;
    act(&mut of_ann, "enter", json!({ "data": "ann's" })).await?;
    assert_eq!(told(&mut of_ann).await?["entered"][0]["data"], "ann's");
    put(&ann, "robot", &json!({})).await?.ok()?;
    told(&mut of_ann).await?;
    assert_eq!(act(&mut of_bob, "get", json!({})).await?["count"], 0);
    assert_eq!(listed(&bob).await?["members"], json!([]));
    assert_eq!(remove(&bob, "robot").await?.refusal()?, "not_found");
    of_bob.nothing_came().await?;
    assert_eq!(listed(&ann).await?["count"], 2);
    Ok(())
}
