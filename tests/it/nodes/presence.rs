//! Presence over several nodes: everybody sees everybody, and a node that dies takes along only who does not come back.

use std::time::Duration;

use ::harness::answer::Answer;
use ::harness::client::Client;
use ::harness::eventually;
use ::harness::owner::Owner;
use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Nodes;

const ROOM: &str = "room:9";
/// How long the members of a node that died may still be seen (`faults.md` F1).
const GHOSTS_WITHIN: Duration = Duration::from_secs(12);

async fn enter(client: &mut Client) -> Result<()> {
    client.ok("presence", json!({ "channel": ROOM, "action": "enter", "data": "up" })).await.map(drop)
}

/// The next push, which must be of presence.
async fn told(client: &mut Client) -> Result<Value> {
    let mut push = client.push().await?;
    let fields = push.get_mut("presence").map(Value::take);
    fields.with_context(|| format!("expected presence, got {push}"))
}

async fn users(owner: &Owner) -> Result<Vec<String>> {
    let page = owner.publisher().get(&format!("/channels/{ROOM}/presence")).await?.ok()?;
    let members = page["members"].as_array().context("a list")?;
    let mut users: Vec<String> = members.iter().map(|member| member["user"].as_str().unwrap_or("?").into()).collect();
    users.sort();
    Ok(users)
}

/// Follows pushes until as many are there as said; who came and who left meanwhile.
async fn until(client: &mut Client, count: u64) -> Result<(Vec<Value>, Vec<Value>)> {
    let (mut came, mut left) = (Vec::new(), Vec::new());
    loop {
        let push = told(client).await?;
        ensure!(push.get("members").is_none(), "differences are told, not all anew: {push}");
        let of = |list: &str| push[list].as_array().cloned().unwrap_or_default();
        came.extend(of("entered").into_iter().map(|member| member["user"].clone()));
        left.extend(of("left").into_iter().map(|member| member["connection"].clone()));
        if push["count"] == count {
            return Ok((came, left));
        }
    }
}

#[tokio::test]
async fn a_node_that_died_takes_along_only_who_does_not_come_back() -> Result<()> {
    let mut nodes = Nodes::start(3).await?;
    let owners = nodes.sign_up().await?;
    let mut watcher = owners[2].connect_as("watcher", &[ROOM]).await?;
    watcher.ok("subscribe", json!({ "channel": ROOM, "presence": true })).await?;
    ensure!(told(&mut watcher).await?["count"] == 0);
    let (mut ann, mut bob) = (owners[0].connect_as("ann", &[ROOM]).await?, owners[0].connect_as("bob", &[ROOM]).await?);
    let mut eve = owners[1].connect_as("eve", &[ROOM]).await?;
    for client in [&mut ann, &mut bob, &mut eve] {
        enter(client).await?;
    }
    let robot = owners[1].publisher().request(Method::PUT, &format!("/channels/{ROOM}/presence/robot"));
    Answer::to(robot.json(&json!({}))).await?.ok()?;
    let (came, left) = until(&mut watcher, 4).await?;
    ensure!(came.len() == 4 && left.is_empty(), "{came:?} {left:?}");
    for owner in &owners {
        ensure!(users(owner).await? == ["ann", "bob", "eve", "robot"]);
    }

    let (ticket, lost) = (ann.ticket()?, bob.hello["connection"].clone());
    nodes.all[0].kill()?;
    let died = Instant::now();
    let mut ann = Client::come_back(&owners[1].app_url(), "ann", &ticket).await?;
    enter(&mut ann).await?;
    // Nobody hears of the one who came back, and of the other once.
    let (came, left) = until(&mut watcher, 3).await?;
    ensure!((came.len(), &left[..]) == (0, &[lost][..]), "{came:?} {left:?}");
    ensure!(died.elapsed() < GHOSTS_WITHIN, "a ghost for {:?}", died.elapsed());
    for owner in &owners[1..] {
        ensure!(users(owner).await? == ["ann", "eve", "robot"]);
    }
    watcher.nothing_came().await?;

    // One that is stopped has its clients move; who does not, leaves too.
    let gone = [ann.hello["connection"].clone(), eve.hello["connection"].clone()];
    nodes.all[1].stop().await?;
    let (came, mut left) = until(&mut watcher, 1).await?;
    left.sort_by_key(Value::to_string);
    let mut gone = gone.to_vec();
    gone.sort_by_key(Value::to_string);
    ensure!(came.is_empty() && left == gone, "{came:?} {left:?}");
    ensure!(users(&owners[2]).await? == ["robot"]);
    watcher.nothing_came().await
}

#[tokio::test]
async fn a_redis_that_loses_everything_loses_no_member_and_watchers_hear_nothing() -> Result<()> {
    let mut nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    let (mut ann, mut bob) = (owners[0].connect_as("ann", &[ROOM]).await?, owners[1].connect_as("bob", &[ROOM]).await?);
    for client in [&mut ann, &mut bob] {
        enter(client).await?;
    }
    let mut watcher = owners[1].connect_as("watcher", &[ROOM]).await?;
    watcher.ok("subscribe", json!({ "channel": ROOM, "presence": true })).await?;
    ensure!(told(&mut watcher).await?["count"] == 2);
    nodes.redis.kill()?;
    for node in &nodes.all {
        super::ready(node, false).await?;
    }
    // While it is away members cannot be listed, and who asks to enter is told so.
    let refused = watcher.refused("presence", json!({ "channel": ROOM, "action": "get" })).await?;
    ensure!(refused["retryable"] == true, "{refused}");
    nodes.redis.launch().await?;
    for (node, owner) in nodes.all.iter().zip(&owners) {
        super::ready(node, true).await?;
        eventually("everybody is there again", async || {
            Ok(users(owner).await.is_ok_and(|users| users == ["ann", "bob"]).then_some(()))
        })
        .await?;
    }
    // What changes afterwards is told as ever, to whoever watches since before.
    let mut eve = owners[0].connect_as("eve", &[ROOM]).await?;
    enter(&mut eve).await?;
    let mut entered = Vec::new();
    while entered.is_empty() {
        let push = told(&mut watcher).await?;
        let list = |name: &str| push[name].as_array().cloned().unwrap_or_default();
        ensure!(list("left").is_empty(), "{push}");
        // A count that began anew may be told with the list.
        entered = list("entered").into_iter().chain(list("members")).filter(|member| member["user"] == "eve").collect();
        ensure!(push["count"] == 2 + entered.len(), "{push}");
    }
    Ok(())
}
