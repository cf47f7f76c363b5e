//! What is acknowledged as `replicated` is on a second Redis, and whoever does not ask for that never waits for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ::harness::eventually;
use ::harness::sentinels::Sentinels;
use anyhow::{Result, ensure};
use fanfare_core::ChannelKey;
use fanfare_engine::BrokerError;
use fanfare_engine::broker::{Append, Durability, Start};
use futures_util::future::join_all;
use redis::cmd;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::super::{channel, with_id};
use super::{Node, fresh, kept};

/// Publishes that are under way at one moment.
const AT_ONCE: usize = 16;

fn replicated(id: &str) -> Append {
    let append = fresh(with_id(id, id));
    Append { durability: Durability::Replicated, history: kept(), idempotency_ms: 600_000, ..append }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_waits_for_the_replica_and_nobody_else_does() -> Result<()> {
    let sentinels = Sentinels::start().await?;
    let node = Node::start_at(&sentinels.url()).await?;
    let (a, b) = (channel(1, "a"), channel(1, "b"));
    node.attach(&a).await?;
    let appended = node.publish(&a, replicated("first")).await?;
    ensure!((appended.durability, appended.duplicate) == (Durability::Replicated, false), "{appended:?}");
    let mut replica = sentinels.connection(1).await?;
    let there: Vec<String> = cmd("KEYS").arg("{p*s:*").query_async(&mut replica).await?;
    ensure!(there.len() == 1, "the replica has it: {there:?}");

    sentinels.freeze(1, true)?;
    let waits = async { (true, node.publish(&a, replicated("second")).await) };
    let waits_not = async { (false, node.publish(&b, fresh(with_id("other", "other"))).await) };
    tokio::pin!(waits, waits_not);
    let (waited, first) = tokio::select! {
        biased;
        first = &mut waits_not => first,
        first = &mut waits => first,
    };
    ensure!(!waited && first?.durability == Durability::Memory);
    ensure!(waits.await.1 == Err(BrokerError::NotReplicated) && node.broker.health().unconfirmed == 1);
    // It is told and kept, and only not acknowledged.
    eventually("it is heard", async || Ok((node.heard(&a).len() == 2).then_some(()))).await?;

    sentinels.freeze(1, false)?;
    let again = eventually("the replica has it", async || match node.publish(&a, replicated("second")).await {
        Err(BrokerError::NotReplicated) => Ok(None),
        appended => Ok(Some(appended?)),
    });
    let again = again.await?;
    ensure!((again.durability, again.duplicate) == (Durability::Replicated, true), "{again:?}");
    ensure!(node.read(&a, Start::After(0)).await?.messages.len() == 2);
    Ok(())
}

/// `faults.md` F8: of what was acknowledged as replicated nothing is lost with the master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_outlives_the_master() -> Result<()> {
    let mut sentinels = Sentinels::start().await?;
    let node = Arc::new(Node::start_at(&sentinels.url()).await?);
    let (a, mut master, mut acknowledged) = (channel(1, "a"), 0, HashSet::new());
    for round in 0..3 {
        let enough = CancellationToken::new();
        let mut publishing = JoinSet::new();
        publishing.spawn(publish_until(Arc::clone(&node), round, enough.clone()));
        node.reaches(&a, 200 * (round + 1)).await?;
        // What is published from here on dies with the master.
        sentinels.freeze(1 - master, true)?;
        let mut admin = sentinels.connection(master).await?;
        let () = cmd("CLIENT").arg("KILL").arg("TYPE").arg("replica").query_async(&mut admin).await?;
        let top = node.reaches(&a, 0).await?;
        node.reaches(&a, top + 3 * AT_ONCE as u64).await?;
        sentinels.kill(master)?;
        sentinels.freeze(1 - master, false)?;
        master = 1 - master;
        sentinels.promoted(master).await?;
        let alone = node.publish_surely(&a, &format!("alone {round}")).await?.0;
        ensure!(alone.durability == Durability::Memory);
        sentinels.launch(1 - master).await?;
        enough.cancel();
        acknowledged.extend(publishing.join_all().await.concat());
    }
    let log: Vec<_> = node.read(&a, Start::After(0)).await?.messages;
    let ids: HashSet<&str> = log.iter().map(|message| &*message.id).collect();
    ensure!(
        ids.len() == log.len() && acknowledged.len() > 300,
        "{} acknowledged, {} kept",
        acknowledged.len(),
        log.len()
    );
    let lost: Vec<_> = acknowledged.iter().filter(|id| !ids.contains(id.as_str())).collect();
    ensure!(lost.is_empty(), "{} lost of {}: {lost:?}", lost.len(), acknowledged.len());
    Ok(())
}

/// Publishes one group after the other; which were acknowledged.
async fn publish_until(node: Arc<Node>, round: u64, enough: CancellationToken) -> Vec<String> {
    let (a, mut acknowledged, mut number) = (channel(1, "a"), Vec::new(), 0);
    // As fast as it goes would be more than a replica that comes back takes in time on a busy machine.
    let mut pace = interval(Duration::from_millis(20));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !enough.is_cancelled() {
        pace.tick().await;
        let ids: Vec<String> = (0..AT_ONCE).map(|at| format!("{round}-{}", number + at)).collect();
        number += AT_ONCE;
        let told = join_all(ids.iter().map(|id| node.publish(&a, replicated(id)))).await;
        acknowledged.extend(ids.into_iter().zip(told).filter(|(_, told)| told.is_ok()).map(|(id, _)| id));
    }
    acknowledged
}

impl Node {
    /// Waits until so many messages were published to a channel.
    async fn reaches(&self, channel: &ChannelKey, top: u64) -> Result<u64> {
        eventually("enough is published", async || {
            let page = self.read(channel, Start::Top).await.ok();
            Ok(page.map(|page| page.top).filter(|reached| *reached >= top))
        })
        .await
    }
}

/// Where there is no replica that is said, soon and as often as it is asked for, and what a replica missed it has once it
/// is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_without_replicas_acknowledges_nothing_as_replicated() -> Result<()> {
    let mut sentinels = Sentinels::start().await?;
    let node = Node::start_at(&sentinels.url()).await?;
    let a = channel(1, "a");
    sentinels.kill(1)?;
    for asked in 1..=3 {
        ensure!(node.publish(&a, replicated("first")).await == Err(BrokerError::NotReplicated));
        ensure!(node.broker.health().unconfirmed == asked);
    }
    sentinels.launch(1).await?;
    let appended = node.publish(&a, replicated("first")).await?;
    ensure!((appended.durability, appended.duplicate) == (Durability::Replicated, true), "{appended:?}");
    Ok(())
}
