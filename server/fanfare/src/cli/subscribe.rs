//! `fanfare subscribe`: prints messages as they come, and keeps its place when the connection breaks.

mod place;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use fanfare_core::codes::Retry;
use fanfare_core::secret::PrintedKey;
use fanfare_core::{Capabilities, ChannelName, Clock as _, ErrorCode, Operation, Pattern, Problem};
use fanfare_engine::SystemClock;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use self::place::Place;
use super::link::{Link, LinkError};
use super::target::{Key, Url};
use super::{jwt, problem, token};
use crate::lifecycle::{Backoff, pause};
use crate::out;

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(20);
/// How long a token made from a key holds, and how long before its end it is replaced.
const TOKEN_TTL: Duration = Duration::from_secs(3_600);
const REFRESH_BEFORE: Duration = Duration::from_secs(300);
/// Commands beside those that subscribe, whose ids are the channel's number and this.
const CONNECT_ID: u64 = 1;
const PING_ID: u64 = 2;
const REFRESH_ID: u64 = 3;
const SUBSCRIBE_ID: u64 = 16;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    url: Url,
    #[command(flatten)]
    key: Key,
    /// A channel token. Without one, a token is made from FANFARE_KEY; without a key the client is anonymous.
    #[arg(long, env = "FANFARE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The channels.
    #[arg(required = true)]
    channels: Vec<ChannelName>,
    /// Start with the last messages, this many.
    #[arg(long, value_name = "MESSAGES")]
    rewind: Option<u32>,
    /// End after this many messages.
    #[arg(long, value_name = "MESSAGES")]
    count: Option<u64>,
    /// Print each message as the server sent it, one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// Why a connection ended.
enum Ended {
    /// All that was asked for is there.
    Done,
    /// Connect again, not before this time.
    Again { why: String, after: Duration },
}

/// A client that stays.
struct Client {
    url: String,
    key: Option<PrintedKey>,
    token: Option<String>,
    places: Vec<Place>,
    rewind: Option<u32>,
    left: Option<u64>,
    json: bool,
    clock: SystemClock,
    /// Whether the last connection got as far as being welcomed.
    welcomed: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let mut client = Client {
        url: arguments.url.get()?,
        key: if arguments.token.is_some() { None } else { arguments.key.optional()? },
        token: arguments.token,
        places: arguments.channels.into_iter().map(Place::new).collect(),
        rewind: arguments.rewind,
        left: arguments.count,
        json: arguments.json,
        clock: SystemClock::new(),
        welcomed: false,
    };
    let mut backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
    loop {
        client.welcomed = false;
        match client.connect_once().await? {
            Ended::Done => return Ok(()),
            Ended::Again { why, after } => {
                if client.welcomed {
                    backoff.reset();
                }
                let wait = after.max(backoff.next());
                out::note(format_args!("{why}; connecting again in {} ms", wait.as_millis()));
                pause(wait).await;
            }
        }
    }
}

/// A frame of the server.
#[derive(Deserialize)]
struct Inbound<'a> {
    id: Option<u64>,
    ok: Option<Value>,
    error: Option<Problem>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
    recovery: Option<Value>,
    unsubscribed: Option<Value>,
    reconnect: Option<Value>,
}

/// What is read of a message.
#[derive(Deserialize)]
struct Message<'a> {
    channel: ChannelName,
    seq: u64,
    name: Option<String>,
    publisher: Option<String>,
    encoding: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Client {
    /// One connection, from its handshake to its end. An error is for good.
    async fn connect_once(&mut self) -> Result<Ended> {
        let mut link = match Link::open(&self.url).await {
            Ok(link) => link,
            Err(LinkError::Refused(refusal)) => return after_problem(&refusal),
            Err(LinkError::Lost(error)) => return again(&format!("no connection ({error:#})")),
        };
        let mut connect = json!({});
        if let Some(token) = self.token_now() {
            connect["token"] = token.into();
        }
        link.send(&json!({"id": CONNECT_ID, "connect": connect})).await?;
        let mut heartbeat = Duration::from_secs(25);
        let mut pinged = false;
        let mut refresh_at = Instant::now() + TOKEN_TTL.saturating_sub(REFRESH_BEFORE);
        loop {
            let silent_until = Instant::now() + heartbeat;
            let frame = match timeout_at(silent_until.min(refresh_at), link.next()).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(LinkError::Refused(refusal))) => return after_problem(&refusal),
                Ok(Err(LinkError::Lost(error))) => return again(&format!("the connection broke ({error:#})")),
                Err(_) if Instant::now() >= refresh_at => {
                    refresh_at = Instant::now() + TOKEN_TTL.saturating_sub(REFRESH_BEFORE);
                    if let (Some(_), Some(token)) = (&self.key, self.token_now()) {
                        link.send(&json!({"id": REFRESH_ID, "refresh": {"token": token}})).await?;
                    }
                    continue;
                }
                Err(_) if pinged => return again("the server is silent"),
                Err(_) => {
                    pinged = true;
                    link.send(&json!({"id": PING_ID, "ping": {}})).await?;
                    continue;
                }
            };
            pinged = false;
            let inbound: Inbound<'_> = serde_json::from_str(&frame)
                .with_context(|| format!("the server sent what is not the native protocol: {}", excerpt(&frame)))?;
            if let (Some(CONNECT_ID), Some(hello)) = (inbound.id, &inbound.ok) {
                heartbeat = Duration::from_millis(hello["heartbeat_ms"].as_u64().unwrap_or(25_000).max(1_000));
                self.welcomed = true;
                for (number, place) in (SUBSCRIBE_ID..).zip(&self.places) {
                    link.send(&json!({"id": number, "subscribe": place.request(self.rewind)})).await?;
                }
            }
            if let Some(ended) = self.take(&inbound)? {
                return Ok(ended);
            }
        }
    }

    /// Acts on a frame; says how the connection ends if it does.
    fn take(&mut self, inbound: &Inbound<'_>) -> Result<Option<Ended>> {
        if let Some(error) = &inbound.error {
            // What comes before anything was asked refuses the socket itself.
            if inbound.id == Some(CONNECT_ID) || (inbound.id.is_none() && !self.welcomed) {
                return after_problem(error).map(Some);
            }
            let place = inbound.id.and_then(|id| self.place_of(id));
            let what = place.map_or_else(String::new, |place| format!("{}: ", place.channel()));
            // A refused subscription stays refused; a position that is not taken is the one thing to give up.
            if error.code == ErrorCode::InvalidPosition
                && let Some(place) = inbound.id.and_then(|id| self.place_of(id))
            {
                place.forget();
                return again("the position is not known any more").map(Some);
            }
            return Err(problem::error(error)).context(format!("{what}refused"));
        }
        if let (Some(id), Some(answer)) = (inbound.id, &inbound.ok)
            && let Some(place) = self.place_of(id)
        {
            if let Some(told) = place.subscribed(answer) {
                out::note(told);
            }
            return Ok(None);
        }
        if let Some(recovery) = &inbound.recovery {
            let place = self.places.iter_mut().find(|place| recovery["channel"] == place.channel().as_str());
            if let Some(told) = place.and_then(|place| place.moved(recovery)) {
                out::note(told);
            }
        }
        if let Some(gone) = &inbound.unsubscribed {
            let reason = gone["error"]["detail"].as_str().unwrap_or("no reason was given");
            bail!("the subscription to {} was ended: {reason}", gone["channel"].as_str().unwrap_or("a channel"));
        }
        if let Some(reconnect) = &inbound.reconnect {
            let after = Duration::from_millis(reconnect["after_ms"].as_u64().unwrap_or_default()).min(BACKOFF_MAX);
            return Ok(Some(Ended::Again { why: "the server is going away".to_owned(), after }));
        }
        if let Some(raw) = inbound.msg {
            return self.message(raw);
        }
        Ok(None)
    }

    fn message(&mut self, raw: &RawValue) -> Result<Option<Ended>> {
        let message: Message<'_> =
            serde_json::from_str(raw.get()).context("the server sent a message without a form")?;
        if self.json {
            out::line(raw.get());
        } else {
            out::line(readable(&message));
        }
        // The place moves on only after the message was handed over.
        if let Some(place) = self.places.iter_mut().find(|place| *place.channel() == message.channel) {
            place.advance(message.seq);
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Ok(Some(Ended::Done));
            }
        }
        Ok(None)
    }

    fn place_of(&mut self, id: u64) -> Option<&mut Place> {
        let index = usize::try_from(id.checked_sub(SUBSCRIBE_ID)?).ok()?;
        self.places.get_mut(index)
    }

    /// The given token, or one made from the key for exactly these channels.
    fn token_now(&self) -> Option<String> {
        let Some(key) = &self.key else { return self.token.clone() };
        let operations = [Operation::Subscribe, Operation::History].into_iter().collect();
        let cap = self.places.iter().filter_map(|place| Pattern::parse(place.channel().as_str()).ok());
        let cap = Capabilities::new(cap.map(|pattern| (pattern, operations)).collect());
        Some(jwt::sign(key, &token::claims(None, &cap, self.clock.unix_ms() / 1_000, TOKEN_TTL)))
    }
}

fn again(why: &str) -> Result<Ended> {
    Ok(Ended::Again { why: why.to_owned(), after: Duration::ZERO })
}

/// The table of codes says who may come back, and how.
fn after_problem(refusal: &Problem) -> Result<Ended> {
    match refusal.code.retry() {
        Retry::Now | Retry::Backoff => Ok(Ended::Again {
            why: format!("{} ({})", refusal.detail.trim_end_matches('.'), refusal.code),
            after: Duration::from_millis(refusal.retry_after_ms.unwrap_or_default()).min(BACKOFF_MAX),
        }),
        Retry::Never | Retry::Token => Err(problem::error(refusal)),
    }
}

fn readable(message: &Message<'_>) -> String {
    let mut line = format!("{} {}", message.channel, message.seq);
    for text in [&message.name, &message.publisher].into_iter().flatten() {
        line.push(' ');
        line.push_str(text);
    }
    let data = message.data.get();
    let bytes = message.encoding.as_deref().filter(|encoding| *encoding == "base64");
    match bytes.and_then(|_| STANDARD.decode(data.trim_matches('"')).ok()) {
        Some(bytes) => line.push_str(&format!(" ({} bytes)", bytes.len())),
        None => line.push_str(&format!(" {data}")),
    }
    line
}

fn excerpt(frame: &str) -> &str {
    let end = frame.char_indices().nth(200).map_or(frame.len(), |(at, _)| at);
    &frame[..end]
}
