//! What is left, and what happens when nothing is.

use std::time::Duration;

use ::harness::answer::Answer;
use ::harness::client::Client;
use ::harness::publisher::messages;
use ::harness::server::{Options, Server, is_over_redis};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::refused_at;

/// A structured field such as `"rest_requests";r=3;t=1`: its name and a parameter.
fn parameter(answer: &Answer, header: &str, parameter: &str) -> Result<(String, u64)> {
    let text = answer.header(header).with_context(|| format!("no {header}"))?;
    let mut parts = text.split(';');
    let name = parts.next().and_then(|name| name.strip_prefix('"')?.strip_suffix('"')).context("a name")?;
    let value = parts.find_map(|part| part.strip_prefix(parameter)?.strip_prefix('=')).context("a parameter")?;
    Ok((name.to_owned(), value.parse()?))
}

#[tokio::test]
async fn a_key_is_told_how_much_is_left_and_when_to_come_back() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    // One a minute would be steadier; the unit is a second, so the burst makes the room.
    let lowered = json!({ "rest_requests": { "max": 1, "burst": 30 }, "message_bytes": { "max": 1_000 } });
    server.lower_limits(&lowered).await?;
    refused_at(&owner, 1_001).await?;
    let publisher = owner.publisher();
    let mut before = None;
    let refused = loop {
        let answer = publisher.get("/channels").await?;
        assert_eq!(parameter(&answer, "ratelimit-policy", "q")?, ("rest_requests".to_owned(), 30));
        assert_eq!(parameter(&answer, "ratelimit-policy", "w")?.1, 30);
        let (name, left) = parameter(&answer, "ratelimit", "r")?;
        assert_eq!(name, "rest_requests");
        if answer.status != 200 {
            break answer;
        }
        // A second may pass between two requests and bring one back.
        ensure!(before.is_none_or(|before| left <= before), "{left} are left, before {before:?}");
        ensure!(parameter(&answer, "ratelimit", "t")?.1 <= 30);
        before = Some(left);
    };
    assert_eq!((refused.status, refused.refusal()?.as_str()), (429, "rate_limited"));
    assert_eq!((&refused.body["limit"], &refused.body["retryable"]), (&json!("rest_requests"), &json!(true)));
    assert_eq!(parameter(&refused, "ratelimit", "r")?.1, 0);
    let wait_ms = refused.body["retry_after_ms"].as_u64().context("when to come back")?;
    let wait_s: u64 = refused.header("retry-after").context("Retry-After")?.parse()?;
    // Over Redis what was drawn before the limit was lowered is paid back at the new rate, a second of it at most, and one
    // request more may have been drawn meanwhile.
    let wait_max = if is_over_redis() { 3_000 } else { 1_000 };
    assert!((1..=wait_max).contains(&wait_ms) && wait_s == wait_ms.div_ceil(1_000), "{}", refused.body);

    // Each key has its own rate, and what is not a key's costs it nothing.
    let other = owner.create_key("other", &json!({ "**": ["manage"] })).await?;
    let other = owner.publisher_with(&other);
    ::harness::eventually("another key goes on", async || {
        Ok((other.get("/channels").await?.status == 200).then_some(()))
    })
    .await?;
    owner.connect_as("ann", &["room:*"]).await.map(drop)
}

#[tokio::test]
async fn who_finds_the_door_crowded_is_told_when_to_come_and_then_gets_in() -> Result<()> {
    let options = Options::default().with("FANFARE_NODE__CONNECTS_PER_S", 20).with("FANFARE_NODE__CONNECTS_BURST", 5);
    let server = Server::start_with(options).await?;
    let owner = server.sign_up().await?;
    let url = owner.app_url();
    // Opens a socket and connects, waiting as it is told; how often it was sent away, and how long it took.
    let enter = async || -> Result<(u32, Duration)> {
        let (begun, mut refused) = (Instant::now(), 0);
        loop {
            let mut client = Client::open(&url, "crowd").await?;
            // It may be closed on us by then.
            let _ = client.send(r#"{"id":1,"connect":{}}"#).await;
            let first = client.receive().await?;
            let Some(error) = first.get("error") else { return Ok((refused, begun.elapsed())) };
            assert_eq!((&error["code"], &error["retryable"]), (&json!("overloaded"), &json!(true)), "{error}");
            assert_eq!(client.closed().await?, (4103, "overloaded".to_owned()));
            let wait_ms = error["retry_after_ms"].as_u64().context("a time to come back")?;
            ensure!((1..=15_000).contains(&wait_ms), "{wait_ms}");
            let _ = timeout(Duration::from_millis(wait_ms), std::future::pending::<()>()).await;
            refused += 1;
        }
    };
    let entered = futures_util::future::try_join_all((0..60).map(|_| enter())).await?;
    let slowest = entered.iter().map(|(_, took)| *took).max().unwrap_or_default();
    let refused: u32 = entered.iter().map(|(refused, _)| refused).sum();
    println!("60 clients at 20 a second: all in after {slowest:?}, sent away {refused} times");
    ensure!(slowest > Duration::from_secs(2), "the rate holds: {slowest:?}");
    ensure!(refused >= 50, "{refused}");
    // A request that is no handshake is answered as HTTP.
    let plain = Answer::to(::harness::answer::http()?.get(format!("{url}/socket"))).await?;
    ensure!(plain.status >= 400 && plain.body["code"].is_string(), "{}", plain.body);
    Ok(())
}

#[tokio::test]
async fn a_publish_over_a_rate_is_refused_by_the_name_of_the_rate() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let lowered = json!({
        "publish_channel": { "max": 1, "burst": 3 }, "publish_connection": { "max": 1, "burst": 5 },
        "subscriptions": { "max": 2 }, "message_bytes": { "max": 1_000 },
    });
    server.lower_limits(&lowered).await?;
    refused_at(&owner, 1_001).await?;
    let publisher = owner.publisher();
    let refused = loop {
        let answer = publisher.post(&messages("room:9"), &json!({ "data": 1 })).await?;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status, &refused.body["limit"]), (429, &json!("publish_channel")));
    assert_eq!(parameter(&refused, "ratelimit", "r")?, ("publish_channel".to_owned(), 0));
    assert!(refused.header("retry-after").is_some());
    // Other channels are not meant.
    publisher.publish("room:8", 1).await?;

    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    assert_eq!(ann.hello["limits"]["publish_connection"], json!({ "max": 1, "burst": 5 }));
    let mut number = 0;
    let problem = loop {
        number += 1;
        if let Err(problem) =
            ann.command("publish", json!({ "channel": format!("room:ann-{number}"), "data": 1 })).await?
        {
            break problem;
        }
    };
    assert_eq!((&problem["code"], &problem["limit"]), (&json!("rate_limited"), &json!("publish_connection")));
    assert!(number > 5 && problem["retry_after_ms"].is_u64(), "{number}: {problem}");
    for channel in ["room:1", "room:2"] {
        ann.subscribe(channel).await?;
    }
    let problem = ann.refused("subscribe", json!({ "channel": "room:3" })).await?;
    assert_eq!((&problem["code"], &problem["limit"]), (&json!("limit_reached"), &json!("subscriptions")));
    // It was warned before: near, and then at the limit.
    for (limit, used, max) in [("publish_connection", 4, 5), ("publish_connection", 5, 5), ("subscriptions", 2, 2)] {
        let notice = json!({ "kind": "limit_near", "limit": limit, "used": used, "max": max });
        assert_eq!(ann.push().await?["notice"], notice);
    }
    ann.nothing_came().await
}

/// Waits as it is told, each time, and is never refused for coming too early.
#[tokio::test]
async fn whoever_waits_as_told_is_not_refused_again() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let lowered = json!({ "publish_channel": { "max": 20, "burst": 2 }, "message_bytes": { "max": 1_000 } });
    server.lower_limits(&lowered).await?;
    refused_at(&owner, 1_001).await?;
    let publisher = owner.publisher();
    let (mut refusals, mut waited) = (0, false);
    for number in 0..40 {
        let answer = publisher.post(&messages("room:9"), &json!({ "data": number })).await?;
        if answer.status == 200 {
            waited = false;
            continue;
        }
        assert!(!waited, "refused after waiting as told: {}", answer.body);
        let wait = answer.body["retry_after_ms"].as_u64().context("when to come back")?;
        #[expect(clippy::disallowed_methods, reason = "a client that obeys waits; that is what is tested")]
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        (refusals, waited) = (refusals + 1, true);
    }
    ensure!(refusals >= 5, "the limit was hardly met: {refusals}");
    Ok(())
}
