//! What the native protocol says to this client (`server/protocol/src/native/PROTOCOL.md`), as far as the page listens.

use fanfare_core::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

/// One frame from the server. Exactly one of an answer and a push is there; unknown ones leave all of it empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Incoming {
    /// Which command an answer belongs to.
    pub(super) id: Option<u64>,
    /// The answer.
    pub(super) ok: Option<Value>,
    /// The refusal.
    pub(super) error: Option<Problem>,
    /// A message on a channel.
    pub(super) msg: Option<Message>,
    /// A subscription was taken away.
    pub(super) unsubscribed: Option<Unsubscribed>,
    /// The server asks to come back later.
    pub(super) reconnect: Option<Value>,
}

/// A message as it arrives.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Message {
    /// Where it was published.
    pub(crate) channel: String,
    /// Its place in the channel.
    pub(crate) seq: u64,
    /// Its id.
    pub(crate) id: String,
    /// What happened.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// The payload.
    #[serde(default)]
    pub(crate) data: Value,
    /// The user who published it, if it was a signed-in client.
    #[serde(default)]
    pub(crate) publisher: Option<String>,
    /// When the node appended it, Unix milliseconds of its clock.
    pub(crate) time: f64,
}

/// A subscription was taken away.
#[derive(Debug, Deserialize)]
pub(super) struct Unsubscribed {
    /// From which channel.
    pub(super) channel: String,
    /// Why.
    pub(super) error: Problem,
}

/// The answer to connect.
#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    /// How long the link may be silent.
    #[serde(default = "default_heartbeat")]
    pub(super) heartbeat_ms: u32,
}

fn default_heartbeat() -> u32 {
    25_000
}

/// The answer to subscribe: everything after this place arrives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Fence {
    /// The channel's history, as one word.
    pub(crate) lineage: String,
    /// The last message before.
    pub(crate) seq: u64,
}

/// The answer to ping.
#[derive(Debug, Deserialize)]
pub(super) struct Pong {
    /// The node's clock.
    pub(super) time: f64,
}

/// Writes the first command.
pub(super) fn connect(id: u64, token: &str) -> String {
    json!({ "id": id, "connect": { "token": token } }).to_string()
}

/// Writes a subscribe, from now on or with so many messages of the past.
pub(super) fn subscribe(id: u64, channel: &str, past: u32) -> String {
    match past {
        0 => json!({ "id": id, "subscribe": { "channel": channel } }).to_string(),
        past => json!({ "id": id, "subscribe": { "channel": channel, "rewind": { "messages": past } } }).to_string(),
    }
}

/// Writes an unsubscribe.
pub(super) fn unsubscribe(id: u64, channel: &str) -> String {
    json!({ "id": id, "unsubscribe": { "channel": channel } }).to_string()
}

/// Writes a ping.
pub(super) fn ping(id: u64) -> String {
    json!({ "id": id, "ping": {} }).to_string()
}

/// Writes a refresh with a newer token.
pub(super) fn refresh(id: u64, token: &str) -> String {
    json!({ "id": id, "refresh": { "token": token } }).to_string()
}

/// How long to wait before the next attempt: anything up to a bound that doubles, from 0.2 to 20 seconds, so that many
/// pages that were cut off together do not come back together.
pub(super) fn backoff_ms(attempt: u32, random: f64) -> u32 {
    let bound = 200_u32.saturating_mul(1 << attempt.min(10)).min(20_000);
    (f64::from(bound) * random) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_the_protocol_read_and_unknown_ones_are_ignored() {
        let text =
            r#"{"msg":{"channel":"demo:hello","seq":13,"id":"msg_1","name":"greet","data":"hi","time":1700000000000}}"#;
        let frame: Incoming = serde_json::from_str(text).expect("reads");
        assert_eq!(frame.msg.expect("is a message").data, "hi");
        let later: Incoming = serde_json::from_str(r#"{"weather":{"sun":true}}"#).expect("reads");
        assert!(later.id.is_none() && later.msg.is_none());
    }

    #[test]
    fn the_server_reads_every_command() {
        let commands = [
            connect(1, "t"),
            subscribe(2, "$stats:overview", 0),
            subscribe(6, "$debug:events", 200),
            unsubscribe(3, "a"),
            ping(4),
            refresh(5, "t"),
        ];
        for text in commands {
            assert!(fanfare_protocol::native::parse(&text).all(|command| command.is_ok()), "{text}");
        }
    }

    #[test]
    fn waiting_doubles_up_to_twenty_seconds() {
        assert_eq!([0, 1, 5, 7, 40].map(|attempt| backoff_ms(attempt, 1.0)), [200, 400, 6_400, 20_000, 20_000]);
        assert_eq!(backoff_ms(3, 0.0), 0);
    }
}
