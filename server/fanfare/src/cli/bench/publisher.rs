//! A backend or a client that publishes at times fixed beforehand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fanfare_core::{Clock as _, Histogram, Operation, Problem};
use fanfare_engine::SystemClock;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::plan::Publishing;
use super::subscriber::seq_of;
use super::{Run, SETTLE};
use crate::cli::link::{Link, LinkError};
use crate::cli::publish::percent_encode;
use crate::cli::{jwt, problem, token};

const REQUEST_WITHIN: Duration = Duration::from_secs(15);
/// How many commands may be unanswered; the next waits, and its time runs on.
const UNANSWERED_MAX: usize = 4_096;
/// More than a run's longest.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);

/// What became of publishes.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) acknowledged: u64,
    /// Refused, by code.
    pub(super) refused: BTreeMap<String, u64>,
    /// Nobody knows whether they were accepted.
    pub(super) unknown: u64,
    /// From the time a message was to be published to its acknowledgement, in microseconds.
    pub(super) latency: Histogram,
    /// How late the generator was, in microseconds.
    pub(super) late: Histogram,
}

impl Sent {
    pub(super) fn merge(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        self.latency.merge(&other.latency);
        self.late.merge(&other.late);
    }

    fn refuse(&mut self, problem: &Problem) {
        *self.refused.entry(problem.code.to_string()).or_default() += 1;
    }

    fn acknowledge(&mut self, run: &Run, message: &Message, position: &str) -> Result<()> {
        run.acknowledged(message.channel, seq_of(position)?);
        self.acknowledged += 1;
        if message.counts() {
            self.latency.record(run.micros().saturating_sub(message.due_us), 1);
        }
        Ok(())
    }
}

/// A message that is to be published.
#[derive(Debug, Clone, Copy)]
struct Message {
    channel: usize,
    /// When, in microseconds on the run's clock.
    due_us: u64,
    /// Whether the warm-up is over.
    warm: bool,
}

impl Message {
    /// Whether its times are in the latencies.
    fn counts(&self) -> bool {
        self.warm
    }

    /// Its data: when it was to be published, and padding.
    fn data(&self, payload: usize) -> serde_json::Value {
        let t = if self.counts() { self.due_us } else { 0 };
        let bare = json!({"t": t, "pad": ""});
        let pad = payload.saturating_sub(bare.to_string().len());
        json!({"t": t, "pad": "x".repeat(pad)})
    }
}

/// Publishes what falls to one publisher.
pub(super) async fn publish(run: Arc<Run>, number: u32, begin: Instant) -> Result<Sent> {
    match run.plan.publishing {
        Publishing::Rest => over_rest(&run, number, begin).await,
        Publishing::Socket => over_socket(&run, number, begin).await,
    }
}

/// The messages of a publisher: when each is due, and what it is.
fn messages(run: &Run, number: u32, begin: Instant) -> impl Iterator<Item = (Instant, Message)> + use<> {
    let (zero, warmup) = (run.zero, run.plan.warmup);
    run.plan.arrivals(number).map(move |(after, channel)| {
        let due = begin + after;
        let due_us = u64::try_from(due.saturating_duration_since(zero).as_micros()).unwrap_or(u64::MAX);
        (due, Message { channel, due_us, warm: after >= warmup })
    })
}

fn begun(run: &Run, sent: &mut Sent, message: &Message) {
    run.progress.sent.fetch_add(1, Ordering::Relaxed);
    if message.counts() {
        sent.late.record(run.micros().saturating_sub(message.due_us), 1);
    }
}

async fn over_rest(run: &Run, number: u32, begin: Instant) -> Result<Sent> {
    #[derive(Deserialize)]
    struct Published {
        position: String,
    }
    let http = reqwest::Client::builder().timeout(REQUEST_WITHIN).build().context("cannot make an HTTP client")?;
    let place = |channel: usize| percent_encode(run.plan.channels[channel].as_str());
    let mut sent = Sent::default();
    for (due, message) in messages(run, number, begin) {
        sleep_until(due).await;
        begun(run, &mut sent, &message);
        let url = format!("{}/channels/{}/messages", run.plan.url, place(message.channel));
        let request = http.post(url).basic_auth(run.key.id, Some(run.key.secret.expose()));
        let request = request.json(&json!({"name": "bench", "data": message.data(run.plan.payload)}));
        let answered = async { request.send().await?.bytes().await };
        let Ok(answer) = answered.await else {
            sent.unknown += 1;
            continue;
        };
        match serde_json::from_slice::<Published>(&answer) {
            Ok(Published { position }) => sent.acknowledge(run, &message, &position)?,
            Err(_) => match serde_json::from_slice::<Problem>(&answer) {
                // Whoever may not publish would hear the same each time.
                Ok(problem) if sent.acknowledged == 0 && !problem.retryable => bail!(problem::error(&problem)),
                Ok(problem) => sent.refuse(&problem),
                Err(_) => bail!("{} does not answer as Fanfare does", run.plan.url),
            },
        }
    }
    Ok(sent)
}

/// An answer to a command.
#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    ok: Option<Accepted>,
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Accepted {
    position: Option<String>,
}

async fn over_socket(run: &Run, number: u32, begin: Instant) -> Result<Sent> {
    let claims = token::claims(
        Some(&format!("bench-publisher-{number}")),
        &run.plan.capabilities(Operation::Publish),
        SystemClock::new().unix_ms() / 1_000,
        TOKEN_TTL,
    );
    let mut link = Link::open(&run.plan.url).await?;
    link.send(&json!({"id": 1, "connect": {"token": jwt::sign(&run.key, &claims)}})).await?;
    let (mut sent, mut open) = (Sent::default(), HashMap::new());
    for (id, (due, message)) in (2_u64..).zip(messages(run, number, begin)) {
        // What is answered meanwhile is read; who waits for a place reads until there is one.
        loop {
            let until = if open.len() < UNANSWERED_MAX { due } else { Instant::now() + REQUEST_WITHIN };
            match timeout_at(until, link.next()).await {
                Ok(frame) => take(run, &mut sent, &mut open, &frame?)?,
                Err(_) if open.len() < UNANSWERED_MAX => break,
                Err(_) => bail!("{UNANSWERED_MAX} publishes are not answered"),
            }
        }
        begun(run, &mut sent, &message);
        let channel = &run.plan.channels[message.channel];
        let data = message.data(run.plan.payload);
        link.send(&json!({"id": id, "publish": {"channel": channel, "name": "bench", "data": data}})).await?;
        open.insert(id, message);
    }
    let deadline = Instant::now() + SETTLE;
    while !open.is_empty() {
        match timeout_at(deadline, link.next()).await {
            Ok(Ok(frame)) => take(run, &mut sent, &mut open, &frame)?,
            Ok(Err(LinkError::Refused(_) | LinkError::Lost(_))) | Err(_) => break,
        }
    }
    sent.unknown += open.len() as u64;
    Ok(sent)
}

fn take(run: &Run, sent: &mut Sent, open: &mut HashMap<u64, Message>, frame: &str) -> Result<()> {
    let answer: Answer = serde_json::from_str(frame).context("the server sent what is not the native protocol")?;
    let message = answer.id.and_then(|id| open.remove(&id));
    match (message, answer.ok, answer.error) {
        (Some(message), Some(Accepted { position: Some(position) }), _) => sent.acknowledge(run, &message, &position),
        (Some(_), _, Some(problem)) if problem.retryable || sent.acknowledged > 0 => {
            sent.refuse(&problem);
            Ok(())
        }
        // Refused for good, or the connection itself is.
        (_, _, Some(problem)) => bail!(problem::error(&problem)),
        (..) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_size_that_was_asked_for_and_tells_its_time_after_the_warm_up() {
        let message = Message { channel: 0, due_us: 1_234, warm: true };
        assert_eq!(message.data(128).to_string().len(), 128);
        assert_eq!(message.data(128)["t"], 1_234);
        assert_eq!(Message { warm: false, ..message }.data(0)["t"], 0);
    }
}
