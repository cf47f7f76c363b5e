//! Limits that nodes share: divided as in memory, and kept by real nodes over a real Redis.

use std::sync::Arc;
use std::time::Duration;

use ::harness::eventually;
use ::harness::redis::Redis;
use anyhow::{Context as _, Result, ensure};
use fanfare_core::id::{AppId, KeyId};
use fanfare_core::position::PositionKey;
use fanfare_core::secret::{KeySecret, PrintedKey};
use fanfare_core::{App, Capabilities, Key, KeyKind, KeyState, Limit, LimitValue, Limits, Signer};
use fanfare_engine::budget::{Account, Part, SharedMemory, Sharing as Shared, Use, Used, WHOLE};
use fanfare_engine::chance::Chance;
use fanfare_engine::{
    Broker as _, Budget, Caller, MemoryBroker, MemoryOptions, Node, NodeError, NodeOptions, SystemClock,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redis::cmd;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::super::channel;
use super::{Node as Link, drawn_seed};

/// How long nodes are put under load; a longer run is more exact.
const SECONDS: &str = "FANFARE_SHARING_SECONDS";

/// Links of several nodes that know each other.
async fn links(redis: &Redis, count: u32) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for _ in 0..count {
        links.push(Link::start(redis).await?);
    }
    eventually("they know each other", async || {
        Ok(links.iter().all(|link| link.broker.budget().nodes() == count).then_some(()))
    })
    .await?;
    Ok(links)
}

fn draw(chance: &mut StdRng) -> Vec<Use> {
    let rates = [LimitValue::rate(100, 200), LimitValue::rate(1_000, 5_000), LimitValue::rate(3, 9)];
    let mut uses: Vec<Use> = Vec::new();
    for _ in 0..chance.random_range(1..4) {
        let app = AppId::new(1, chance.random_range(0..2));
        let which = chance.random_range(0..4_u64);
        let signer = (which == 2).then(|| Signer::Key(KeyId::new(1, 1)));
        let (limit, used) = if which == 3 {
            (Limit::Connections, Used::Count(chance.random_range(0..50)))
        } else {
            let value = rates[which as usize];
            let drawn = chance.random_range(0..value.burst);
            let demand = [0.0, 0.5, 30.0, 400.0, 9_000.0][chance.random_range(0..5)];
            let millis = |at| Duration::from_millis(at);
            let full_in = millis(if chance.random_bool(0.3) { chance.random_range(0..900) } else { 0 });
            let limit = [Limit::PublishApp, Limit::ConnectRate, Limit::RestRequests][which as usize];
            (limit, Used::Rate { value, drawn, demand, over: millis(chance.random_range(1..3_000)), full_in })
        };
        let account = Account { app, limit, signer };
        if uses.iter().all(|other| other.account != account) {
            uses.push(Use { account, holds: Duration::from_secs(30), used });
        }
    }
    uses
}

/// Whether two nodes would be told the same, but for the moments between two calls.
fn is_alike(one: Part, other: Part) -> bool {
    let near = |one: u32, other: u32, of: u32| one.abs_diff(other) <= of;
    match (one, other) {
        (Part::Elsewhere(one), Part::Elsewhere(other)) => one == other,
        (Part::Rate { part, alone, full_in }, Part::Rate { part: p, alone: a, full_in: f }) => {
            near(part, p, WHOLE / 10) && near(alone, a, 10) && full_in.abs_diff(f) < Duration::from_millis(100)
        }
        (Part::Elsewhere(_) | Part::Rate { .. }, _) => false,
    }
}

#[tokio::test]
async fn redis_divides_as_memory_does() -> Result<()> {
    let redis = Redis::start().await?;
    let links = links(&redis, 3).await?;
    let shared = SharedMemory::new(Arc::new(SystemClock::default()));
    let nodes: Vec<_> = links.iter().map(|link| (link.broker.budget(), shared.join())).collect();
    let seed = drawn_seed();
    let mut chance = StdRng::seed_from_u64(seed);
    for round in 0..500 {
        let (over_redis, in_memory) = &nodes[chance.random_range(0..3)];
        let uses = draw(&mut chance);
        let ours = over_redis.settle(uses.clone()).wait().await?;
        let theirs = in_memory.settle(uses.clone()).wait().await?;
        ensure!(ours.len() == uses.len() && theirs.len() == uses.len());
        for ((used, ours), theirs) in uses.iter().zip(ours).zip(theirs) {
            ensure!(
                is_alike(ours, theirs),
                "FANFARE_SEED={seed}, round {round}: {used:?}: {ours:?}, in memory {theirs:?}"
            );
        }
    }
    // Nothing stays, and nothing is of no app.
    let mut admin = redis.connection().await?;
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(&mut admin).await?;
    let accounts: Vec<&String> = keys.iter().filter(|key| key.starts_with("{p0}a:")).collect();
    ensure!((2..=8).contains(&accounts.len()), "{keys:?}");
    for key in accounts {
        ensure!(key.starts_with("{p0}a:app_"), "{key}");
        let lives: i64 = cmd("PTTL").arg(key).query_async(&mut admin).await?;
        ensure!((1..600_000).contains(&lives), "{key} lives {lives} ms");
    }
    Ok(())
}

/// A node that holds limits together with others, over a memory of its own.
struct Sharing {
    node: Arc<Node>,
    caller: Caller,
    _ends: DropGuard,
}

impl Sharing {
    fn over(link: &Link, limits: &Limits) -> Self {
        let key = PrintedKey { id: KeyId::new(1, 7), secret: KeySecret::from_digits([7; 43]) };
        let app = App {
            limits: limits.clone(),
            keys: vec![Key {
                id: key.id,
                kind: KeyKind::Tenant,
                name: "first".into(),
                capabilities: Capabilities::everything(),
                expires_ms: None,
                state: KeyState::Active,
                secret_hash: Sha256::digest(key.secret.expose().as_bytes()).into(),
                signing_secret: None,
            }],
            ..App::for_tests()
        };
        let broker = Arc::new(MemoryBroker::new(MemoryOptions::default(), 1, Chance::new(Some(1))));
        let clock = Arc::new(SystemClock::default());
        let node = Node::new(NodeOptions::default(), broker, clock, PositionKey::new([9; 32]));
        node.directory().upsert(app.clone());
        node.directory().set_complete();
        node.share_over(link.broker.budget());
        let stop = CancellationToken::new();
        TaskTracker::new().spawn(Arc::clone(&node).run(stop.clone()));
        let caller = node.authenticate_key(&Arc::new(app), &key.expose()).expect("it is its key");
        Self { node, caller, _ends: stop.drop_guard() }
    }

    fn asks(&self) -> bool {
        match self.node.admit_request(&self.caller) {
            Ok(_) => true,
            Err(NodeError::Rate { limit: Limit::RestRequests, .. }) => false,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Asks at these rates; what was admitted, as a part of what one node would have admitted in that time.
async fn load(nodes: &[Sharing], rates: &[f64], seconds: f64, max: f64) -> f64 {
    let mut tick = interval(Duration::from_millis(2));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (begun, mut asked, mut admitted) = (Instant::now(), vec![0.0; nodes.len()], 0_u64);
    while begun.elapsed().as_secs_f64() < seconds {
        tick.tick().await;
        for ((node, rate), asked) in nodes.iter().zip(rates).zip(&mut asked) {
            while *asked < rate * begun.elapsed().as_secs_f64() {
                *asked += 1.0;
                admitted += u64::from(node.asks());
            }
        }
    }
    admitted as f64 / (max * begun.elapsed().as_secs_f64())
}

#[tokio::test]
async fn three_nodes_hold_one_rate_together_also_without_redis() -> Result<()> {
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(5.0);
    let mut redis = Redis::start().await?;
    let links = links(&redis, 3).await?;
    let mut limits = Limits::default();
    limits.set(Limit::RestRequests, LimitValue::rate(1_000, 1_000));
    let nodes: Vec<Sharing> = links.iter().map(|link| Sharing::over(link, &limits)).collect();
    let skewed = [1_800.0, 100.0, 100.0];
    // Until the burst is gone.
    load(&nodes, &skewed, 4.0, 1_000.0).await;
    let calls = async || -> Result<u64> {
        let mut admin = redis.connection().await?;
        let told: String = cmd("INFO").arg("commandstats").query_async(&mut admin).await?;
        let calls = told.lines().find_map(|line| line.strip_prefix("cmdstat_fcall:calls=")).context("calls")?;
        Ok(calls.split(',').next().context("a number")?.parse()?)
    };
    let before = calls().await?;
    let together = load(&nodes, &skewed, seconds, 1_000.0).await;
    let calls = calls().await? - before;
    let sharing = |node: &Sharing| node.node.sharing().context("it shares");
    ensure!(sharing(&nodes[0])? == Shared { rates: 1, is_away: false, times_away: 0 }, "{:?}", sharing(&nodes[0])?);
    redis.kill()?;
    let away = load(&nodes, &skewed, seconds, 1_000.0).await;
    ensure!(sharing(&nodes[0])? == Shared { rates: 1, is_away: true, times_away: 1 }, "{:?}", sharing(&nodes[0])?);
    redis.launch().await?;
    eventually("Redis is back", async || Ok(links.iter().all(|link| link.broker.health().is_up).then_some(()))).await?;
    load(&nodes, &skewed, 3.0, 1_000.0).await;
    let after = load(&nodes, &skewed, seconds, 1_000.0).await;
    println!("together {together:.3}, without Redis {away:.3}, afterwards {after:.3}; {calls} calls in {seconds} s");
    // What `security.md` wants; a machine that stands still for a while is no defect, too much admitted is.
    ensure!((0.9..=1.05).contains(&together), "together: {together}");
    ensure!((0.7..=1.2).contains(&away), "without Redis: {away}");
    ensure!((0.9..=1.05).contains(&after), "afterwards: {after}");
    Ok(())
}

#[tokio::test]
async fn what_one_app_uses_takes_nothing_from_another_or_from_another_key() -> Result<()> {
    let redis = Redis::start().await?;
    let links = links(&redis, 2).await?;
    let budgets: Vec<Arc<dyn Budget>> = links.iter().map(|link| link.broker.budget()).collect();
    let value = LimitValue::rate(10, 100);
    let used = |app, key, drawn| Use {
        account: Account {
            app: AppId::new(app, 0),
            limit: Limit::RestRequests,
            signer: Some(Signer::Key(KeyId::new(key, 0))),
        },
        holds: Duration::from_secs(3),
        used: Used::Rate { value, drawn, demand: 1_000.0, over: Duration::from_millis(1), full_in: Duration::ZERO },
    };
    let first = budgets[0].settle(vec![used(1, 1, 100)]).wait().await?;
    ensure!(matches!(first[..], [Part::Rate { full_in, .. }] if full_in > Duration::from_secs(9)), "{first:?}");
    let others = budgets[1].settle(vec![used(2, 1, 0), used(1, 2, 0), used(1, 1, 0)]).wait().await?;
    let [Part::Rate { full_in: app, part, .. }, Part::Rate { full_in: key, .. }, Part::Rate { full_in: same, .. }] =
        others[..]
    else {
        anyhow::bail!("{others:?}");
    };
    ensure!(app.is_zero() && key.is_zero() && part == WHOLE, "{others:?}");
    ensure!(same > Duration::from_secs(9), "{others:?}");
    // It is no channel of anybody's.
    ensure!(links[0].broker.attach(&channel(1, "a")).wait().await.is_ok());
    Ok(())
}
