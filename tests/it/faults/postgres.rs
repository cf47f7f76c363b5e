//! Postgres is there, and does not do its work.

use std::cell::Cell;
use std::time::Duration;

use ::harness::answer::Answer;
use ::harness::eventually;
use ::harness::owner::Owner;
use ::harness::postgres::database;
use ::harness::server::{Home, Options, Server};
use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::{join_all, try_join_all};
use reqwest::Method;
use serde_json::json;
use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use crate::bombs::{Bystander, beside};
use crate::outage::stoppable;

#[tokio::test]
async fn while_a_table_is_locked_the_control_plane_says_so_at_once_and_messages_flow() -> Result<()> {
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let pool = server.database().pool().await?;
    let mut held = pool.begin().await?;
    sqlx::query("LOCK TABLE fanfare.keys, fanfare.apps IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await?;
    let ended = Cell::new(false);
    let asking = async {
        let mut slowest = Duration::ZERO;
        // More at once than the pool has connections.
        for _ in 0..3 {
            let path = format!("/apps/{}/keys", owner.app);
            let wave = join_all((0..20).map(async |_| {
                let begun = Instant::now();
                Ok::<_, anyhow::Error>((owner.get(&path).await?, begun.elapsed()))
            }));
            for answered in wave.await {
                let (answer, took) = answered?;
                ensure!((answer.status, answer.refusal()?.as_str()) == (503, "storage_unavailable"), "{}", answer.body);
                ensure!(answer.header("retry-after").is_some(), "it says when to come back");
                slowest = slowest.max(took);
            }
        }
        ended.set(true);
        Ok(slowest)
    };
    let (slowest, traffic) = tokio::join!(asking, bystander.until(|| ended.get()));
    traffic?;
    let slowest = slowest?;
    eprintln!("refused while tables are locked: slowest {slowest:?}");
    // A second, and room for a slow machine.
    ensure!(slowest < Duration::from_secs(4), "refused after {slowest:?}");
    held.rollback().await?;
    eventually("it answers again", async || {
        Ok((owner.get(&format!("/apps/{}/keys", owner.app)).await?.status == 200).then_some(()))
    })
    .await?;
    bystander.settle("locked tables")
}

/// How soon whoever asks is told that Postgres is away (`faults.md` F32), and room for a slow machine.
const TOLD_WITHIN: Duration = Duration::from_secs(3 + 2);

#[tokio::test]
async fn a_road_to_postgres_that_says_nothing_is_noticed_and_left() -> Result<()> {
    let database = database().await?;
    let (proxy, url) = database.behind_proxy().await?;
    let server = Server::start_with(Options::at(Home::Url(url))).await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let path = format!("/apps/{}/keys", owner.app);
    let mut keys = Vec::new();
    for name in ["first", "second"] {
        keys.push(owner.create_key(name, &json!({ "**": ["publish"] })).await?);
    }

    // Nothing comes through: whoever asks is told so in time, more than once, and messages flow.
    proxy.silence();
    let slowest = Cell::new(Duration::ZERO);
    let asking = async {
        for _ in 0..4 {
            let begun = Instant::now();
            let answer = owner.get(&path).await?;
            slowest.set(slowest.get().max(begun.elapsed()));
            ensure!((answer.status, answer.refusal()?.as_str()) == (503, "storage_unavailable"), "{}", answer.body);
        }
        eventually("readiness tells of it", async || {
            Ok(server.ready().await?.body["degraded"].to_string().contains("Postgres").then_some(()))
        })
        .await?;
        Ok(())
    };
    beside(&server, &mut bystander, asking).await?;
    let slowest = slowest.get();
    ensure!(slowest < TOLD_WITHIN, "told after {slowest:?}");

    // What was there stays dead, as after a firewall forgot it, and new connections work: first where that is known
    // already, then where nobody has noticed yet.
    for (what, key) in [("known", &keys[0]), ("unknown", &keys[1])] {
        let begun = Instant::now();
        proxy.silence_existing();
        eventually("it answers again", async || Ok((owner.get(&path).await?.status == 200).then_some(()))).await?;
        let back = begun.elapsed();
        let (id, _) = key.split_once(':').context("a printed key has two parts")?;
        eventually("it takes changes", async || {
            Ok((owner.post(&format!("{path}/{id}/revoke"), &json!({})).await?.status == 200).then_some(()))
        })
        .await?;
        let (revoked, publisher) = (Instant::now(), owner.publisher_with(key));
        eventually("the node has heard of it", async || {
            Ok(publisher.post("/channels/room:1/messages", &json!({ "data": 1 })).await?.refusal().ok())
        })
        .await?;
        let felt = revoked.elapsed();
        eprintln!("dead connections, {what}: answered again after {back:?}, a change felt after {felt:?}");
        ensure!(felt < TOLD_WITHIN, "{what}: the change was felt after {felt:?}");
        ensure!(back < TOLD_WITHIN, "{what}: answered again after {back:?}");
    }
    eprintln!("a silent road: refused after {slowest:?}");
    ann.subscribe("room:1").await?;
    owner.publisher().publish("room:1", "here").await?;
    ann.message("room:1").await?;
    bystander.settle("a silent road")
}

/// How many of each are made: an app may have a hundred keys, and a tenant a hundred apps.
const MADE: usize = 90;
/// After how many answers Postgres dies, each time with a request of every worker on its way.
const DEATHS: [usize; 4] = [15, 50, 90, 140];
const WORKERS: usize = 12;

#[tokio::test]
async fn what_was_being_made_when_postgres_died_is_made_once_with_its_row_in_the_log() -> Result<()> {
    let (mut cluster, server) = stoppable().await?;
    let owner = server.sign_up().await?;
    let (taken, done, repeated) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let work = try_join_all((0..WORKERS).map(async |_| {
        while taken.get() < 2 * MADE {
            let number = taken.replace(taken.get() + 1);
            repeated.set(repeated.get() + make(&owner, number).await?);
            done.set(done.get() + 1);
        }
        Ok::<_, anyhow::Error>(())
    }));
    let deaths = async {
        for after in DEATHS {
            eventually("work goes on", async || Ok((done.get() >= after).then_some(()))).await?;
            cluster.stop()?;
            cluster.launch().await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let (worked, died) = tokio::join!(work, deaths);
    worked?;
    died?;
    eprintln!("{} requests were repeated over {} deaths", repeated.get(), DEATHS.len());
    ensure!(repeated.get() > 0, "nothing was on its way when Postgres died");
    let mut admin = cluster.admin().await?;
    for (table, action) in [("keys", "key.created"), ("apps", "app.created")] {
        // No name twice, and one row of the log for each, of what is there.
        let counted: (i64, i64, i64) = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT count(*), count(DISTINCT name),
                (SELECT count(*) FROM fanfare.audit_log WHERE action = $1 AND after ->> 'name' LIKE 'made %')
             FROM fanfare.{table} WHERE name LIKE 'made %'"
        )))
        .bind(action)
        .fetch_one(&mut admin)
        .await?;
        let made = i64::try_from(MADE)?;
        ensure!(counted == (made, made, made), "{table}: rows, names, rows of the log: {counted:?}");
    }
    Ok(())
}

/// Makes a key or an app, however often it takes; answers how often it had to be asked again.
async fn make(owner: &Owner, number: usize) -> Result<usize> {
    let path = match number % 2 {
        0 => format!("/api/v1/apps/{}/keys", owner.app),
        _ => format!("/api/v1/tenants/{}/apps", owner.tenant),
    };
    let tries = Cell::new(0);
    eventually("it is made", async || {
        tries.set(tries.get() + 1);
        let request = owner.request(Method::POST, &path).header("X-Fanfare-CSRF", "1");
        let request = request.header("Idempotency-Key", format!("make-{number}"));
        let answer = Answer::to(request.json(&json!({ "name": format!("made {number}") }))).await?;
        match answer.status {
            201 => Ok(Some(())),
            503 => Ok(None),
            // The first may still be at it, or wait for Postgres to give the key back.
            409 if answer.body["retryable"] == true => Ok(None),
            _ => bail!("{}: {}", answer.status, answer.body),
        }
    })
    .await?;
    Ok(tries.get() - 1)
}
