//! What the broker over Redis must do beside what every broker must: many nodes, and a Redis that fails.

mod budget;
mod charges;
mod drawn;
mod places;
mod presence;
mod replicas;
mod rights;
mod tls;

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use ::harness::eventually;
use ::harness::redis::Redis;
use anyhow::{Context as _, Result, bail, ensure};
use fanfare_broker_redis::{PartitionKey, RedisBroker, RedisOptions, RedisTls, StartError};
use fanfare_core::settings::History;
use fanfare_core::{ChannelKey, Lineage, Message, Position};
use fanfare_engine::broker::{Append, Appended, Deliver, Page, Read, Remove, Start};
use fanfare_engine::chance::Chance;
use fanfare_engine::presence::Hear;
use fanfare_engine::{Broker, BrokerError, Presence, SystemClock};
use redis::cmd;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::presence::Ear as Watching;
use super::{Ear, channel, text, with_id};

/// Where what is drawn begins: `FANFARE_SEED`, or always the same.
fn drawn_seed() -> u64 {
    std::env::var("FANFARE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_126)
}

/// How long a node may take to be whole again after Redis is.
const WHOLE_WITHIN: Duration = Duration::from_secs(10);

fn options(url: &str, stop: &CancellationToken) -> RedisOptions {
    RedisOptions {
        url: url.to_owned(),
        loader_url: None,
        tls: RedisTls::default(),
        partitions: PartitionKey::new([7; 32]),
        replicas: NonZeroU8::MIN,
        clock: Arc::new(SystemClock::default()),
        chance: Chance::new(None),
        tasks: TaskTracker::new(),
        stop: stop.clone(),
    }
}

/// A node's broker.
pub(super) async fn broker(url: &str) -> Arc<RedisBroker> {
    RedisBroker::start(options(url, &CancellationToken::new())).await.expect("fit")
}

/// A node: its broker, and what it hears.
pub(super) struct Node {
    broker: Arc<RedisBroker>,
    ear: Arc<Ear>,
    /// What it hears of presence.
    pub(super) watching: Arc<Watching>,
    _ends: DropGuard,
}

impl Node {
    pub(super) async fn start(redis: &Redis) -> Result<Self> {
        Self::start_at(&redis.url()).await
    }

    async fn start_at(url: &str) -> Result<Self> {
        let stop = CancellationToken::new();
        Ok(Self::over(RedisBroker::start(options(url, &stop)).await?, stop))
    }

    fn over(broker: Arc<RedisBroker>, stop: CancellationToken) -> Self {
        let ear = Arc::new(Ear::default());
        let watching = Arc::new(Watching::default());
        broker.presence().tell(Arc::clone(&watching) as Arc<dyn Hear>);
        broker.deliver_to(Arc::clone(&ear) as Arc<dyn Deliver>);
        Self { broker, ear, watching, _ends: stop.drop_guard() }
    }

    pub(super) fn presence(&self) -> Arc<dyn Presence> {
        Arc::new(self.broker.presence())
    }

    async fn attach(&self, channel: &ChannelKey) -> Result<()> {
        Ok(self.broker.attach(channel).wait().await?)
    }

    async fn publish(&self, channel: &ChannelKey, append: Append) -> Result<Appended, BrokerError> {
        self.broker.publish(channel, append).wait().await
    }

    /// Publishes until it is appended, under an id of its own; how often it had to be asked.
    async fn publish_surely(&self, channel: &ChannelKey, id: &str) -> Result<(Appended, u32)> {
        let mut asked = 0;
        let appended = eventually("it is appended", async || {
            asked += 1;
            match self.publish(channel, Append { idempotency_ms: 600_000, ..fresh(with_id(id, id)) }).await {
                Ok(appended) => Ok(Some(appended)),
                Err(BrokerError::Unavailable | BrokerError::Unknown) => Ok(None),
                Err(other) => bail!("{id}: {other}"),
            }
        });
        let appended = appended.await?;
        Ok((appended, asked))
    }

    async fn read(&self, channel: &ChannelKey, start: Start) -> Result<Page> {
        let read = Read { start, messages_max: 100_000, bytes_max: 1 << 30, now_ms: now_ms() };
        Ok(self.broker.read(channel, read).wait().await?)
    }

    fn heard(&self, channel: &ChannelKey) -> Vec<Arc<Message>> {
        let heard = self.ear.0.lock().expect("nobody panics here");
        heard.iter().filter(|(key, _)| key == channel).map(|(_, message)| Arc::clone(message)).collect()
    }

    /// Waits until the channel was heard up to there.
    async fn hears(&self, channel: &ChannelKey, position: Position) -> Result<()> {
        eventually("it is heard", async || {
            Ok(self.heard(channel).last().is_some_and(|last| last.position == position).then_some(()))
        })
        .await
    }

    /// What was heard is the log, whole and in order.
    async fn heard_all(&self, channel: &ChannelKey) -> Result<()> {
        let log = self.read(channel, Start::After(0)).await?;
        self.hears(channel, Position { lineage: log.lineage, seq: log.top }).await?;
        let heard = self.heard(channel);
        ensure!(heard.len() == log.messages.len(), "{} heard, {} in the log", heard.len(), log.messages.len());
        for (heard, logged) in heard.iter().zip(&log.messages) {
            ensure!((heard.position.seq, &heard.id) == (logged.position.seq, &logged.id), "{heard:?}, {logged:?}");
        }
        Ok(())
    }
}

fn now_ms() -> u64 {
    ::harness::unix_now() * 1_000
}

/// Published now.
fn fresh(append: Append) -> Append {
    Append { time_ms: now_ms(), history: kept(), ..append }
}

fn kept() -> History {
    History { messages: 100_000, bytes: 1 << 30, ttl_ms: 3_600_000 }
}

#[tokio::test]
async fn what_one_node_publishes_every_node_hears_in_one_order() -> Result<()> {
    let redis = Redis::start().await?;
    let nodes = [Node::start(&redis).await?, Node::start(&redis).await?, Node::start(&redis).await?];
    let (shared, lone) = (channel(1, "shared"), channel(1, "lone"));
    for node in &nodes {
        node.attach(&shared).await?;
    }
    nodes[0].attach(&lone).await?;
    let publishing = nodes.iter().enumerate().map(async |(number, node)| {
        let mut last = 0;
        for count in 0..200 {
            let id = format!("{number}-{count}");
            let appended = node.publish(&shared, fresh(with_id(&id, &id))).await?;
            ensure!(appended.position.seq > last && !appended.duplicate, "{appended:?}");
            last = appended.position.seq;
            node.publish(&lone, fresh(with_id(&id, &id))).await?;
        }
        Ok(())
    });
    futures_util::future::try_join_all(publishing).await?;
    for node in &nodes {
        node.heard_all(&shared).await?;
    }
    nodes[0].heard_all(&lone).await?;
    ensure!(nodes[1].heard(&lone).is_empty(), "a node hears what it has subscribers for");
    // Who detaches hears no more, and who comes back hears what follows.
    nodes[1].broker.detach(&shared, &|| false);
    nodes[1].broker.detach(&shared, &|| true);
    nodes[1].attach(&shared).await?;
    let before = nodes[1].heard(&shared).len();
    let appended = nodes[2].publish(&shared, fresh(text("last"))).await?;
    nodes[1].hears(&shared, appended.position).await?;
    ensure!(nodes[1].heard(&shared).len() == before + 1);
    for node in &nodes {
        let health = node.broker.health();
        ensure!(health.is_up && health.links == 1 && health.repairs == 0 && health.found_behind == 0, "{health:?}");
    }
    Ok(())
}

#[tokio::test]
async fn calls_of_one_caller_are_appended_in_their_order_whether_or_not_they_are_waited_for() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    let pending: Vec<_> = (0..1_000).map(|n| node.broker.publish(&a, fresh(text(&n.to_string())))).collect();
    // Waited for the other way round.
    for (n, one) in pending.into_iter().enumerate().rev() {
        ensure!(one.wait().await?.position.seq == n as u64 + 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_link_that_is_cut_again_and_again_loses_nothing() -> Result<()> {
    let redis = Redis::start().await?;
    let (hears, publishes) = (Node::start(&redis).await?, Node::start(&redis).await?);
    let channels: Vec<_> = (0..20).map(|number| channel(1, &format!("room:{number}"))).collect();
    for one in &channels {
        hears.attach(one).await?;
    }
    let mut admin = redis.connection().await?;
    for round in 0..600 {
        let one = &channels[round % channels.len()];
        publishes.publish(one, fresh(text("x"))).await?;
        if round % 60 == 30 {
            let _cut: i64 = cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async(&mut admin).await?;
        }
    }
    for one in &channels {
        hears.heard_all(one).await?;
    }
    ensure!(hears.broker.health().found_behind == 0);
    Ok(())
}

/// Four seconds without a pause are more than the heartbeats that may be missing.
#[tokio::test]
async fn a_flood_keeps_neither_the_heartbeat_nor_a_subscription_waiting() -> Result<()> {
    let redis = Redis::start().await?;
    let (hears, publishes) = (Node::start(&redis).await?, Node::start(&redis).await?);
    let flood = channel(1, "flood");
    hears.attach(&flood).await?;
    let (begun, mut count, mut slowest) = (Instant::now(), 0_usize, Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(4) {
        let pending: Vec<_> = (0..500).map(|_| publishes.broker.publish(&flood, fresh(text("x")))).collect();
        let asked = Instant::now();
        hears.attach(&channel(1, &format!("late:{count}"))).await?;
        slowest = slowest.max(asked.elapsed());
        for one in pending {
            one.wait().await?;
        }
        count += 500;
    }
    eventually("all of it is heard", async || Ok((hears.heard(&flood).len() == count).then_some(()))).await?;
    let health = hears.broker.health();
    eprintln!("{count} messages; the slowest subscription took {slowest:?}");
    ensure!((health.links, health.repairs, health.found_behind) == (1, 0, 0), "{health:?}");
    Ok(())
}

/// The tail is not told of by a later message: the link's return has to read it.
#[tokio::test]
async fn what_was_published_while_the_link_was_down_and_nothing_after_it_is_heard() -> Result<()> {
    let redis = Redis::start().await?;
    let (hears, publishes) = (Node::start(&redis).await?, Node::start(&redis).await?);
    let a = channel(1, "a");
    hears.attach(&a).await?;
    let mut admin = redis.connection().await?;
    for _ in 0..5 {
        let mut both = redis::pipe();
        both.cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub");
        let _cut: Vec<i64> = both.query_async(&mut admin).await?;
        let appended = publishes.publish(&a, fresh(text("tail"))).await?;
        hears.hears(&a, appended.position).await?;
    }
    hears.heard_all(&a).await
}

#[tokio::test]
async fn functions_that_are_gone_are_loaded_again_and_positions_go_on() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.attach(&a).await?;
    let before = node.publish(&a, fresh(text("before"))).await?.position;
    let mut admin = redis.connection().await?;
    let () = cmd("FUNCTION").arg("FLUSH").query_async(&mut admin).await?;
    let pending: Vec<_> = (0..100).map(|n| node.broker.publish(&a, fresh(text(&n.to_string())))).collect();
    for (n, one) in pending.into_iter().enumerate() {
        let position = one.wait().await?.position;
        ensure!(position == Position { seq: n as u64 + 2, ..before }, "{position:?} after {before:?}");
    }
    node.heard_all(&a).await
}

/// `faults.md` F39: nodes of two versions, each with its own functions, on the same data.
/// A Redis that knows slots refuses whatever touches two at once: of the log, its account and everything that nodes tell each
/// other nothing does.
#[tokio::test]
async fn a_channels_log_is_in_one_slot() -> Result<()> {
    let redis =
        Redis::start_with(&["--save", "", "--appendonly", "no", "--cluster-enabled", "yes", "--port", "0"]).await?;
    let mut admin = redis.connection().await?;
    let () = cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).query_async(&mut admin).await?;
    eventually("it has all slots", async || {
        let info: String = cmd("CLUSTER").arg("INFO").query_async(&mut admin).await?;
        Ok(info.contains("cluster_state:ok").then_some(()))
    })
    .await?;
    let node = Node::start(&redis).await?;
    let channels: Vec<_> = (0..20).map(|number| channel(number % 3, &format!("room:{number}"))).collect();
    for (number, one) in channels.iter().enumerate() {
        node.attach(one).await?;
        for round in 0..3 {
            node.publish_surely(one, &format!("{number} {round}")).await?;
        }
        let last = node.read(one, Start::Last(1)).await?.messages.pop().context("a message")?.position;
        ensure!(node.broker.remove(one, Remove::Message(last)).wait().await == Ok(1));
        ensure!(node.publish_surely(one, &format!("{number} 0")).await?.0.duplicate);
        eventually("it is heard", async || Ok((node.heard(one).len() == 3).then_some(()))).await?;
    }
    eventually("accounts are settled", async || {
        let accounts: Vec<String> = cmd("KEYS").arg("{p*}f:*").query_async(&mut admin).await?;
        Ok((accounts.len() == 3).then_some(()))
    })
    .await?;
    ensure!(node.broker.health().is_up, "{:?}", node.broker.health());
    Ok(())
}

#[tokio::test]
async fn functions_of_two_versions_work_side_by_side_in_one_lineage() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.attach(&a).await?;
    let first = node.publish(&a, fresh(text("first"))).await?.position;
    let mut admin = redis.connection().await?;
    let source = [
        include_str!("../../../server/broker-redis/src/functions.lua"),
        include_str!("../../../server/broker-redis/src/holdings.lua"),
        include_str!("../../../server/broker-redis/src/presence.lua"),
    ];
    let () =
        cmd("FUNCTION").arg("LOAD").arg(source.join("\n").replace("VERSION", "other")).query_async(&mut admin).await?;
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(&mut admin).await?;
    let named = |kind: &str| keys.iter().find(|key| key.contains(kind)).context("a key of the channel");
    let meta = named("}k:")?;
    let (tag, rest) = meta.split_once("k:").context("a name")?;
    let log = [meta.clone(), format!("{tag}s:{rest}"), format!("{tag}x:{rest}")];
    let entry: Vec<(String, Vec<Vec<u8>>)> =
        cmd("XRANGE").arg(&log[1]).arg("-").arg("+").query_async(&mut admin).await?;
    for round in 0..20_u64 {
        let mut other = cmd("FCALL");
        other.arg("ff_pub_other").arg(log.len()).arg(&log).arg(7).arg(now_ms()).arg(format!("{tag}c:{rest}"));
        other
            .arg(&[100_000, 1 << 30, 3_600_000, 5, 1_000_000, 1_000_000])
            .arg(&entry[0].1[5])
            .arg(&[1_u64 << 40, 1_000]);
        let told: Vec<String> = other.query_async(&mut admin).await?;
        let seq = 2 * round + 2;
        let nonce = first.lineage.nonce.to_string();
        ensure!((&told[0], &told[3], &told[4]) == (&"appended".to_owned(), &nonce, &seq.to_string()), "{told:?}");
        let appended = node.publish(&a, fresh(text("ours"))).await?.position;
        ensure!(appended == Position { seq: seq + 1, ..first }, "{appended:?}");
    }
    node.heard_all(&a).await
}

/// The stock persistence of Redis: what was published after the last snapshot is gone after `kill -9`, and numbers are
/// used twice (`delivery.md` §2).
#[tokio::test]
async fn a_redis_that_was_rewound_is_told_from_the_one_before() -> Result<()> {
    let mut redis = Redis::start_with(&["--save", "3600 1", "--appendonly", "no"]).await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.attach(&a).await?;
    for n in 0..5 {
        node.publish(&a, fresh(text(&n.to_string()))).await?;
    }
    let mut admin = redis.connection().await?;
    let () = cmd("SAVE").query_async(&mut admin).await?;
    let mut last = None;
    for n in 5..12 {
        last = Some(node.publish(&a, fresh(text(&n.to_string()))).await?.position);
    }
    let last = last.context("it was published to")?;
    node.hears(&a, last).await?;
    redis.kill()?;
    redis.launch().await?;
    let (again, _) = node.publish_surely(&a, "after").await?;
    let Position { lineage, seq } = again.position;
    ensure!(seq == 6, "numbers are used twice: {seq}");
    ensure!(lineage != last.lineage && lineage.epoch == last.lineage.epoch && lineage.term > last.lineage.term);
    // It is heard, in its own lineage, and what is read is the log as it is.
    node.hears(&a, again.position).await?;
    let page = node.read(&a, Start::After(0)).await?;
    ensure!((page.lineage, page.top, page.messages.len()) == (lineage, 6, 6), "{page:?}");
    // What was in the snapshot is continued, what came after it is not.
    let before = |seq| page.continues(Position { seq, ..last });
    ensure!((before(5), before(6), before(12)) == (true, false, false), "{:?}", page.earlier);
    Ok(())
}

#[tokio::test]
async fn a_redis_that_died_refuses_what_is_asked_and_everything_is_whole_when_it_is_back() -> Result<()> {
    let mut redis = Redis::start_with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]).await?;
    let (hears, publishes) = (Node::start(&redis).await?, Node::start(&redis).await?);
    let channels: Vec<_> = (0..10).map(|number| channel(1, &format!("room:{number}"))).collect();
    for one in &channels {
        hears.attach(one).await?;
    }
    let mut repeated = 0;
    for round in 0..3 {
        for number in 0..30 {
            let id = format!("{round}-{number}");
            repeated += publishes.publish_surely(&channels[number % 10], &id).await?.1 - 1;
        }
        redis.kill()?;
        let begun = Instant::now();
        let refused = publishes.publish(&channels[0], fresh(text("away"))).await;
        ensure!(matches!(refused, Err(BrokerError::Unavailable | BrokerError::Unknown)), "{refused:?}");
        ensure!(begun.elapsed() < Duration::from_secs(3), "refused after {:?}", begun.elapsed());
        eventually("the node knows that nothing is told", async || Ok((!hears.broker.health().is_up).then_some(())))
            .await?;
        // Whoever publishes meanwhile waits for a moment, or comes again.
        let id = format!("{round}-away");
        let (launched, published) = tokio::join!(redis.launch(), publishes.publish_surely(&channels[0], &id));
        launched?;
        repeated += published?.1 - 1;
        let begun = Instant::now();
        eventually("the node hears again", async || Ok(hears.broker.health().is_up.then_some(()))).await?;
        ensure!(begun.elapsed() < WHOLE_WITHIN, "{:?}", begun.elapsed());
    }
    eprintln!("{repeated} publishes had to be asked again");
    for (number, one) in channels.iter().enumerate() {
        // An unknown outcome may have been appended: what is in the log is heard, whatever that is.
        let log = hears.read(one, Start::After(0)).await?;
        eventually("it is heard", async || {
            Ok(hears.heard(one).last().is_some_and(|last| last.position.seq == log.top).then_some(()))
        })
        .await?;
        let (heard, logged) = (hears.heard(one), &log.messages);
        // Nothing was lost on the disk: the log goes on from each place under each of its lineages.
        ensure!(heard.iter().all(|message| log.continues(message.position)), "{:?}", log.earlier);
        let ids = |messages: &[Arc<Message>]| messages.iter().map(|message| message.id.clone()).collect::<Vec<_>>();
        ensure!(ids(&heard) == ids(logged), "{:?} heard, {:?} in the log", ids(&heard), ids(logged));
        let mut once = ids(logged);
        once.retain(|id| **id != *"msg");
        let count = once.len();
        once.dedup();
        let published = if number == 0 { 12 } else { 9 };
        ensure!(once.len() == count && count == published, "each id once: {once:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_redis_that_stands_still_costs_unknown_outcomes_and_each_id_is_there_once() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.attach(&a).await?;
    node.publish(&a, fresh(with_id("before", "before"))).await?;
    redis.freeze(true)?;
    let begun = Instant::now();
    let outcomes = futures_util::future::join_all((0..50).map(|n| {
        node.publish(&a, Append { idempotency_ms: 600_000, ..fresh(with_id(&n.to_string(), &n.to_string())) })
    }))
    .await;
    ensure!(begun.elapsed() < Duration::from_secs(5), "told after {:?}", begun.elapsed());
    for outcome in outcomes {
        ensure!(matches!(outcome, Err(BrokerError::Unavailable | BrokerError::Unknown)), "{outcome:?}");
    }
    redis.freeze(false)?;
    for n in 0..50 {
        node.publish_surely(&a, &n.to_string()).await?;
    }
    node.heard_all(&a).await?;
    let mut ids: Vec<_> = node.heard(&a).iter().map(|message| message.id.clone()).collect();
    ids.sort();
    ids.dedup();
    ensure!((ids.len(), node.heard(&a).len()) == (51, 51), "each once");
    Ok(())
}

#[tokio::test]
async fn an_entry_that_was_altered_is_never_delivered() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.attach(&a).await?;
    let first = node.publish(&a, fresh(text("first"))).await?.position;
    node.hears(&a, first).await?;
    let mut admin = redis.connection().await?;
    let names: Vec<String> = cmd("PUBSUB").arg("SHARDCHANNELS").query_async(&mut admin).await?;
    let told = names.into_iter().find(|name| name.ends_with(":a")).context("it is subscribed to")?;
    let Lineage { epoch, term, nonce } = first.lineage;
    let forged = format!("{epoch} {term} {nonce} 2 \u{1}nothing that a node has written");
    let _told: i64 = cmd("SPUBLISH").arg(&told).arg(forged).query_async(&mut admin).await?;
    let second = node.publish(&a, fresh(text("second"))).await?.position;
    node.hears(&a, second).await?;
    node.heard_all(&a).await?;
    ensure!(node.broker.health().repairs == 1, "it was read instead");
    Ok(())
}

#[tokio::test]
async fn a_redis_that_may_forget_is_refused() -> Result<()> {
    let redis = Redis::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await?;
    let refused = RedisBroker::start(options(&redis.url(), &CancellationToken::new())).await;
    ensure!(matches!(&refused, Err(StartError::Eviction { policy }) if policy == "allkeys-lru"), "{:?}", refused.err());
    for url in ["redis//x", "http://localhost", ""] {
        let refused = RedisBroker::start(options(url, &CancellationToken::new())).await;
        ensure!(matches!(refused, Err(StartError::Url(_))), "{url}: {:?}", refused.err());
    }
    Ok(())
}

#[tokio::test]
async fn a_full_redis_refuses_and_keeps_what_it_has() -> Result<()> {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction", "--save", ""]).await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    node.attach(&a).await?;
    let mut accepted = 0;
    let refused = loop {
        match node.publish(&a, fresh(text(&"x".repeat(10_000)))).await {
            Ok(_) => accepted += 1,
            Err(refused) => break refused,
        }
        ensure!(accepted < 1_000, "it must be full at some point");
    };
    ensure!(refused == BrokerError::Full && accepted > 10, "{refused} after {accepted}");
    // Full to the brim: what is there is still read, heard by whoever comes, and can be deleted.
    let mut admin = redis.connection().await?;
    let mut filled = 0;
    while cmd("APPEND").arg("filler").arg("x".repeat(10_000)).query_async::<i64>(&mut admin).await.is_ok() {
        filled += 1;
        ensure!(filled < 1_000, "it must be full at some point");
    }
    node.heard_all(&a).await?;
    ensure!(node.heard(&a).len() == accepted);
    let other = Node::start(&redis).await?;
    other.attach(&a).await?;
    ensure!(other.broker.remove(&a, Remove::All).wait().await? == accepted as u64);
    other.publish_surely(&a, "again").await?;
    Ok(())
}
