//! Clients that go away at random under a steady publisher and come back from their last position.

use std::env;
use std::sync::Arc;

use ::harness::client::Client;
use ::harness::ledger::{Journal, Ledger};
use ::harness::owner::Owner;
use ::harness::server::Server;
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{keep, printed};

/// Messages of each channel; `FANFARE_LONG` says another number.
const MESSAGES: u64 = 400;
const CLIENTS: u64 = 12;
const CHANNELS: [&str; 2] = ["room:rest", "room:socket"];
/// How many messages a client stays away for, at most.
const AWAY_MAX: u64 = 60;

/// What all clients of a run share.
struct Run {
    owner: Owner,
    seed: u64,
    messages: u64,
    /// How many messages of each channel are published.
    published: watch::Receiver<u64>,
}

#[tokio::test]
async fn clients_that_come_and_go_under_a_steady_publisher_lose_double_and_reorder_nothing() -> Result<()> {
    let messages =
        env::var("FANFARE_LONG").map_or(Ok(MESSAGES), |count| count.parse().map(|count: u64| count.max(MESSAGES)))?;
    let seed = env::var("FANFARE_SEED").map_or(Ok(u64::from(std::process::id())), |seed| seed.parse())?;
    println!("{messages} messages of {} channels to {CLIENTS} clients; FANFARE_SEED={seed}", CHANNELS.len());
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    keep(&owner, u32::try_from(messages)? + 100).await?;

    let (told, published) = watch::channel(0);
    let run = Arc::new(Run { owner: owner.clone(), seed, messages, published });
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(come_and_go(Arc::clone(&run), number));
    }
    let ledger = publish_all(&run, &told).await?;
    let mut journals = Vec::new();
    while let Some(done) = clients.join_next().await {
        journals.extend(done?.with_context(|| format!("FANFARE_SEED={seed}"))?);
    }
    let summary =
        ledger.check(&journals).map_err(|violations| anyhow::anyhow!("FANFARE_SEED={seed}: {violations:#?}"))?;
    println!("{} acknowledged, {} delivered", summary.acked, summary.delivered);
    ensure!(summary.acked as u64 == messages * CHANNELS.len() as u64, "some publishes were refused");
    // A client may come a moment after the first message.
    ensure!(summary.delivered as u64 > messages * CLIENTS * 9 / 10, "clients were not there: {summary:?}");
    Ok(())
}

/// Publishes to one channel by REST and to the other by a socket, and tells how far it is.
async fn publish_all(run: &Run, told: &watch::Sender<u64>) -> Result<Ledger> {
    let mut ledger = Ledger::new();
    let backend = run.owner.publisher();
    let mut user = run.owner.connect_as("publisher", &["room:*"]).await?;
    for number in 1..=run.messages {
        backend.publish_into(&mut ledger, CHANNELS[0], number).await?;
        user.publish_into(&mut ledger, CHANNELS[1], number).await?;
        told.send_replace(number);
    }
    Ok(ledger)
}

/// One client's life, over as many connections as it takes to see the last message of its channel.
async fn come_and_go(run: Arc<Run>, number: u64) -> Result<Vec<Journal>> {
    let mut chance = StdRng::seed_from_u64(run.seed ^ (number << 32));
    let name = format!("client-{number}");
    let channel = CHANNELS[usize::try_from(number)? % CHANNELS.len()];
    let mut published = run.published.clone();
    let (mut journal, mut ticket): (Option<Journal>, Option<String>) = (None, None);
    let mut connections = 0;
    loop {
        // By ticket or by token: nobody is served differently for it.
        let mut client = match ticket.take().filter(|_| chance.random()) {
            Some(ticket) => Client::come_back(&run.owner.app_url(), &name, &ticket).await?,
            None => run.owner.connect_as(&name, &["room:*"]).await?,
        };
        connections += 1;
        ticket = Some(client.ticket()?);
        let mut at = enter(&mut client, channel, journal.take()).await?;
        // How much it sees this time; sometimes it goes while the missed messages still come.
        let enough = at + chance.random_range(1..=40);
        while at < run.messages && at < enough {
            at = client.message(channel).await?["seq"].as_u64().context("a message has a seq")?;
        }
        if at >= run.messages {
            client.nothing_came().await?;
            ensure!(connections > 1, "{name} never went away");
            return Ok(client.journals());
        }
        journal = client.vanish().into_iter().find(|journal| journal.channel == channel);
        // Away until so many more are published, or all are.
        let until = (*published.borrow() + chance.random_range(0..AWAY_MAX)).min(run.messages);
        timeout(::harness::TIMEOUT, published.wait_for(|count| *count >= until))
            .await
            .context("the publisher stopped")??;
    }
}

/// Subscribes, from where the journal ends if there is one, and says after which message.
async fn enter(client: &mut Client, channel: &str, journal: Option<Journal>) -> Result<u64> {
    let Some(journal) = journal else {
        let ok = client.subscribe(channel).await?;
        return ok["seq"].as_u64().context("a fence has a seq");
    };
    let place = journal.position().context("it was subscribed")?;
    client.continue_journal(journal);
    let ok = client.resume(channel, &printed(&place)).await?;
    ensure!(ok["recovered"] == json!(true), "nothing was trimmed, and yet: {ok}");
    Ok(place.seq)
}
