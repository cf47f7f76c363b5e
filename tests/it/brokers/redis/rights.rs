//! The rights that `docs/scaling.md` gives to nodes are enough, and no more.

use ::harness::redis::Redis;
use anyhow::{Context as _, Result, ensure};
use fanfare_broker_redis::{RedisBroker, RedisOptions};
use fanfare_engine::Broker as _;
use fanfare_engine::broker::{Remove, Start};
use fanfare_engine::budget::{Account, Use, Used};
use fanfare_engine::presence::How;
use redis::cmd;
use tokio_util::sync::CancellationToken;

use super::super::presence::{id, put};
use super::super::{channel, text, with_id};
use super::{Node, fresh, options};

/// Makes the users of the document.
async fn users(redis: &Redis) -> Result<()> {
    let mut admin = redis.connection().await?;
    let document = include_str!("../../../../docs/scaling.md");
    let users: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("user ")).collect();
    ensure!(users.len() == 2, "{users:?}");
    for user in users {
        let words = user.split(' ').map(|word| if word.starts_with('>') { ">secret" } else { word });
        let () = cmd("ACL").arg("SETUSER").arg(words.collect::<Vec<_>>()).query_async(&mut admin).await?;
    }
    Ok(())
}

fn url(redis: &Redis, user: &str) -> String {
    format!("{}?user={user}&pass=secret", redis.url())
}

#[tokio::test]
async fn a_node_needs_no_more_rights_than_the_document_gives_it() -> Result<()> {
    let redis = Redis::start().await?;
    users(&redis).await?;
    let options = |stop: &CancellationToken| RedisOptions {
        loader_url: Some(url(&redis, "fanfare-loader")),
        ..options(&url(&redis, "fanfare"), stop)
    };
    let stop = CancellationToken::new();
    let node = Node::over(RedisBroker::start(options(&stop)).await?, stop);
    let mut admin = redis.connection().await?;
    let a = channel(1, "a");
    for round in 0..2 {
        node.attach(&a).await?;
        node.presence().attach(&a).wait().await?;
        node.publish_surely(&a, &format!("first {round}")).await?;
        for number in 0..200 {
            let few = fanfare_core::settings::History { messages: 20, ..super::kept() };
            node.publish(&a, fanfare_engine::broker::Append { history: few, ..fresh(text(&number.to_string())) })
                .await?;
        }
        let replicated = fanfare_engine::broker::Durability::Replicated;
        for _ in 0..2 {
            // There is no replica, and asking for one is what needs the right.
            let append = fanfare_engine::broker::Append { durability: replicated, ..fresh(with_id("twice", "twice")) };
            ensure!(node.publish(&a, append).await == Err(fanfare_engine::BrokerError::NotReplicated));
        }
        node.publish(&a, fresh(with_id("last", "last"))).await?;
        let last = node.read(&a, Start::Last(1)).await?.messages.pop().context("a message")?.position;
        node.hears(&a, last).await?;
        ensure!(node.broker.remove(&a, Remove::Message(last)).wait().await? == 1);
        ensure!(node.broker.remove(&a, Remove::All).wait().await? > 1);
        let expiring = fanfare_engine::presence::Put { expires_ms: Some(5), ..put(2, 1, How::Enter) };
        for put in [put(1, 1, How::Enter), put(1, 1, How::Update), expiring] {
            node.presence().put(&a, put).wait().await?;
        }
        node.presence().sweep(9);
        node.sees(&a, &[id(1)]).await?;
        ensure!(node.presence().leave(&a, &id(1), 1).wait().await?);
        node.presence().put(&a, put(3, 1, How::Enter)).wait().await?;
        node.presence().forget(a.app());
        node.sees(&a, &[]).await?;
        let account = Account { app: a.app(), limit: fanfare_core::Limit::Connections, signer: None };
        let used = Use { account, holds: std::time::Duration::from_secs(3), used: Used::Count(1) };
        node.broker.budget().settle(vec![used]).wait().await?;
        ensure!(node.broker.health().is_up, "{:?}", node.broker.health());
        // The second round is of functions that the loader has to bring back.
        let () = cmd("FUNCTION").arg("FLUSH").query_async(&mut admin).await?;
    }
    let refusals: Vec<redis::Value> = cmd("ACL").arg("LOG").query_async(&mut admin).await?;
    ensure!(refusals.is_empty(), "a node asked for what it may not: {refusals:?}");
    Ok(())
}

#[tokio::test]
async fn a_node_may_do_nothing_else() -> Result<()> {
    let redis = Redis::start().await?;
    users(&redis).await?;
    let mut admin = redis.connection().await?;
    let refused: [(&str, &[&str]); 14] = [
        ("fanfare", &["EVAL", "return 1", "0"]),
        ("fanfare", &["FUNCTION", "LOAD", "x"]),
        ("fanfare", &["FUNCTION", "FLUSH"]),
        ("fanfare", &["SCRIPT", "FLUSH"]),
        ("fanfare", &["CONFIG", "GET", "*"]),
        ("fanfare", &["DEBUG", "SLEEP", "1"]),
        ("fanfare", &["FLUSHALL"]),
        ("fanfare", &["KEYS", "*"]),
        ("fanfare", &["GET", "others"]),
        ("fanfare", &["SPUBLISH", "others", "x"]),
        ("fanfare", &["PSUBSCRIBE", "*"]),
        ("fanfare-loader", &["GET", "{p1}k:a"]),
        ("fanfare-loader", &["FCALL", "x", "0"]),
        ("fanfare-loader", &["FUNCTION", "FLUSH"]),
    ];
    for (user, command) in refused {
        let told: String = cmd("ACL").arg("DRYRUN").arg(user).arg(command).query_async(&mut admin).await?;
        ensure!(told != "OK", "{user} may {command:?}");
    }
    for (user, command) in [("fanfare", &["GET", "{p1}k:a"][..]), ("fanfare-loader", &["FUNCTION", "LOAD", "x"])] {
        let told: String = cmd("ACL").arg("DRYRUN").arg(user).arg(command).query_async(&mut admin).await?;
        ensure!(told == "OK", "{user}: {told}");
    }
    Ok(())
}
