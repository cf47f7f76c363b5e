//! Control messages to nodes: an operation that came in anywhere acts on connections wherever they are.
//!
//! ```text
//!   REST ─► Node::disconnect ─► Bus::tell(order) ─┬─► the Directory of this node
//!                                                 └─► … on every other, where there are others
//! ```
//!
//! The local form is the node that is its own world: what it is told is done before it answers, one of one.
//!
//! Likewise nodes are asked what each of them knows alone: who is connected, what is subscribed to, what was measured.

use std::sync::{Arc, Weak};

use fanfare_core::id::{AppId, ConnectionId, RevocationId};
use fanfare_core::measures::Measures;
use fanfare_core::position::PositionKey;
use fanfare_core::{ChannelName, Message, Revocation};
use serde::{Deserialize, Serialize};

use crate::broker::Pending;
use crate::directory::Directory;
use crate::node::{ChannelInfo, ChannelsQuery, ConnectionDetail, ConnectionInfo, ConnectionsQuery, Node, NodeInfo};

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

/// What nodes are asked about an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// Some of its connections.
    Connections(ConnectionsQuery),
    /// One of them.
    Connection(ConnectionId),
    /// Some of the channels that somebody is subscribed to.
    Channels(ChannelsQuery),
    /// How many subscriptions this channel has.
    Subscribers(ChannelName),
    /// What was measured until now.
    Measures,
    /// Somebody listens to what happens in the app: tell it too, for a few seconds.
    Events,
    /// What it says of itself, whatever the app.
    Node,
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Connections, the oldest first, and whether there are more.
    Connections(Vec<ConnectionInfo>, bool),
    /// It, if it is there.
    Connection(Option<Box<ConnectionDetail>>),
    /// Channels by name, and whether there are more.
    Channels(Vec<ChannelInfo>, bool),
    /// So many.
    Subscribers(u64),
    /// Counters that grow from this node's start.
    Measures(Box<Measures>),
    /// It is told.
    Events,
    /// Itself.
    Node(Box<NodeInfo>),
}

/// What nodes answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    /// By node, this one included.
    pub seen: Vec<(Arc<str>, Seen)>,
    /// Nodes that are known to live and did not answer in time.
    pub missing: u32,
}

/// The road of control messages to the nodes.
pub trait Bus: Send + Sync + 'static {
    /// Tells every node, this one included, and answers when all have, or when those that are left are late.
    fn tell(&self, control: Control) -> Pending<Told>;

    /// Asks every node, this one included, likewise.
    fn look(&self, app: AppId, look: Look) -> Pending<Answers>;

    /// Whether of all nodes that ask what was measured of an app this is the one that tells it.
    fn leads(&self, app: AppId) -> bool;
}

/// The bus of a node that is alone.
pub struct LocalBus {
    directory: Arc<Directory>,
    position_key: PositionKey,
    node: Weak<Node>,
}

impl LocalBus {
    /// Tells this directory's connections, which are the node's, and says positions as they are told outside.
    #[must_use]
    pub const fn new(directory: Arc<Directory>, position_key: PositionKey, node: Weak<Node>) -> Self {
        Self { directory, position_key, node }
    }

    fn see(&self, app: AppId, look: &Look) -> Option<Seen> {
        let entry = || self.directory.entry(app);
        Some(match look {
            Look::Node => Seen::Node(Box::new(self.node.upgrade()?.info())),
            Look::Connections(query) => {
                let (connections, more) = entry()?.connections_page(query);
                Seen::Connections(connections, more)
            }
            Look::Connection(id) => Seen::Connection(entry()?.connection_detail(*id, &self.position_key).map(Box::new)),
            Look::Channels(query) => {
                let (channels, more) = entry()?.channels_page(query);
                Seen::Channels(channels, more)
            }
            Look::Subscribers(channel) => {
                Seen::Subscribers(entry()?.channel(channel).map_or(0, |channel| channel.subscribers().into()))
            }
            Look::Measures => Seen::Measures(Box::new(entry()?.measures())),
            Look::Events => {
                entry()?;
                self.directory.heard_elsewhere(app);
                Seen::Events
            }
        })
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

    fn look(&self, app: AppId, look: Look) -> Pending<Answers> {
        // A node that has not heard of an app yet has nobody of it.
        let seen = self.see(app, &look).map(|seen| ("".into(), seen));
        Pending::Ready(Answers { seen: seen.into_iter().collect(), missing: 0 })
    }

    fn leads(&self, _app: AppId) -> bool {
        true
    }
}
