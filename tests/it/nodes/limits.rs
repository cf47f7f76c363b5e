//! Limits of an app are of all nodes together.

use std::time::Duration;

use ::harness::client::Client;
use ::harness::eventually;
use ::harness::owner::Owner;
use ::harness::publisher::messages;
use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use super::Nodes;
use crate::rest::refused_at;

/// Whether a client gets in; else the limit that refuses it.
async fn enter(owner: &Owner) -> Result<Result<Client, String>> {
    let mut client = Client::open(&owner.app_url(), "ann").await?;
    // It may be refused before it says anything.
    let _ = client.send(r#"{"id":1,"connect":{}}"#).await;
    let first = client.receive().await?;
    Ok(match first.get("error") {
        Some(error) => Err(error["limit"].as_str().unwrap_or_default().to_owned()),
        None => Ok(client),
    })
}

#[tokio::test]
async fn connections_of_every_node_count() -> Result<()> {
    let nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    nodes.database.lower_limits(&json!({ "connections": { "max": 4 }, "message_bytes": { "max": 1_000 } })).await?;
    for owner in &owners {
        refused_at(owner, 1_001).await?;
    }
    let mut here = Vec::new();
    for _ in 0..3 {
        here.push(enter(&owners[0]).await?.map_err(anyhow::Error::msg)?);
    }
    let mut there = Vec::new();
    eventually("the other node knows that there are four", async || {
        match enter(&owners[1]).await? {
            Ok(client) => there.push(client),
            Err(limit) => {
                ensure!(limit == "connections", "{limit}");
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .await?;
    // Until it had heard it may have let in more than one, and no more than it may have itself.
    ensure!((1..=4).contains(&there.len()), "{}", there.len());
    there.truncate(1);
    here.clear();
    for (owner, kept) in owners.iter().zip([&mut here, &mut there]) {
        eventually("there is room again", async || {
            let entered = enter(owner).await?;
            Ok(entered.ok().map(|client| kept.push(client)))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rate_of_an_app_is_drawn_from_at_every_node() -> Result<()> {
    let nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    let (max, burst) = (20, 20);
    let lowered = json!({ "publish_app": { "max": max, "burst": burst }, "message_bytes": { "max": 1_000 } });
    nodes.database.lower_limits(&lowered).await?;
    for owner in &owners {
        refused_at(owner, 1_001).await?;
    }
    let publishers: Vec<_> = owners.iter().map(Owner::publisher).collect();
    // One node is asked for far more than its share, the other for little.
    let publish = async |node: usize, number: u64| -> Result<bool> {
        let answer = publishers[node].post(&messages("room:9"), &json!({ "data": number })).await?;
        if answer.status == 429 {
            ensure!(answer.body["limit"] == json!("publish_app"), "{}", answer.body);
            ensure!(answer.body["retry_after_ms"].is_u64(), "{}", answer.body);
        } else {
            ensure!(answer.status == 200, "{}", answer.body);
        }
        Ok(answer.status == 200)
    };
    let (begun, mut admitted, mut asked, mut number) = (Instant::now(), [0_u64; 2], [0_u64; 2], 0);
    while begun.elapsed() < Duration::from_secs(8) {
        number += 1;
        let node = usize::from(number % 10 == 0);
        asked[node] += 1;
        admitted[node] += u64::from(publish(node, number).await?);
    }
    let all = max * begun.elapsed().as_millis() as u64 / 1_000 + burst;
    let sum = admitted[0] + admitted[1];
    println!("{admitted:?} of {asked:?} were admitted, one node would have admitted {all}");
    ensure!(asked[0] > 2 * all, "this machine asks for too little to say anything: {asked:?}");
    // One that had not heard of the other may have given a burst away, once.
    ensure!((all * 8 / 10..=all * 11 / 10 + burst).contains(&sum), "{sum} instead of {all}");
    ensure!(admitted[1] > 0, "the one that is asked for little is not starved: {admitted:?}");
    Ok(())
}
