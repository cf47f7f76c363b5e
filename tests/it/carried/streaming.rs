//! Streams: lines while they come, and tickets to go on with.

use ::harness::carried::{Carried, Lines};
use ::harness::ledger::Ledger;
use ::harness::server::Server;
use ::harness::{Beside, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const MESSAGES: u64 = 200;
/// Together some times what all buffers between server and client hold.
const LARGE: usize = 48 * 1024;

async fn data(stream: &mut Lines) -> Result<Value> {
    loop {
        let line = stream.next().await?.context("the stream ended")?;
        if let Some(message) = line.get("msg") {
            return Ok(message["data"].clone());
        }
    }
}

#[tokio::test]
async fn a_stream_tells_what_comes_when_it_comes() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = Carried::new(&owner.app_url(), "ann")?;
    let commands = [
        json!({ "id": 1, "connect": { "token": owner.token_for("ann", &["room:*"])? } }),
        json!({ "id": 2, "subscribe": { "channel": "room:9" } }),
    ];
    let mut stream = ann.stream(&commands).await?;
    let mut answers = Vec::new();
    while answers.len() < 2 {
        answers.extend(ann.take_from(&mut stream, &commands).await?);
    }
    assert_eq!((&answers[0]["ok"]["user"], &answers[1]["ok"]["seq"]), (&json!("ann"), &json!(0)));
    for number in 0..5 {
        owner.publisher().publish("room:9", number).await?;
        let told = ann.take_from(&mut stream, &[]).await?;
        assert_eq!(told.iter().map(|line| line["msg"]["data"].clone()).collect::<Vec<_>>(), [number]);
    }
    let seen = owner.publisher().get("/connections?user=ann").await?.ok()?;
    assert_eq!(seen["items"][0]["transport"], "stream");
    drop(stream);
    eventually("a stream that nobody reads ends", async || {
        let found = owner.publisher().get("/connections?user=ann").await?.ok()?;
        Ok((found["items"].as_array().map(Vec::len) == Some(0)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_stream_that_is_begun_anew_goes_on_behind_its_last_ticket() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    ann.command("subscribe", json!({ "channel": "room:1" })).await?;
    let publishing = Beside::begin({
        let publisher = owner.publisher();
        async move {
            let mut ledger = Ledger::new();
            for number in 0..MESSAGES {
                publisher.publish_into(&mut ledger, "room:1", number).await?;
            }
            anyhow::Ok(ledger)
        }
    });
    let (mut taken, mut streams) = (0, 0);
    while taken < MESSAGES {
        streams += 1;
        // Each but the last is dropped somewhere, with lines in it that nobody took.
        let command = ann.numbered("subscribe", json!({ "channel": format!("room:more:{streams}") }));
        let mut stream = ann.stream(std::slice::from_ref(&command)).await?;
        for _ in 0..10 {
            let told = ann.take_from(&mut stream, std::slice::from_ref(&command)).await?;
            taken += told.iter().filter(|line| line.get("msg").is_some()).count() as u64;
            if taken >= MESSAGES {
                break;
            }
        }
    }
    let ledger = publishing.done().await??;
    assert!(streams > 2, "{streams} streams took everything");
    let journals: Vec<_> = ann.journals().into_iter().filter(|journal| journal.channel == "room:1").collect();
    let summary = ledger.check_settled(&journals);
    let expected = usize::try_from(MESSAGES)?;
    assert_eq!(summary.map(|summary| (summary.acked, summary.delivered)), Ok((expected, expected)));
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_begun_anew_at_once_is_still_told_of_presence() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    let watch = [json!({ "id": 2, "subscribe": { "channel": "room:9", "presence": true } })];
    let mut stream = ann.stream(&watch).await?;
    // Up to the first ticket, before anybody is told who is there.
    ann.take_from(&mut stream, &watch).await?;
    let enter = [json!({ "id": 3, "presence": { "channel": "room:9", "action": "enter", "data": "here" } })];
    let mut stream = ann.stream(&enter).await?;
    let mut count = json!(0);
    while count != 1 {
        for line in ann.take_from(&mut stream, &enter).await? {
            count = line["presence"].get("count").cloned().unwrap_or(count);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_nobody_up_and_catches_up_when_it_is() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let slow = Carried::connect(&owner.app_url(), "slow", Some(&owner.token_for("slow", &["room:*"])?)).await?;
    let mut stream = slow.stream(&[json!({ "id": 2, "subscribe": { "channel": "room:9" } })]).await?;
    ensure!(stream.next().await?.is_some_and(|line| line["id"] == 2), "it is subscribed");
    let mut quick = owner.connect_as("quick", &["room:*"]).await?;
    quick.subscribe("room:9").await?;
    for number in 0..MESSAGES {
        owner.publisher().publish("room:9", format!("{number}:{}", "x".repeat(LARGE))).await?;
        assert!(quick.message("room:9").await?["data"].is_string());
    }
    let waiting = owner.publisher().get("/connections?user=slow").await?.ok()?["items"][0]["bytes_waiting"].clone();
    assert!(waiting.as_u64().is_some_and(|bytes| bytes < 1 << 20), "{waiting} bytes wait");
    for number in 0..MESSAGES {
        let data = data(&mut stream).await?;
        let text = data.as_str().context("a text")?;
        assert_eq!(text.split(':').next(), Some(number.to_string().as_str()));
    }
    Ok(())
}
