//! A client that subscribes, and judges what it is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use fanfare_core::codes::Retry;
use fanfare_core::{Clock as _, Histogram, Operation, Problem};
use fanfare_engine::SystemClock;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::feed::Feed;
use super::{Run, SETTLE};
use crate::cli::link::LinkError;
use crate::cli::{jwt, problem, token};
use crate::lifecycle::pause;

const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);
/// How often a client that is told to come later does.
const TRIES: u32 = 20;
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the answer to a subscribe may take.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(30);

/// A client that is subscribed.
pub(super) struct Subscriber {
    feed: Feed,
    channel: usize,
    last: u64,
    /// From dialling to the acknowledged subscription, in microseconds.
    pub(super) connect_us: u64,
}

/// What clients were sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// Messages, each once.
    pub(super) messages: u64,
    /// Numbers that came again, or after a higher one.
    pub(super) again: u64,
    /// Numbers that were left out without a word, or never came.
    pub(super) missing: u64,
    /// Numbers that the server said it leaves out.
    pub(super) told: u64,
    /// Clients whose connection ended before the run did.
    pub(super) ended: u64,
    /// From the time a message was to be published, in microseconds.
    pub(super) latency: Histogram,
}

impl Received {
    pub(super) fn merge(&mut self, other: &Self) {
        self.messages += other.messages;
        self.again += other.again;
        self.missing += other.missing;
        self.told += other.told;
        self.ended += other.ended;
        self.latency.merge(&other.latency);
    }

    /// A message with this number came to who had the number before.
    fn message(&mut self, last: &mut u64, seq: u64) -> bool {
        if seq <= *last {
            self.again += 1;
            return false;
        }
        self.missing += seq - *last - 1;
        self.messages += 1;
        *last = seq;
        true
    }

    /// The server says that what follows this number comes next.
    fn skipped(&mut self, last: &mut u64, to: u64) {
        if to > *last {
            self.told += to - *last;
            *last = to;
        }
    }
}

#[derive(Deserialize)]
struct Inbound {
    id: Option<u64>,
    ok: Option<Answer>,
    error: Option<Problem>,
    msg: Option<Message>,
    gap: Option<Gap>,
    recovery: Option<Moved>,
    unsubscribed: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Answer {
    seq: Option<u64>,
}

#[derive(Deserialize)]
struct Message {
    seq: u64,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    /// When it was to be published, in microseconds on the run's clock; 0 in the warm-up.
    t: u64,
}

#[derive(Deserialize)]
struct Gap {
    to: String,
}

#[derive(Deserialize)]
struct Moved {
    seq: u64,
}

/// The number in a position.
pub(super) fn seq_of(position: &str) -> Result<u64> {
    let seq = position.rsplit_once('.').and_then(|(_, seq)| seq.parse().ok());
    seq.ok_or_else(|| anyhow!("the server told a position without a number: {position}"))
}

impl Subscriber {
    /// Connects and subscribes; comes later where it is asked to.
    pub(super) async fn open(run: &Run, number: u32) -> Result<Self> {
        let mut tries = 0;
        loop {
            let problem = match Self::open_once(run, number).await {
                Ok(subscriber) => return Ok(subscriber),
                Err(LinkError::Lost(error)) => return Err(error),
                Err(LinkError::Refused(problem)) => problem,
            };
            tries += 1;
            let again = matches!(problem.code.retry(), Retry::Now | Retry::Backoff) && tries < TRIES;
            let Some(wait) = problem.retry_after_ms.filter(|_| again) else { bail!(problem::error(&problem)) };
            pause(Duration::from_millis(wait).min(WAIT_MAX)).await;
        }
    }

    async fn open_once(run: &Run, number: u32) -> Result<Self, LinkError> {
        let channel = run.plan.channel_of(number);
        let now_s = SystemClock::new().unix_ms() / 1_000;
        let user = format!("bench-{number}");
        let claims = token::claims(Some(&user), &run.plan.capabilities(Operation::Subscribe), now_s, TOKEN_TTL);
        let (token, begun) = (jwt::sign(&run.key, &claims), run.micros());
        let name = run.plan.channels[channel].as_str();
        let mut feed = Feed::open(run.plan.transport, &run.plan.url, &token, name).await?;
        let answered = timeout(SUBSCRIBED_WITHIN, answer(&mut feed)).await;
        let last = answered.unwrap_or_else(|_| Err(LinkError::Lost(anyhow!("a subscribe is not answered"))))?;
        Ok(Self { feed, channel, last, connect_us: run.micros().saturating_sub(begun) })
    }

    /// Receives until the run has ended and all that was acknowledged is there, or does not come in time.
    pub(super) async fn receive(self, run: Arc<Run>, mut ended: watch::Receiver<bool>) -> Received {
        let Self { mut feed, channel, mut last, .. } = self;
        let mut received = Received::default();
        loop {
            let over = *ended.borrow();
            if over && last >= run.top(channel) {
                break;
            }
            let frame = tokio::select! {
                frame = timeout(if over { SETTLE / 2 } else { Duration::MAX }, feed.next()) => frame,
                _ = ended.changed(), if !over => continue,
            };
            match frame {
                Ok(Ok(frame)) => {
                    if !take(&run, &mut received, &mut last, &frame) {
                        received.ended += 1;
                        break;
                    }
                }
                Ok(Err(_)) => {
                    received.ended += 1;
                    break;
                }
                Err(_) => break,
            }
        }
        received.missing += run.top(channel).saturating_sub(last);
        received
    }
}

/// Waits for the answer to the subscribe; the number its position has.
async fn answer(feed: &mut Feed) -> Result<u64, LinkError> {
    loop {
        let frame = feed.next().await?;
        let inbound: Inbound = serde_json::from_str(&frame).map_err(|error| LinkError::Lost(error.into()))?;
        if let Some(problem) = inbound.error {
            return Err(LinkError::Refused(Box::new(problem)));
        }
        if let (Some(_), Some(seq)) = (inbound.id, inbound.ok.and_then(|ok| ok.seq)) {
            return Ok(seq);
        }
    }
}

/// Judges a frame. Whether the subscription goes on.
fn take(run: &Run, received: &mut Received, last: &mut u64, frame: &str) -> bool {
    // What is not understood is not a message: the numbers tell.
    let Ok(inbound) = serde_json::from_str::<Inbound>(frame) else { return true };
    if let Some(message) = inbound.msg
        && received.message(last, message.seq)
    {
        run.progress.received.fetch_add(1, Ordering::Relaxed);
        if message.data.t > 0 {
            received.latency.record(run.micros().saturating_sub(message.data.t), 1);
        }
    }
    let gap = inbound.gap.and_then(|gap| seq_of(&gap.to).ok());
    if let Some(to) = gap.or(inbound.recovery.map(|moved| moved.seq)) {
        received.skipped(last, to);
    }
    inbound.unsubscribed.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_judge_what_came() {
        let (mut received, mut last) = (Received::default(), 10);
        for seq in [11, 12, 12, 15, 14, 16] {
            received.message(&mut last, seq);
        }
        assert_eq!((received.messages, received.missing, received.again), (4, 2, 2));
        received.skipped(&mut last, 20);
        received.skipped(&mut last, 18);
        assert!(received.message(&mut last, 21));
        assert_eq!((received.told, received.missing), (4, 2));
    }

    #[test]
    fn the_number_of_a_position_is_read() {
        assert_eq!(seq_of("k3Zx.17").expect("has one"), 17);
        assert!(seq_of("k3Zx").is_err() && seq_of("k3Zx.").is_err());
    }
}
