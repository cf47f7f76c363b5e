//! What a connection does, for whoever watches the app's events.

use fanfare_core::debug::{By, Happened};
use fanfare_core::measures::Ending;
use fanfare_core::problem::Problem;
use fanfare_core::{ChannelName, ErrorCode};
use fanfare_protocol::native::CommandKind;

use super::Connection;
use crate::node::{Asked, refused};

/// A command, remembered while somebody watches.
pub(super) struct About {
    operation: &'static str,
    channel: Option<ChannelName>,
}

impl About {
    pub(super) const fn subscribing(channel: ChannelName) -> Self {
        Self { operation: "subscribe", channel: Some(channel) }
    }
}

impl Connection {
    /// What a command is about; `None` while nobody watches.
    pub(super) fn about(&self, kind: &CommandKind) -> Option<About> {
        let about = || About { operation: kind.name(), channel: kind.channel().cloned() };
        self.entry.events.is_watched().then(about)
    }

    pub(super) fn tell_connected(&self, resumed: bool) {
        self.node.happened(&self.entry, || Happened::Connected {
            connection: self.outbox.id(),
            user: self.user(),
            transport: self.outbox.transport().to_owned(),
            resumed,
        });
    }

    pub(super) fn tell_disconnected(&self) {
        // Who never said who they are has not come either.
        if self.caller.is_none() {
            return;
        }
        self.node.happened(&self.entry, || Happened::Disconnected {
            connection: self.outbox.id(),
            user: self.user(),
            reason: Ending::word_of(self.ending.index()).to_owned(),
        });
    }

    pub(super) fn tell_subscribed(&self, channel: &ChannelName) {
        self.node.happened(&self.entry, || Happened::Subscribed {
            connection: self.outbox.id(),
            channel: channel.to_string(),
        });
    }

    pub(super) fn tell_unsubscribed(&self, channel: &ChannelName, reason: Option<ErrorCode>) {
        self.node.happened(&self.entry, || Happened::Unsubscribed {
            connection: self.outbox.id(),
            channel: channel.to_string(),
            reason,
        });
    }

    pub(super) fn tell_refused(&self, problem: &Problem, about: Option<&About>) {
        self.node.happened(&self.entry, || {
            let by = By { connection: Some(self.outbox.id()), user: self.user(), key: None };
            let asked = Asked {
                operation: about.map(|about| about.operation),
                channel: about.and_then(|about| about.channel.as_ref()),
                request: None,
            };
            refused(problem, asked, by)
        });
    }

    /// The user, also of a session that is over.
    fn user(&self) -> Option<String> {
        self.outbox.subject().as_deref().and_then(fanfare_core::Subject::sub).map(Into::into)
    }
}
