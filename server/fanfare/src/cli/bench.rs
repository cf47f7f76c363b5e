//! `fanfare bench`: load as it comes from outside, every delivery judged.
//!
//! ```text
//! connect all ─▶ subscribe all ─▶ publish at times fixed beforehand ─▶ wait for what is under way ─▶ judge
//! ```
//!
//! Arrivals are open: a message has its time before the run begins, and how long it took counts from that time, whether or
//! not the generator could send it then. A server that stalls is therefore seen to stall by all that would have come in the
//! meantime, and not by one sample (coordinated omission). How late the generator itself was is told beside it.
//!
//! A delivery is judged by its number in the channel: each subscription gets one more than the last, from its own
//! acknowledgement on, to the highest number that a publisher was acknowledged.

mod feed;
mod plan;
mod progress;
mod publisher;
mod report;
mod subscriber;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use fanfare_core::secret::PrintedKey;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::plan::{Arrivals, Plan, Publishing, Transport};
use self::progress::Progress;
use self::publisher::Sent;
use self::report::Report;
use self::subscriber::{Received, Subscriber};
use super::target::{Key, Url};
use super::token::duration;
use crate::out;

/// How many connections may be between dialling and subscribed.
const CONNECTING_MAX: usize = 64;
/// How long what is under way at the end may take.
const SETTLE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    url: Url,
    #[command(flatten)]
    key: Key,
    /// How many clients subscribe.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Over how many channels they are spread, one each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    channels: u32,
    /// Messages a second, over all channels.
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    rate: f64,
    /// When messages come: evenly, or by lot as from many independent senders.
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    arrivals: Arrivals,
    /// Bytes of data in a message, at least.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    payload: u32,
    /// How long messages are published.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// How much of that at the beginning is not in the latencies; unasked a tenth, at most 2 seconds.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    warmup: Option<Duration>,
    /// How clients are connected.
    #[arg(long, value_enum, default_value_t = Transport::Websocket)]
    transport: Transport,
    /// How messages are published.
    #[arg(long, value_enum, default_value_t = Publishing::Rest)]
    publish: Publishing,
    /// Over how many connections they are published.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    publishers: u32,
    /// What channels' names begin with; a lot of this run and a number follow.
    #[arg(long, default_value = "bench")]
    prefix: String,
    /// What arrivals by lot are drawn from: the same number, the same times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON, with the histograms.
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected messages a second, as in 50 or 0.5".to_owned())?;
    if rate > 0.0 && rate <= 1_000_000.0 { Ok(rate) } else { Err("a rate is above 0 and at most 1000000".to_owned()) }
}

/// What all tasks of a run share.
struct Run {
    plan: Plan,
    key: PrintedKey,
    /// The clock's zero, for times in messages.
    zero: Instant,
    /// The highest number in each channel that was acknowledged.
    tops: Vec<AtomicU64>,
    progress: Progress,
}

impl Run {
    /// Microseconds on the run's clock.
    fn micros(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A publish was acknowledged.
    fn acknowledged(&self, channel: usize, seq: u64) {
        self.tops[channel].fetch_max(seq, Ordering::Relaxed);
        self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    fn top(&self, channel: usize) -> u64 {
        self.tops[channel].load(Ordering::Relaxed)
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let json = arguments.json;
    let (url, key) = (arguments.url.get()?, arguments.key.get()?);
    let plan = Plan::new(&arguments, url)?;
    let tops = (0..plan.channels.len()).map(|_| AtomicU64::new(0)).collect();
    let run = Arc::new(Run { plan, key, zero: Instant::now(), tops, progress: Progress::default() });
    let shown = progress::show(Arc::clone(&run), !json);
    let outcome = tokio::select! {
        outcome = measure(&run) => outcome,
        stopped = tokio::signal::ctrl_c() => {
            stopped.context("cannot wait for Ctrl-C")?;
            bail!("stopped before the end: nothing was judged")
        }
    };
    drop(shown);
    let report = outcome?;
    if json {
        out::json(&report.as_json())
    } else {
        report.print()
    }
    report.verdict()
}

async fn measure(run: &Arc<Run>) -> Result<Report> {
    let connected = connect(run).await?;
    // From here on everybody is subscribed: nobody can have missed what is published now.
    let (begin, mut publishers) = (Instant::now() + Duration::from_millis(100), JoinSet::new());
    for number in 0..run.plan.publishers {
        publishers.spawn(publisher::publish(Arc::clone(run), number, begin));
    }
    let (end, ended) = watch::channel(false);
    let mut subscribers = JoinSet::new();
    let mut connects = Vec::new();
    for subscriber in connected {
        connects.push(subscriber.connect_us);
        subscribers.spawn(subscriber.receive(Arc::clone(run), ended.clone()));
    }
    let mut sent = Sent::default();
    while let Some(one) = publishers.join_next().await {
        sent.merge(one.context("a publisher broke")??);
    }
    let took = begin.elapsed();
    // The tops are final now; whoever has all of them is done.
    end.send_replace(true);
    let mut received = Received::default();
    let settled = timeout(SETTLE, async {
        while let Some(one) = subscribers.join_next().await {
            received.merge(&one.context("a subscriber broke")?);
        }
        anyhow::Ok(())
    });
    settled.await.context("subscribers do not end")??;
    Ok(Report::new(&run.plan, connects, sent, received, took))
}

/// Connects and subscribes all clients, a bounded number at a time.
async fn connect(run: &Arc<Run>) -> Result<Vec<Subscriber>> {
    let places = Arc::new(Semaphore::new(CONNECTING_MAX));
    let mut opening = JoinSet::new();
    for number in 0..run.plan.connections {
        let (shared, place) = (Arc::clone(run), Arc::clone(&places).acquire_owned().await?);
        opening.spawn(async move {
            let subscriber = Subscriber::open(&shared, number).await;
            drop(place);
            subscriber.with_context(|| format!("connection {} of {}", number + 1, shared.plan.connections))
        });
        // The first refusal ends it, not the last.
        while let Some(done) = opening.try_join_next() {
            run.progress.keep(done.context("a connection broke")??);
        }
    }
    while let Some(done) = opening.join_next().await {
        run.progress.keep(done.context("a connection broke")??);
    }
    let connected = run.progress.take();
    ensure!(connected.len() == run.plan.connections as usize, "a connection is missing");
    Ok(connected)
}
