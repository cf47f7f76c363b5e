//! `GET …/messages` and `GET …/channels`.

use ::harness::answer::Answer;
use ::harness::eventually;
use ::harness::publisher::{Publisher, messages};
use ::harness::raw::{Raw, place};
use ::harness::server::Server;
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;

use super::data;

/// Follows `next` to the end, and returns each page's numbers.
async fn pages(publisher: &Publisher, path: &str) -> Result<Vec<Vec<u64>>> {
    let (mut pages, mut from) = (Vec::new(), String::new());
    loop {
        let page = publisher.get(&format!("{path}{from}")).await?.ok()?;
        pages.push(data(&page));
        match page["next"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => return Ok(pages),
        }
        anyhow::ensure!(pages.len() < 100, "the pages do not end");
    }
}

#[tokio::test]
async fn history_is_read_both_ways_in_pages_and_says_what_is_gone() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let channel = messages("room:9");
    let mut positions = Vec::new();
    for number in 1..=10 {
        positions.push(publisher.publish("room:9", number).await?.position);
    }
    assert_eq!(
        pages(&publisher, &format!("{channel}?limit=4")).await?,
        [vec![10, 9, 8, 7], vec![6, 5, 4, 3], vec![2, 1]]
    );
    assert_eq!(
        pages(&publisher, &format!("{channel}?limit=4&direction=forward")).await?,
        [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]]
    );
    assert_eq!(pages(&publisher, &format!("{channel}?limit=5")).await?.len(), 2, "a full last page is the last");
    let page = publisher.get(&format!("{channel}?direction=forward&from={}", positions[6])).await?.ok()?;
    assert_eq!((data(&page), &page["truncated"]), (vec![8, 9, 10], &json!(false)));
    let page = publisher.get(&format!("{channel}?from={}", positions[2])).await?.ok()?;
    assert_eq!((data(&page), &page["channel"]), (vec![2, 1], &json!("room:9")));
    let first = &page["messages"][0];
    assert_eq!((&first["seq"], &first["position"]), (&json!(2), &json!(positions[1])));
    let nothing = publisher.get(&messages("room:nobody")).await?.ok()?;
    assert_eq!((data(&nothing), nothing.get("next"), &nothing["truncated"]), (vec![], None, &json!(false)));

    // The same on a socket.
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let page = ann.ok("history", json!({ "channel": "room:9", "limit": 3 })).await?;
    assert_eq!((data(&page), &page["next"]), (vec![10, 9, 8], &json!(positions[7])));

    // Ten of twelve are kept: going back ends early and says so, going forward from the gone says so too.
    server.lower_limits(&json!({ "history_messages": { "max": 10 } })).await?;
    let gone = eventually("the past is trimmed", async || {
        publisher.publish("room:9", 99).await?;
        let page = publisher.get(&format!("{channel}?limit=1000")).await?.ok()?;
        Ok((data(&page).len() == 10).then_some(page))
    })
    .await?;
    assert_eq!(gone["truncated"], true);
    let page = publisher.get(&format!("{channel}?direction=forward&limit=1&from={}", positions[0])).await?.ok()?;
    let kept = page["messages"][0]["seq"].as_u64().context("a message")?;
    assert_eq!((&page["truncated"], kept > 2), (&json!(kept > 2), true));
    Ok(())
}

#[tokio::test]
async fn channels_in_use_are_listed_by_name_in_pages_and_by_prefix() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let (mut ann, mut bob) = (owner.connect_as("ann", &["**"]).await?, owner.connect_as("bob", &["**"]).await?);
    for channel in ["room:2", "room:1", "hall:1", "room:10", "roof"] {
        ann.subscribe(channel).await?;
    }
    bob.subscribe("room:1").await?;
    let list = async |query: &str| -> Result<Vec<(String, u64)>> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = publisher.get(&format!("/channels?{query}{after}")).await?.ok()?;
            let items = page["items"].as_array().context("items")?;
            all.extend(
                items
                    .iter()
                    .filter_map(|item| Some((item["name"].as_str()?.to_owned(), item["subscribers"].as_u64()?))),
            );
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(all),
            }
        }
    };
    let named =
        |names: &[(&str, u64)]| names.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>();
    let all = named(&[("hall:1", 1), ("roof", 1), ("room:1", 2), ("room:10", 1), ("room:2", 1)]);
    for query in ["", "limit=1", "limit=2", "limit=5", "limit=1000"] {
        assert_eq!(list(query).await?, all, "{query}");
    }
    assert_eq!(list("prefix=room:&limit=2").await?, all[2..]);
    assert_eq!(list("prefix=room:1").await?, all[2..4]);
    assert_eq!(list("prefix=zoo").await?, []);
    // What nobody is subscribed to any more is not in use.
    ann.ok("unsubscribe", json!({ "channel": "hall:1" })).await?;
    drop(bob.vanish());
    eventually("the leavers are gone", async || {
        Ok((list("").await? == named(&[("roof", 1), ("room:1", 1), ("room:10", 1), ("room:2", 1)])).then_some(()))
    })
    .await?;

    // A key sees what it may manage; a token sees nothing.
    let key = owner.create_key("rooms", &json!({ "room:*": ["manage"] })).await?;
    let rooms = owner.publisher_with(&key);
    let page = eventually("the key arrives", async || {
        let answer = rooms.get("/channels").await?;
        Ok((answer.status == 200).then_some(answer.body))
    })
    .await?;
    let names: Vec<_> = page["items"].as_array().context("items")?.iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["room:1", "room:10", "room:2"]);
    let request = super::stranger(Method::GET, &format!("{}/channels", owner.app_url()))?;
    assert_eq!(Answer::to(request.bearer_auth(owner.token_for("ann", &["**"])?)).await?.refusal()?, "key_invalid");
    Ok(())
}

#[tokio::test]
async fn a_channel_in_a_path_is_percent_decoded_exactly_once() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let mut ann = owner.connect_as("ann", &["**"]).await?;
    let url = owner.app_url();
    let (host, path) = place(&url)?;
    for (encoded, name) in [
        ("room:9", "room:9"),
        ("room%3A9", "room:9"),
        ("%72oom%3a9", "room:9"),
        ("a%2Fb", "a/b"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a%23b%26c=d;e,f@g!h~i'j(k)", "a#b&c=d;e,f@g!h~i'j(k)"),
        ("..", ".."),
    ] {
        if let Err(problem) = ann.command("subscribe", json!({ "channel": name })).await? {
            assert_eq!(problem["code"], "already_subscribed", "{name}");
        }
        // By hand: clients of good will clean paths up.
        let body = r#"{"data":"hi"}"#;
        let request = format!(
            "POST {path}/channels/{encoded}/messages HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            owner.key,
            body.len()
        );
        let raw = Raw::send(&url, request.as_bytes()).await?;
        assert_eq!(raw.status, 200, "{encoded}");
        assert_eq!(ann.message(name).await?["data"], "hi", "{encoded}");
    }
    for encoded in [
        "a%2525b",
        "a%25b",
        "a%2",
        "a%zz",
        "a%00b",
        "a%20b",
        "a%ffb",
        "a%E4%BD%A0",
        "a%3A",
        "%3Aa",
        "a%3A%3Ab",
        "%24stats%3Aoverview",
    ] {
        let answer = publisher.post(&format!("/channels/{encoded}/messages"), &json!({ "data": 1 })).await?;
        assert_eq!((answer.status, answer.refusal()?.as_str()), (400, "invalid_channel"), "{encoded}");
    }
    let long = "x".repeat(201);
    assert_eq!(publisher.post(&messages(&long), &json!({ "data": 1 })).await?.refusal()?, "invalid_channel");
    publisher.publish(&long[..200], 1).await?;
    ann.nothing_came().await
}
