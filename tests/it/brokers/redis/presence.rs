//! Presence over several nodes: who dies takes its members along, once; a Redis that fails takes nobody's away.

use std::time::Duration;

use ::harness::eventually;
use ::harness::proxy::Proxy;
use ::harness::redis::Redis;
use anyhow::{Result, ensure};
use fanfare_core::{ChannelKey, MemberId};
use fanfare_engine::presence::{How, Page, PresenceError, Put, Read};
use redis::cmd;
use tokio::time::Instant;

use super::super::channel;
use super::super::presence::{id, put, saying};
use super::Node;

/// How long the members of a node that died may still be seen (`faults.md` F1): a lease, and a moment.
const GHOSTS_WITHIN: Duration = Duration::from_secs(12);

impl Node {
    async fn enter(&self, channel: &ChannelKey, put: Put) -> Result<u64, PresenceError> {
        self.presence().put(channel, put).wait().await.map(|placed| placed.version)
    }

    async fn leaves(&self, channel: &ChannelKey, number: u64, generation: u64) -> Result<bool> {
        Ok(self.presence().leave(channel, &id(number), generation).wait().await?)
    }

    async fn watch(&self, channel: &ChannelKey) -> Result<()> {
        Ok(self.presence().attach(channel).wait().await?)
    }

    async fn members(&self, channel: &ChannelKey) -> Result<Page, PresenceError> {
        let read = Read { after: None, limit: 1_000, bytes_max: u64::MAX, listed_max: 1_000 };
        self.presence().read(channel, read).wait().await
    }

    async fn ids(&self, channel: &ChannelKey) -> Result<Vec<MemberId>, PresenceError> {
        let members = self.members(channel).await?.members.unwrap_or_default();
        Ok(members.iter().map(|member| member.id.clone()).collect())
    }

    /// Waits until these are there, and no others.
    pub(super) async fn sees(&self, channel: &ChannelKey, expected: &[MemberId]) -> Result<()> {
        eventually("they are there", async || {
            let there = self.ids(channel).await;
            Ok(there.is_ok_and(|there| there == expected).then_some(()))
        })
        .await
    }

    /// Who was heard to come and to go: true for the first.
    fn told(&self) -> Vec<bool> {
        self.watching.0.lock().expect("nobody panics here").changes.iter().map(|(.., here)| *here).collect()
    }

    fn missed(&self) -> u64 {
        self.watching.0.lock().expect("nobody panics here").missed
    }
}

fn user(name: &str) -> Put {
    let mut entered = put(0, 0, How::Enter);
    entered.member.id = MemberId::User(name.into());
    entered.member.user = Some(name.into());
    entered
}

#[tokio::test]
async fn the_members_of_a_node_that_died_leave_once_and_those_who_went_on_stay() -> Result<()> {
    let redis = Redis::start().await?;
    let (dies, first, second) = (Node::start(&redis).await?, Node::start(&redis).await?, Node::start(&redis).await?);
    let a = channel(1, "a");
    first.watch(&a).await?;
    for number in 1..=3 {
        dies.enter(&a, saying(put(number, 1, How::Enter), "up")).await?;
    }
    dies.enter(&a, user("bob")).await?;
    let version = second.enter(&a, put(9, 1, How::Enter)).await?;
    drop(dies);
    let died = Instant::now();
    // One of them goes on at another node in time, with what it said before.
    ensure!(second.enter(&a, saying(put(2, 2, How::Enter), "up")).await? == version, "nothing has changed");
    let stay = [id(2), id(9), MemberId::User("bob".into())];
    first.sees(&a, &stay).await?;
    ensure!(died.elapsed() < GHOSTS_WITHIN, "{:?}", died.elapsed());
    ensure!(died.elapsed() > Duration::from_secs(8), "a node that is slow is not dead: {:?}", died.elapsed());
    eventually("it is heard", async || Ok((first.told().len() == 7).then_some(()))).await?;
    ensure!(first.told() == [true, true, true, true, true, false, false], "{:?}", first.told());
    ensure!(second.members(&a).await?.version == version + 2);
    Ok(())
}

/// `faults.md` F43: one node loses Redis for longer than its lease, and comes back.
#[tokio::test]
async fn a_node_that_was_cut_off_has_its_members_leave_once_and_come_back_once() -> Result<()> {
    let redis = Redis::start().await?;
    let proxy = Proxy::to_unix(redis.socket()).await?;
    let alone = Node::start_at(&format!("redis://{}", proxy.address())).await?;
    let watches = Node::start(&redis).await?;
    let a = channel(1, "a");
    watches.watch(&a).await?;
    alone.watch(&a).await?;
    for number in 1..=2 {
        alone.enter(&a, put(number, 1, How::Enter)).await?;
    }
    watches.enter(&a, put(7, 1, How::Enter)).await?;
    eventually("all are heard", async || Ok((watches.told().len() == 3).then_some(()))).await?;
    proxy.silence();
    watches.sees(&a, &[id(7)]).await?;
    // One of them leaves while nobody can be told, another goes on at another node.
    ensure!(alone.leaves(&a, 1, 1).await.is_err());
    watches.enter(&a, put(2, 2, How::Enter)).await?;
    let refused = alone.enter(&a, put(3, 1, How::Enter)).await;
    ensure!(matches!(refused, Err(PresenceError::Unavailable | PresenceError::Unknown)), "{refused:?}");
    let (missed, more) = (alone.missed(), id(4));
    proxy.heal();
    eventually("it can be entered", async || Ok(alone.enter(&a, put(4, 1, How::Enter)).await.ok())).await?;
    watches.sees(&a, &[id(2), more.clone(), id(7)]).await?;
    eventually("the node is told that it missed something", async || Ok((alone.missed() > missed).then_some(())))
        .await?;
    ensure!(watches.told() == [true, true, true, false, false, true, true], "{:?}", watches.told());
    // Whoever went on elsewhere is not this node's any more.
    ensure!(!alone.leaves(&a, 2, 1).await? && alone.leaves(&a, 4, 1).await?);
    Ok(())
}

/// Whoever leaves while Redis cannot be told is no ghost afterwards, and nobody else of the node leaves.
#[tokio::test]
async fn who_leaves_during_a_short_silence_is_gone_after_it() -> Result<()> {
    let redis = Redis::start().await?;
    let proxy = Proxy::to_unix(redis.socket()).await?;
    let alone = Node::start_at(&format!("redis://{}", proxy.address())).await?;
    let watches = Node::start(&redis).await?;
    let a = channel(1, "a");
    watches.watch(&a).await?;
    for number in 1..=3 {
        alone.enter(&a, put(number, 1, How::Enter)).await?;
    }
    eventually("all are heard", async || Ok((watches.told().len() == 3).then_some(()))).await?;
    // The connections that carry nothing are given up, and what they carried with them.
    proxy.silence_existing();
    ensure!(alone.leaves(&a, 2, 1).await.is_err());
    watches.sees(&a, &[id(1), id(3)]).await?;
    ensure!(watches.told() == [true, true, true, false], "{:?}", watches.told());
    ensure!(alone.leaves(&a, 1, 1).await?);
    watches.sees(&a, &[id(3)]).await
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_told_again_who_is_there_and_nobody_hears_that_all_have_left() -> Result<()> {
    let mut redis = Redis::start().await?;
    let nodes = [Node::start(&redis).await?, Node::start(&redis).await?];
    let a = channel(1, "a");
    for node in &nodes {
        node.watch(&a).await?;
    }
    for (number, node) in nodes.iter().enumerate() {
        node.enter(&a, saying(put(number as u64 + 1, 1, How::Enter), "up")).await?;
    }
    nodes[0].enter(&a, put(5, 1, How::Enter)).await?;
    eventually("all are heard", async || Ok(nodes.iter().all(|node| node.told().len() == 3).then_some(()))).await?;
    let (before, missed) = (nodes[0].members(&a).await?, [nodes[0].missed(), nodes[1].missed()]);
    redis.kill()?;
    // Who leaves meanwhile is not entered again, and who says something new is entered with it.
    ensure!(nodes[0].leaves(&a, 5, 1).await.is_err());
    redis.launch().await?;
    let begun = Instant::now();
    for (node, missed) in nodes.iter().zip(missed) {
        node.sees(&a, &[id(1), id(2)]).await?;
        eventually("they may have missed something", async || Ok((node.missed() > missed).then_some(()))).await?;
        ensure!(node.told() == [true, true, true], "{:?}", node.told());
        let page = node.members(&a).await?;
        ensure!(page.version > before.version, "versions grow: {} after {}", page.version, before.version);
        ensure!(page.members.expect("listed")[0].data.is_some());
    }
    ensure!(begun.elapsed() < GHOSTS_WITHIN, "{:?}", begun.elapsed());
    // The same without any connection that ends.
    let mut admin = redis.connection().await?;
    let missed = [nodes[0].missed(), nodes[1].missed()];
    let () = cmd("FLUSHALL").query_async(&mut admin).await?;
    for (node, missed) in nodes.iter().zip(missed) {
        node.sees(&a, &[id(1), id(2)]).await?;
        eventually("they may have missed something", async || Ok((node.missed() > missed).then_some(()))).await?;
        ensure!(node.told() == [true, true, true], "{:?}", node.told());
    }
    Ok(())
}

/// The stock persistence of Redis: after `kill -9` it stands where its last snapshot was taken.
#[tokio::test]
async fn a_redis_that_was_rewound_keeps_no_ghost_and_misses_nobody() -> Result<()> {
    let mut redis = Redis::start_with(&["--save", "3600 1", "--appendonly", "no"]).await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.watch(&a).await?;
    node.enter(&a, put(1, 1, How::Enter)).await?;
    node.enter(&a, put(2, 1, How::Enter)).await?;
    let mut admin = redis.connection().await?;
    let () = cmd("SAVE").query_async(&mut admin).await?;
    ensure!(node.leaves(&a, 1, 1).await?);
    let version = node.enter(&a, put(3, 1, How::Enter)).await?;
    redis.kill()?;
    redis.launch().await?;
    node.sees(&a, &[id(2), id(3)]).await?;
    ensure!(node.members(&a).await?.version > version + 1, "nobody takes it for what follows");
    Ok(())
}

#[tokio::test]
async fn functions_that_are_gone_and_links_that_are_cut_change_nothing() -> Result<()> {
    let redis = Redis::start().await?;
    let (node, watches) = (Node::start(&redis).await?, Node::start(&redis).await?);
    let a = channel(1, "a");
    watches.watch(&a).await?;
    let mut admin = redis.connection().await?;
    for number in 1..=4 {
        let missed = watches.missed();
        node.enter(&a, put(number, 1, How::Enter)).await?;
        if number % 2 == 1 {
            let () = cmd("FUNCTION").arg("FLUSH").query_async(&mut admin).await?;
        } else {
            let _cut: i64 = cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async(&mut admin).await?;
            eventually("it may have missed something", async || Ok((watches.missed() > missed).then_some(()))).await?;
        }
    }
    node.sees(&a, &[id(1), id(2), id(3), id(4)]).await?;
    ensure!(!watches.told().contains(&false), "{:?}", watches.told());
    Ok(())
}

/// The tail is not told of by a later change: an audit has to find it.
#[tokio::test]
async fn a_change_that_was_not_told_is_found() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.watch(&a).await?;
    node.enter(&a, put(1, 1, How::Enter)).await?;
    node.sees(&a, &[id(1)]).await?;
    let mut admin = redis.connection().await?;
    let rooms: Vec<String> = cmd("KEYS").arg("*}v:*").query_async(&mut admin).await?;
    let _version: i64 = cmd("HINCRBY").arg(&rooms[0]).arg("v").arg(1).query_async(&mut admin).await?;
    let _changed: i64 = cmd("PEXPIRE").arg(&rooms[0]).arg(9_000).query_async(&mut admin).await?;
    eventually("it is found", async || Ok((node.missed() > 0 && node.broker.health().found_behind == 1).then_some(())))
        .await?;
    // What knows the version lives while somebody watches: its end would be taken for a loss.
    eventually("it is kept", async || {
        let left: i64 = cmd("PTTL").arg(&rooms[0]).query_async(&mut admin.clone()).await?;
        Ok((left > 3_000_000).then_some(()))
    })
    .await
}

#[tokio::test]
async fn whoever_leaves_a_full_redis_leaves() -> Result<()> {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction", "--save", ""]).await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.enter(&a, put(1, 1, How::Enter)).await?;
    let mut admin = redis.connection().await?;
    for number in 0..6 {
        let filled: Result<i64, _> =
            cmd("SETRANGE").arg(format!("filler:{number}")).arg(900_000).arg("x").query_async(&mut admin).await;
        ensure!(number < 5 || filled.is_err(), "it is full");
    }
    ensure!(node.enter(&a, put(2, 1, How::Enter)).await == Err(PresenceError::Full));
    ensure!(node.ids(&a).await? == [id(1)] && node.leaves(&a, 1, 1).await? && node.ids(&a).await?.is_empty());
    ensure!(node.presence().members() == 0);
    Ok(())
}
