//! One app that makes as many of everything as it can: names, members, connections.

use ::harness::answer::{Answer, http};
use ::harness::client::Client;
use ::harness::server::Server;
use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Bystander, MIB, beside};

async fn metrics(server: &Server) -> Result<String> {
    let answer = Answer::to(http()?.get(format!("{}/metrics", server.private_url()))).await?;
    Ok(answer.body.as_str().context("metrics are text")?.to_owned())
}

/// A hundred messages, each to a channel of its own.
fn batch(from: usize) -> Value {
    let messages = (from..from + 100).map(|number| json!({ "channel": format!("name:{number}"), "data": 1 }));
    json!({ "messages": messages.collect::<Vec<_>>() })
}

/// How many of a batch's messages were taken, and the codes of the others.
fn taken(results: &Value) -> Result<(usize, Vec<String>)> {
    let results = results["results"].as_array().context("results")?;
    let code = |result: &Value| {
        let error = result.get("error").unwrap_or(result);
        error["code"].as_str().map(str::to_owned)
    };
    let codes: Vec<String> = results.iter().filter_map(code).collect();
    Ok((results.len() - codes.len(), codes))
}

#[tokio::test]
async fn names_of_channels_cost_little_and_end_at_the_limit() -> Result<()> {
    const NAMES: usize = 20_000;
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let before = metrics(&server).await?.len();
    let publisher = owner.publisher();
    let attack = async {
        for from in (0..NAMES).step_by(100) {
            let results = publisher.post("/batch", &batch(from)).await?.ok()?;
            let (count, codes) = taken(&results)?;
            ensure!(count == 100, "{codes:?}");
        }
        Ok(())
    };
    let grown = beside(&server, &mut bystander, attack).await?;
    ensure!(grown <= NAMES as u64 * 4 * 1024, "{} MiB for {NAMES} names", grown / MIB);
    let after = metrics(&server).await?;
    ensure!(!after.contains("name:") && after.len() < 2 * before, "metrics grew from {before} to {}", after.len());

    // A plan's limit ends it, for this app alone.
    server.lower_limits(&json!({ "channels": { "max": 500 } })).await?;
    let mut from = NAMES;
    ::harness::eventually("the limit is in force", async || {
        from += 100;
        let results = publisher.post("/batch", &batch(from)).await?.ok()?;
        let (_, codes) = taken(&results)?;
        Ok((codes.len() == 100 && codes.iter().all(|code| code == "limit_reached")).then_some(()))
    })
    .await?;
    bystander.until(|| true).await?;
    bystander.settle("names of channels")
}

#[tokio::test]
async fn members_of_presence_end_at_the_apps_bytes() -> Result<()> {
    const MEMBERS: usize = 2_000;
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    server.lower_limits(&json!({ "presence_bytes_app": { "max": 512 * 1024 } })).await?;
    let publisher = owner.publisher();
    let info = json!({ "data": "x".repeat(500) });
    let mut refused = 0;
    let attack = async {
        for number in 0..MEMBERS {
            let request =
                publisher.request(Method::PUT, &format!("/channels/crowd:{}/presence/user-{number}", number % 7));
            let answer = Answer::to(request.json(&info)).await?;
            if answer.status != 200 {
                ensure!(answer.refusal()? == "limit_reached", "{}", answer.body);
                refused += 1;
            }
        }
        Ok(())
    };
    let grown = beside(&server, &mut bystander, attack).await?;
    // 512 for each beside its texts: about 500 fit, and what is there stays.
    ensure!((1_300..1_700).contains(&refused), "{refused} of {MEMBERS} were refused");
    ensure!(grown <= 32 * MIB, "{} MiB", grown / MIB);
    bystander.settle("members of presence")
}

#[tokio::test]
async fn connections_end_at_the_apps_limit_and_others_come_in() -> Result<()> {
    const MAX: usize = 40;
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    server.lower_limits(&json!({ "connections": { "max": MAX } })).await?;
    let token = owner.token_for("many", &["room:*"])?;
    let url = owner.app_url();
    let mut there = Vec::new();
    let attack = async {
        // Ten times as many as may be, some at once.
        for _ in 0..10 {
            let wave = join_all((0..MAX).map(|_| Client::connect(&url, "many", Some(&token)))).await;
            there.extend(wave.into_iter().flatten());
        }
        Ok(())
    };
    let grown = beside(&server, &mut bystander, attack).await?;
    ensure!(there.len() == MAX, "{} are connected", there.len());
    ensure!(grown <= 32 * MIB, "{} MiB", grown / MIB);
    let mut refused = Client::open(&owner.app_url(), "late").await?;
    let told = refused.receive().await?;
    ensure!(
        (&told["error"]["code"], &told["error"]["limit"]) == (&json!("limit_reached"), &json!("connections")),
        "{told}"
    );
    // Those that are there live.
    for client in &mut there {
        client.nothing_came().await?;
    }
    bystander.settle("many connections")
}
