//! A node that goes away with many clients on it.

use std::future::pending;
use std::time::Duration;

use ::harness::client::Client;
use ::harness::ledger::Seen;
use ::harness::owner::Owner;
use ::harness::server::{Options, Server};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const CLIENTS: usize = 300;
/// So many of them are on the channel on which some publish.
const LISTENERS: usize = 60;
const PUBLISH_EVERY: Duration = Duration::from_millis(20);
const DRAIN_MS: u64 = 8_000;
const WINDOW_MS: u64 = 2_000;

/// What one client saw of the end.
struct Farewell {
    /// When it was asked to reconnect, and when it was closed.
    asked_at: Option<Duration>,
    closed_at: Duration,
    code: (u16, String),
    /// How many of its publishes were acknowledged.
    acked: u64,
    client: Client,
}

/// Publishes on and on, and listens, until the server closes.
async fn until_moved(mut client: Client, number: usize, since: Instant) -> Result<Farewell> {
    let (mut asked_at, mut acked) = (None, 0);
    let mut id = 1_000;
    if number < LISTENERS && number.is_multiple_of(20) {
        publish(&mut client, id).await?;
    }
    loop {
        let frame = match client.receive_or_closed().await? {
            Ok(frame) => frame,
            Err(code) => return Ok(Farewell { asked_at, closed_at: since.elapsed(), code, acked, client }),
        };
        ensure!(frame.get("error").is_none(), "nothing is refused: {frame}");
        if frame.get("reconnect").is_some() {
            let wait = frame["reconnect"]["after_ms"].as_u64().context("a time")?;
            ensure!(wait < 500, "{frame}");
            asked_at.get_or_insert(since.elapsed());
        }
        if frame["ok"].get("position").is_some() {
            acked += 1;
            id += 1;
            // The link may be closed already: the publish is then not acknowledged, and its publisher knows.
            let _ = timeout(PUBLISH_EVERY, pending::<()>()).await;
            let _ = publish(&mut client, id).await;
        }
    }
}

async fn publish(client: &mut Client, id: u64) -> Result<()> {
    client.send(&json!({ "id": id, "publish": { "channel": "room:9", "data": id } }).to_string()).await
}

async fn subscribed(owner: &Owner, number: usize) -> Result<Client> {
    let mut client = owner.connect_as(&format!("user-{number}"), &["room:*"]).await?;
    client.subscribe(if number < LISTENERS { "room:9" } else { "room:quiet" }).await?;
    Ok(client)
}

#[tokio::test]
async fn a_drain_moves_hundreds_of_clients_in_waves_and_loses_nothing() -> Result<()> {
    let options = Options::default()
        .with("FANFARE_STOP__DRAIN_MS", DRAIN_MS)
        .with("FANFARE_STOP__RECONNECT_WINDOW_MS", WINDOW_MS);
    let mut server = Server::start_with(options).await?;
    let owner = server.sign_up().await?;
    let mut clients = Vec::new();
    for batch in 0..CLIENTS / 50 {
        clients.extend(try_join_all((0..50).map(|number| subscribed(&owner, batch * 50 + number))).await?);
    }
    let since = Instant::now();
    let watched = clients.into_iter().enumerate().map(|(number, client)| until_moved(client, number, since));
    let mut watching = JoinSet::new();
    watching.spawn(try_join_all(watched.collect::<Vec<_>>()));
    server.platform().signal("TERM")?;
    ::harness::eventually(
        "readiness says no at once",
        async || Ok((server.ready().await?.status == 503).then_some(())),
    )
    .await?;
    // While it drains, nobody new is let in, and REST goes on.
    let mut late = Client::open(&owner.app_url(), "late").await?;
    assert_eq!(late.closed().await?, (4200, "moving".to_owned()));
    owner.publisher().publish("room:9", "by REST").await?;

    let farewells = watching.join_next().await.context("it was spawned")???;
    assert_eq!(server.ended().await?, 0);
    let took = since.elapsed();
    ensure!(took < Duration::from_millis(DRAIN_MS), "the drain took {took:?}");
    let mut closes: Vec<Duration> = farewells.iter().map(|farewell| farewell.closed_at).collect();
    closes.sort_unstable();
    for farewell in &farewells {
        assert_eq!(farewell.code, (4200, "moving".to_owned()));
        let asked_at = farewell.asked_at.context("everybody is asked before it is closed")?;
        ensure!(farewell.closed_at - asked_at > Duration::from_millis(500), "there is time to go");
    }
    // 300 clients at 200 a second: a second and a half, and no half of them at once.
    let (first, last) = (closes[0], closes[CLIENTS - 1]);
    ensure!(last - first > Duration::from_millis(1_000), "all within {:?}", last - first);
    let most = closes.windows(CLIENTS / 2).map(|half| half[CLIENTS / 2 - 1] - half[0]).min().context("many")?;
    ensure!(most > Duration::from_millis(300), "half of them within {most:?}");
    let acked: u64 = farewells.iter().map(|farewell| farewell.acked).sum();
    ensure!(acked >= 10, "{acked} were published meanwhile");
    // What each saw of the channel is without a gap, a double or another order.
    let mut counts = Vec::new();
    for farewell in &farewells {
        for journal in farewell.client.journals() {
            let seq = |seen: &Seen| if let Seen::Message { seq, .. } = seen { Some(*seq) } else { None };
            let seqs: Vec<u64> = journal.seen.iter().filter_map(seq).collect();
            ensure!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{}: {seqs:?}", journal.channel);
            counts.push(seqs.len());
        }
    }
    let seen = counts.iter().max().copied().unwrap_or_default() as u64;
    println!("{acked} acknowledged, drained in {took:?}, closes from {first:?} to {last:?}, {seen} seen by the last");
    ensure!(seen >= acked, "of {acked} acknowledged messages, who stayed to the end has seen {seen}");
    Ok(())
}
