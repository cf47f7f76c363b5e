//! TLS to Redis: what is trusted, by whom, and what becomes of certificates that are replaced.

use std::fs;
use std::path::PathBuf;

use ::harness::certificates::{Authority, Certificate};
use ::harness::redis::Redis;
use ::harness::sentinels::Sentinels;
use ::harness::{eventually, free_port};
use anyhow::{Context as _, Result, ensure};
use fanfare_broker_redis::{RedisBroker, RedisOptions, RedisTls, StartError};
use redis::cmd;
use tokio_util::sync::CancellationToken;

use super::super::channel;
use super::{Node, options};

/// A Redis that listens with TLS, and where.
async fn redis(authority: &Authority) -> Result<(Redis, String)> {
    let port = free_port()?;
    let arguments = authority.redis(port)?;
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    Ok((Redis::start_with(&arguments).await?, format!("rediss://127.0.0.1:{port}")))
}

fn trusting(ca: PathBuf) -> RedisTls {
    RedisTls { ca: Some(ca), ..RedisTls::default() }
}

async fn node(url: &str, tls: RedisTls) -> Result<Node> {
    let stop = CancellationToken::new();
    let options = RedisOptions { tls, ..options(url, &stop) };
    Ok(Node::over(RedisBroker::start(options).await?, stop))
}

/// Why a node does not start.
async fn refused(url: &str, tls: RedisTls) -> Result<String> {
    let options = RedisOptions { tls, ..options(url, &CancellationToken::new()) };
    let refused = RedisBroker::start(options).await.err().context("it was taken")?;
    ensure!(matches!(refused, StartError::Tls(_)), "{refused}");
    Ok(refused.to_string())
}

#[tokio::test]
async fn messages_pass_over_tls_and_only_with_a_redis_that_is_trusted() -> Result<()> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let (_redis, url) = redis(&authority).await?;
    let nodes = [node(&url, trusting(authority.ca())).await?, node(&url, trusting(authority.ca())).await?];
    let a = channel(1, "a");
    nodes[0].attach(&a).await?;
    let (appended, _) = nodes[1].publish_surely(&a, "first").await?;
    nodes[0].hears(&a, appended.position).await?;

    let said = refused(&url, RedisTls::default()).await?;
    ensure!(said.contains("UnknownIssuer"), "the public authorities did not sign it: {said}");
    let said = refused(&url, trusting(other.ca())).await?;
    ensure!(said.contains("invalid peer certificate"), "{said}");
    let said = refused(&url.replace("127.0.0.1", "localhost"), trusting(authority.ca())).await?;
    ensure!(said.contains("not valid for name"), "{said}");
    let missing = authority.ca().with_file_name("nobody.pem");
    let said = refused(&url, trusting(missing)).await?;
    ensure!(said.contains("nobody.pem"), "{said}");
    let key = authority.issue("own")?.key;
    let said = refused(&url, trusting(key)).await?;
    ensure!(said.contains("own.key holds no certificate"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_redis_that_asks_who_it_is_takes_a_certificate_and_nothing_less() -> Result<()> {
    let authority = Authority::new()?;
    let (redis, url) = redis(&authority).await?;
    let mut admin = redis.connection().await?;
    let () = cmd("CONFIG").arg("SET").arg("tls-auth-clients").arg("yes").query_async(&mut admin).await?;
    let said = refused(&url, trusting(authority.ca())).await?;
    ensure!(said.to_lowercase().contains("certificate"), "{said}");
    let Certificate { certificate, key } = authority.issue("node")?;
    let tls = RedisTls { ca: Some(authority.ca()), certificate: Some(certificate), key: Some(key) };
    node(&url, tls).await?.publish_surely(&channel(1, "a"), "first").await?;
    Ok(())
}

/// A node that runs takes what stands in the files now.
#[tokio::test]
async fn certificates_are_replaced_while_nodes_run() -> Result<()> {
    let (authority, next) = (Authority::new()?, Authority::new()?);
    let (redis, url) = redis(&authority).await?;
    let node = node(&url, trusting(authority.ca())).await?;
    let a = channel(1, "a");
    node.attach(&a).await?;
    node.publish_surely(&a, "first").await?;
    // What runs is not touched by another certificate; what begins anew is.
    let Certificate { certificate, key } = next.issue("redis")?;
    let mut admin = redis.connection().await?;
    let mut set = cmd("CONFIG");
    set.arg("SET").arg("tls-cert-file").arg(certificate.to_str()).arg("tls-key-file").arg(key.to_str());
    let () = set.arg("tls-ca-cert-file").arg(next.ca().to_str()).query_async(&mut admin).await?;
    node.publish_surely(&a, "second").await?;
    for kind in ["normal", "pubsub"] {
        let () =
            cmd("CLIENT").arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes").query_async(&mut admin).await?;
    }
    eventually("the node goes", async || Ok((!node.broker.health().is_up).then_some(()))).await?;
    fs::copy(next.ca(), authority.ca())?;
    eventually("the node is back", async || Ok(node.broker.health().is_up.then_some(()))).await?;
    node.publish_surely(&a, "third").await?;
    node.heard_all(&a).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_their_masters_are_spoken_to_over_tls() -> Result<()> {
    let mut sentinels = Sentinels::start_tls().await?;
    let ca = sentinels.ca().context("they speak TLS")?;
    let said = refused(&sentinels.url(), RedisTls::default()).await?;
    ensure!(said.contains("UnknownIssuer"), "{said}");
    let node = node(&sentinels.url(), trusting(ca)).await?;
    let a = channel(1, "a");
    node.attach(&a).await?;
    node.publish_surely(&a, "first").await?;
    sentinels.kill(0)?;
    let (appended, _) = node.publish_surely(&a, "second").await?;
    node.hears(&a, appended.position).await?;
    ensure!(sentinels.master().await? == 1);
    Ok(())
}
