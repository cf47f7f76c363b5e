//! `GET …/connections`, `…/connections/{connection}` and `…/users/{user}`.

use ::harness::eventually;
use ::harness::publisher::Publisher;
use ::harness::server::Server;
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Follows `next` to the end, and returns every connection's id.
async fn list(publisher: &Publisher, query: &str) -> Result<Vec<Value>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = publisher.get(&format!("/connections?{query}{after}")).await?.ok()?;
        all.extend(page["items"].as_array().context("items")?.iter().map(|item| item["id"].clone()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}

#[tokio::test]
async fn connections_are_listed_by_age_user_and_channel_and_looked_at_one_by_one() -> Result<()> {
    let server = Server::start().await?;
    let (owner, other) = (server.sign_up().await?, server.sign_up().await?);
    let publisher = owner.publisher();
    let (mut clients, mut ids) = (Vec::new(), Vec::new());
    for user in ["ann", "bob", "ann", "cid", "ann"] {
        let mut client = owner.connect_as(user, &["room:*"]).await?;
        client.subscribe("room:9").await?;
        ids.push(client.hello["connection"].clone());
        clients.push(client);
    }
    let _elsewhere = other.connect_as("ann", &["room:*"]).await?;
    clients[4].subscribe("room:1").await?;
    // Ids of one millisecond are in no order but their own.
    ids.sort_by_key(ToString::to_string);
    for query in ["", "limit=1", "limit=2", "limit=5", "limit=1000", "channel=room:9", "channel=room:9&limit=2"] {
        assert_eq!(list(&publisher, query).await?, ids, "{query}");
    }
    let anns: Vec<_> = [0, 2, 4].iter().map(|at| clients[*at].hello["connection"].clone()).collect();
    let mut sorted = anns.clone();
    sorted.sort_by_key(ToString::to_string);
    assert_eq!(list(&publisher, "user=ann&limit=1").await?, sorted);
    assert_eq!(list(&publisher, "user=ann&channel=room:1").await?, [anns[2].clone()]);
    assert_eq!(list(&publisher, "user=eve").await?, Vec::<Value>::new());
    assert_eq!(list(&publisher, "channel=room:none").await?, Vec::<Value>::new());

    let path = format!("/connections/{}", anns[2].as_str().context("an id")?);
    let one = publisher.get(&path).await?.ok()?;
    assert_eq!(
        (&one["user"], &one["transport"], &one["subscriptions"], &one["bytes_waiting"]),
        (&json!("ann"), &json!("websocket"), &json!(["room:1", "room:9"]), &json!(0))
    );
    assert!(one["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{one}");
    let user = publisher.get("/users/ann").await?.ok()?;
    assert_eq!((user["connections"].as_array().map(Vec::len), &user["more"]), (Some(3), &json!(false)));
    assert_eq!(publisher.get("/users/eve%20the%20%C3%A4rst").await?.ok()?["connections"], json!([]));

    let gone = clients.swap_remove(4);
    drop(gone.vanish());
    eventually("who is gone is not found", async || {
        let answer = publisher.get(&path).await?;
        Ok((answer.status == 404 && list(&publisher, "user=ann").await?.len() == 2).then_some(()))
    })
    .await?;
    assert_eq!(publisher.get("/connections/con_1").await?.refusal()?, "not_found");
    assert_eq!(publisher.get("/connections?limit=1001").await?.refusal()?, "invalid_request");
    assert_eq!(publisher.get("/connections?after=x").await?.refusal()?, "invalid_request");
    assert_eq!(publisher.get(&format!("/users/{}", "u".repeat(256))).await?.refusal()?, "invalid_request");
    Ok(())
}

#[tokio::test]
async fn a_key_sees_the_connections_of_what_it_manages_and_what_a_token_says_of_them() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let token = owner.token(&json!({
        "sub": "ann", "ff": { "cap": { "room:*": ["subscribe"] }, "meta": { "plan": "gold" } },
    }))?;
    let mut ann = ::harness::client::Client::connect(&owner.app_url(), "ann", Some(&token)).await?;
    ann.subscribe("room:9").await?;
    let key = owner.create_key("rooms", &json!({ "room:*": ["manage"] })).await?;
    let rooms = owner.publisher_with(&key);
    let seen = eventually("the key arrives", async || {
        let answer = rooms.get("/connections?channel=room:9").await?;
        Ok((answer.status == 200).then_some(answer.body))
    })
    .await?;
    assert_eq!((&seen["items"][0]["user"], &seen["items"][0]["meta"]["plan"]), (&json!("ann"), &json!("gold")));
    let connection = ann.hello["connection"].as_str().context("an id")?.to_owned();
    for path in ["/connections", "/connections?user=ann", "/connections?channel=hall:1", "/users/ann", "/metrics"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("/connections/{connection}")])
    {
        assert_eq!(rooms.get(&path).await?.refusal()?, "forbidden", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_tenant_reads_the_figures_of_its_own_app_alone() -> Result<()> {
    let server = Server::start().await?;
    let (owner, other) = (server.sign_up().await?, server.sign_up().await?);
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    for number in 0..3 {
        owner.publisher().publish("room:9", number).await?;
        ann.message("room:9").await?;
    }
    let read = async |publisher: &Publisher| -> Result<String> {
        let answer = publisher.request(reqwest::Method::GET, "/metrics").send().await?.error_for_status()?;
        let form = answer.headers().get("content-type").context("a type")?.to_str()?.to_owned();
        assert!(form.starts_with("application/openmetrics-text; version=1.0.0"), "{form}");
        Ok(answer.text().await?)
    };
    let text = read(&owner.publisher()).await?;
    for line in ["fanfare_connections 1", "fanfare_subscriptions 1", "fanfare_messages_in_total 3", "# EOF"] {
        assert!(text.lines().any(|read| read == line), "{line} is missing: {text}");
    }
    assert!(read(&other.publisher()).await?.contains("fanfare_messages_in_total 0"));
    Ok(())
}
