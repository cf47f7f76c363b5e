//! Where Redis is: sentinels that promote another, and a Redis that is somebody else's.

use std::time::Duration;

use ::harness::eventually;
use ::harness::redis::Redis;
use ::harness::sentinels::Sentinels;
use anyhow::{Context as _, Result, ensure};
use fanfare_broker_redis::{PartitionKey, RedisBroker, RedisOptions, StartError};
use fanfare_core::Position;
use fanfare_engine::BrokerError;
use fanfare_engine::broker::Start;
use redis::cmd;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::channel;
use super::{Node, WHOLE_WITHIN, broker, options};

/// Failovers in a row, unless `FANFARE_FAILOVERS` says.
const FAILOVERS: usize = 3;

/// Whoever was subscribed goes on: at each new master publishes are taken and heard by all nodes, and what is heard is one
/// run, or begins anew with another lineage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_may_die_one_after_the_other() -> Result<()> {
    let failovers = std::env::var("FANFARE_FAILOVERS").map_or(Ok(FAILOVERS), |count| count.parse())?;
    let mut sentinels = Sentinels::start().await?;
    let nodes = [Node::start_at(&sentinels.url()).await?, Node::start_at(&sentinels.url()).await?];
    let (a, mut master, mut gaps) = (channel(1, "a"), 0, Vec::new());
    for node in &nodes {
        node.attach(&a).await?;
    }
    for round in 0..failovers {
        for number in 0..5 {
            nodes[number % 2].publish_surely(&a, &format!("{round}-{number}")).await?;
        }
        sentinels.kill(master)?;
        let begun = Instant::now();
        master = 1 - master;
        let (appended, _) = nodes[round % 2].publish_surely(&a, &format!("{round}-first")).await?;
        gaps.push(begun.elapsed());
        for node in &nodes {
            node.hears(&a, appended.position).await.with_context(|| format!("failover {round}"))?;
        }
        sentinels.launch(1 - master).await?;
    }
    gaps.sort_unstable();
    told(&gaps);
    for node in &nodes {
        // Within a lineage what was heard has no hole and nothing twice, and all that stands in the log was heard in its order.
        let heard = node.heard(&a);
        for pair in heard.windows(2) {
            let [before, after] = [pair[0].position, pair[1].position];
            ensure!(before.lineage != after.lineage || after.seq == before.seq + 1, "{before:?}, {after:?}");
            ensure!(
                before.lineage == after.lineage || after.lineage.term > before.lineage.term,
                "{before:?}, {after:?}"
            );
        }
        let log = node.read(&a, Start::After(0)).await?;
        let ids: Vec<_> = log.messages.iter().map(|message| &message.id).collect();
        let mut rest = heard.iter().map(|message| &message.id);
        ensure!(ids.iter().all(|id| rest.any(|heard| heard == *id)), "{ids:?} is not what was heard");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "how long publishes were refused is what faults.md asks for")]
fn told(gaps: &[Duration]) {
    println!(
        "F8: publishes refused for {:?} (median), {:?} at most, of {}",
        gaps[gaps.len() / 2],
        gaps[gaps.len() - 1],
        gaps.len()
    );
}

/// A sentinel that is gone costs nothing, nor does a master that stands still and comes back as one that is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_stood_still_is_left_for_the_new_one() -> Result<()> {
    let mut sentinels = Sentinels::start().await?;
    sentinels.kill_sentinel(2)?;
    let node = Node::start_at(&sentinels.url()).await?;
    let a = channel(1, "a");
    node.attach(&a).await?;
    node.publish_surely(&a, "before").await?;
    sentinels.freeze(0, true)?;
    let (after, _) = node.publish_surely(&a, "after").await?;
    ensure!(sentinels.master().await? == 1);
    node.hears(&a, after.position).await?;
    sentinels.freeze(0, false)?;
    eventually("the old one is a replica", async || {
        // Sentinels send its clients away.
        let Ok(mut old) = sentinels.connection(0).await else { return Ok(None) };
        let info: redis::RedisResult<String> = cmd("INFO").arg("replication").query_async(&mut old).await;
        Ok(info.is_ok_and(|info| info.contains("role:slave")).then_some(()))
    })
    .await?;
    let (last, asked) = node.publish_surely(&a, "last").await?;
    ensure!((asked, last.position) == (1, Position { seq: after.position.seq + 1, ..after.position }), "{last:?}");
    node.hears(&a, last.position).await?;
    ensure!(node.broker.health().is_up);
    Ok(())
}

/// A master that hands over without losing anything takes up the history again where it stood, and keeps what its library
/// knew; when it is promoted once more it is another history all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_promoted_again_begins_another_lineage() -> Result<()> {
    let mut sentinels = Sentinels::start().await?;
    // What becomes of the two is said here alone.
    for number in 0..3 {
        sentinels.kill_sentinel(number)?;
    }
    let stop = CancellationToken::new();
    let node = Node::over(RedisBroker::start(options(&sentinels.url_of(0), &stop)).await?, stop);
    let a = channel(1, "a");
    node.attach(&a).await?;
    let first = node.publish_surely(&a, "first").await?.0.position;
    for old in [0, 1] {
        let () = cmd("FAILOVER").query_async(&mut sentinels.connection(old).await?).await?;
        sentinels.is_replicated(1 - old).await?;
        let stats: String = cmd("INFO").arg("stats").query_async(&mut sentinels.connection(1 - old).await?).await?;
        ensure!(stats.contains("sync_partial_ok:1"), "it took everything anew, as after any loss: {stats}");
    }
    let again = eventually("it is read there", async || {
        let lineage = node.read(&a, Start::Top).await.ok().map(|page| page.lineage);
        Ok(lineage.filter(|lineage| *lineage != first.lineage))
    });
    let again = again.await?;
    ensure!(again.term > first.lineage.term && again.nonce != first.lineage.nonce, "{first:?}, {again:?}");
    let (last, _) = node.publish_surely(&a, "last").await?;
    ensure!(last.position == Position { lineage: again, seq: 2 }, "{last:?}");
    node.hears(&a, last.position).await
}

/// A replica may not be written to, so a connection to it does not begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_not_taken_for_a_master() -> Result<()> {
    let (sentinels, stop) = (Sentinels::start().await?, CancellationToken::new());
    let node = Node::over(RedisBroker::start(options(&sentinels.url_of(1), &stop)).await?, stop);
    let a = channel(1, "a");
    let refused = node.publish(&a, super::fresh(super::text("x"))).await;
    ensure!(matches!(refused, Err(BrokerError::Unavailable)), "{refused:?}");
    ensure!(!node.broker.health().is_up);
    Ok(())
}

/// What such a master refuses is certainly not done, and may be tried again.
#[tokio::test]
async fn a_master_that_has_lost_its_replicas_refuses_and_takes_nothing() -> Result<()> {
    let redis = Redis::start_with(&["--min-replicas-to-write", "1"]).await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    let mut admin = redis.connection().await?;
    let mut wants = async |replicas: u32| -> Result<()> {
        let () = cmd("CONFIG").arg("SET").arg("min-replicas-to-write").arg(replicas).query_async(&mut admin).await?;
        Ok(())
    };
    let publish = async |id: &str| node.publish(&a, super::fresh(super::with_id(id, id))).await;
    ensure!(matches!(publish("never").await, Err(BrokerError::Unavailable)) && !node.broker.health().is_up);
    wants(0).await?;
    node.publish_surely(&a, "first").await?;
    eventually("the node is up", async || Ok(node.broker.health().is_up.then_some(()))).await?;
    wants(1).await?;
    for _ in 0..20 {
        let refused = publish("never").await;
        ensure!(matches!(refused, Err(BrokerError::Unavailable)), "{refused:?}");
    }
    wants(0).await?;
    let (last, asked) = node.publish_surely(&a, "last").await?;
    ensure!((asked, last.position.seq) == (1, 2), "{asked}, {last:?}");
    Ok(())
}

#[tokio::test]
async fn a_master_that_no_sentinel_knows_is_refused_by_its_name() -> Result<()> {
    let sentinels = Sentinels::start().await?;
    let url = sentinels.url().replace("/main", "/other");
    let refused = RedisBroker::start(options(&url, &CancellationToken::new())).await.err().context("it was taken")?;
    ensure!(matches!(refused, StartError::Url(_)) && refused.to_string().contains("of this name"), "{refused}");
    Ok(())
}

/// The right that the document names is enough, and whoever lacks it is told that it is the sentinels who refuse.
#[tokio::test]
async fn sentinels_that_ask_who_it_is_take_the_user_of_the_url_and_no_other() -> Result<()> {
    let sentinels = Sentinels::start().await?;
    sentinels.guard("watcher", "w").await?;
    for user in ["", "?sentinel_user=watcher&sentinel_password=x"] {
        let options = options(&(sentinels.url() + user), &CancellationToken::new());
        let refused = RedisBroker::start(options).await.err().context("it was taken")?;
        let said = refused.to_string();
        ensure!(matches!(refused, StartError::Refused(_)) && said.contains("sentinels refuse"), "{said}");
    }
    let node = Node::start_at(&(sentinels.url() + "?sentinel_user=watcher&sentinel_password=w")).await?;
    node.publish_surely(&channel(1, "a"), "first").await?;
    Ok(())
}

#[tokio::test]
async fn a_redis_of_another_platform_is_refused_also_where_it_comes_in_the_place_of_ours() -> Result<()> {
    let mut redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.publish_surely(&a, "first").await?;
    let other =
        || RedisOptions { partitions: PartitionKey::new([8; 32]), ..options(&redis.url(), &CancellationToken::new()) };
    let refused = RedisBroker::start(other()).await.err().context("it was taken")?;
    ensure!(matches!(refused, StartError::Foreign { .. }) && refused.to_string().contains("{p0}y"), "{refused}");
    // In its place comes one of another platform, while this node lives.
    redis.kill()?;
    redis.launch().await?;
    let mut admin = redis.connection().await?;
    let () = cmd("SET").arg("{p0}y").arg("another").query_async(&mut admin).await?;
    let () = cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query_async(&mut admin).await?;
    let () = cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async(&mut admin).await?;
    let begun = Instant::now();
    eventually("the node goes", async || Ok((!node.broker.health().is_up).then_some(()))).await?;
    ensure!(begun.elapsed() < WHOLE_WITHIN);
    ensure!(node.publish(&a, super::fresh(super::text("x"))).await.is_err(), "it was given to another platform");
    // It is ours again.
    let () = cmd("DEL").arg("{p0}y").query_async(&mut admin).await?;
    eventually("the node is back", async || Ok(node.broker.health().is_up.then_some(()))).await?;
    node.publish_surely(&a, "second").await?;
    // And takes others of ours.
    let _another = broker(&redis.url()).await;
    Ok(())
}
