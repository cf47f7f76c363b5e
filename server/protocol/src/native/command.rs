//! What a client may ask.

use std::fmt;

use fanfare_core::{ChannelName, Problem};

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
    /// Reads what was published before.
    History(History),
    /// Asks whether anybody is there.
    Ping,
}

impl CommandKind {
    /// The commands' names.
    pub const NAMES: [&str; 7] = ["connect", "refresh", "subscribe", "unsubscribe", "publish", "history", "ping"];

    /// The channel it concerns.
    #[must_use]
    pub const fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::Subscribe(Subscribe { channel, .. })
            | Self::Unsubscribe { channel }
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
