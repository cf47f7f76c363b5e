//! What a client may ask.

use std::fmt;

use fanfare_core::{ChannelName, MemberId, Problem};
use serde_json::value::RawValue;

use super::Publish;

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The client's number for it, repeated in the answer.
    pub id: u64,
    /// What is asked.
    pub kind: CommandKind,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandKind {
    /// Starts the session; the first command of every connection.
    Connect(Connect),
    /// Replaces the token of a live connection, or of one of its subscriptions.
    Refresh(Refresh),
    /// Attaches the connection to a channel.
    Subscribe(Subscribe),
    /// Detaches it.
    Unsubscribe {
        /// The channel.
        channel: ChannelName,
    },
    /// Publishes a message.
    Publish(Box<Publish>),
    /// Enters a channel's presence, changes or ends it, or asks who is there.
    Presence(Presence),
    /// Reads what was published before.
    History(History),
    /// Asks whether anybody is there.
    Ping,
}

impl CommandKind {
    /// The commands' names.
    pub const NAMES: [&str; 8] =
        ["connect", "refresh", "subscribe", "unsubscribe", "publish", "presence", "history", "ping"];

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Refresh(_) => "refresh",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Publish(_) => "publish",
            Self::Presence(_) => "presence",
            Self::History(_) => "history",
            Self::Ping => "ping",
        }
    }

    /// The channel it concerns.
    #[must_use]
    pub const fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::Subscribe(Subscribe { channel, .. })
            | Self::Unsubscribe { channel }
            | Self::Presence(Presence { channel, .. })
            | Self::History(History { channel, .. }) => Some(channel),
            Self::Publish(publish) => Some(&publish.channel),
            Self::Refresh(refresh) => refresh.channel.as_ref(),
            Self::Connect(_) | Self::Ping => None,
        }
    }
}

/// A token or ticket that is not verified yet, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    /// The token, for whoever verifies it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(redacted)")
    }
}

/// Starts the session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connect {
    /// Who connects; none connects anonymously, or with the token of the handshake.
    pub token: Option<Token>,
    /// The ticket of the connection that goes on.
    pub resume: Option<Token>,
}

/// Replaces the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The new one.
    pub token: Token,
    /// The subscription whose token it is; none for the connection's.
    pub channel: Option<ChannelName>,
}

/// Attaches to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The channel; may be one of Fanfare's own.
    pub channel: ChannelName,
    /// From where on.
    pub start: Start,
    /// Whether to be told who is present, and every change of it.
    pub presence: bool,
    /// A token for this subscription alone.
    pub token: Option<Token>,
}

/// From where on a subscription receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// What is published from now on.
    Now,
    /// What came after this position, as the client says it; then live.
    After(String),
    /// Some of the past; then live.
    Rewind(Rewind),
}

/// How much of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewind {
    /// So many messages.
    Messages(u32),
    /// So many milliseconds.
    Ms(u64),
}

/// Enters, changes, ends or reads presence.
#[derive(Debug, Clone)]
pub struct Presence {
    /// The channel; members enter none of Fanfare's own.
    pub channel: ChannelName,
    /// What to do there.
    pub action: PresenceAction,
}

/// What to do in a channel's presence.
#[derive(Debug, Clone)]
pub enum PresenceAction {
    /// Be there, saying this of oneself.
    Enter(Option<Box<RawValue>>),
    /// Say something else.
    Update(Box<RawValue>),
    /// Be there no more.
    Leave,
    /// Ask who is there.
    Get(PresenceGet),
}

/// Which members are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceGet {
    /// Those after this one, `next` of the page before.
    pub after: Option<MemberId>,
    /// At most so many.
    pub limit: u32,
}

impl PartialEq for Presence {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.action, &other.action) {
            (PresenceAction::Enter(left), PresenceAction::Enter(right)) => {
                left.as_deref().map(RawValue::get) == right.as_deref().map(RawValue::get)
            }
            (PresenceAction::Update(left), PresenceAction::Update(right)) => left.get() == right.get(),
            (PresenceAction::Leave, PresenceAction::Leave) => true,
            (PresenceAction::Get(left), PresenceAction::Get(right)) => left == right,
            _ => false,
        };
        same && self.channel == other.channel
    }
}

/// Reads what was published before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The channel; may be one of Fanfare's own.
    pub channel: ChannelName,
    /// The position, as the client says it, from which to read; none reads from the end in that direction.
    pub from: Option<String>,
    /// Which way.
    pub direction: Direction,
    /// At most so many messages.
    pub limit: u32,
}

/// Which way history is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From newer to older.
    Backward,
    /// From older to newer.
    Forward,
}

/// A command that cannot be carried out as it stands.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", problem.detail)]
pub struct CommandError {
    /// The command's id, where it could be read.
    pub id: Option<u64>,
    /// Everything that is wrong with it.
    pub problem: Box<Problem>,
}
