//! What the functions answer.

use std::sync::Arc;

use fanfare_core::{Lineage, Message, Position};
use fanfare_engine::BrokerError;
use fanfare_engine::broker::{Earlier, Page};
use fanfare_engine::presence::{self, Placed, PresenceError};
use redis::Value;
use tracing::error;

use crate::entry;
use crate::lane::Silence;
use crate::presence::told;

/// What became of an append.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Appended(Position, Option<Report>),
    /// It stood there before; the nonce of the data set that says so.
    Duplicate(Position, u32),
    Reused,
    /// The app keeps as many bytes as it may.
    Bytes(Option<Report>),
    /// The app has as many channels as it may.
    Channels,
    Rate {
        retry_after_ms: u64,
    },
}

/// What an app's account is to be told of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    /// What the channel was charged, and is now.
    pub(crate) before: u64,
    pub(crate) now: u64,
    /// Whether the app has one more.
    pub(crate) is_new: bool,
    /// Until when it counts, in Unix milliseconds.
    pub(crate) till_ms: u64,
    /// When that was so, in Unix microseconds of the channel's Redis.
    pub(crate) at_us: u64,
}

/// `<before> <now> <whether it is new> <until> <at>`, or nothing.
fn report(value: &Value) -> Result<Option<Report>, BrokerError> {
    let text = text(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    let mut numbers = text.split(' ').map(str::parse::<u64>);
    let mut number = || numbers.next().and_then(Result::ok).ok_or_else(strange);
    let (before, now, is_new, till_ms, at_us) = (number()?, number()?, number()? > 0, number()?, number()?);
    Ok(Some(Report { before, now, is_new, till_ms, at_us }))
}

/// Bytes and channels that an app is charged for.
pub(crate) fn held(answer: Result<Value, Silence>) -> Result<(u64, u64), BrokerError> {
    let values = array(answer.map_err(refusal)?)?;
    let [bytes, channels] = &values[..] else { return Err(strange()) };
    Ok((number(bytes)?, number(channels)?))
}

/// How many messages are gone.
pub(crate) fn removed(answer: Result<Value, Silence>) -> Result<(u64, Option<Report>), BrokerError> {
    let values = array(answer.map_err(refusal)?)?;
    let [count, told] = &values[..] else { return Err(strange()) };
    Ok((number(count)?, report(told)?))
}

pub(crate) fn told(answer: Result<Value, Silence>) -> Result<Told, BrokerError> {
    let values = array(answer.map_err(refusal)?)?;
    let (what, rest) = values.split_first().ok_or_else(strange)?;
    match &*text(what)? {
        "appended" => Ok(Told::Appended(position(rest)?, report(rest.get(4).ok_or_else(strange)?)?)),
        "duplicate" => {
            let (nonce, rest) = rest.split_last().ok_or_else(strange)?;
            let nonce = u32::try_from(number(nonce)?).map_err(|_| strange())?;
            Ok(Told::Duplicate(position(rest)?, nonce))
        }
        "reused" => Ok(Told::Reused),
        "bytes" => Ok(Told::Bytes(report(rest.first().ok_or_else(strange)?)?)),
        "channels" => Ok(Told::Channels),
        "rate" => Ok(Told::Rate { retry_after_ms: number(rest.first().ok_or_else(strange)?)? }),
        _ => Err(strange()),
    }
}

/// What became of a put of a member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Placed(Placed),
    /// It is not there, or a later generation is.
    Absent,
    Rate {
        retry_after_ms: u64,
    },
    /// The app's members weigh as much as they may.
    Bytes,
    /// The lease it was put under has ended.
    LeaseEnded,
}

pub(crate) fn placed(answer: Result<Value, Silence>) -> Result<Outcome, PresenceError> {
    let values = array(answer.map_err(refusal)?)?;
    let (what, rest) = values.split_first().ok_or_else(strange)?;
    let outcome = match (&*text(what)?, rest) {
        ("placed", [version, entered, since_ms]) => Outcome::Placed(Placed {
            version: number(version)?,
            entered: number(entered)? > 0,
            since_ms: number(since_ms)?,
        }),
        ("absent", _) => Outcome::Absent,
        ("rate", [retry_after_ms]) => Outcome::Rate { retry_after_ms: number(retry_after_ms)? },
        ("bytes", _) => Outcome::Bytes,
        ("lease", _) => Outcome::LeaseEnded,
        _ => return Err(strange().into()),
    };
    Ok(outcome)
}

/// Who is on a channel. A member that is damaged is left out: the next to say anything of it mends it.
pub(crate) fn members(answer: Result<Value, Silence>) -> Result<presence::Page, PresenceError> {
    let values = array(answer.map_err(refusal)?)?;
    let ([version, count, is_listed, next], rest) = values.split_first_chunk().ok_or_else(strange)?;
    let (version, count, next) = (number(version)?, number(count)?, bytes(next)?);
    if number(is_listed)? == 0 {
        return Ok(presence::Page { version, count, members: None, next: None });
    }
    let mut members = Vec::with_capacity(rest.len() / 3);
    for member in rest.chunks_exact(3) {
        match told::read(bytes(&member[0])?, number(&member[1])?, bytes(&member[2])?) {
            Some(member) => members.push(Arc::new(member)),
            None => error!("a member in Redis cannot be read"),
        }
    }
    Ok(presence::Page { version, count, members: Some(members), next: told::id(next) })
}

/// What Redis says to a beat.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Beaten {
    /// Nodes that have beaten lately.
    pub(crate) nodes: u64,
    /// Whether the node's lease holds.
    pub(crate) holds: bool,
    /// Tells one data set from another.
    pub(crate) lineage: String,
    /// A lease whose members are this node's to take out.
    pub(crate) ended: Option<String>,
}

pub(crate) fn beaten(answer: Result<Value, Silence>) -> Result<Beaten, BrokerError> {
    let values = array(answer.map_err(refusal)?)?;
    let [nodes, holds, lineage, ended] = &values[..] else { return Err(strange()) };
    let ended = Some(text(ended)?).filter(|lease| !lease.is_empty());
    Ok(Beaten { nodes: number(nodes)?, holds: number(holds)? > 0, lineage: text(lineage)?, ended })
}

/// A page. An entry that is damaged ends it: what stands before it is given, and nothing in its place.
pub(crate) fn page(answer: Result<Value, Silence>) -> Result<(Page, Option<Report>), BrokerError> {
    let values = array(answer.map_err(refusal)?)?;
    let (head, entries) = values.split_at_checked(7).ok_or_else(strange)?;
    let Position { lineage, seq: top } = position(head)?;
    let (first, earlier) = (number(&head[4])?, earlier(&text(&head[5])?).ok_or_else(strange)?);
    let mut messages: Vec<Arc<Message>> = Vec::with_capacity(entries.len() / 2);
    for pair in entries.chunks_exact(2) {
        let position = Position { lineage, seq: number(&pair[0])? };
        match entry::read(bytes(&pair[1])?, position) {
            Ok(message) => messages.push(Arc::new(message)),
            Err(error) => {
                error!(%error, "a message in Redis cannot be read");
                return Err(BrokerError::Unavailable);
            }
        }
    }
    Ok((Page { lineage, top, first, messages, earlier }, report(&head[6])?))
}

/// `<term>:<nonce>:<last offset>;` for each.
fn earlier(text: &str) -> Option<Vec<Earlier>> {
    let one = |text: &str| {
        let mut parts = text.splitn(3, ':');
        let (term, nonce, top) =
            (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Earlier { term, nonce, top })
    };
    text.split_terminator(';').map(one).collect()
}

pub(crate) fn count(answer: Result<Value, Silence>) -> Result<u64, BrokerError> {
    number(&answer.map_err(refusal)?)
}

/// Texts.
pub(crate) fn texts(answer: Result<Value, Silence>) -> Result<Vec<String>, BrokerError> {
    array(answer.map_err(refusal)?)?.iter().map(text).collect()
}

/// A pushed message: `<epoch> <term> <nonce> <offset> <entry>`.
pub(crate) fn pushed(bytes: &[u8]) -> Option<Message> {
    let mut parts = bytes.splitn(5, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<u64>().ok();
    let (epoch, term, nonce, seq) = (number()?, number()?, number()?, number()?);
    let lineage = Lineage { epoch, term, nonce: u32::try_from(nonce).ok()? };
    entry::read(parts.next()?, Position { lineage, seq }).ok()
}

/// What a Redis says that cannot now, and may later: it starts, is a replica, has lost its replicas, cannot write to its
/// disk, runs something long.
const PASSING: [&str; 10] =
    ["LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "BUSY", "NOREPLICAS", "MISCONF"];

/// What a refusal of Redis means for whoever asked.
fn refusal(silence: Silence) -> BrokerError {
    match silence {
        Silence::NotDone => BrokerError::Unavailable,
        Silence::Unknown => BrokerError::Unknown,
        // It has no more memory, and evicts nothing.
        Silence::Refused(code) if code == "OOM" => BrokerError::Full,
        Silence::Refused(code) => {
            if !PASSING.contains(&&*code) {
                error!(code, "Redis refuses what a node needs");
            }
            BrokerError::Unavailable
        }
    }
}

/// An answer that is none of ours: somebody else's functions have our names.
fn strange() -> BrokerError {
    error!("Redis gave an answer that the functions of this version do not give");
    BrokerError::Unknown
}

fn array(value: Value) -> Result<Vec<Value>, BrokerError> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(strange()),
    }
}

fn bytes(value: &Value) -> Result<&[u8], BrokerError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(strange()),
    }
}

fn text(value: &Value) -> Result<String, BrokerError> {
    std::str::from_utf8(bytes(value)?).map(ToOwned::to_owned).map_err(|_| strange())
}

fn number(value: &Value) -> Result<u64, BrokerError> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| strange()),
        value => text(value)?.parse().map_err(|_| strange()),
    }
}

fn position(values: &[Value]) -> Result<Position, BrokerError> {
    let [epoch, term, nonce, seq, ..] = values else { return Err(strange()) };
    let nonce = u32::try_from(number(nonce)?).map_err(|_| strange())?;
    Ok(Position { lineage: Lineage { epoch: number(epoch)?, term: number(term)?, nonce }, seq: number(seq)? })
}
