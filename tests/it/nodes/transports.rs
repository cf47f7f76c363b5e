//! Subscribers of one node, over every road there is, see in one order what is published at another over every road.

use ::harness::Beside;
use ::harness::answer::Answer;
use ::harness::carried::Carried;
use ::harness::owner::Owner;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Nodes;
use crate::recovery::event_streams::{CHANNEL, Stream};
use crate::recovery::keep;

const MESSAGES: u64 = 90;

/// The numbers of the messages among pushes.
fn numbers(frames: &[Value]) -> Result<Vec<(u64, Value)>> {
    let messages = frames.iter().filter_map(|frame| frame.get("msg"));
    messages.map(|message| Ok((message["seq"].as_u64().context("a number")?, message["data"].clone()))).collect()
}

#[tokio::test]
async fn every_transport_of_one_node_sees_what_is_published_at_another_over_every_road() -> Result<()> {
    let nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    over_every_road(&owners[0], &owners[1]).await
}

/// Subscribers who come in at one place see what is published at another, over each road; polls alternate between both.
pub(super) async fn over_every_road(here: &Owner, there: &Owner) -> Result<()> {
    keep(here, 1_000).await?;
    let mut socket = here.connect_as("socket", &["live:*"]).await?;
    socket.subscribe(CHANNEL).await?;
    let mut events = Stream::open(here, None).await?;
    while !events.is_placed() {
        events.event(false).await?;
    }
    let token = here.token_for("carried", &["live:*"])?;
    let commands =
        [json!({ "id": 1, "connect": { "token": token } }), json!({ "id": 2, "subscribe": { "channel": CHANNEL } })];
    let mut streaming = Carried::new(&here.app_url(), "stream")?;
    let mut stream = streaming.stream(&commands).await?;
    let mut answers = 0;
    while answers < 2 {
        answers += streaming.take_from(&mut stream, &commands).await?.len();
    }
    let mut polling = Carried::connect(&here.app_url(), "poll", Some(&token)).await?;
    polling.command("subscribe", json!({ "channel": CHANNEL })).await?;

    let publishing = Beside::begin({
        let (publisher, owner) = (there.publisher(), there.clone());
        async move {
            let mut socket = owner.connect_as("publisher", &["live:*"]).await?;
            let carried = Carried::new(&owner.app_url(), "publisher")?;
            let token = owner.token_for("publisher", &["live:*"])?;
            for number in 1..=MESSAGES {
                match number % 3 {
                    0 => drop(publisher.publish(CHANNEL, number).await?),
                    1 => drop(socket.publish(CHANNEL, number).await?),
                    _ => {
                        let publish = json!({ "id": 1, "publish": { "channel": CHANNEL, "data": number } });
                        let request = carried.request("commands", None, &[publish]).bearer_auth(&token);
                        let answer = Answer::to(request).await?.ok()?;
                        ensure!(answer["ok"]["position"].is_string(), "{answer}");
                    }
                }
            }
            Ok(())
        }
    });
    let expected: Vec<(u64, Value)> = (1..=MESSAGES).map(|number| (number, json!(number))).collect();
    for (seq, data) in &expected {
        let message = socket.message(CHANNEL).await?;
        ensure!(message["seq"] == *seq && message["data"] == *data, "{message}");
    }
    while events.at() < MESSAGES {
        events.event(false).await?;
    }
    let mut streamed = Vec::new();
    while streamed.len() < expected.len() {
        streamed.extend(numbers(&streaming.take_from(&mut stream, &[]).await?)?);
    }
    ensure!(streamed == expected, "{streamed:?}");
    // Each poll is at the node where the last was not.
    let mut polled = Vec::new();
    let mut turn = 0;
    while polled.len() < expected.len() {
        turn += 1;
        polling.go_to(&[here, there][turn % 2].app_url());
        polled.extend(numbers(&polling.poll(&[]).await?.frames)?);
    }
    ensure!(polled == expected, "{polled:?}");
    publishing.done().await??;
    socket.nothing_came().await
}

/// A client that falls back in the middle of it all, and another that comes back to sockets.
#[tokio::test]
async fn a_client_goes_on_over_another_road_at_another_node_without_a_hole() -> Result<()> {
    let nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    keep(&owners[0], 1_000).await?;
    let token = owners[0].token_for("ann", &["live:*"])?;
    let mut ann = Carried::connect(&owners[0].app_url(), "ann", Some(&token)).await?;
    ann.command("subscribe", json!({ "channel": CHANNEL })).await?;
    let mut seen = Vec::new();
    for number in 1..=30_u64 {
        owners[(number % 2) as usize].publisher().publish(CHANNEL, number).await?;
        ann.go_to(&owners[(number % 3 % 2) as usize].app_url());
        if number % 10 < 5 {
            seen.extend(numbers(&ann.poll(&[]).await?.frames)?);
        } else if number % 10 == 5 {
            let mut stream = ann.stream(&[]).await?;
            while seen.len() < number as usize {
                seen.extend(numbers(&ann.take_from(&mut stream, &[]).await?)?);
            }
        }
    }
    while seen.len() < 30 {
        seen.extend(numbers(&ann.poll(&[]).await?.frames)?);
    }
    ensure!(seen == (1..=30).map(|number| (number, json!(number))).collect::<Vec<_>>(), "{seen:?}");
    Ok(())
}
