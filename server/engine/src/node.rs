//! The node: every operation of REST and of sockets comes through here, in the order authorize → limit → validate →
//! broker.

mod beside;
mod channels;
pub(crate) mod connections;
mod doors;
mod drain;
mod events;
mod figures;
mod group;
mod history;
mod manage;
mod membership;
mod messages;
mod presence;
mod pressure;
mod revocations;
mod tickets;
mod timing;
mod tokens;

use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fanfare_core::id::{AppId, ConnectionId, MessageId, RequestId};
use fanfare_core::measures::Stage;
use fanfare_core::position::PositionKey;
use fanfare_core::secret::PrintedKey;
use fanfare_core::{
    App, Block, Capabilities, ChannelKey, ChannelName, ChannelSettings, Clock, Draft, ErrorCode, KeyKind, Limit,
    LimitValue, Lineage, Operation, Position, Problem, Refusal, Signer, Subject,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::broker::{Append, Appended, Broker, Deliver, Durability, Pending};
use crate::budget::{Budget, Sharing};
use crate::bus::{Bus, LocalBus};
use crate::caller::Caller;
use crate::chance::Chance;
use crate::connection;
use crate::directory::{AppEntry, ConnectionPermit, Directory, Population};
use crate::error::NodeError;
use crate::hub::{FansOut, Hub};
use crate::outbox::{Outbox, Wire};
use crate::presence::{Hear, Memberships, MemoryPresence, MemoryPresenceOptions, Presence, Watches};
use crate::reads::Reads;
use crate::stats::AppStats;
use crate::ticket::{ResumeTicket, TicketKeys};
use crate::token::{self, Claims};
use crate::transport::{Reader, Sink};
use crate::turn;

pub use beside::Beside;
pub use channels::{ChannelInfo, ChannelsPage, ChannelsQuery};
pub use connections::{ConnectionDetail, ConnectionInfo, ConnectionsPage, ConnectionsQuery, SubscriptionPlace};
use doors::Links;
pub use drain::DrainOptions;
pub(crate) use drain::MOVE_WITHIN_MS;
pub(crate) use events::{Asked, by, refused};
pub use figures::AppMetrics;
pub use membership::{Membership, NodeInfo};
pub use pressure::Pressure;

pub use history::{Direction, HistoryFrom, HistoryPage, HistoryQuery, HistoryUntil};
pub use messages::ChannelState;
pub(crate) use presence::{EnterClient, may_be_present, may_see};
pub use presence::{EnterUser, PresenceQuery};
pub use revocations::{Backend, LogError, RevocationLog};

/// How a node is run.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Origins that the dashboard is opened at. Its pages may always connect and read answers: an app's own list is about
    /// its clients. Default none.
    pub dashboard_origins: Vec<String>,
    /// Connections this node takes over all apps. Default 100,000.
    pub connections_max: u64,
    /// How many connections it lets in a second, and at once. Default 5,000 and 10,000.
    pub connect_rate: LimitValue,
    /// How long a client may take until its `connect`. Default 5 s.
    pub connect_within: Duration,
    /// What seals resume tickets, the same on every node. `None`, the default, makes a key: tickets then hold on this
    /// node alone, until it ends.
    pub ticket_keys: Option<TicketKeys>,
    /// Bounds of presence in memory.
    pub presence: MemoryPresenceOptions,
    /// What the operator is told of it by: its machine and process. Default empty.
    pub name: Box<str>,
    /// Seeds ids and spreads, so that a test replays; `None`, the default, takes the system's randomness.
    pub seed: Option<u64>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            dashboard_origins: Vec::new(),
            connections_max: 100_000,
            connect_rate: LimitValue::rate(5_000, 10_000),
            connect_within: Duration::from_secs(5),
            ticket_keys: None,
            presence: MemoryPresenceOptions::default(),
            name: Box::default(),
            seed: None,
        }
    }
}

/// A data-plane node.
pub struct Node {
    pub(crate) options: NodeOptions,
    /// When it was made.
    started_ms: u64,
    pub(crate) directory: Arc<Directory>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) memberships: Arc<Memberships>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) reads: Arc<Reads>,
    pub(crate) clock: Arc<dyn Clock>,
    local_bus: Arc<dyn Bus>,
    /// To other nodes too, where there are any.
    wide_bus: OnceLock<Arc<dyn Bus>>,
    /// What limits are shared over, where there are other nodes.
    budget: OnceLock<Arc<dyn Budget>>,
    /// What is asked of all nodes at one moment.
    looks: Semaphore,
    pub(crate) population: Population,
    admission: Admission,
    pub(crate) links: Links,
    pub(crate) chance: Chance,
    revocations: OnceLock<Arc<dyn RevocationLog>>,
    position_key: PositionKey,
    ticket_keys: TicketKeys,
    /// Signatures of issuers that are verified at one moment. Each takes a fifth of a millisecond of a core: a storm of
    /// connects must leave the rest to those who are connected.
    verifiers: Arc<Semaphore>,
    draining: CancellationToken,
    tasks: TaskTracker,
    figures: Mutex<figures::LiveFigures>,
    events: events::Watched,
    pressure: AtomicU8,
}

/// What came with a connection's handshake.
#[derive(Debug, Clone, Default)]
pub struct Handshake {
    /// The `Origin` a browser sent.
    pub origin: Option<String>,
    /// A token from a header or the subprotocol list; one in `connect` goes before it.
    pub token: Option<String>,
    /// What was agreed on how messages are encoded.
    pub wire: Wire,
    /// What the client carries, where it goes on with that instead of a `connect`; from [`Node::admit_ticket`].
    pub ticket: Option<Box<ResumeTicket<'static>>>,
}

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The message's id.
    pub id: Box<str>,
    /// Where it stands, as told outside.
    pub position: String,
    /// What was done before this answer.
    pub durability: Durability,
    /// Whether it stood there before.
    pub duplicate: bool,
}

/// What is left of a rate, for headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many a second.
    pub limit: u64,
    /// How many at once after a quiet time.
    pub burst: u64,
    /// How many may come now.
    pub remaining: u64,
    /// When the burst is whole again, in milliseconds.
    pub reset_ms: u64,
}

/// What a token to be minted says.
#[derive(Debug, Clone, Default)]
pub struct MintRequest {
    /// Its user.
    pub sub: Option<String>,
    /// Its own id.
    pub id: Option<String>,
    /// What it may do; `None` leaves that to the app's ACL.
    pub cap: Option<Capabilities>,
    /// Its roles.
    pub roles: Vec<String>,
    /// Public information about the user.
    pub info: Option<serde_json::Map<String, serde_json::Value>>,
    /// What backends may know of it, and no client.
    pub meta: Option<serde_json::Map<String, serde_json::Value>>,
    /// Limits that it lowers.
    pub limits: Option<serde_json::Map<String, serde_json::Value>>,
    /// Labels by which it can be revoked.
    pub labels: Vec<String>,
    /// How long it lives, in seconds, at most a day.
    pub ttl_s: u64,
}

impl Node {
    /// A node that publishes to `broker`; the broker must be told to deliver to [`Node::sink`]. `position_key` is the
    /// platform's, the same on every node. Who is present is kept in this process.
    #[must_use]
    pub fn new(
        options: NodeOptions,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        position_key: PositionKey,
    ) -> Arc<Self> {
        let presence = Arc::new(MemoryPresence::new(options.presence.clone()));
        Self::among_others(options, (broker, presence), clock, position_key)
    }

    /// As [`Node::new`], with presence that is kept elsewhere, and shared by all nodes that use it.
    #[must_use]
    pub fn among_others(
        options: NodeOptions,
        (broker, presence): (Arc<dyn Broker>, Arc<dyn Presence>),
        clock: Arc<dyn Clock>,
        position_key: PositionKey,
    ) -> Arc<Self> {
        let tasks = TaskTracker::new();
        let chance = Chance::new(options.seed);
        let ticket_keys = options.ticket_keys.clone().unwrap_or_else(|| TicketKeys::fresh(&chance));
        let directory = Arc::default();
        let watches = Watches::new(Arc::clone(&presence), tasks.clone());
        presence.tell(Arc::clone(&watches) as Arc<dyn Hear>);
        Arc::new_cyclic(|node| Self {
            options,
            started_ms: clock.unix_ms(),
            presence,
            memberships: Arc::default(),
            watches,
            chance,
            local_bus: Arc::new(LocalBus::new(Arc::clone(&directory), position_key.clone(), node.clone())),
            wide_bus: OnceLock::new(),
            budget: OnceLock::new(),
            looks: Semaphore::new(connections::LOOKS_MAX),
            directory,
            hub: Hub::new(Arc::clone(&clock), tasks.clone()),
            broker,
            reads: Arc::default(),
            clock,
            population: Population::default(),
            admission: Admission::default(),
            links: Links::default(),
            revocations: OnceLock::new(),
            position_key,
            ticket_keys,
            verifiers: Arc::new(Semaphore::new(tokens::VERIFIERS)),
            draining: CancellationToken::new(),
            tasks,
            figures: Mutex::default(),
            events: events::Watched::default(),
            pressure: AtomicU8::new(Pressure::Calm as u8),
        })
    }

    /// Who hears of the broker's messages.
    #[must_use]
    pub fn sink(&self) -> Arc<dyn Deliver> {
        Arc::new(FansOut(Arc::clone(&self.hub)))
    }

    /// Carries control messages out on this node's connections alone.
    #[must_use]
    pub fn local_bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.local_bus)
    }

    /// Says how control messages reach every node. The first call counts; before it, this node is told alone.
    pub fn tell_over(&self, bus: Arc<dyn Bus>) {
        let _first = self.wide_bus.set(bus);
    }

    /// Says what limits of apps and keys are shared over. The first call counts, and before [`Node::run`].
    pub fn share_over(&self, budget: Arc<dyn Budget>) {
        self.directory.share();
        let _first = self.budget.set(budget);
    }

    /// What is shared at this moment; `None` where there are no other nodes.
    #[must_use]
    pub fn sharing(&self) -> Option<Sharing> {
        self.budget.get().map(|_| self.directory.watched().sharing())
    }

    pub(crate) fn bus(&self) -> &Arc<dyn Bus> {
        self.wide_bus.get().unwrap_or(&self.local_bus)
    }

    /// The apps this node knows.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The time as this node knows it, Unix milliseconds.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// An id for a request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        RequestId::new(self.clock.unix_ms(), self.chance.next())
    }

    /// A number that nobody can guess.
    #[must_use]
    pub fn unguessable(&self) -> u128 {
        self.chance.next()
    }

    /// An app's snapshot.
    ///
    /// # Errors
    /// When there is no such app, or the node has not heard of all apps yet.
    pub fn app(&self, id: AppId) -> Result<Arc<App>, NodeError> {
        self.directory.find(id).map(|entry| entry.app())
    }

    /// Checks a printed key, `key_…:ffs_…`, against an app.
    ///
    /// # Errors
    /// One and the same for whatever is wrong with it.
    pub fn authenticate_key(&self, app: &Arc<App>, printed: &str) -> Result<Caller, NodeError> {
        let entry = self.directory.find(app.id)?;
        let subject = self.counted(&entry, self.key_subject(&entry, printed))?;
        Ok(Caller { entry, subject: Arc::new(subject), connection: None })
    }

    /// Whether a caller's key works at this moment, given that its app is still what it was when the key was checked.
    #[must_use]
    pub fn is_key_valid(&self, caller: &Caller) -> bool {
        let app = caller.entry.peek();
        caller.key().and_then(|id| app.key(id)).is_some_and(|key| key.is_valid_at(self.clock.unix_ms()))
    }

    fn key_subject(&self, entry: &AppEntry, printed: &str) -> Result<Subject, NodeError> {
        let printed = PrintedKey::parse(printed).ok_or(NodeError::KeyInvalid)?;
        let app = entry.peek();
        let key = app.key(printed.id).ok_or(NodeError::KeyInvalid)?;
        let hash = Sha256::digest(printed.secret.expose().as_bytes());
        let is_held = key.kind == KeyKind::Tenant;
        if !bool::from(hash.ct_eq(&key.secret_hash)) || !key.is_valid_at(self.clock.unix_ms()) || !is_held {
            return Err(NodeError::KeyInvalid);
        }
        if app.status.blocks(Block::All) {
            return Err(NodeError::Refused(Refusal::Tenant));
        }
        Ok(Subject::Key { id: key.id, capabilities: key.capabilities.clone() })
    }

    /// Counts a REST request of a caller.
    ///
    /// # Errors
    /// When its key, or the clients of its token's signer together, send too many.
    pub fn admit_request(&self, caller: &Caller) -> Result<Quota, NodeError> {
        let signer = match &*caller.subject {
            Subject::Key { id, .. } => Some(Signer::Key(*id)),
            Subject::Client(client) => client.ceiling.as_ref().map(|ceiling| ceiling.signer),
            Subject::Inspector(inspector) => Some(Signer::Key(inspector.key)),
        };
        let value = caller.entry.peek().limits.get(Limit::RestRequests);
        let signer = signer.ok_or(NodeError::KeyInvalid)?;
        let left = self.counted(&caller.entry, caller.entry.request(signer, self.clock.monotonic()))?;
        Ok(Quota { limit: value.max, burst: value.burst, remaining: left.remaining, reset_ms: left.reset_ms })
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// When a layer, a limit or the broker refuses; nothing was appended then, but for an unknown outcome.
    pub async fn publish(&self, caller: &Caller, channel: &ChannelName, draft: Draft) -> Result<Published, NodeError> {
        let accepted = self.clock.monotonic();
        let outcome = match self.begin_publish(caller, channel, draft, accepted) {
            Ok((key, pending)) => pending.wait().await.map(|appended| self.published(&key, appended)),
            Err(error) => Err(error),
        };
        turn::step(&self.hub);
        if outcome.is_ok() {
            self.acknowledged(&caller.entry, accepted);
        }
        self.counted(&caller.entry, outcome)
    }

    /// The part of a publish, accepted at this moment, that needs no waiting. Calls made one after the other are appended
    /// in that order.
    pub(crate) fn begin_publish(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        draft: Draft,
        accepted: Duration,
    ) -> Result<(ChannelKey, Pending<Result<Appended, NodeError>>), NodeError> {
        let app = caller.entry.peek();
        let key = caller.entry.decide(&app, caller.asking(), Operation::Publish, channel)?.channel_key();
        let weight = draft.weight();
        let settings = app.settings_of(channel);
        let bytes = settings.message_bytes_max(caller.subject.limit(&app.limits, Limit::MessageBytes));
        if weight as u64 > bytes {
            return Err(NodeError::TooLarge { limit: Limit::MessageBytes, bytes: weight, max: bytes });
        }
        caller.entry.usage.seen(Limit::MessageBytes, weight as u64);
        let rate = app.limits.get(Limit::PublishApp);
        caller.entry.publishes.draw(accepted, rate, 1).map_err(|exceeded| NodeError::Rate {
            limit: Limit::PublishApp,
            max: rate.max,
            retry_after_ms: exceeded.retry_after_ms,
        })?;
        let name = caller.entry.events.is_watched().then(|| draft.name.clone());
        let append = Append { monotonic: accepted, ..self.append(&app, caller, settings, draft) };
        let handed = self.clock.monotonic();
        caller.entry.stats.took(Stage::Ingest, handed.saturating_sub(accepted), 1);
        let (entry, clock) = (Arc::clone(&caller.entry), Arc::clone(&self.clock));
        let event = events::Publishing::of(caller, channel, name);
        let pending = self.broker.publish(&key, append).map(move |outcome| {
            let appended = outcome?;
            entry.stats.took(Stage::Append, clock.monotonic().saturating_sub(handed), 1);
            if !appended.duplicate {
                AppStats::add(&entry.stats.messages_in, 1);
                AppStats::add(&entry.stats.bytes_in, weight as u64);
            }
            if let Some(event) = event {
                event.tell(&entry, clock.unix_ms(), &appended, weight as u64);
            }
            Ok(appended)
        });
        Ok((key, pending))
    }

    /// What the broker is asked to append: settings of the channel, inside the limits of the app.
    fn append(&self, app: &App, caller: &Caller, settings: &ChannelSettings, draft: Draft) -> Append {
        let time_ms = self.clock.unix_ms();
        let idempotent = draft.id.is_some();
        let id = draft.id.clone().unwrap_or_else(|| MessageId::new(time_ms, self.chance.next()).to_string().into());
        let mut history = settings.history;
        history.ttl_ms = history.ttl_ms.min(app.limits.get(Limit::HistoryAge).max);
        history.bytes = history.bytes.min(app.limits.get(Limit::HistoryBytes).max);
        let messages = app.limits.get(Limit::HistoryMessages).max;
        history.messages = history.messages.min(u32::try_from(messages).unwrap_or(u32::MAX));
        Append {
            id,
            idempotent,
            scope: caller.scope(),
            publisher: caller.sub().map(Into::into),
            origin: caller.connection,
            draft: Arc::new(draft),
            time_ms,
            monotonic: Duration::ZERO,
            history,
            durability: settings.durability,
            idempotency_ms: settings.idempotency_ms,
            rate: settings.publish_rate(app.limits.get(Limit::PublishChannel)),
            app_bytes_max: app.limits.get(Limit::HistoryBytesApp).max,
            app_channels_max: app.limits.get(Limit::Channels).max,
        }
    }

    pub(crate) fn published(&self, key: &ChannelKey, appended: Appended) -> Published {
        Published {
            position: self.tell(key, appended.position),
            id: appended.id,
            durability: appended.durability,
            duplicate: appended.duplicate,
        }
    }

    /// Signs a channel token with the calling key.
    ///
    /// # Errors
    /// When the caller is no key that may `sign`, or the token would not be valid.
    pub fn mint_token(&self, caller: &Caller, request: MintRequest) -> Result<String, NodeError> {
        let Subject::Key { id, .. } = &*caller.subject else { return Err(NodeError::KeyInvalid) };
        let app = caller.entry.peek();
        let key = app.key(*id).ok_or(NodeError::KeyInvalid)?;
        if !key.capabilities.anywhere(Operation::Sign) || key.signing_secret.is_none() {
            let refusal = Refusal::Key { key: *id, operation: Operation::Sign };
            return self.counted(&caller.entry, Err(refusal.into()));
        }
        let claims = Claims {
            sub: request.sub,
            id: request.id,
            cap: request.cap,
            roles: request.roles,
            info: request.info,
            meta: request.meta,
            limits: request.limits,
            labels: request.labels,
            issued_ms: self.clock.unix_ms(),
            ttl_s: request.ttl_s,
        };
        token::sign(key, &claims).map_err(|error| {
            NodeError::Invalid(Box::new(Problem::new(
                ErrorCode::InvalidRequest,
                format!("The token would not be valid: {error}."),
            )))
        })
    }

    /// Whether pages of this origin may connect to an app, and read its answers.
    #[must_use]
    pub fn admits_origin(&self, app: &App, origin: &str) -> bool {
        let own = || self.options.dashboard_origins.iter().any(|known| known == origin);
        app.origins.is_empty() || app.origins.iter().any(|known| **known == *origin) || own()
    }

    /// Connections that were told to come a little later, because too many came at once.
    #[must_use]
    pub fn paced(&self) -> u64 {
        self.admission.refused()
    }

    /// One connection's whole life, from the answered handshake to the closed socket. What it returns is as small as the
    /// connection: it becomes a task of its own.
    pub fn serve_connection<R: Reader>(
        self: &Arc<Self>,
        permit: ConnectionPermit,
        handshake: Handshake,
        reader: R,
        sink: Box<dyn Sink>,
    ) -> impl Future<Output = ()> + Send + use<R> {
        let id = ConnectionId::new(self.clock.unix_ms(), self.chance.next());
        let outbox = Outbox::new(id, handshake.wire, sink, Arc::clone(&permit.entry.budget));
        connection::serve(Arc::clone(self), permit, handshake, reader, outbox)
    }

    /// Connections of this node, over all apps.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.population.count()
    }

    /// A position as told outside.
    pub(crate) fn tell(&self, key: &ChannelKey, position: Position) -> String {
        told(&self.position_key, key, position)
    }

    /// A lineage as told outside.
    pub(crate) fn lineage(&self, key: &ChannelKey, lineage: Lineage) -> String {
        self.position_key.seal(key, lineage)
    }

    /// A position as a client says it.
    pub(crate) fn open_position(&self, key: &ChannelKey, text: &str) -> Result<Position, NodeError> {
        Ok(self.position_key.open(key, text)?)
    }

    /// The answer to a publish that was accepted then is ready.
    pub(crate) fn acknowledged(&self, entry: &AppEntry, accepted: Duration) {
        entry.stats.took(Stage::Acknowledged, self.clock.monotonic().saturating_sub(accepted), 1);
    }

    /// Counts a refusal.
    pub(crate) fn counted<T>(&self, entry: &AppEntry, outcome: Result<T, NodeError>) -> Result<T, NodeError> {
        if let Err(error) = &outcome {
            entry.refused(error);
        }
        outcome
    }
}

/// A position as it is told outside.
fn told(sealing: &PositionKey, key: &ChannelKey, position: Position) -> String {
    let mut text = sealing.seal(key, position.lineage);
    text.push('.');
    text.push_str(&position.seq.to_string());
    text
}

impl From<NodeError> for Problem {
    fn from(error: NodeError) -> Self {
        error.problem()
    }
}
