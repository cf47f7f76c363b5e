//! Answers and pushes to frames.

mod presence;

use std::sync::Arc;

use fanfare_core::id::ConnectionId;
use fanfare_core::limits::{Limit, Limits, Unit};
use fanfare_core::{ChannelName, Message, Problem, Seq};

use super::control::push_deleted;
use crate::frame::Frame;
use crate::json::{Form, message_hint, number, text, write_body, write_message};

pub use presence::{
    Occupancy, PresenceDiff, PresenceEnded, PresencePage, push_join_leave, push_join_leave_missed, push_occupancy,
    push_presence, push_presence_diff, push_presence_ended,
};

/// Room for an answer without lists or long texts.
pub(super) const REPLY_BYTES: usize = 256;
/// The limits that a client should know to stay inside them.
const HELLO_LIMITS: [Limit; 5] =
    [Limit::MessageBytes, Limit::Subscriptions, Limit::PublishConnection, Limit::PublishChannel, Limit::CommandRate];

/// The answer to a command that was carried out.
#[derive(Debug, Clone)]
pub enum Reply {
    /// To connect.
    Connected(Box<Hello>),
    /// To subscribe.
    Subscribed(SubscribedOk),
    /// To unsubscribe.
    Unsubscribed,
    /// To publish.
    Published(PublishedOk),
    /// To presence: who is there.
    Presence(PresencePage),
    /// To presence: it was done.
    PresenceDone,
    /// To history.
    History(HistoryOk),
    /// To ping.
    Pong {
        /// The server's clock, Unix milliseconds.
        time: u64,
    },
    /// To refresh.
    Refreshed {
        /// When the new token expires, Unix milliseconds.
        expires_ms: u64,
        /// The ticket that goes with it.
        resume: Option<String>,
    },
}

/// What a client learns of its connection.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The connection.
    pub connection: ConnectionId,
    /// The token's `sub`.
    pub user: Option<Box<str>>,
    /// How long the link may be silent.
    pub heartbeat_ms: u64,
    /// When the token expires, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Whether the ticket held, when one was shown.
    pub resumed: Option<bool>,
    /// The ticket to come back with.
    pub resume: Option<String>,
    /// The app's limits; those that concern a client are told.
    pub limits: Limits,
}

/// A subscription was made. Everything after `seq` will arrive.
#[derive(Debug, Clone)]
pub struct SubscribedOk {
    /// The channel.
    pub channel: ChannelName,
    /// The lineage's text, the first part of positions.
    pub lineage: String,
    /// The number of the last message that will not arrive.
    pub seq: Seq,
    /// How it went, when the client asked to continue at a position.
    pub recovery: Option<Recovery>,
    /// When the subscription's own token expires, Unix milliseconds.
    pub expires_ms: Option<u64>,
}

/// Whether a client continues where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing is missing.
    Recovered,
    /// Something is, or may be.
    Lost(Gap),
}

/// What is missing: everything after `from` up to and including `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The position that the client had.
    pub from: String,
    /// The position from which on everything arrives.
    pub to: String,
}

/// Why continuing was not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The channel's log is a new one.
    EpochChanged,
    /// The log was rewound and went another way.
    Diverged,
    /// Retention has trimmed what came after.
    Truncated,
    /// The client may not read what came after.
    Denied,
    /// The position is older than anything that is remembered.
    TooOld,
}

impl GapReason {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EpochChanged => "epoch_changed",
            Self::Diverged => "diverged",
            Self::Truncated => "truncated",
            Self::Denied => "denied",
            Self::TooOld => "too_old",
        }
    }
}

/// A message was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedOk {
    /// Its id.
    pub id: Box<str>,
    /// Where it stands.
    pub position: String,
    /// What the acknowledgement means: `memory`, `replicated` or `fsync`.
    pub durability: &'static str,
    /// Whether it was there already.
    pub duplicate: bool,
}

/// A page of history.
#[derive(Debug, Clone)]
pub struct HistoryOk {
    /// The channel.
    pub channel: ChannelName,
    /// The lineage that the messages' numbers count in.
    pub lineage: String,
    /// In the order asked for.
    pub messages: Vec<Arc<Message>>,
    /// Whether retention has trimmed what would have come.
    pub truncated: bool,
    /// Where the next page starts; none after the last.
    pub next: Option<String>,
}

/// Answers a command that was carried out.
#[must_use]
pub fn reply(id: u64, reply: &Reply) -> Frame {
    let hint = match reply {
        Reply::History(page) => page.messages.iter().map(|message| message_hint(message)).sum(),
        Reply::Connected(hello) => REPLY_BYTES + hello.resume.as_ref().map_or(0, String::len),
        Reply::Presence(page) => page.hint(),
        _ => 0,
    };
    Frame::text(REPLY_BYTES + hint, |out| {
        out.extend_from_slice(b"{\"id\":");
        number(out, id);
        out.extend_from_slice(b",\"ok\":{");
        let mut fields = Fields::new(out);
        match reply {
            Reply::Connected(hello) => fields.hello(hello),
            Reply::Subscribed(subscribed) => fields.subscribed(subscribed),
            Reply::Unsubscribed | Reply::PresenceDone => {}
            Reply::Published(published) => {
                fields.text("id", &published.id);
                fields.text("position", &published.position);
                fields.text("durability", published.durability);
                fields.bool("duplicate", published.duplicate);
            }
            Reply::Presence(page) => fields.presence(page),
            Reply::History(page) => fields.history(page),
            Reply::Pong { time } => fields.number("time", *time),
            Reply::Refreshed { expires_ms, resume } => {
                fields.number("expires_ms", *expires_ms);
                fields.optional("resume", resume.as_deref());
            }
        }
        out.extend_from_slice(b"}}");
    })
}

/// Answers a command that was not; without an id where none could be read.
#[must_use]
pub fn error(id: Option<u64>, problem: &Problem) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.push(b'{');
        let mut fields = Fields::new(out);
        if let Some(id) = id {
            fields.number("id", id);
        }
        fields.problem("error", problem);
        out.push(b'}');
    })
}

/// A message, the same for every connection that gets it.
#[must_use]
pub fn push_message(channel: &ChannelName, message: &Message) -> Frame {
    if message.is_deleted() {
        return push_deleted(channel, message);
    }
    Frame::text(message_hint(message) + channel.as_str().len(), |out| {
        out.extend_from_slice(b"{\"msg\":{\"channel\":\"");
        // Names hold nothing that JSON would escape.
        out.extend_from_slice(channel.as_str().as_bytes());
        out.extend_from_slice(b"\",");
        write_body(out, message, Form::Socket);
        out.extend_from_slice(b"}}");
    })
}

/// Tells that a live subscription has lost something, and from where on it is whole again.
#[must_use]
pub fn push_recovery(channel: &ChannelName, gap: &Gap, lineage: &str, seq: Seq) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"recovery\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.gap(gap);
        fields.text("lineage", lineage);
        fields.number("seq", seq);
        out.extend_from_slice(b"}}");
    })
}

/// Tells that a live subscription goes on under another lineage, with nothing missing.
#[must_use]
pub fn push_continued(channel: &ChannelName, lineage: &str, seq: Seq) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"recovery\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.bool("recovered", true);
        fields.text("lineage", lineage);
        fields.number("seq", seq);
        out.extend_from_slice(b"}}");
    })
}

/// Tells how many messages a client that did not keep up was not sent: those after `from` up to and including `to`.
#[must_use]
pub fn push_gap(channel: &ChannelName, from: &str, to: &str, dropped: u64) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"gap\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.text("from", from);
        fields.text("to", to);
        fields.number("dropped", dropped);
        out.extend_from_slice(b"}}");
    })
}

/// Tells that a fifth or less is left of a limit of this connection; of a rate, of what may come at once.
#[must_use]
pub fn push_limit_near(limit: Limit, used: u64, max: u64) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"notice\":{");
        let mut fields = Fields::new(out);
        fields.text("kind", "limit_near");
        fields.text("limit", limit.as_str());
        fields.number("used", used);
        fields.number("max", max);
        out.extend_from_slice(b"}}");
    })
}

/// Tells that the server has ended a subscription, and why.
#[must_use]
pub fn push_unsubscribed(channel: &ChannelName, problem: &Problem) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"unsubscribed\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.problem("error", problem);
        out.extend_from_slice(b"}}");
    })
}

/// Tells that the token of the connection expires soon.
#[must_use]
pub fn push_token_expiring(expires_ms: u64) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"notice\":{");
        let mut fields = Fields::new(out);
        fields.text("kind", "token_expiring");
        fields.number("expires_ms", expires_ms);
        out.extend_from_slice(b"}}");
    })
}

/// Asks the client to reconnect in a while, before the server goes away.
#[must_use]
pub fn push_reconnect(after_ms: u64) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"reconnect\":{");
        Fields::new(out).number("after_ms", after_ms);
        out.extend_from_slice(b"}}");
    })
}

/// Appends the fields of one object.
pub(super) struct Fields<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Fields<'o> {
    pub(super) const fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, first: true }
    }

    fn name(&mut self, name: &str) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        text(self.out, value);
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        number(self.out, value);
    }

    fn bool(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn problem(&mut self, name: &str, problem: &Problem) {
        self.name(name);
        serde_json::to_writer(&mut *self.out, problem).expect("memory takes every write");
    }

    fn hello(&mut self, hello: &Hello) {
        self.name("connection");
        serde_json::to_writer(&mut *self.out, &hello.connection).expect("memory takes every write");
        if let Some(user) = &hello.user {
            self.text("user", user);
        }
        self.number("heartbeat_ms", hello.heartbeat_ms);
        if let Some(expires_ms) = hello.expires_ms {
            self.number("expires_ms", expires_ms);
        }
        if let Some(resumed) = hello.resumed {
            self.bool("resumed", resumed);
        }
        self.optional("resume", hello.resume.as_deref());
        self.name("limits");
        self.out.push(b'{');
        let mut limits = Fields::new(self.out);
        for limit in HELLO_LIMITS {
            limits.limit(limit, &hello.limits);
        }
        self.out.push(b'}');
    }

    fn limit(&mut self, limit: Limit, limits: &Limits) {
        let value = limits.get(limit);
        match limit.unit() {
            Unit::PerSecond => {
                self.name(limit.as_str());
                self.out.push(b'{');
                let mut rate = Fields::new(self.out);
                rate.number("max", value.max);
                rate.number("burst", value.burst);
                self.out.push(b'}');
            }
            Unit::Count | Unit::Bytes | Unit::Milliseconds => self.number(limit.as_str(), value.max),
        }
    }

    pub(super) fn subscribed(&mut self, subscribed: &SubscribedOk) {
        self.text("channel", subscribed.channel.as_str());
        self.text("lineage", &subscribed.lineage);
        self.number("seq", subscribed.seq);
        match &subscribed.recovery {
            None => {}
            Some(Recovery::Recovered) => self.bool("recovered", true),
            Some(Recovery::Lost(gap)) => self.gap(gap),
        }
        if let Some(expires_ms) = subscribed.expires_ms {
            self.number("expires_ms", expires_ms);
        }
    }

    fn gap(&mut self, gap: &Gap) {
        self.bool("recovered", false);
        self.text("reason", gap.reason.as_str());
        self.text("from", &gap.from);
        self.text("to", &gap.to);
    }

    fn history(&mut self, page: &HistoryOk) {
        self.text("channel", page.channel.as_str());
        self.text("lineage", &page.lineage);
        self.name("messages");
        self.out.push(b'[');
        for (index, message) in page.messages.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write_message(self.out, message, None);
        }
        self.out.push(b']');
        self.bool("truncated", page.truncated);
        if let Some(next) = &page.next {
            self.text("next", next);
        }
    }
}
