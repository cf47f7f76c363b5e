//! What an app is charged for what Redis holds.

use ::harness::eventually;
use ::harness::redis::Redis;
use anyhow::{Context as _, Result, ensure};
use fanfare_core::id::AppId;
use fanfare_core::settings::History;
use fanfare_engine::broker::{Append, Remove, Start};
use fanfare_engine::{Broker, BrokerError};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, cmd};

use super::super::{channel, text};
use super::{Node, fresh, kept};

/// What Redis knows of what an app holds.
struct Account {
    admin: MultiplexedConnection,
    bytes: String,
    until: String,
}

impl Account {
    /// Waits until there is one.
    async fn of(redis: &Redis) -> Result<Self> {
        let mut admin = redis.connection().await?;
        let app = AppId::new(1, 0);
        let named = eventually("the account is there", async || {
            let named: Vec<String> = cmd("KEYS").arg(format!("{{p*}}f:{app}")).query_async(&mut admin).await?;
            Ok(named.into_iter().next())
        });
        let bytes = named.await?;
        Ok(Self { until: bytes.replace("}f:", "}t:"), bytes, admin })
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &str, key: &str, arguments: &[&str]) -> Result<T> {
        Ok(cmd(command).arg(key).arg(arguments).query_async(&mut self.admin).await?)
    }

    /// Waits until this is charged for all channels together.
    async fn holds(&mut self, expected: u64) -> Result<()> {
        let key = self.bytes.clone();
        let mut held = 0;
        let is_so = eventually("it is settled", async || {
            held = self.ask::<Option<u64>>("HGET", &key, &["all"]).await?.unwrap_or(0);
            Ok((held == expected).then_some(()))
        });
        is_so.await.with_context(|| format!("{held} of {expected}"))
    }
}

/// What an app holds is counted to the byte, whatever becomes of its messages.
#[tokio::test]
async fn what_an_app_holds_is_counted_and_given_back() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let channels: Vec<_> = (0..10).map(|number| channel(1, &format!("room:{number}"))).collect();
    let few = |append: Append| Append { history: History { messages: 5, ..kept() }, ..fresh(append) };
    for round in 0..8 {
        for one in &channels {
            node.publish(one, few(text(&"x".repeat(98 + round)))).await?;
        }
    }
    let mut account = Account::of(&redis).await?;
    // The last five of each: 103 to 107 bytes with their quotation marks, and 256 around each.
    let whole = 10 * (103..108).map(|bytes| bytes + 256).sum::<u64>();
    account.holds(whole).await?;
    let position = node.read(&channels[0], Start::Last(1)).await?.messages[0].position;
    ensure!(node.broker.remove(&channels[0], Remove::Message(position)).wait().await == Ok(1));
    account.holds(whole - 107).await?;
    ensure!(node.broker.remove(&channels[0], Remove::All).wait().await == Ok(5));
    let rest = whole / 10 * 9;
    account.holds(rest).await?;
    // One that is full refuses, and another app does not notice.
    let full = Append { app_bytes_max: rest, ..few(text("x")) };
    ensure!(node.publish(&channels[0], full.clone()).await == Err(BrokerError::AppBytes { max: rest }));
    node.publish(&channel(2, "room:0"), full).await?;
    // Without history a channel keeps nothing, and what it kept is given back.
    for one in &channels {
        node.publish(one, Append { history: History::NONE, ..fresh(text("x")) }).await?;
    }
    account.holds(0).await
}

/// What is over makes room for others: Redis lets go of it by itself.
#[tokio::test]
async fn channels_that_are_over_make_room_for_others() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let ten = || Append { app_channels_max: 10, ..fresh(text("x")) };
    for number in 0..10 {
        let short = Append { history: History { ttl_ms: 1, ..kept() }, ..ten() };
        node.publish(&channel(1, &format!("room:{number}")), short).await?;
    }
    let more = channel(1, "another");
    ensure!(node.publish(&more, ten()).await == Err(BrokerError::AppChannels { max: 10 }));
    let mut account = Account::of(&redis).await?;
    let until = account.until.clone();
    let used = eventually("all are told of", async || {
        let used: Vec<String> = account.ask("ZRANGE", &until, &["0", "-1"]).await?;
        Ok((used.len() == 10).then_some(used))
    });
    for one in used.await? {
        // As if the time had come.
        let _changed: i64 = account.ask("ZADD", &until, &["1", &one]).await?;
    }
    eventually("there is room", async || match node.publish(&more, ten()).await {
        Err(BrokerError::AppChannels { .. }) => Ok(None),
        appended => Ok(Some(appended?)),
    })
    .await?;
    account.holds(259).await?;
    let bytes = account.bytes.clone();
    let left: (u64, u64) = (account.ask("ZCARD", &until, &[]).await?, account.ask("HLEN", &bytes, &[]).await?);
    ensure!(left == (1, 2), "one channel, and the sum: {left:?}");
    Ok(())
}

/// What one node has charged another knows of a moment later, whichever began first.
#[tokio::test]
async fn what_nodes_charge_is_one_account() -> Result<()> {
    let redis = Redis::start().await?;
    let nodes = [Node::start(&redis).await?, Node::start(&redis).await?];
    let three = || Append { app_channels_max: 3, ..fresh(text("x")) };
    nodes[0].publish(&channel(1, "a"), three()).await?;
    nodes[1].publish(&channel(1, "b"), three()).await?;
    nodes[0].publish(&channel(1, "c"), three()).await?;
    let mut account = Account::of(&redis).await?;
    account.holds(3 * 259).await?;
    for (number, node) in nodes.iter().enumerate() {
        let mut asked = 0;
        let refused = eventually("it knows of the others' channels", async || {
            asked += 1;
            Ok(node.publish(&channel(1, &format!("more:{number}:{asked}")), three()).await.err())
        });
        ensure!(refused.await? == BrokerError::AppChannels { max: 3 });
        node.publish(&channel(1, "a"), three()).await?;
    }
    // Each took no more than it knew to be left, which is one at most.
    let until = account.until.clone();
    let channels: u64 = account.ask("ZCARD", &until, &[]).await?;
    ensure!(channels <= 5, "{channels}");
    Ok(())
}

/// What is charged to an app follows its channels, also where Redis has forgotten one, and for as long as any is kept.
#[tokio::test]
async fn a_channel_that_redis_forgot_is_charged_anew_and_no_more() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    for (length, charged) in [(98, 356), (8, 266)] {
        node.publish(&a, fresh(text(&"x".repeat(length)))).await?;
        let mut account = Account::of(&redis).await?;
        account.holds(charged).await?;
        let meta: Vec<String> = cmd("KEYS").arg("*k:*:a").query_async(&mut account.admin).await?;
        let gone: u64 = cmd("DEL").arg(&meta).query_async(&mut account.admin).await?;
        ensure!(gone == 1, "{meta:?}");
    }
    // An hour and a day for this one; another that keeps nothing does not shorten it.
    node.publish(&channel(1, "b"), Append { history: History { ttl_ms: 1, ..kept() }, ..fresh(text("x")) }).await?;
    let mut account = Account::of(&redis).await?;
    account.holds(266 + 259).await?;
    for key in [account.bytes.clone(), account.until.clone()] {
        let left: i64 = account.ask("PTTL", &key, &[]).await?;
        ensure!(left > 86_400_000 + 3_500_000, "{key}: {left}");
    }
    Ok(())
}

/// A channel whose charge stays as it is says as well that its app's bytes are to be remembered.
#[tokio::test]
async fn what_an_app_holds_is_remembered_while_a_channel_that_changes_little_is_in_use() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    let a = channel(1, "a");
    let steady =
        |ttl_ms| Append { history: History { messages: 10, ttl_ms, ..kept() }, ..fresh(text(&"x".repeat(1_000))) };
    for _ in 0..40 {
        node.publish(&a, steady(3_600_000)).await?;
    }
    let mut account = Account::of(&redis).await?;
    // Ten of 1,258 bytes, and a sixteenth.
    account.holds(12_580 + 12_580 / 16).await?;
    let bytes = account.bytes.clone();
    let _changed: i64 = account.ask("PEXPIRE", &bytes, &["9000"]).await?;
    // Another age has the channel say anew that it is in use, as it does twice a minute.
    node.publish(&a, steady(3_600_001)).await?;
    eventually("it is remembered", async || {
        Ok((account.ask::<i64>("PTTL", &bytes, &[]).await? > 86_400_000).then_some(()))
    })
    .await?;
    account.holds(12_580 + 12_580 / 16).await
}

/// A word that comes late says nothing, as the later one was whole.
#[tokio::test]
async fn the_last_word_of_a_channel_counts_in_whatever_order_words_come() -> Result<()> {
    let redis = Redis::start().await?;
    let node = Node::start(&redis).await?;
    node.publish(&channel(1, "a"), fresh(text("x"))).await?;
    let mut account = Account::of(&redis).await?;
    account.holds(259).await?;
    let (bytes, until) = (account.bytes.clone(), account.until.clone());
    let functions: Vec<String> = {
        let listed: redis::Value = cmd("FUNCTION").arg("LIST").query_async(&mut account.admin).await?;
        let text = format!("{listed:?}");
        let names = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        names.filter(|name| name.starts_with("ff_hold_")).map(ToOwned::to_owned).collect()
    };
    let name = functions.first().context("the function is there")?;
    let channels: Vec<String> = account.ask("ZRANGE", &until, &["0", "-1"]).await?;
    let channel = channels.into_iter().next().context("a channel")?;
    let told: String = account.ask("HGET", &bytes, &[&channel]).await?;
    let at_us: u64 = told.split_once(' ').context("bytes and a time")?.1.parse()?;
    let till = (super::now_ms() + 60_000).to_string();
    let mut tell = async |charge: u64, at_us: u64| -> Result<(u64, u64)> {
        let mut call = cmd("FCALL");
        call.arg(name).arg(2).arg(&bytes).arg(&until).arg(&channel).arg(charge).arg(&till).arg(at_us);
        Ok(call.query_async(&mut account.admin).await?)
    };
    ensure!(tell(900, at_us + 2).await? == (900, 1));
    ensure!(tell(500, at_us + 1).await? == (900, 1), "it was said before");
    ensure!(tell(400, at_us + 3).await? == (400, 1));
    Ok(())
}
