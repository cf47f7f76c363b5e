//! Control messages to nodes: an operation that came in anywhere acts on connections wherever they are.
//!
//! ```text
//!   REST ─► Node::disconnect ─► Bus::tell(order) ─┬─► the Directory of this node
//!                                                 └─► … on every other, where there are others
//! ```
//!
//! The local form is the node that is its own world: what it is told is done before it answers, one of one.

use std::sync::Arc;

use fanfare_core::id::{AppId, ConnectionId, RevocationId};
use fanfare_core::{ChannelName, Message, Revocation};

use crate::broker::Pending;
use crate::directory::Directory;

/// Whose connections are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Those of this user.
    User(Box<str>),
    /// This one.
    Connection(ConnectionId),
    /// Those that are subscribed to this channel.
    Channel(ChannelName),
    /// All of the app.
    Everybody,
}

/// What connections are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Close, with `disconnected`, after telling the reason where there is one.
    Disconnect {
        /// For the client to show or log.
        reason: Option<Box<str>>,
    },
    /// Subscribe, as the client could.
    Subscribe {
        /// To this channel.
        channel: ChannelName,
    },
    /// End the subscription.
    Unsubscribe {
        /// To this channel.
        channel: ChannelName,
    },
}

/// A control message.
#[derive(Debug, Clone)]
pub struct Control {
    /// The app: nothing acts across apps.
    pub app: AppId,
    /// What is to be done.
    pub what: What,
}

/// What nodes are asked to do.
#[derive(Debug, Clone)]
pub enum What {
    /// Tells connections something.
    Order {
        /// Whose.
        whom: Whom,
        /// What.
        order: Order,
    },
    /// Writes a message to the connections of a user.
    Send {
        /// Whose.
        user: Box<str>,
        /// It has no place in any channel.
        message: Arc<Message>,
    },
    /// Refuses the tokens a revocation covers, before the change feed brings it, and has their connections look again at
    /// their rights.
    Revoke(Revocation),
    /// Lets them work again.
    EndRevocation(RevocationId),
}

/// How far a control message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Connections that were told, over all nodes that answered.
    pub connections: u64,
    /// Connections that were meant and may not do what they were told.
    pub refused: u64,
    /// Nodes that have carried it out.
    pub applied: u32,
    /// Nodes that are known to live. Where fewer have applied it, the rest may not have heard.
    pub known: u32,
}

/// The road of control messages to the nodes.
pub trait Bus: Send + Sync + 'static {
    /// Tells every node, this one included, and answers when all have, or when those that are left are late.
    fn tell(&self, control: Control) -> Pending<Told>;
}

/// The bus of a node that is alone.
pub struct LocalBus {
    directory: Arc<Directory>,
}

impl LocalBus {
    /// Tells this directory's connections.
    #[must_use]
    pub const fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }
}

impl Bus for LocalBus {
    fn tell(&self, control: Control) -> Pending<Told> {
        let Control { app, what } = control;
        let done = |connections, refused| Told { connections, refused, applied: 1, known: 1 };
        match what {
            What::Send { user, message } => {
                let directory = Arc::clone(&self.directory);
                Pending::Later(Box::pin(async move { done(directory.send(app, &user, &message).await, 0) }))
            }
            What::Order { whom, order } => {
                let (connections, refused) = self.directory.order(app, &whom, &order);
                Pending::Ready(done(connections, refused))
            }
            What::Revoke(revocation) => Pending::Ready(done(self.directory.revoke(app, &revocation), 0)),
            What::EndRevocation(id) => {
                self.directory.end_revocation(app, id);
                Pending::Ready(done(0, 0))
            }
        }
    }
}
