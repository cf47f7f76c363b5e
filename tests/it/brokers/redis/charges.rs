//! What an app is charged for what Redis holds.

use ::harness::redis::Redis;
use anyhow::{Result, ensure};
use fanfare_core::settings::History;
use fanfare_engine::broker::{Append, Remove, Start};
use fanfare_engine::{Broker, BrokerError};
use redis::cmd;

use super::super::{channel, text};
use super::{Node, fresh, kept};

/// What an app holds is counted to the byte, whatever becomes of its messages.
#[tokio::test]
async fn what_an_app_holds_is_counted_and_given_back() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let mut admin = redis.connection().await?;
    let app = fanfare_core::id::AppId::new(1, 0);
    let mut held = async || -> Result<u64> {
        let held: Option<u64> = cmd("HGET").arg(format!("{{p0}}b:{app}")).arg("all").query_async(&mut admin).await?;
        Ok(held.unwrap_or(0))
    };
    let channels: Vec<_> = (0..10).map(|number| channel(1, &format!("room:{number}"))).collect();
    let few = |append: Append| Append { history: History { messages: 5, ..kept() }, ..fresh(append) };
    for round in 0..8 {
        for one in &channels {
            node.publish(one, few(text(&"x".repeat(98 + round)))).await?;
        }
    }
    // The last five of each: 103 to 107 bytes with their quotation marks, and 256 around each.
    let whole = 10 * (103..108).map(|bytes| bytes + 256).sum::<u64>();
    ensure!(held().await? == whole, "{} of {whole}", held().await?);
    let position = node.read(&channels[0], Start::Last(1)).await?.messages[0].position;
    ensure!(node.broker.remove(&channels[0], Remove::Message(position)).wait().await == Ok(1));
    ensure!(held().await? == whole - 107);
    ensure!(node.broker.remove(&channels[0], Remove::All).wait().await == Ok(5));
    let rest = whole / 10 * 9;
    ensure!(held().await? == rest);
    // One that is full refuses, and another app does not notice.
    let full = Append { app_bytes_max: rest, ..few(text("x")) };
    ensure!(node.publish(&channels[0], full.clone()).await == Err(BrokerError::AppBytes { max: rest }));
    node.publish(&channel(2, "room:0"), full).await?;
    // Without history a channel keeps nothing, and what it kept is given back.
    for one in &channels {
        node.publish(one, Append { history: History::NONE, ..fresh(text("x")) }).await?;
    }
    ensure!(held().await? == 0);
    // What is over makes room for others: Redis lets go of it by itself.
    let short = History { ttl_ms: 1, ..kept() };
    for one in &channels {
        node.publish(one, Append { history: short, app_channels_max: 10, ..fresh(text("x")) }).await?;
    }
    let another = Append { app_channels_max: 10, ..fresh(text("x")) };
    let more = channel(1, "another");
    ensure!(node.publish(&more, another.clone()).await == Err(BrokerError::AppChannels { max: 10 }));
    let mut admin = redis.connection().await?;
    let used: Vec<String> = cmd("ZRANGE").arg(format!("{{p0}}u:{app}")).arg(0).arg(-1).query_async(&mut admin).await?;
    ensure!(used.len() == 10, "{used:?}");
    for one in &used {
        // As if the time had come.
        let _changed: i64 = cmd("ZADD").arg(format!("{{p0}}u:{app}")).arg(1).arg(one).query_async(&mut admin).await?;
    }
    node.publish(&more, another).await?;
    let left: (u64, u64) = redis::pipe()
        .cmd("ZCARD")
        .arg(format!("{{p0}}u:{app}"))
        .cmd("HLEN")
        .arg(format!("{{p0}}b:{app}"))
        .query_async(&mut admin)
        .await?;
    ensure!(left == (1, 2), "one channel, and the sum: {left:?}");
    Ok(())
}

/// What is charged to an app follows its channels, also where Redis has forgotten one, and for as long as any is kept.
#[tokio::test]
async fn a_channel_that_redis_forgot_is_charged_anew_and_no_more() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let mut admin = redis.connection().await?;
    let (app, a) = (fanfare_core::id::AppId::new(1, 0), channel(1, "a"));
    let [bytes, used] = [format!("{{p0}}b:{app}"), format!("{{p0}}u:{app}")];
    for (length, charged) in [(98, 356), (8, 266)] {
        node.publish(&a, fresh(text(&"x".repeat(length)))).await?;
        let held: u64 = cmd("HGET").arg(&bytes).arg("all").query_async(&mut admin).await?;
        ensure!(held == charged, "{held} for {length}");
        let meta: Vec<String> = cmd("KEYS").arg("*k:*:a").query_async(&mut admin).await?;
        let gone: u64 = cmd("DEL").arg(&meta).query_async(&mut admin).await?;
        ensure!(gone == 1, "{meta:?}");
    }
    // An hour and two days for this one; another that keeps nothing does not shorten it.
    node.publish(&channel(1, "b"), Append { history: History { ttl_ms: 1, ..kept() }, ..fresh(text("x")) }).await?;
    for key in [bytes, used] {
        let left: i64 = cmd("PTTL").arg(&key).query_async(&mut admin).await?;
        ensure!(left > 2 * 86_400_000 + 3_500_000, "{key}: {left}");
    }
    Ok(())
}

/// A channel whose charge stays as it is says as well that its app's bytes are to be remembered.
#[tokio::test]
async fn what_an_app_holds_is_remembered_while_a_channel_that_changes_little_is_in_use() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let mut admin = redis.connection().await?;
    let (bytes, a) = (format!("{{p0}}b:{}", fanfare_core::id::AppId::new(1, 0)), channel(1, "a"));
    let steady =
        |ttl_ms| Append { history: History { messages: 10, ttl_ms, ..kept() }, ..fresh(text(&"x".repeat(1_000))) };
    for _ in 0..40 {
        node.publish(&a, steady(3_600_000)).await?;
    }
    let held: u64 = cmd("HGET").arg(&bytes).arg("all").query_async(&mut admin).await?;
    let _changed: i64 = cmd("PEXPIRE").arg(&bytes).arg(9_000).query_async(&mut admin).await?;
    // Another age has the channel say anew that it is in use, as it does twice a minute.
    node.publish(&a, steady(3_600_001)).await?;
    let (after, left): (u64, i64) =
        redis::pipe().cmd("HGET").arg(&bytes).arg("all").cmd("PTTL").arg(&bytes).query_async(&mut admin).await?;
    ensure!(after == held, "the charge was to stay: {held}, {after}");
    ensure!(left > 2 * 86_400_000, "{left}");
    Ok(())
}
