//! Kept figures, usage, and live latencies, from the front door to Postgres and back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::answer::{Answer, http};
use harness::client::Client;
use harness::command::fanfare;
use harness::eventually;
use harness::owner::Owner;
use harness::postgres::OwnCluster;
use harness::server::{Home, Options, Server};
use serde_json::{Value, json};

use super::refused;

/// Figures are written often, so that no test waits for ten seconds.
fn options(home: Home) -> Options {
    Options::at(home).with("FANFARE_STATISTICS__EVERY_MS", 200)
}

/// The sum of a metric's points over the last hour, from spans of this many seconds.
async fn sum(owner: &Owner, metric: &str, step: u32) -> Result<u64> {
    let path = format!("/apps/{}/statistics?metric={metric}&step={step}", owner.app);
    let body = owner.get(&path).await?.ok()?;
    let points = body["series"][0]["points"].as_array().context("a series has points")?;
    Ok(points.iter().filter_map(|point| point["value"].as_u64()).sum())
}

async fn comes_to(owner: &Owner, metric: &str, step: u32, expected: u64) -> Result<()> {
    eventually(&format!("{metric} in steps of {step} s comes to {expected}"), async || {
        let seen = sum(owner, metric, step).await?;
        ensure!(seen <= expected, "{metric} is {seen}, which is more than happened");
        Ok((seen == expected).then_some(()))
    })
    .await
}

#[tokio::test]
async fn what_happens_is_kept_in_every_length_of_step_and_counted_once() -> Result<()> {
    let server = Server::start_with(options(Home::Shared)).await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    let publisher = owner.publisher();
    for number in 0..20 {
        publisher.publish("room:9", json!(number)).await?;
        ann.message("room:9").await?;
    }
    assert_eq!(ann.refused("publish", json!({ "channel": "forbidden", "data": 1 })).await?["code"], "forbidden");
    // A connection is seen when counters are read, and not between.
    comes_to(&owner, "connections", 3_600, 1).await?;
    drop(ann);
    for step in [10, 60, 3_600] {
        for (metric, count) in
            [("messages_in", 20), ("messages_out", 20), ("delivery", 20), ("errors", 1), ("disconnects", 1)]
        {
            comes_to(&owner, metric, step, count).await?;
        }
    }
    let path = format!("/apps/{}/statistics?metric=connections,errors,disconnects,delivery&step=3600", owner.app);
    let body = owner.get(&path).await?.ok()?;
    let last = |series: usize| body["series"][series]["points"].as_array().and_then(|points| points.last()).cloned();
    assert_eq!(last(0).context("a point")?["value"], 1, "the most connections there were: {body}");
    assert_eq!(last(1).context("a point")?["by"], json!({ "forbidden": 1 }));
    assert_eq!(last(2).context("a point")?["by"], json!({ "lost": 1 }));
    let latency = &last(3).context("a point")?["latency"];
    let [p50, p99] = ["p50_ms", "p99_ms"].map(|name| latency[name].as_f64().unwrap_or(f64::NAN));
    ensure!(0.0 < p50 && p50 <= p99 && p99 < 60_000.0, "{latency}");
    let used = owner.get(&format!("/apps/{}/usage", owner.app)).await?.ok()?;
    assert_eq!((&used["total"]["messages_in"], &used["total"]["connects"]), (&json!(20), &json!(1)), "{used}");
    assert_eq!(used["days"][0]["messages_out"], 20);
    Ok(())
}

#[tokio::test]
async fn a_restart_loses_nothing_that_was_measured_and_counts_nothing_again() -> Result<()> {
    let mut server = Server::start_with(options(Home::Shared)).await?;
    let owner = server.sign_up().await?;
    for round in 1..=3 {
        for number in 0..5 {
            owner.publisher().publish("room:9", json!(number)).await?;
        }
        // What was measured last is told on the way out.
        server.stop().await?;
        server.launch().await?;
        for step in [10, 60, 3_600] {
            comes_to(&owner, "messages_in", step, round * 5).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn figures_wait_while_postgres_is_away_and_come_whole_when_it_is_back() -> Result<()> {
    let mut cluster = OwnCluster::start().await?;
    let data = std::env::temp_dir().join(format!("fanfare-figures-{}", std::process::id()));
    let data = data.to_str().context("a path of ours")?;
    fanfare(&["migrate", "--data", data], &[("DATABASE_URL", &cluster.url())])?.ok()?;
    std::fs::remove_dir_all(data)?;
    let server = Server::start_with(options(Home::Url(cluster.url()))).await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    publisher.publish("room:9", json!("before")).await?;
    comes_to(&owner, "messages_in", 60, 1).await?;
    cluster.stop()?;
    let (mut slowest, mut pace) = (Duration::ZERO, tokio::time::interval(Duration::from_millis(20)));
    for number in 0..30 {
        let begun = tokio::time::Instant::now();
        publisher.publish("room:9", json!(number)).await?;
        slowest = slowest.max(begun.elapsed());
        pace.tick().await;
    }
    let waiting = metric(&server, "fanfare_figures_waiting").await?;
    ensure!(waiting > 0.0, "rows wait for Postgres: {waiting}");
    println!("the slowest of 30 publishes without Postgres took {slowest:?}");
    cluster.launch().await?;
    for step in [10, 60, 3_600] {
        eventually(&format!("figures of the outage in steps of {step} s"), async || {
            // The control plane may not have found Postgres again.
            let Ok(seen) = sum(&owner, "messages_in", step).await else { return Ok(None) };
            ensure!(seen <= 31, "{seen} is more than happened");
            Ok((seen == 31).then_some(()))
        })
        .await?;
    }
    assert!(metric(&server, "fanfare_figures_lost_total").await? < 0.5);
    let skew = metric(&server, "fanfare_clock_skew_seconds").await?;
    ensure!(skew.abs() < 5.0, "one machine has one clock: {skew}");
    Ok(())
}

/// The value of the metric with this name and labels.
async fn metric(server: &Server, name: &str) -> Result<f64> {
    let text = Answer::to(http()?.get(format!("{}/metrics", server.private_url()))).await?;
    let text = text.body.as_str().context("metrics are text")?.to_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{name} is not in {text}"))?.parse()?)
}

#[tokio::test]
async fn the_platforms_metrics_sum_over_apps_and_name_none() -> Result<()> {
    let server = Server::start().await?;
    let (ann, bob) = (server.sign_up_as("ann@example.com").await?, server.sign_up_as("bob@example.com").await?);
    for owner in [&ann, &bob] {
        let mut client = owner.connect_as("eve", &["room:*"]).await?;
        client.subscribe("room:9").await?;
        owner.publisher().publish("room:9", json!(1)).await?;
        client.message("room:9").await?;
        client.refused("publish", json!({ "channel": "forbidden", "data": 1 })).await?;
        client.refused("unsubscribe", json!({ "channel": "room:1" })).await?;
    }
    for (name, value) in [
        ("fanfare_messages_out_total", 2.0),
        ("fanfare_errors_total{code=\"forbidden\"}", 2.0),
        ("fanfare_errors_total{code=\"not_subscribed\"}", 2.0),
        ("fanfare_latency_seconds_count{stage=\"delivery\"}", 2.0),
        ("fanfare_latency_seconds_bucket{le=\"+Inf\",stage=\"connect\"}", 2.0),
    ] {
        eventually(name, async || Ok((metric(&server, name).await? - value).abs().lt(&0.5).then_some(()))).await?;
    }
    let text = Answer::to(http()?.get(format!("{}/metrics", server.private_url()))).await?.body.to_string();
    for secret in [&ann.app, &bob.app, &ann.tenant, &"room:9".to_owned()] {
        assert!(!text.contains(secret.as_str()), "{secret} is in the metrics");
    }
    Ok(())
}

#[tokio::test]
async fn live_latencies_come_by_stage_each_second() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let live = owner.post(&format!("/apps/{}/live-token", owner.app), &json!({})).await?.ok()?;
    let mut client = Client::connect(&owner.app_url(), "dashboard", live["token"].as_str()).await?;
    client.subscribe("$stats:latency").await?;
    client.subscribe("room:9").await?;
    let publisher = owner.publisher();
    let mut stages = Value::Null;
    while stages["delivery"].is_null() {
        publisher.publish("room:9", json!(1)).await?;
        let push = client.push().await?;
        if push["msg"]["channel"] == "$stats:latency" {
            stages = push["msg"]["data"]["stages"].clone();
        }
    }
    for stage in ["delivery", "ingest", "append", "fan_out", "write", "acknowledged"] {
        let buckets = stages[stage].as_array().with_context(|| format!("{stage} of {stages}"))?;
        ensure!(buckets.iter().all(|pair| pair[0].is_u64() && pair[1].as_u64() > Some(0)), "{stages}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_asked_is_said() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let app = &owner.app;
    for query in [
        "",
        "?metric=nonsense",
        "?metric=connections&step=7",
        "?metric=connections&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "?metric=connections&from=2020-01-01T00:00:00Z",
        "?metric=connections&from=2026-01-01T00:00:00Z&to=2026-01-03T00:00:00Z&step=10",
        "?metric=connections&from=yesterday",
        "?metric=connections&colour=blue",
    ] {
        refused(&owner.get(&format!("/apps/{app}/statistics{query}")).await?, "invalid_request")
            .with_context(|| query.to_owned())?;
    }
    refused(&owner.get(&format!("/apps/{app}/usage?from=2020-01-01T00:00:00Z")).await?, "invalid_request")
}
