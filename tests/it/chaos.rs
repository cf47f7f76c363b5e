//! Faults under load: three nodes and one Redis, publishers and subscribers that do what the SDK does, and a ledger that
//! judges every delivery (`faults.md`).
//!
//! ```text
//!   publishers (REST, sockets; every publish with an id, tried again until it is known) ─▶ ledger
//!   subscribers (ticket and positions, at another node when one fails)                   ─▶ journals ─▶ ledger
//!   the fault, at a third of the time
//! ```
//!
//! In CI each fault runs for [`SECONDS`] with a part of the load; `cargo xtask chaos` runs them for longer and with more.

mod load;

use std::env;
use std::time::Duration;

use ::harness::ledger::Fact;
use ::harness::nginx::Nginx;
use ::harness::proxy::Proxy;
use ::harness::redis::Redis;
use ::harness::sentinels::Sentinels;
use anyhow::{Context as _, Result, ensure};
use redis::cmd;
use tokio::time::Instant;

use super::nodes::{Keeper, Nodes};
use load::{Load, Report, Scale};

/// How long publishers publish, unless `FANFARE_CHAOS_SECONDS` says.
const SECONDS: u64 = 12;

/// What a fault may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Costs {
    /// Nothing that was acknowledged.
    Nothing,
    /// What Redis had not kept: whoever had seen it is told.
    Lineages,
    /// What a replica did not have yet, if there was any: whoever had seen it is told.
    Lag,
}

/// Load, the fault in the midst of it, and the judgement.
async fn under_load(
    fault: &str,
    redis: impl Into<Keeper>,
    costs: Costs,
    strike: impl AsyncFnOnce(&mut Nodes, Duration) -> Result<()>,
) -> Result<()> {
    let (span, scale) = asked()?;
    run(fault, Nodes::over(redis, 3).await?, (costs, span, scale), strike).await
}

/// For how long, and how much load.
fn asked() -> Result<(Duration, Scale)> {
    let seconds = env::var("FANFARE_CHAOS_SECONDS").map_or(Ok(SECONDS), |seconds| seconds.parse())?;
    Ok((Duration::from_secs(seconds), Scale::of(env::var("FANFARE_CHAOS_SCALE").ok().as_deref())?))
}

/// The same over nodes that are there.
async fn run(
    fault: &str,
    mut nodes: Nodes,
    (costs, span, scale): (Costs, Duration, Scale),
    strike: impl AsyncFnOnce(&mut Nodes, Duration) -> Result<()>,
) -> Result<()> {
    let mut load = Load::start(&nodes, scale).await?;
    load.goes_on(span / 3).await?;
    let begun = Instant::now();
    strike(&mut nodes, span / 3).await.with_context(|| fault.to_owned())?;
    let lineages = (costs != Costs::Nothing).then(|| load.lineages());
    load.goes_on(span.saturating_sub(span / 3 + begun.elapsed()).max(span / 3)).await?;
    let mut judged = load.settle().await?;
    for (channel, lineage) in lineages.into_iter().flatten() {
        judged.ledger.fact(channel, Fact::LineageEnded(lineage));
    }
    let report = judged.judge()?;
    told(fault, &report);
    // A load that stood still proves nothing.
    ensure!(report.acked > scale.publishes(span.as_secs()) / 4, "{fault}: {report}");
    ensure!(
        costs != Costs::Lineages || report.not_recovered > 0,
        "{fault}: nobody was told of what was lost: {report}"
    );
    ensure!(costs != Costs::Nothing || report.not_recovered == 0, "{fault}: {report}");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what was seen is what `cargo xtask chaos` keeps")]
fn told(fault: &str, report: &Report) {
    println!("{fault}: {report}");
}

#[expect(clippy::disallowed_methods, reason = "how long a fault lasts is what it is")]
async fn lasts(span: Duration) {
    tokio::time::sleep(span).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_a_node_is_killed() -> Result<()> {
    under_load("F1", Redis::start().await?, Costs::Nothing, async |nodes, span| {
        nodes.all[0].kill()?;
        lasts(span).await;
        nodes.all[0].launch().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f02_a_node_is_stopped() -> Result<()> {
    under_load("F2", Redis::start().await?, Costs::Nothing, async |nodes, _| {
        nodes.all[0].stop().await?;
        nodes.all[0].launch().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_a_node_stands_still() -> Result<()> {
    under_load("F3", Redis::start().await?, Costs::Nothing, async |nodes, span| {
        nodes.all[0].platform().signal("STOP")?;
        lasts(span).await;
        nodes.all[0].platform().signal("CONT")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_a_redis_that_keeps_everything_is_killed() -> Result<()> {
    let redis = Redis::start_with(&["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]).await?;
    under_load("F5", redis, Costs::Nothing, async |nodes, _| {
        nodes.redis.kill()?;
        lasts(Duration::from_secs(2)).await;
        nodes.redis.launch().await
    })
    .await
}

/// The stock persistence: what was published after the last snapshot is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_a_redis_is_rewound() -> Result<()> {
    let redis = Redis::start_with(&["--save", "3600 1", "--appendonly", "no"]).await?;
    under_load("F6", redis, Costs::Lineages, async |nodes, span| {
        let mut admin = nodes.redis.connection().await?;
        let () = cmd("SAVE").query_async(&mut admin).await?;
        lasts(span / 2).await;
        nodes.redis.kill()?;
        nodes.redis.launch().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f07_a_redis_that_keeps_nothing_is_killed() -> Result<()> {
    under_load("F7", Redis::start().await?, Costs::Lineages, async |nodes, _| {
        nodes.redis.kill()?;
        nodes.redis.launch().await
    })
    .await
}

/// The master is killed, sentinels promote its replica, and it comes back as a replica of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_sentinels_promote_another_master() -> Result<()> {
    under_load("F8", Sentinels::start().await?, Costs::Lag, async |nodes, _| {
        let sentinels = nodes.redis.watched();
        sentinels.kill(0)?;
        sentinels.promoted(1).await?;
        sentinels.launch(0).await
    })
    .await
}

/// One node loses Redis, and nobody is told: a cable that was pulled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_the_road_from_one_node_to_redis_is_silent() -> Result<()> {
    under_load("F10", Redis::start().await?, Costs::Nothing, async |nodes, span| {
        let proxy = Proxy::to_unix(nodes.redis.socket()).await?;
        nodes.all[0].stop().await?;
        nodes.all[0].options_mut().variables.push(("REDIS_URL".into(), format!("redis://{}", proxy.address())));
        nodes.all[0].launch().await?;
        lasts(span / 2).await;
        proxy.silence();
        lasts(span / 2).await;
        proxy.heal();
        lasts(span / 2).await;
        nodes.all[0].stop().await?;
        nodes.all[0].options_mut().variables.pop();
        nodes.all[0].launch().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_subscriptions_are_cut_again_and_again() -> Result<()> {
    under_load("F18", Redis::start().await?, Costs::Nothing, async |nodes, span| {
        let mut admin = nodes.redis.connection().await?;
        let begun = Instant::now();
        while begun.elapsed() < span {
            let _cut: i64 = cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async(&mut admin).await?;
            lasts(Duration::from_millis(500)).await;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f21_redis_stands_still_again_and_again() -> Result<()> {
    under_load("F21", Redis::start().await?, Costs::Nothing, async |nodes, _| {
        for _ in 0..3 {
            nodes.redis.freeze(true)?;
            lasts(Duration::from_millis(1_500)).await;
            nodes.redis.freeze(false)?;
            lasts(Duration::from_millis(500)).await;
        }
        Ok(())
    })
    .await
}

/// All nodes are replaced, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f39_nodes_are_replaced_one_by_one() -> Result<()> {
    under_load("F39", Redis::start().await?, Costs::Nothing, async |nodes, _| {
        for node in &mut nodes.all {
            node.stop().await?;
            node.launch().await?;
        }
        Ok(())
    })
    .await
}

/// nginx before two nodes, which takes new workers again and again while both nodes are replaced, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f49_what_stands_before_the_nodes_is_reloaded_while_they_are_replaced() -> Result<()> {
    let (span, scale) = asked()?;
    let mut nodes = Nodes::over(Redis::start().await?, 2).await?;
    nodes.nginx = Some(Nginx::start([&nodes.all[0], &nodes.all[1]]).await?);
    run("F49", nodes, (Costs::Nothing, span, scale), async |nodes, span| {
        for number in 0..2 {
            nodes.nginx.as_ref().context("it stands there")?.reload()?;
            lasts(span / 4).await;
            nodes.all[number].stop().await?;
            nodes.nginx.as_ref().context("it stands there")?.reload()?;
            nodes.all[number].launch().await?;
        }
        Ok(())
    })
    .await
}
