//! Members of a tenant who look at an app through the dashboard, and the single things they are let do there.
//!
//! An [`Inspector`] comes from a token that only the platform's own key can sign. It looks at everything in the app but
//! Fanfare's own channels; to change something it needs a token that was made for just that [`Act`].

use serde::{Deserialize, Serialize};

use crate::app::{App, Block};
use crate::capability::Operation;
use crate::channel::ChannelName;
use crate::id::{ConnectionId, KeyId, UserId};
use crate::permission::Refusal;

/// The longest name of a user, in bytes: the `sub` of tokens.
pub const USER_BYTES_MAX: usize = 255;

/// A member of the tenant who looks at the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspector {
    /// The platform's key that signed for them.
    pub key: KeyId,
    /// Who they are.
    pub member: UserId,
    /// The one thing they may do besides looking.
    pub act: Option<Act>,
}

/// One thing that is done to an app's connections or channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Close this connection.
    DisconnectConnection(ConnectionId),
    /// Close the connections of this user.
    DisconnectUser(Box<str>),
    /// Close the connections that are subscribed to this channel.
    DisconnectChannel(ChannelName),
    /// Delete all that is kept of this channel.
    DeleteHistory(ChannelName),
}

impl Act {
    /// The word for what is done, without what it is done to.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::DisconnectConnection(_) => "disconnect_connection",
            Self::DisconnectUser(_) => "disconnect_user",
            Self::DisconnectChannel(_) => "disconnect_channel",
            Self::DeleteHistory(_) => "delete_history",
        }
    }

    /// What it is done to.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::DisconnectConnection(connection) => connection.to_string(),
            Self::DisconnectUser(user) => user.to_string(),
            Self::DisconnectChannel(channel) | Self::DeleteHistory(channel) => channel.to_string(),
        }
    }

    /// Whether what it names can exist: ids and channels are checked by their types, a user's name here.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self {
            Self::DisconnectUser(user) => is_user(user),
            Self::DisconnectConnection(_) | Self::DisconnectChannel(_) | Self::DeleteHistory(_) => true,
        }
    }
}

/// Whether a text can be the `sub` of a token.
#[must_use]
pub fn is_user(user: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&user.len()) && !user.contains('\0')
}

impl Inspector {
    /// Decides whether the member may read this of a channel: history and presence of every channel of the tenant's,
    /// and nothing else.
    pub(crate) fn decide(&self, app: &App, operation: Operation, channel: &ChannelName) -> Result<(), Refusal> {
        match operation {
            _ if app.status.blocks(Block::All) => Err(Refusal::Tenant),
            Operation::History | Operation::PresenceRead if !channel.is_reserved() => Ok(()),
            Operation::History
            | Operation::PresenceRead
            | Operation::Subscribe
            | Operation::Publish
            | Operation::Presence
            | Operation::Sign
            | Operation::Manage
            | Operation::Stats => Err(Refusal::Inspector { operation }),
        }
    }

    /// Decides whether the member may do this: only what the token was made for.
    ///
    /// # Errors
    /// When the tenant is blocked, or the token was made for something else, or for looking.
    pub fn decide_act(&self, app: &App, act: &Act) -> Result<(), Refusal> {
        if app.status.blocks(Block::All) {
            return Err(Refusal::Tenant);
        }
        if self.act.as_ref() == Some(act) { Ok(()) } else { Err(Refusal::Inspector { operation: Operation::Manage }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Subject;
    use crate::app::AppStatus;
    use crate::permission::decide;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse_any(name).expect("valid")
    }

    fn acts() -> Vec<Act> {
        vec![
            Act::DisconnectConnection(ConnectionId::new(1, 1)),
            Act::DisconnectConnection(ConnectionId::new(1, 2)),
            Act::DisconnectUser("ann".into()),
            Act::DisconnectUser("room:9".into()),
            Act::DisconnectChannel(channel("room:9")),
            Act::DeleteHistory(channel("room:9")),
            Act::DeleteHistory(channel("room:8")),
        ]
    }

    fn inspector(act: Option<Act>) -> Inspector {
        Inspector { key: KeyId::new(1, 1), member: UserId::new(1, 1), act }
    }

    #[test]
    fn a_token_made_for_one_thing_does_no_other() {
        let app = App::for_tests();
        let suspended = App { status: AppStatus::Suspended(Block::All), ..App::for_tests() };
        for (at, given) in acts().into_iter().enumerate() {
            for (wanted_at, wanted) in acts().iter().enumerate() {
                let may = inspector(Some(given.clone())).decide_act(&app, wanted).is_ok();
                assert_eq!(may, at == wanted_at, "{given:?} for {wanted:?}");
                assert!(inspector(None).decide_act(&app, wanted).is_err());
            }
            assert_eq!(inspector(Some(given.clone())).decide_act(&suspended, &given), Err(Refusal::Tenant));
            let printed = serde_json::to_string(&given).expect("prints");
            assert_eq!(serde_json::from_str::<Act>(&printed).expect("reads"), given);
            assert!(printed.starts_with(&format!("{{\"{}\":", given.as_str())) && printed.contains(&given.target()));
        }
        assert!(serde_json::from_str::<Act>(r#"{"delete_history":"$stats:overview"}"#).is_err());
        assert!(!Act::DisconnectUser("".into()).is_sound() && !Act::DisconnectUser("a\0".into()).is_sound());
    }

    #[test]
    fn whoever_looks_reads_and_does_nothing_else() {
        let app = App::for_tests();
        for act in [None, Some(Act::DeleteHistory(channel("room:9")))] {
            let subject = Subject::Inspector(Box::new(inspector(act)));
            for operation in Operation::ALL {
                let reads = matches!(operation, Operation::History | Operation::PresenceRead);
                assert_eq!(decide(&app, &subject, operation, &channel("room:9")).is_ok(), reads, "{operation}");
                assert!(decide(&app, &subject, operation, &channel("$stats:overview")).is_err(), "{operation}");
            }
        }
    }
}
