//! Who asks: proof that a credential was checked against an app.

use std::sync::Arc;

use fanfare_core::id::{ConnectionId, KeyId};
use fanfare_core::{App, Subject};

use crate::broker::Scope;
use crate::decisions::Asking;
use crate::directory::AppEntry;

/// An authenticated caller of one app. It exists only after authentication ([`crate::Node::authenticate_key`],
/// [`crate::Node::authenticate_token`], or a connection's handshake).
#[derive(Clone)]
pub struct Caller {
    pub(crate) entry: Arc<AppEntry>,
    pub(crate) subject: Arc<Subject>,
    pub(crate) connection: Option<ConnectionId>,
}

impl Caller {
    /// The app, as it is now.
    #[must_use]
    pub fn app(&self) -> Arc<App> {
        self.entry.app()
    }

    /// The key, when a backend calls.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        match &*self.subject {
            Subject::Key { id, .. } => Some(*id),
            Subject::Client(_) | Subject::Inspector(_) => None,
        }
    }

    /// Whether a client calls, with a token that sockets take too.
    #[must_use]
    pub fn is_client(&self) -> bool {
        matches!(&*self.subject, Subject::Client(_))
    }

    /// The user, where there is one.
    #[must_use]
    pub fn sub(&self) -> Option<&str> {
        self.subject.sub()
    }

    /// How it asks for something.
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking { subject: &self.subject, connection: self.connection }
    }

    /// Whose message ids its own are compared with.
    pub(crate) fn scope(&self) -> Scope {
        match (&*self.subject, self.subject.sub(), self.connection) {
            (Subject::Client(_), Some(user), _) => Scope::User(user.into()),
            (Subject::Client(_), None, Some(connection)) => Scope::Connection(connection),
            (Subject::Client(_), None, None) => Scope::Anonymous,
            (Subject::Key { .. } | Subject::Inspector(_), ..) => Scope::Backend,
        }
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Caller").field("app", &self.entry.id()).field("key", &self.key()).finish_non_exhaustive()
    }
}
