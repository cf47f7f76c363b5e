//! The data plane: what happens between a publish and the sockets of its subscribers.
//!
//! Read in this order: [`node`] (every operation of REST and sockets comes through [`Node`]), [`hub`] (channels on this
//! node and the fan-out), [`outbox`] (one client's write side), [`subscription`] (the cursor that makes delivery gapless),
//! [`connection`] and [`session`] (one client's life), [`broker`] (the log behind a channel; [`MemoryBroker`] is the
//! reference), [`presence`] (who is on a channel, behind a seam likewise), [`directory`] (apps as snapshots), [`token`] and
//! [`issuers`] (who a client is), [`bus`] (what connections are told from outside, on every node), [`budget`] (what nodes
//! share of limits), [`ticket`] (how a client comes back).
//!
//! What this crate must never do: wait for Postgres, know which protocol or transport it serves beyond
//! [`transport`] and [`Wire`](outbox::Wire), hold more than one outbox lock, allocate or log per subscriber in `hub`
//! and `outbox`, or keep anything without a bound.

mod admission;
pub mod broker;
pub mod budget;
pub mod bus;
pub mod caller;
mod carried;
pub mod chance;
pub mod clock;
pub mod connection;
mod decisions;
pub mod directory;
pub mod error;
mod events;
mod fair;
pub mod hub;
mod ingress;
pub mod issuers;
pub mod limiter;
pub mod node;
pub mod outbox;
pub mod presence;
mod reads;
mod registry;
pub mod session;
pub mod stats;
pub mod subscription;
pub mod ticket;
pub mod token;
pub mod transport;
pub mod turn;
mod usage;

pub use broker::{Broker, BrokerError, MemoryBroker, MemoryOptions, Pending, Remove};
pub use budget::Budget;
pub use bus::{Bus, LocalBus, Told, Whom};
pub use caller::Caller;
pub use clock::SystemClock;
pub use decisions::TakenDecisions;
pub use directory::{ConnectionPermit, Directory};
pub use error::NodeError;
pub use issuers::{FetchedKeys, JwksIssuer};
pub use node::{
    AppMetrics, Backend, Beside, ChannelInfo, ChannelState, ChannelsPage, ChannelsQuery, ConnectionDetail,
    ConnectionInfo, ConnectionsPage, ConnectionsQuery, Direction, DrainOptions, EnterUser, Handshake, HistoryFrom,
    HistoryPage, HistoryQuery, HistoryUntil, LogError, Membership, MintRequest, Node, NodeInfo, NodeOptions,
    PresenceQuery, Pressure, Published, Quota, RevocationLog, SubscriptionPlace,
};
pub use outbox::Wire;
pub use presence::{MemoryPresence, MemoryPresenceOptions, Presence};
pub use stats::{NodeFigures, PresenceFigures};
pub use ticket::{ResumeTicket, TicketKeys};
pub use transport::{Inbound, Reader, ReceiveError, Sink};
pub use usage::{LetGo, LimitUse};
