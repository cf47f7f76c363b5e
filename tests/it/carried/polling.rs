//! Long polls: what each brings, what its ticket says, and what a client makes of both.

use std::collections::BTreeSet;

use ::harness::carried::{Carried, Polled};
use ::harness::ledger::{Ledger, Seen};
use ::harness::server::{Options, Server};
use ::harness::{Beside, eventually, unix_now};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const CHANNELS: [&str; 3] = ["room:1", "room:2", "room:3"];
const PER_CHANNEL: u64 = 150;

fn data(polled: &Polled) -> Vec<Value> {
    polled.frames.iter().filter_map(|frame| frame.get("msg")).map(|msg| msg["data"].clone()).collect()
}

#[tokio::test]
async fn a_poll_brings_what_came_since_the_last_and_waits_when_nothing_did() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let token = owner.token_for("ann", &["room:*"])?;
    let mut ann = Carried::new(&owner.app_url(), "ann")?;
    let first = ann
        .poll(&[
            json!({ "id": 1, "connect": { "token": token } }),
            json!({ "id": 2, "subscribe": { "channel": "room:9" } }),
            json!({ "id": 3, "publish": { "channel": "room:9", "data": "own" } }),
        ])
        .await?;
    // Answers come as they are known, and the subscription may begin behind what was published right after it.
    let answer =
        |id: u64| first.frames.iter().find(|frame| frame["id"] == id).map_or(&Value::Null, |frame| &frame["ok"]);
    let connection = answer(1)["connection"].clone();
    assert_eq!(answer(1)["user"], "ann");
    let begins = answer(2)["seq"].as_u64().context("subscribed")?;
    assert!(answer(3)["position"].is_string(), "{first:?}");
    assert_eq!(data(&first).len() as u64, 1 - begins, "what the last command did comes along");

    publisher.publish("room:9", "missed").await?;
    assert_eq!(data(&ann.poll(&[]).await?), ["missed"]);
    let nothing = ann.look().await?;
    assert!(nothing.frames.is_empty() && nothing.ticket.is_some(), "{nothing:?}");

    // One that waits has it when it comes: it would wait for longer than the test does.
    let waiting = Beside::begin({
        let mut ann = ann.clone();
        async move { ann.poll(&[]).await.map(|polled| (ann, polled)) }
    });
    eventually("the poll waits", async || {
        let found = publisher.get("/connections?user=ann").await?.ok()?;
        Ok((found["items"].as_array().map(Vec::len) == Some(1)).then_some(()))
    })
    .await?;
    let seen = publisher.get("/connections?user=ann").await?.ok()?["items"][0].clone();
    assert_eq!((&seen["transport"], &seen["id"]), (&json!("poll"), &connection), "it is the same connection");
    publisher.publish("room:9", "live").await?;
    let (mut ann, polled) = waiting.done().await??;
    assert_eq!(data(&polled), ["live"]);
    // Commands are answered at once, whatever else there is.
    let (pong, _) = ann.command("ping", json!({})).await?;
    assert!(pong["time"].as_u64().is_some_and(|time| (time / 1_000).abs_diff(unix_now()) < 60), "{pong}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_reordered_between_polls_even_when_answers_are() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    for channel in CHANNELS {
        ann.command("subscribe", json!({ "channel": channel })).await?;
    }
    let publishing = Beside::begin({
        let publisher = owner.publisher();
        async move {
            let mut ledger = Ledger::new();
            for number in 0..PER_CHANNEL {
                for channel in CHANNELS {
                    publisher.publish_into(&mut ledger, channel, format!("{channel}-{number}")).await?;
                }
            }
            anyhow::Ok(ledger)
        }
    });
    let (mut taken, mut round, expected) = (0, 0_usize, PER_CHANNEL as usize * CHANNELS.len());
    while taken < expected {
        round += 1;
        let lost = if round % 3 == 0 { Some(ann.peek("poll", &[]).await?) } else { None };
        let polled = ann.poll(&[]).await?;
        if let Some(lost) = lost {
            // The answer that was lost comes again, and perhaps more behind it.
            for channel in CHANNELS {
                let of = |polled: &Polled| {
                    let frames = polled.frames.iter().filter(|frame| frame["msg"]["channel"] == channel);
                    frames.cloned().collect::<Vec<_>>()
                };
                ensure!(of(&polled).starts_with(&of(&lost)), "{lost:?} was followed by {polled:?}");
            }
        }
        taken += data(&polled).len();
    }
    let ledger = publishing.done().await??;
    assert!(round > 10, "{round} polls took everything: too few to say anything");
    let summary = ledger.check_settled(&ann.journals());
    assert_eq!(summary.map(|summary| (summary.acked, summary.delivered)), Ok((expected, expected)));
    assert!(ann.look().await?.frames.is_empty());
    Ok(())
}

#[tokio::test]
async fn subscriptions_and_tokens_change_between_polls() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    ann.command("subscribe", json!({ "channel": "room:1" })).await?;
    ann.command("subscribe", json!({ "channel": "room:2" })).await?;
    publisher.publish("room:1", 1).await?;
    publisher.publish("room:2", 1).await?;
    let polled = ann.poll(&[]).await?;
    assert_eq!(polled.frames.len(), 2);
    ann.command("unsubscribe", json!({ "channel": "room:1" })).await?;
    publisher.publish("room:1", 2).await?;
    publisher.publish("room:2", 2).await?;
    let told: Vec<_> = ann.poll(&[]).await?.frames.iter().map(|frame| frame["msg"]["channel"].clone()).collect();
    assert_eq!(told, ["room:2"]);

    // A token for one subscription alone, which goes along in the ticket.
    let own = owner.token(&json!({ "sub": "ann", "ff": { "cap": { "hall:*": ["subscribe", "publish"] } } }))?;
    ann.command("subscribe", json!({ "channel": "hall:1", "token": own })).await?;
    publisher.publish("hall:1", "by its own token").await?;
    assert_eq!(data(&ann.poll(&[]).await?), ["by its own token"]);
    ann.command("publish", json!({ "channel": "hall:1", "data": "and so it publishes" })).await?;

    // Another token for the connection: what it does not give is ended, and told.
    let less = owner.token_for("ann", &["room:3"])?;
    let (refreshed, mut told) = ann.command("refresh", json!({ "token": less })).await?;
    assert!(refreshed["expires_ms"].is_u64(), "{refreshed}");
    told.extend(ann.look().await?.frames);
    let ended: Vec<_> = told.iter().filter_map(|frame| frame.get("unsubscribed")).collect();
    assert_eq!(ended.len(), 1, "{told:?}");
    assert_eq!((&ended[0]["channel"], &ended[0]["error"]["code"]), (&json!("room:2"), &json!("forbidden")));
    publisher.publish("room:2", 3).await?;
    publisher.publish("hall:1", 3).await?;
    let told: Vec<_> = ann.poll(&[]).await?.frames.iter().map(|frame| frame["msg"]["channel"].clone()).collect();
    assert_eq!(told, ["hall:1"]);
    Ok(())
}

#[tokio::test]
async fn rules_that_change_between_two_polls_end_what_they_no_longer_give() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    ann.command("subscribe", json!({ "channel": "room:9" })).await?;
    let rules = json!([{ "pattern": "room:9", "who": "everyone", "operations": ["subscribe"], "effect": "deny" }]);
    owner.replace_acl(&json!({ "rules": rules })).await?;
    let ended = eventually("the rule is in force", async || {
        let polled = ann.look().await?;
        Ok(polled.frames.iter().find_map(|frame| frame.get("unsubscribed")).cloned())
    })
    .await?;
    assert_eq!((&ended["channel"], &ended["error"]["layer"]), (&json!("room:9"), &json!("acl")));
    assert!(ann.look().await?.frames.is_empty(), "it is told once");
    Ok(())
}

#[tokio::test]
async fn a_ticket_outlives_its_node_and_says_what_did_not() -> Result<()> {
    let mut server = Server::start_with(Options::in_memory()).await?;
    let owner = server.sign_up().await?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    ann.command("subscribe", json!({ "channel": "room:9" })).await?;
    owner.publisher().publish("room:9", "before").await?;
    assert_eq!(data(&ann.poll(&[]).await?), ["before"]);
    server.kill()?;
    server.launch().await?;
    server.await_app(&owner).await?;
    // The log was the memory of a node that is gone.
    let polled = ann.poll(&[]).await?;
    let recovery = &polled.frames[0]["recovery"];
    assert_eq!((&recovery["recovered"], &recovery["reason"]), (&json!(false), &json!("epoch_changed")), "{polled:?}");
    owner.publisher().publish("room:9", "after").await?;
    assert_eq!(data(&ann.poll(&[]).await?), ["after"]);
    let told = ann.journals().into_iter().flat_map(|journal| journal.seen);
    assert_eq!(told.filter(|seen| matches!(seen, Seen::NotRecovered { .. })).count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_token_that_has_expired_is_borne_until_a_new_one_comes() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let expires = unix_now() + 3;
    let cap = json!({ "room:*": ["subscribe"] });
    let short = owner.token(&json!({ "sub": "ann", "exp": expires, "ff": { "cap": cap } }))?;
    let mut ann = Carried::new(&owner.app_url(), "ann")?;
    let mut told = ann.poll(&[json!({ "id": 1, "connect": { "token": short } })]).await?.frames;
    ann.command("subscribe", json!({ "channel": "room:9" })).await?;
    eventually("the token expires", async || Ok((unix_now() > expires).then_some(()))).await?;
    told.extend(ann.look().await?.frames);
    let notices: Vec<_> = told.iter().filter_map(|frame| frame["notice"]["kind"].as_str()).collect();
    assert_eq!(notices, ["token_expiring"], "it is told once, over all polls");
    ann.command("refresh", json!({ "token": owner.token_for("ann", &["room:*"])? })).await?;
    owner.publisher().publish("room:9", "still here").await?;
    assert_eq!(data(&ann.poll(&[]).await?), ["still here"]);
    Ok(())
}

#[tokio::test]
async fn rates_count_over_polls_and_a_full_answer_refuses_the_rest() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let slow = json!({ "publish_connection": { "max": 1, "burst": 3 } });
    let all = json!({ "room:*": ["subscribe", "publish", "history"] });
    let token = owner.token(&json!({ "sub": "ann", "ff": { "cap": all, "limits": slow } }))?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&token)).await?;
    let mut refused = 0;
    for number in 0..8 {
        let command = ann.numbered("publish", json!({ "channel": "room:1", "data": number }));
        let answer = ann.poll(&[command]).await?.frames.remove(0);
        refused += u64::from(answer["error"]["limit"] == "publish_connection");
    }
    assert!(refused >= 3, "a rate of one a second refused {refused} of eight, each in a poll of its own");

    for _ in 0..4 {
        owner.publisher().publish("room:2", "x".repeat(60_000)).await?;
    }
    let reads: Vec<Value> = (1..=60).map(|id| json!({ "id": id, "history": { "channel": "room:2" } })).collect();
    let polled = ann.poll(&reads).await?;
    let ids: BTreeSet<u64> = polled.frames.iter().filter_map(|frame| frame["id"].as_u64()).collect();
    assert_eq!(ids.len(), reads.len(), "every command is answered");
    let full = |frame: &&Value| frame["error"]["limit"] == "outbox_bytes" && frame["error"]["retryable"] == true;
    let refused = polled.frames.iter().filter(full).count();
    assert!((1..reads.len()).contains(&refused), "{refused} were refused");
    let bytes: usize = polled.frames.iter().map(|frame| frame.to_string().len()).sum();
    assert!(bytes < 2 << 20, "{bytes} bytes in one answer");
    Ok(())
}

#[tokio::test]
async fn a_ticket_takes_as_many_subscriptions_as_fit_and_says_so() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:**"])?)).await?;
    let name = |number: usize| format!("room:{number}:{}", "n".repeat(180));
    let mut made = 0;
    let refusal = 'full: loop {
        let commands: Vec<Value> = (0..16)
            .map(|_| {
                made += 1;
                json!({ "id": made, "subscribe": { "channel": name(made) } })
            })
            .collect();
        let polled = ann.poll(&commands).await?;
        ensure!(polled.ticket.is_some() && made < 500, "{made} subscriptions");
        for frame in &polled.frames {
            if let Some(error) = frame.get("error") {
                break 'full error.clone();
            }
        }
    };
    assert_eq!((&refusal["code"], &refusal["limit"]), (&json!("limit_reached"), &json!("subscriptions")), "{refusal}");
    let ticket = ann.ticket.as_ref().context("a ticket")?;
    assert!((8_000..=16_384).contains(&ticket.len()), "{} bytes", ticket.len());
    owner.publisher().publish(&name(1), "the first is there").await?;
    assert_eq!(data(&ann.poll(&[]).await?), ["the first is there"]);
    Ok(())
}
