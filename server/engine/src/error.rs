//! What can go wrong in the engine, and how it is told outside.

use fanfare_core::problem::Problem;
use fanfare_core::{ErrorCode, Limit, Refusal};

use crate::broker::BrokerError;
use crate::presence::PresenceError;
use crate::ticket::TicketError;
use crate::token::TokenError;

/// Why an operation was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NodeError {
    /// No such app.
    #[error("there is no such app")]
    UnknownApp,
    /// The node has not heard of all apps yet.
    #[error("this node has just started and does not know the app yet")]
    NotReady,
    /// The node is going away.
    #[error("the node is going away")]
    Draining,
    /// The key does not exist in this app, is wrong, expired or revoked.
    #[error("the key is missing, misspelt, of another app, expired or revoked")]
    KeyInvalid,
    /// The app gives nothing to clients without a token.
    #[error("the app allows nothing to clients without a token")]
    TokenMissing,
    /// The token does not hold.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The resume ticket does not hold.
    #[error("{0}")]
    Ticket(#[from] TicketError),
    /// The origin is not one of the app's.
    #[error("the origin {0} is not one of the app's")]
    Origin(String),
    /// A layer of permissions refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A rate is exceeded.
    #[error("more than {max} a second of {}", limit.as_str())]
    Rate {
        /// Which.
        limit: Limit,
        /// How many a second are allowed.
        max: u64,
        /// When there is room again.
        retry_after_ms: u64,
    },
    /// As many exist as may.
    #[error("{} is at its limit of {max}", limit.as_str())]
    Full {
        /// Which.
        limit: Limit,
        /// How many there may be.
        max: u64,
    },
    /// The message or batch weighs too much.
    #[error("{bytes} bytes are more than {} allows: {max}", limit.as_str())]
    TooLarge {
        /// Which.
        limit: Limit,
        /// What was sent.
        bytes: usize,
        /// What is allowed.
        max: u64,
    },
    /// The position is not one of this channel.
    #[error(transparent)]
    Position(#[from] fanfare_core::position::PositionError),
    /// A message id came before with another content.
    #[error("this id was used for a message with other content")]
    IdReused,
    /// The connection has not entered the channel, or no longer is there.
    #[error("this connection is not present on the channel")]
    NotPresent,
    /// The channel's settings switch presence off.
    #[error("the channel's settings switch presence off")]
    PresenceOff,
    /// A request that can never be right.
    #[error("{}", .0.detail)]
    Invalid(Box<Problem>),
    /// The broker cannot take it.
    #[error(transparent)]
    Broker(BrokerError),
    /// More connections come at once than the node takes.
    #[error("more connections come than this node takes at once")]
    Paced {
        /// When this one has a place.
        retry_after_ms: u64,
    },
    /// The node sheds load.
    #[error("the node is overloaded")]
    Overloaded,
}

impl From<BrokerError> for NodeError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::IdReused => Self::IdReused,
            BrokerError::Rate { max, retry_after_ms } => {
                Self::Rate { limit: Limit::PublishChannel, max, retry_after_ms }
            }
            BrokerError::AppBytes { max } => Self::Full { limit: Limit::HistoryBytesApp, max },
            BrokerError::AppChannels { max } => Self::Full { limit: Limit::Channels, max },
            BrokerError::Full => Self::Overloaded,
            BrokerError::Unavailable | BrokerError::Unknown | BrokerError::NotReplicated => Self::Broker(error),
        }
    }
}

impl From<PresenceError> for NodeError {
    fn from(error: PresenceError) -> Self {
        match error {
            PresenceError::NotPresent => Self::NotPresent,
            PresenceError::Rate { max, retry_after_ms } => {
                Self::Rate { limit: Limit::PresenceRate, max, retry_after_ms }
            }
            PresenceError::AppBytes { max } => Self::Full { limit: Limit::PresenceBytesApp, max },
            PresenceError::Full => Self::Overloaded,
            PresenceError::Unavailable => Self::Broker(BrokerError::Unavailable),
            PresenceError::Unknown => Self::Broker(BrokerError::Unknown),
        }
    }
}

impl NodeError {
    /// Its code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownApp => ErrorCode::NotFound,
            Self::NotReady => ErrorCode::TryAgain,
            Self::Draining => ErrorCode::Moving,
            Self::KeyInvalid => ErrorCode::KeyInvalid,
            Self::TokenMissing => ErrorCode::TokenMissing,
            Self::Token(error) => error.code(),
            Self::Ticket(_) => ErrorCode::ResumeInvalid,
            Self::Origin(_) => ErrorCode::OriginDenied,
            Self::Refused(refusal) => refusal.code(),
            Self::Rate { .. } => ErrorCode::RateLimited,
            Self::Full { .. } => ErrorCode::LimitReached,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::Position(_) => ErrorCode::InvalidPosition,
            Self::IdReused => ErrorCode::IdReused,
            Self::NotPresent => ErrorCode::NotPresent,
            Self::PresenceOff => ErrorCode::PresenceOff,
            Self::Invalid(problem) => problem.code,
            Self::Broker(BrokerError::Unknown) => ErrorCode::OutcomeUnknown,
            Self::Broker(BrokerError::NotReplicated) => ErrorCode::NotReplicated,
            Self::Broker(_) => ErrorCode::StorageUnavailable,
            Self::Paced { .. } | Self::Overloaded => ErrorCode::Overloaded,
        }
    }

    /// The limit that refuses, where one does.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Rate { limit, .. } | Self::Full { limit, .. } | Self::TooLarge { limit, .. } => Some(*limit),
            Self::Invalid(problem) => problem.limit,
            _ => None,
        }
    }

    /// How it is told outside.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let told = || Problem::new(self.code(), sentence(self));
        match self {
            Self::Refused(refusal) => Problem::from(*refusal),
            Self::Invalid(problem) => (**problem).clone(),
            Self::Rate { limit, retry_after_ms, .. } => told().limit(*limit).retry_after_ms(*retry_after_ms),
            Self::Full { limit, .. } | Self::TooLarge { limit, .. } => told().limit(*limit),
            Self::Paced { retry_after_ms } => told().retry_after_ms(*retry_after_ms),
            Self::Draining => told().retry_after_ms(100),
            Self::NotReady | Self::Overloaded => told().retry_after_ms(1_000),
            Self::Broker(error) if *error != BrokerError::Unknown => told().retry_after_ms(1_000),
            Self::UnknownApp
            | Self::KeyInvalid
            | Self::TokenMissing
            | Self::Token(_)
            | Self::Ticket(_)
            | Self::Origin(_)
            | Self::Position(_)
            | Self::IdReused
            | Self::NotPresent
            | Self::PresenceOff
            | Self::Broker(_) => told(),
        }
    }
}

/// An error as a sentence.
pub(crate) fn sentence(error: &impl std::fmt::Display) -> String {
    format!("{}.", capitalised(&error.to_string()))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
