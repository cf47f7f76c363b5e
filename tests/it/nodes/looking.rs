//! What each node knows alone is told by any of them for all: connections, channels, figures, what happens.

use std::time::Duration;

use ::harness::client::Client;
use ::harness::eventually;
use ::harness::owner::Owner;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Nodes;

/// Follows `next` to the end; the items of all pages.
async fn list(owner: &Owner, path: &str) -> Result<Vec<Value>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = owner.publisher().get(&format!("{path}{after}")).await?.ok()?;
        ensure!(page.get("missing_nodes").is_none(), "{page}");
        all.extend(page["items"].as_array().context("items")?.iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}

async fn live(owner: &Owner, channel: &str) -> Result<Client> {
    let live = owner.post(&format!("/apps/{}/live-token", owner.app), &json!({})).await?.ok()?;
    let mut client = Client::connect(&owner.app_url(), "dashboard", live["token"].as_str()).await?;
    client.subscribe(channel).await?;
    Ok(client)
}

#[tokio::test]
async fn connections_and_channels_of_all_nodes_are_listed_by_each() -> Result<()> {
    let mut nodes = Nodes::start(3).await?;
    let owners = nodes.sign_up().await?;
    let (mut clients, mut ids) = (Vec::new(), Vec::new());
    for number in 0..9 {
        let mut client = owners[number % 3].connect_as(["ann", "bob"][number % 2], &["room:*"]).await?;
        client.subscribe("room:all").await?;
        client.subscribe(&format!("room:{number}")).await?;
        ids.push(client.hello["connection"].as_str().context("an id")?.to_owned());
        clients.push(client);
    }
    // Somebody of another app is nobody's business.
    let other = nodes.all[0].sign_up().await?;
    let _stranger = other.connect_as("ann", &["room:*"]).await?;
    ids.sort();
    for owner in &owners {
        eventually("the node knows the others", async || {
            Ok((list(owner, "/connections?limit=100").await?.len() == 9).then_some(()))
        })
        .await?;
        for limit in [1, 2, 4, 100] {
            let found = list(owner, &format!("/connections?limit={limit}")).await?;
            let found: Vec<&str> = found.iter().filter_map(|item| item["id"].as_str()).collect();
            ensure!(found == ids, "{limit}: {found:?} instead of {ids:?}");
            let found = list(owner, &format!("/channels?limit={limit}")).await?;
            let told: Vec<(&str, u64)> = found
                .iter()
                .map(|item| (item["name"].as_str().unwrap_or_default(), item["subscribers"].as_u64().unwrap_or(0)))
                .collect();
            ensure!(told.len() == 10 && told[9] == ("room:all", 9), "{limit}: {told:?}");
            ensure!(told[..9].iter().enumerate().all(|(at, told)| *told == (&*format!("room:{at}"), 1)), "{told:?}");
        }
        ensure!(list(owner, "/connections?user=ann").await?.len() == 5);
        ensure!(list(owner, "/connections?channel=room:4&limit=1").await?.len() == 1);
        let channel = owner.publisher().get("/channels/room:all").await?.ok()?;
        ensure!(channel["subscribers"] == json!(9) && channel.get("missing_nodes").is_none(), "{channel}");
        let user = owner.publisher().get("/users/bob").await?.ok()?;
        ensure!(user["connections"].as_array().map(Vec::len) == Some(4), "{user}");
        for id in &ids {
            let one = owner.publisher().get(&format!("/connections/{id}")).await?.ok()?;
            ensure!(one["id"] == json!(id) && one["places"].as_array().map(Vec::len) == Some(2), "{one}");
            ensure!(one["places"][0]["position"].is_string() && one["places"][0]["live"] == json!(true), "{one}");
        }
    }
    let foreign = other.publisher().get(&format!("/connections/{}", ids[0])).await?;
    ensure!((foreign.status, foreign.refusal()?.as_str()) == (404, "not_found"), "{}", foreign.body);

    // A node that stands still is missing, which is said, and for no longer than it is known to live.
    nodes.all[2].platform().signal("STOP")?;
    let page = owners[0].publisher().get("/connections").await?.ok()?;
    ensure!(page["missing_nodes"] == json!(1) && page["items"].as_array().map(Vec::len) == Some(6), "{page}");
    eventually("nobody waits for it any more", async || {
        let page = owners[0].publisher().get("/connections").await?.ok()?;
        Ok(page.get("missing_nodes").is_none().then_some(()))
    })
    .await?;
    nodes.all[2].platform().signal("CONT")?;
    eventually("it is asked again", async || {
        let page = owners[0].publisher().get("/connections").await?.ok()?;
        Ok((page["items"].as_array().map(Vec::len) == Some(9)).then_some(()))
    })
    .await?;
    // Without Redis each knows its own.
    nodes.redis.kill()?;
    let page = owners[1].publisher().get("/connections").await?.ok()?;
    // It may not have heard yet that the third goes on.
    ensure!(page["missing_nodes"].as_u64() >= Some(1), "{page}");
    ensure!(page["items"].as_array().map(Vec::len) == Some(3), "{page}");
    Ok(())
}

#[tokio::test]
async fn who_asks_for_more_than_can_be_waited_for_is_refused_and_holds_nobody_up() -> Result<()> {
    let nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    let other = nodes.all[0].sign_up().await?;
    let _client = owners[1].connect_as("ann", &["room:*"]).await?;
    eventually("the nodes know each other", async || {
        Ok((list(&owners[0], "/connections?limit=100").await?.len() == 1).then_some(()))
    })
    .await?;
    // Every question waits for a second now.
    nodes.all[1].platform().signal("STOP")?;
    let ask = async |owner: &Owner| owner.publisher().get("/connections").await;
    let flood = futures_util::future::try_join_all((0..30).map(|_| ask(&owners[0])));
    let (flood, other) = futures_util::future::try_join(flood, ask(&other)).await?;
    ensure!(other.status == 200, "{}", other.body);
    let (answered, refused): (Vec<_>, Vec<_>) = flood.iter().partition(|answer| answer.status == 200);
    ensure!(!answered.is_empty() && !refused.is_empty(), "{} answered, {} refused", answered.len(), refused.len());
    for answer in refused {
        ensure!((answer.status, answer.refusal()?.as_str()) == (503, "overloaded"), "{}", answer.body);
        ensure!(answer.body["retry_after_ms"].is_u64(), "{}", answer.body);
    }
    nodes.all[1].platform().signal("CONT")
}

#[tokio::test]
async fn live_figures_are_of_all_nodes_and_come_once_each_second() -> Result<()> {
    let nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    let mut watching = vec![live(&owners[0], "$stats:overview").await?, live(&owners[1], "$stats:overview").await?];
    let mut clients = Vec::new();
    for owner in [&owners[0], &owners[1], &owners[1]] {
        clients.push(owner.connect_as("ann", &["room:*"]).await?);
    }
    for client in &mut watching {
        loop {
            let push = client.push().await?;
            owners[1].publisher().publish("room:9", 1).await?;
            let figures = &push["msg"]["data"];
            // Both who watch, and the three.
            if figures["connections"] == json!(5) && figures["in"]["messages"].as_f64() > Some(0.0) {
                break;
            }
        }
        // One node tells them: times grow by about a second, and none comes twice.
        let mut last: Option<u64> = None;
        for _ in 0..3 {
            let time = client.push().await?["msg"]["data"]["time"].as_u64().context("a time")?;
            ensure!(last.is_none_or(|last| time >= last + 500), "{time} after {last:?}");
            last = Some(time);
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_happens_at_one_node_is_told_at_another() -> Result<()> {
    let nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    let mut console = live(&owners[0], "$debug:events").await?;
    let mut seen = Vec::new();
    while !["published", "connected", "refused"].iter().all(|kind| seen.iter().any(|seen| seen == kind)) {
        // Until the other node has heard that somebody listens.
        let _client = owners[1].connect_as("ann", &["room:*"]).await?;
        owners[1].publisher().publish("room:9", 1).await?;
        ensure!(owners[1].publisher().get("/channels/room:9/messages/none").await?.status == 404);
        if let Ok(push) = timeout(Duration::from_millis(500), console.push()).await {
            let push = push?;
            let events = push["msg"]["data"]["events"].as_array().context("events")?;
            seen.extend(events.iter().filter_map(|event| event["kind"].as_str().map(ToOwned::to_owned)));
        }
    }
    Ok(())
}

/// The operator is told of all nodes by each of them, and of those that say nothing.
#[tokio::test]
async fn every_node_tells_the_operator_of_all() -> Result<()> {
    let mut nodes = Nodes::start(3).await?;
    let owners = nodes.sign_up().await?;
    let _ann = owners[1].connect_as("ann", &["room:*"]).await?;
    let names: Vec<String> = nodes.all.iter().map(|node| format!("/{}", node.platform().pid())).collect();
    for (asked, node) in nodes.all.iter().enumerate() {
        let told = eventually("it knows all", async || {
            let told = node.nodes().await?.ok()?;
            Ok((told["nodes"].as_array().map(Vec::len) == Some(3)).then_some(told))
        });
        let told = told.await?;
        ensure!(told["missing_nodes"] == 0, "{told}");
        for info in told["nodes"].as_array().context("nodes")? {
            let name = info["name"].as_str().context("a name")?;
            let which = names.iter().position(|process| name.ends_with(process)).context("one of ours")?;
            ensure!(info["this"] == (which == asked) && info["connections"] == u64::from(which == 1), "{told}");
            ensure!(info["draining"] == false && info["short_of_memory"] == false, "{told}");
            ensure!(info["version"].as_str().is_some_and(|version| version.contains('.')), "{told}");
            ensure!(info["started_ms"].as_u64().is_some_and(|ms| ms > 1_700_000_000_000), "{told}");
        }
    }
    // One that stands still is known by its beats, and says nothing.
    nodes.all[2].platform().signal("STOP")?;
    let told = nodes.all[0].nodes().await?.ok()?;
    ensure!(told["missing_nodes"] == 1 && told["nodes"].as_array().map(Vec::len) == Some(2), "{told}");
    nodes.all[2].platform().signal("CONT")?;
    nodes.all[2].kill()
}
