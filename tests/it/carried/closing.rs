//! How streams and polls end before their time: revoked, disconnected, taken over, moved.

use ::harness::carried::{Carried, Polled};
use ::harness::owner::Owner;
use ::harness::server::{Options, Server};
use ::harness::{Beside, eventually};
use anyhow::{Context, Result};
use serde_json::json;

/// A poll that waits.
async fn waiting(owner: &Owner, user: &str) -> Result<(Carried, Beside<Result<Polled>>)> {
    let token = owner.token_for(user, &["room:*"])?;
    let mut client = Carried::connect(&owner.app_url(), user, Some(&token)).await?;
    client.command("subscribe", json!({ "channel": "room:9" })).await?;
    let polling = Beside::begin({
        let client = client.clone();
        async move { client.peek("poll", &[]).await }
    });
    let path = format!("/connections?user={user}");
    eventually("the poll waits", async || {
        let found = owner.publisher().get(&path).await?.ok()?;
        Ok((found["items"].as_array().map(Vec::len) == Some(1)).then_some(()))
    })
    .await?;
    Ok((client, polling))
}

fn closed(number: u64, reason: &str) -> Option<(u64, String)> {
    Some((number, reason.to_owned()))
}

#[tokio::test]
async fn a_revocation_and_a_disconnect_answer_a_poll_and_end_a_stream() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let (_, polling) = waiting(&owner, "ann").await?;
    publisher.post("/disconnect", &json!({ "user": "ann", "reason": "Go home." })).await?.ok()?;
    let polled = polling.done().await??;
    assert_eq!(polled.closed, closed(4203, "disconnected"));
    assert_eq!(polled.frames[0]["notice"]["reason"], "Go home.");

    let (bob, polling) = waiting(&owner, "bob").await?;
    publisher.post("/revocations", &json!({ "user": "bob" })).await?.ok()?;
    assert_eq!(polling.done().await??.closed, closed(4403, "token_revoked"));
    let refused = ::harness::answer::Answer::to(bob.request("poll", bob.ticket.as_deref(), &[])).await?;
    assert_eq!((refused.status, refused.refusal()?.as_str()), (401, "resume_invalid"));

    let cid = Carried::connect(&owner.app_url(), "cid", Some(&owner.token_for("cid", &["room:*"])?)).await?;
    let mut stream = cid.stream(&[json!({ "id": 2, "ping": {} })]).await?;
    assert_eq!(stream.next().await?.context("an answer")?["id"], 2);
    publisher.post("/revocations", &json!({ "user": "cid" })).await?.ok()?;
    let mut last = json!(null);
    while let Some(line) = stream.next().await? {
        last = line;
    }
    assert_eq!(last, json!({ "close": { "status": 4403, "reason": "token_revoked" } }));
    Ok(())
}

#[tokio::test]
async fn of_two_polls_of_one_client_the_newer_goes_on() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (mut ann, polling) = waiting(&owner, "ann").await?;
    let newer = ann.look().await?;
    assert_eq!(polling.done().await??.closed, closed(4029, "superseded"));
    assert!(newer.ticket.is_some());
    // A socket takes over from a poll as well.
    let (ann, polling) = waiting(&owner, "ann").await?;
    let ticket = ann.ticket.context("a ticket")?;
    let mut socket = ::harness::client::Client::come_back(&owner.app_url(), "ann", &ticket).await?;
    assert_eq!(polling.done().await??.closed, closed(4029, "superseded"));
    socket.subscribe("room:9").await?;
    Ok(())
}

#[tokio::test]
async fn a_node_that_goes_away_answers_every_poll_with_where_to_go_on() -> Result<()> {
    let options =
        Options::in_memory().with("FANFARE_STOP__DRAIN_MS", 8_000).with("FANFARE_STOP__RECONNECT_WINDOW_MS", 1_000);
    let mut server = Server::start_with(options).await?;
    let owner = server.sign_up().await?;
    let mut polls = Vec::new();
    for number in 0..10 {
        polls.push(waiting(&owner, &format!("user-{number}")).await?);
    }
    server.platform().signal("TERM")?;
    let mut tickets = Vec::new();
    for (client, polling) in polls {
        let polled = polling.done().await??;
        assert!(polled.frames.iter().any(|frame| frame["reconnect"]["after_ms"].is_u64()), "{polled:?}");
        tickets.push((client, polled.ticket.context("a ticket")?));
    }
    server.ended().await?;
    server.launch().await?;
    server.await_app(&owner).await?;
    for (mut client, ticket) in tickets {
        client.ticket = Some(ticket);
        assert!(client.poll(&[]).await?.frames.iter().all(|frame| frame.get("recovery").is_some()));
    }
    Ok(())
}
