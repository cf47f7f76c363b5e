//! What happens in an app, as the debug console shows it: one message on [`CHANNEL`] holds what happened in a moment.
//!
//! Nothing of a message's payload is in here, no token and no address: whoever may read a channel reads it there.

use serde::{Deserialize, Serialize};

use crate::codes::ErrorCode;
use crate::id::{ConnectionId, KeyId, RuleId};
use crate::limits::Limit;
use crate::permission::Layer;

/// The reserved channel that tells it, while somebody listens.
pub const CHANNEL: &str = "$debug:events";

/// What happened in a moment, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugEvents {
    /// What happened.
    pub events: Vec<DebugEvent>,
    /// How much more happened than is told here.
    pub dropped: u64,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugEvent {
    /// Names it, in one app.
    pub id: String,
    /// When, Unix milliseconds.
    pub time: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happened {
    /// A client connected and was answered.
    Connected {
        /// Its connection.
        connection: ConnectionId,
        /// The `sub` of its token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// How.
        transport: String,
        /// Whether it goes on with a connection that it had before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        resumed: bool,
    },
    /// A connection ended.
    Disconnected {
        /// Which.
        connection: ConnectionId,
        /// The `sub` of its token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Why: a code's word, `client` or `lost`.
        reason: String,
    },
    /// A subscription began.
    Subscribed {
        /// Whose.
        connection: ConnectionId,
        /// To which channel.
        channel: String,
    },
    /// A subscription ended.
    Unsubscribed {
        /// Whose.
        connection: ConnectionId,
        /// To which channel.
        channel: String,
        /// Why, where the client did not ask for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<ErrorCode>,
    },
    /// Something was refused.
    Refused(Box<Refused>),
    /// A message was accepted.
    Published {
        /// On which channel.
        channel: String,
        /// The message's id.
        message: String,
        /// Its number in the channel.
        seq: u64,
        /// What it weighs.
        bytes: u64,
        /// What happened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Who published it.
        #[serde(flatten)]
        by: By,
        /// Whether it stood there before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
}

/// What was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The code.
    pub code: ErrorCode,
    /// What happened, in a sentence.
    pub detail: String,
    /// The layer of permissions that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
    /// The rule that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The limit that was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// What was asked: a command's name, or a request's method and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// On which channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The id of the request, as in its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Who asked.
    #[serde(flatten)]
    pub by: By,
}

/// Who did something, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// A client's connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionId>,
    /// Its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A backend's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
}

impl Happened {
    /// The words for what can happen, in the order in which they are shown.
    pub const KINDS: [&str; 6] = ["connected", "disconnected", "subscribed", "unsubscribed", "published", "refused"];

    /// The word for what happened.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::Subscribed { .. } => "subscribed",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Refused(_) => "refused",
            Self::Published { .. } => "published",
        }
    }

    /// The channel it concerns.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::Connected { .. } | Self::Disconnected { .. } => None,
            Self::Subscribed { channel, .. } | Self::Unsubscribed { channel, .. } | Self::Published { channel, .. } => {
                Some(channel)
            }
            Self::Refused(refused) => refused.channel.as_deref(),
        }
    }

    /// The connection it concerns.
    #[must_use]
    pub fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Connected { connection, .. }
            | Self::Disconnected { connection, .. }
            | Self::Subscribed { connection, .. }
            | Self::Unsubscribed { connection, .. } => Some(*connection),
            Self::Refused(refused) => refused.by.connection,
            Self::Published { by, .. } => by.connection,
        }
    }

    /// The user it concerns.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Connected { user, .. } | Self::Disconnected { user, .. } => user.as_deref(),
            Self::Subscribed { .. } | Self::Unsubscribed { .. } => None,
            Self::Refused(refused) => refused.by.user.as_deref(),
            Self::Published { by, .. } => by.user.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_happen_reads_as_it_was_written() {
        let connection = ConnectionId::new(1, 1);
        let by = By { connection: Some(connection), user: Some("ann".to_owned()), key: None };
        let refused = Refused {
            code: ErrorCode::Forbidden,
            detail: "No.".to_owned(),
            layer: Some(Layer::Acl),
            rule: Some(RuleId::new(1, 1)),
            limit: None,
            operation: Some("publish".to_owned()),
            channel: Some("room:9".to_owned()),
            request: None,
            by: by.clone(),
        };
        let channel = || "room:9".to_owned();
        let all = [
            Happened::Connected { connection, user: None, transport: "websocket".to_owned(), resumed: true },
            Happened::Disconnected { connection, user: by.user.clone(), reason: "lost".to_owned() },
            Happened::Subscribed { connection, channel: channel() },
            Happened::Unsubscribed { connection, channel: channel(), reason: Some(ErrorCode::Forbidden) },
            Happened::Published {
                channel: channel(),
                message: "m".to_owned(),
                seq: 7,
                bytes: 2,
                name: None,
                by: By { key: Some(KeyId::new(1, 1)), ..By::default() },
                duplicate: false,
            },
            Happened::Refused(Box::new(refused)),
        ];
        for (what, kind) in all.into_iter().zip(Happened::KINDS) {
            assert_eq!(what.kind(), kind);
            let event = DebugEvent { id: "1-1".to_owned(), time: 1, what };
            let printed = serde_json::to_value(&event).expect("prints");
            assert_eq!(printed["kind"], kind);
            assert_eq!(serde_json::from_value::<DebugEvent>(printed).expect("reads"), event);
        }
    }
}
