//! One tenant far above its quota, in every way at once: the others lose nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::harness::client::Client;
use ::harness::ledger::{Ledger, Outcome};
use ::harness::owner::Owner;
use ::harness::server::Server;
use anyhow::{Context, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Tenants that keep to their quota.
const OTHERS: usize = 9;
/// What each of them publishes in one run, and how often a second.
const MESSAGES: usize = 60;
const EVERY: Duration = Duration::from_millis(50);
/// The quota of every app: messages a second. The others use two fifths of it, the one fifty times as much.
const QUOTA: u64 = 50;
const TIMES: usize = 50;
/// Where the loud one publishes by REST.
const ROOM: &str = "/channels/room:1/messages";

/// A tenant that publishes at its pace, and receives.
struct Quiet {
    owner: Owner,
    ann: Client,
    bob: Client,
    ledger: Ledger,
}

impl Quiet {
    async fn new(server: &Server) -> Result<Self> {
        let owner = server.sign_up().await?;
        let mut ann = owner.connect_as("ann", &["room:*"]).await?;
        ann.subscribe("room:9").await?;
        let bob = owner.connect_as("bob", &["room:*"]).await?;
        Ok(Self { owner, ann, bob, ledger: Ledger::new() })
    }

    /// How long each message took, by REST and over a socket in turn.
    async fn run(&mut self) -> Result<Vec<Duration>> {
        let publisher = self.owner.publisher();
        let mut pace = interval(EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut delays = Vec::new();
        for number in 0..MESSAGES {
            pace.tick().await;
            let begun = Instant::now();
            if number % 2 == 0 {
                let outcome = publisher.publish_into(&mut self.ledger, "room:9", json!(number)).await?;
                ensure!(matches!(outcome, Outcome::Acked(_)), "refused: {outcome:?}");
            } else {
                self.bob.publish_into(&mut self.ledger, "room:9", json!(number)).await?;
            }
            self.ann.message("room:9").await?;
            delays.push(begun.elapsed());
        }
        Ok(delays)
    }

    fn settle(self) -> Result<u64> {
        let summary =
            self.ledger.check_settled(&self.ann.journals()).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        ensure!(summary.acked == summary.delivered, "{summary:?}");
        Ok(summary.delivered as u64)
    }
}

/// Commands in one frame, again and again, until told to stop; how many were refused.
async fn storm(owner: &Owner, name: &str, stop: &AtomicBool, command: impl Fn(usize) -> Value) -> Result<usize> {
    const AT_ONCE: usize = 50;
    let mut client = owner.connect_as(name, &["room:*"]).await?;
    client.subscribe("room:1").await?;
    let (mut id, mut refused) = (1_000, 0);
    while !stop.load(Ordering::Relaxed) {
        let frame: Vec<String> = (0..AT_ONCE)
            .map(|number| {
                let mut command = command(number);
                command["id"] = json!(id + number);
                command.to_string()
            })
            .collect();
        client.send(&frame.join("\n")).await?;
        let last = id + AT_ONCE - 1;
        id += AT_ONCE;
        loop {
            let answer = client.receive().await?;
            refused += usize::from(answer.get("error").is_some());
            if answer["id"] == json!(last) {
                break;
            }
        }
    }
    Ok(refused)
}

/// Everything at once: publishing, churn of subscriptions and presence, reading history, coming and going, REST.
async fn noise(owner: &Owner, stop: &AtomicBool) -> Result<usize> {
    let publish =
        |number: usize| json!({ "publish": { "channel": format!("room:{}", number % 3), "data": "x".repeat(200) } });
    let churn = |number: usize| match number % 2 {
        0 => json!({ "subscribe": { "channel": format!("room:{}", 100 + number) } }),
        _ => json!({ "unsubscribe": { "channel": format!("room:{}", 99 + number) } }),
    };
    let flap = |number: usize| json!({ "presence": { "channel": "room:1", "action": if number.is_multiple_of(2) { "enter" } else { "leave" } } });
    let read = |_| json!({ "history": { "channel": "room:1", "limit": 100 } });
    let rest = async {
        let (publisher, body) = (owner.publisher(), json!({ "data": 1 }));
        let mut refused = 0;
        while !stop.load(Ordering::Relaxed) {
            let wave = join_all((0..TIMES).map(|_| publisher.post(ROOM, &body))).await;
            refused += wave.into_iter().flatten().filter(|answer| answer.status == 429).count();
        }
        Ok(refused)
    };
    let coming = async {
        while !stop.load(Ordering::Relaxed) {
            join_all((0..8).map(|_| owner.connect_as("flock", &["room:*"]))).await;
        }
        Ok(0)
    };
    let storms = try_join_all([
        Box::pin(storm(owner, "publisher", stop, publish)) as Pin<Box<dyn Future<Output = Result<usize>>>>,
        Box::pin(storm(owner, "publisher", stop, publish)),
        Box::pin(storm(owner, "churn", stop, churn)),
        Box::pin(storm(owner, "flap", stop, flap)),
        Box::pin(storm(owner, "reader", stop, read)),
        Box::pin(rest),
        Box::pin(coming),
    ]);
    Ok(storms.await?.into_iter().sum())
}

/// The slowest but one of a hundred.
fn p99(delays: &[Vec<Duration>]) -> Duration {
    let mut all: Vec<Duration> = delays.iter().flatten().copied().collect();
    all.sort_unstable();
    all[(all.len() * 99).div_ceil(100) - 1]
}

#[tokio::test]
async fn a_tenant_at_fifty_times_its_quota_takes_nothing_from_the_others() -> Result<()> {
    let server = Server::start().await?;
    let loud = server.sign_up().await?;
    let mut others = try_join_all((0..OTHERS).map(async |_| Quiet::new(&server).await)).await?;
    server.lower_limits(&json!({ "publish_app": { "max": QUOTA, "burst": QUOTA } })).await?;
    let (publisher, body) = (loud.publisher(), json!({ "data": 1 }));
    ::harness::eventually("the quota is in force", async || {
        let wave = join_all((0..2 * QUOTA).map(|_| publisher.post(ROOM, &body))).await;
        Ok(wave.into_iter().flatten().any(|answer| answer.status == 429).then_some(()))
    })
    .await?;
    let alone = try_join_all(others.iter_mut().map(Quiet::run)).await?;
    // On a thread of its own: what its answers cost to read must not slow those who measure.
    let stop = Arc::new(AtomicBool::new(false));
    let noisy = tokio::task::spawn_blocking({
        let (loud, stop) = (loud.clone(), Arc::clone(&stop));
        move || Builder::new_current_thread().enable_all().build()?.block_on(noise(&loud, &stop))
    });
    let beside = try_join_all(others.iter_mut().map(Quiet::run)).await;
    stop.store(true, Ordering::Relaxed);
    let (beside, refused) = (beside?, noisy.await??);
    ensure!(refused > TIMES, "the loud tenant was refused {refused} times: that is no noise");
    eprintln!(
        "{OTHERS} tenants: p99 {:?} alone, {:?} beside one that was refused {refused} times",
        p99(&alone),
        p99(&beside)
    );
    // Nobody lost a message, so that all of them got the same.
    let delivered: Vec<u64> = others.into_iter().map(Quiet::settle).collect::<Result<_>>()?;
    ensure!(delivered.iter().all(|count| *count == 2 * MESSAGES as u64), "{delivered:?}");
    // What was refused is told to the loud one, by limit.
    let used = loud.get(&format!("/apps/{}/limits", loud.app)).await?.ok()?;
    let limits = used["limits"].as_array().context("limits")?;
    ensure!(limits.iter().any(|limit| limit["name"] == "outbox_bytes_app"), "{used}");
    Ok(())
}
