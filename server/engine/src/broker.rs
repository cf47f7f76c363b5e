//! The log behind every channel: append, read, and hear of what others appended.
//!
//! A form of it passes `tests/it/brokers.rs`. The memory form here is the reference and needs no service.

mod memory;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fanfare_core::id::ConnectionId;
pub use fanfare_core::settings::Durability;
use fanfare_core::settings::History;
use fanfare_core::{ChannelKey, Draft, LimitValue, Lineage, Message, Position, Seq};

pub use memory::{MemoryBroker, MemoryOptions};

/// An answer that is there at once, or later. What is local costs no allocation and no turn of the scheduler.
pub enum Pending<T> {
    /// Here it is.
    Ready(T),
    /// It will come.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T: Send + 'static> Pending<T> {
    /// The answer, made into another.
    pub fn map<U>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Pending<U> {
        match self {
            Self::Ready(value) => Pending::Ready(change(value)),
            Self::Later(future) => Pending::Later(Box::pin(async move { change(future.await) })),
        }
    }
}

impl<T> Pending<T> {
    /// Waits for it.
    pub async fn wait(self) -> T {
        match self {
            Self::Ready(value) => value,
            Self::Later(future) => future.await,
        }
    }
}

/// Why a broker refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The id came before, on this channel and from this publisher, with another content.
    #[error("the id was used for another content")]
    IdReused,
    /// The channel gets more than its rate.
    #[error("the channel takes {max} messages a second")]
    Rate {
        /// How many a second.
        max: u64,
        /// When there is room again.
        retry_after_ms: u64,
    },
    /// The app keeps as much history as it may.
    #[error("the app keeps {max} bytes of history")]
    AppBytes {
        /// How many bytes.
        max: u64,
    },
    /// The app has as many channels as it may.
    #[error("the app has {max} channels in use or with history")]
    AppChannels {
        /// How many.
        max: u64,
    },
    /// The broker holds as much as it may.
    #[error("the broker is full")]
    Full,
    /// It cannot be reached: the message was certainly not appended.
    #[error("the broker cannot be reached")]
    Unavailable,
    /// As many machines as are asked for cannot be said to have it: the message may or may not have been appended.
    #[error("no second machine has confirmed the message; it may be there, and be lost with the first")]
    NotReplicated,
    /// It did not answer: the message may or may not have been appended.
    #[error("the broker did not answer in time; the message may or may not be there")]
    Unknown,
}

/// What is appended, and under which settings.
#[derive(Debug, Clone)]
pub struct Append {
    /// The publisher's own id or one made for it.
    pub id: Box<str>,
    /// Whether the id is the publisher's: only then can it come again.
    pub idempotent: bool,
    /// Whose ids these are: ids of two publishers never meet.
    pub scope: Scope,
    /// The `sub` of a client.
    pub publisher: Option<Box<str>>,
    /// The connection it came over.
    pub origin: Option<ConnectionId>,
    /// What was handed in.
    pub draft: Arc<Draft>,
    /// Unix milliseconds.
    pub time_ms: u64,
    /// When the publish was accepted, on the clock that rates are counted by.
    pub monotonic: Duration,
    /// How much of the channel's past to keep.
    pub history: History,
    /// What must be so before it is acknowledged.
    pub durability: Durability,
    /// How long to remember the id, in milliseconds.
    pub idempotency_ms: u64,
    /// The channel's rate.
    pub rate: LimitValue,
    /// How many bytes of history the app may keep.
    pub app_bytes_max: u64,
    /// How many channels the app may have that are in use or have history; those that are there stay.
    pub app_channels_max: u64,
}

/// Whose message ids are compared with each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The app's backends, all keys together: a retry may come from another machine with another key.
    Backend,
    /// One user.
    User(Box<str>),
    /// One connection without a user.
    Connection(ConnectionId),
    /// Clients without a user that come over REST: nothing tells them apart.
    Anonymous,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Where it stands.
    pub position: Position,
    /// Its id.
    pub id: Box<str>,
    /// Whether it stood there before.
    pub duplicate: bool,
    /// What was done before this answer.
    pub durability: Durability,
}

/// Where a read starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// Nothing but the top.
    Top,
    /// Oldest first, after this number.
    After(Seq),
    /// Newest first, before this number; `None` from the top.
    Before(Option<Seq>),
    /// Oldest first, the last so many.
    Last(u32),
    /// Oldest first, from this Unix millisecond.
    Since(u64),
}

/// A read, bounded in messages and bytes. At least one message is given where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Where it starts.
    pub start: Start,
    /// At most so many messages.
    pub messages_max: u32,
    /// At most about so many bytes.
    pub bytes_max: u64,
    /// Unix milliseconds: what is older than the channel keeps is not given.
    pub now_ms: u64,
}

/// What is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remove {
    /// Everything that is kept; numbers go on from where they are.
    All,
    /// The message at this position. Its number stays in the log, as a message without content.
    Message(Position),
}

/// What a read found: everything in it is of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The channel's log.
    pub lineage: Lineage,
    /// The number of the newest message, 0 before the first.
    pub top: Seq,
    /// The number of the oldest message kept; `top + 1` when none is.
    pub first: Seq,
    /// The messages.
    pub messages: Vec<Arc<Message>>,
    /// Lineages that this one continues, the latest last.
    pub earlier: Vec<Earlier>,
}

/// A lineage of the same epoch that a log had before, and how far it is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// Its term.
    pub term: u64,
    /// Its nonce.
    pub nonce: u32,
    /// The last of its numbers that the log goes on from: what was published under it beyond that is lost.
    pub top: Seq,
}

impl Page {
    /// Whether the log goes on from this position without a loss, as far as it is kept.
    #[must_use]
    pub fn continues(&self, position: Position) -> bool {
        let Position { lineage, seq } = position;
        if lineage == self.lineage {
            return seq <= self.top;
        }
        let is_it = |earlier: &&Earlier| (earlier.term, earlier.nonce) == (lineage.term, lineage.nonce);
        lineage.epoch == self.lineage.epoch && self.earlier.iter().find(is_it).is_some_and(|earlier| seq <= earlier.top)
    }
}

/// Who hears of appended messages: the hub. Called in the channel's order, under no lock of the hub's own; must not wait.
pub trait Deliver: Send + Sync + 'static {
    /// A message was appended. `accepted` is when its publish was, on this node's monotonic clock, as near as the broker
    /// can tell.
    fn deliver(&self, channel: &ChannelKey, message: Arc<Message>, accepted: Duration);

    /// What was delivered so far may be written to sockets: a broker that delivers outside of a publish calls this after
    /// each batch.
    fn settle(&self) {}
}

/// The log behind every channel.
///
/// Calls of `publish` for one channel, made one after the other by one caller, are appended in that order, whether or
/// not their answers have come.
pub trait Broker: Send + Sync + 'static {
    /// Appends, and tells every interested node.
    fn publish(&self, channel: &ChannelKey, append: Append) -> Pending<Result<Appended, BrokerError>>;

    /// Reads.
    fn read(&self, channel: &ChannelKey, read: Read) -> Pending<Result<Page, BrokerError>>;

    /// Deletes from the log, and answers how many messages it were.
    fn remove(&self, channel: &ChannelKey, remove: Remove) -> Pending<Result<u64, BrokerError>>;

    /// From the answer on, everything appended to the channel is delivered here.
    fn attach(&self, channel: &ChannelKey) -> Pending<Result<(), BrokerError>>;

    /// Nobody here needs the channel any more, unless it is `wanted` again: asked under whatever orders this call with
    /// those of `attach`, so that whoever comes back in between misses nothing.
    fn detach(&self, channel: &ChannelKey, wanted: &dyn Fn() -> bool);

    /// Called about once a second: drops what nobody needs any more, a bounded part a call.
    fn sweep(&self, now_ms: u64);
}
