//! Apps as this node knows them: immutable snapshots, replaced whole, never going back to an older version.
//!
//! A snapshot that arrives acts on live connections: each is told to look again at its rights.

mod ahead;
mod permits;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use fanfare_core::id::{AppId, ConnectionId, IssuerId, RevocationId};
use fanfare_core::measures::Measures;
use fanfare_core::permission::{Grant, decide};
use fanfare_core::{
    App, AppStatus, Block, ChannelName, Limit, Message, Operation, Refusal, Revocation, Revoked, Signer, Subject,
};
use fanfare_protocol::native;
use tokio::sync::Semaphore;

use crate::budget::{Account, Rate, Watched};
use crate::bus::{Order, Whom};
use crate::carried::CarriedRates;
use crate::decisions::{Asking, Decisions, Room};
use crate::error::NodeError;
use crate::events::Events;
use crate::hub::Channel;
use crate::issuers::{FetchedKeys, IssuerState, JwksIssuer};
use crate::limiter::Left;
use crate::node::connections::LOOKS_APP_MAX;
use crate::outbox::{Budget, Outbox, Signal};
use crate::registry::Registry;
use crate::stats::AppStats;
use crate::usage::{LimitUse, Usage, is_near};

use ahead::Ahead;

pub use permits::ConnectionPermit;
pub(crate) use permits::{Place, Population};

/// Keys whose request rates are remembered per app; more are forgotten all at once, which only admits a burst again.
const KEY_BUCKETS_MAX: usize = 4_096;

/// Connections of one user that are written to before others have their turn.
const SENT_AT_ONCE: usize = 256;

/// The apps of this node.
#[derive(Default)]
pub struct Directory {
    apps: RwLock<HashMap<AppId, Arc<AppEntry>>>,
    complete: AtomicBool,
    /// Apps that went since this was asked last.
    gone: Mutex<Vec<AppId>>,
    /// What decisions of all apps may take together.
    room: Arc<Room>,
    watched: Arc<Watched>,
    /// Apps whose events somebody listens to at another node, as it was said since this was asked last.
    heard_elsewhere: Mutex<BTreeSet<AppId>>,
}

/// An app's snapshot and what this node counts for it.
pub(crate) struct AppEntry {
    app: ArcSwap<App>,
    /// What was done about revocations and snapshots may not show yet.
    ahead: Mutex<Ahead>,
    id: AppId,
    pub(crate) stats: AppStats,
    pub(crate) usage: Usage,
    pub(crate) publishes: Arc<Rate>,
    /// Rates of clients that come by one request after the other.
    pub(crate) carried: CarriedRates,
    connects: Arc<Rate>,
    /// Connections of other nodes, as it was heard last.
    pub(crate) elsewhere: AtomicU64,
    watched: Arc<Watched>,
    /// What is asked of all nodes at one moment.
    pub(crate) looks: Semaphore,
    /// What waits for its connections together.
    pub(crate) budget: Arc<Budget>,
    /// Connects and publishes at the last tick: a second's rate is the difference.
    counted: [AtomicU64; 2],
    requests: Mutex<HashMap<Signer, Arc<Rate>>>,
    pub(crate) registry: Registry,
    pub(crate) issuers: IssuerState,
    pub(crate) events: Events,
    pub(crate) decisions: Decisions,
    /// The app's channels that somebody here is or lately was subscribed to, by name.
    channels: Mutex<BTreeMap<ChannelName, Arc<Channel>>>,
}

impl Directory {
    /// Takes a snapshot in, unless a newer one is there, and has live connections look again at their rights.
    pub fn upsert(&self, app: App) {
        let id = app.id;
        let known = self.entry(id);
        let Some(entry) = known else {
            let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
            apps.entry(id)
                .or_insert_with(|| Arc::new(AppEntry::new(app, Arc::clone(&self.room), Arc::clone(&self.watched))));
            return;
        };
        let Some((before, app)) = entry.take_in(app) else { return };
        if app.status == AppStatus::Deleted {
            self.gone().push(id);
        }
        if app.differs_in_revocations_alone(&before) {
            // Backends revoke users as often as these sign out: not everybody is woken for a few.
            app.revocations.beyond(&before.revocations).for_each(|revocation| {
                let _ended = entry.end_revoked(revocation);
            });
        } else {
            entry.signal_all(Signal::Recheck);
        }
    }

    /// Forgets an app that is gone for good; its connections are closed.
    pub fn remove(&self, id: AppId) {
        let gone = self.apps.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(entry) = gone {
            entry.app.rcu(|app| App { status: AppStatus::Deleted, ..App::clone(app) });
            entry.signal_all(Signal::Recheck);
            self.gone().push(id);
        }
    }

    /// The apps that went since this was asked last.
    pub(crate) fn take_gone(&self) -> Vec<AppId> {
        std::mem::take(&mut *self.gone())
    }

    fn gone(&self) -> MutexGuard<'_, Vec<AppId>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves an order with the connections that are meant. Answers how many have it, and how many may not do it.
    pub(crate) fn order(&self, app: AppId, whom: &Whom, order: &Order) -> (u64, u64) {
        let Some(entry) = self.entry(app) else { return (0, 0) };
        let (app, mut meant) = (entry.app(), entry.connections(whom));
        let all = meant.len();
        if let Order::Subscribe { channel } = order {
            // Whoever asks for it: a client's own rights decide.
            meant.retain(|outbox| {
                outbox.subject().is_some_and(|subject| decide(&app, &subject, Operation::Subscribe, channel).is_ok())
            });
        }
        let refused = all - meant.len();
        let told = meant.iter().filter(|outbox| outbox.order(order.clone())).count();
        (told as u64, refused as u64)
    }

    /// Writes a message to the connections of a user. Answers how many took it.
    pub(crate) async fn send(&self, app: AppId, user: &str, message: &Message) -> u64 {
        let Some(entry) = self.entry(app) else { return 0 };
        let (meant, frame) = (entry.registry.of_user(user), native::push_user_message(message));
        let mut took = 0;
        for part in meant.chunks(SENT_AT_ONCE) {
            let part = part.iter().filter(|outbox| message.draft.exclude != Some(outbox.id()));
            took += part.filter(|outbox| outbox.offer(&frame)).count() as u64;
            tokio::task::yield_now().await;
        }
        took
    }

    /// Holds a revocation before a snapshot does. Answers how many connections it ends.
    pub(crate) fn revoke(&self, app: AppId, revocation: &Revocation) -> u64 {
        self.entry(app).map_or(0, |entry| entry.revoke(revocation))
    }

    /// Lets tokens work again before a snapshot does.
    pub(crate) fn end_revocation(&self, app: AppId, id: RevocationId) {
        if let Some(entry) = self.entry(app) {
            entry.end_revocation(id);
        }
    }

    /// From now on an app that is not here does not exist; before, it may only not have been heard of.
    pub fn set_complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// Somebody listens to an app's events at another node.
    pub(crate) fn heard_elsewhere(&self, app: AppId) {
        self.heard_elsewhere.lock().unwrap_or_else(PoisonError::into_inner).insert(app);
    }

    pub(crate) fn take_heard_elsewhere(&self) -> BTreeSet<AppId> {
        std::mem::take(&mut *self.heard_elsewhere.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What nodes share is settled from now on.
    pub(crate) fn share(&self) {
        self.watched.share();
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    /// The app's snapshot.
    #[must_use]
    pub fn get(&self, id: AppId) -> Option<Arc<App>> {
        self.entry(id).map(|entry| entry.app())
    }

    /// How near each app is to its limits on this node; apps that used nothing today are left out.
    #[must_use]
    pub fn usage(&self) -> Vec<(AppId, Vec<LimitUse>)> {
        let entries = self.entries();
        let used = entries.iter().map(|entry| (entry.id, entry.usage.all(&entry.stats)));
        used.filter(|(_, used)| !used.is_empty()).collect()
    }

    /// Every app and the version of it that is in force here.
    #[must_use]
    pub fn versions(&self) -> Vec<(AppId, u64)> {
        self.entries().iter().map(|entry| (entry.id, entry.app.load().version)).collect()
    }

    /// Whether the first full list of apps has arrived.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Issuers whose keys are at a URL, for whoever fetches them. That a key is wanted is told once.
    #[must_use]
    pub fn jwks_issuers(&self) -> Vec<JwksIssuer> {
        let with_issuers = self.entries().into_iter().filter(|entry| !entry.peek().issuers.is_empty());
        with_issuers.flat_map(|entry| entry.issuers.to_fetch(&entry.peek())).collect()
    }

    /// Takes an issuer's fetched keys in. They are used for that issuer of that app, and for as long as its record names
    /// the URL they came from.
    pub fn set_issuer_keys(&self, app: AppId, issuer: IssuerId, keys: FetchedKeys) {
        if let Some(entry) = self.entry(app) {
            entry.issuers.set(issuer, keys);
        }
    }

    /// The fetched keys of an app's issuers.
    #[must_use]
    pub fn issuer_keys(&self, app: AppId) -> Vec<(IssuerId, FetchedKeys)> {
        self.entry(app).map(|entry| entry.issuers.keys(&entry.peek())).unwrap_or_default()
    }

    pub(crate) fn entry(&self, id: AppId) -> Option<Arc<AppEntry>> {
        self.apps.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn entries(&self) -> Vec<Arc<AppEntry>> {
        self.apps.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn find(&self, id: AppId) -> Result<Arc<AppEntry>, NodeError> {
        match self.entry(id) {
            Some(entry) if entry.app.load().status == AppStatus::Deleted => Err(NodeError::UnknownApp),
            Some(entry) => Ok(entry),
            None if self.is_complete() => Err(NodeError::UnknownApp),
            None => Err(NodeError::NotReady),
        }
    }
}

impl AppEntry {
    fn new(app: App, room: Arc<Room>, watched: Arc<Watched>) -> Self {
        let rate = |limit| Rate::new(Account { app: app.id, limit, signer: None }, Arc::clone(&watched));
        let budget = Budget::default();
        budget.set_max(app.limits.get(Limit::OutboxBytesApp).max);
        Self {
            id: app.id,
            ahead: Mutex::default(),
            stats: AppStats::default(),
            usage: Usage::default(),
            publishes: rate(Limit::PublishApp),
            connects: rate(Limit::ConnectRate),
            elsewhere: AtomicU64::new(0),
            looks: Semaphore::new(LOOKS_APP_MAX),
            budget: Arc::new(budget),
            carried: CarriedRates::default(),
            counted: std::array::from_fn(|_| AtomicU64::new(0)),
            requests: Mutex::default(),
            registry: Registry::default(),
            issuers: IssuerState::default(),
            events: Events::default(),
            decisions: Decisions::new(room),
            channels: Mutex::default(),
            app: ArcSwap::from_pointee(app),
            watched,
        }
    }

    pub(crate) const fn id(&self) -> AppId {
        self.id
    }

    pub(crate) fn app(&self) -> Arc<App> {
        self.app.load_full()
    }

    /// The snapshot for a moment's look, without touching its count.
    pub(crate) fn peek(&self) -> arc_swap::Guard<Arc<App>> {
        self.app.load()
    }

    /// Decides by a snapshot of the app, and notes what was decided.
    pub(crate) fn decide(
        &self,
        app: &App,
        asking: Asking<'_>,
        operation: Operation,
        channel: &ChannelName,
    ) -> Result<Grant, Refusal> {
        let outcome = decide(app, asking.subject, operation, channel);
        self.decisions.note(app, asking, (operation, channel), &outcome);
        outcome
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, error: &NodeError) {
        self.stats.refused(error.code(), error.limit());
    }

    /// Notes what the app uses at this moment, and ends a second of what it used.
    pub(crate) fn tick(&self, second: u32, unix_ms: u64) {
        let (app, read) = (self.peek(), |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        self.usage.seen(Limit::Connections, read(&self.stats.connections));
        self.usage.seen(Limit::Channels, self.channel_count());
        self.usage.seen(Limit::OutboxBytesApp, self.budget.take_peak());
        let (connects, published) = (read(&self.stats.connects), read(&self.stats.messages_in));
        let before =
            (self.counted[0].swap(connects, Ordering::Relaxed), self.counted[1].swap(published, Ordering::Relaxed));
        self.usage.seen(Limit::ConnectRate, connects.saturating_sub(before.0));
        self.usage.seen(Limit::PublishApp, published.saturating_sub(before.1));
        self.usage.tick((second, unix_ms), &app.limits, &self.stats, read(&self.elsewhere));
        self.carried.sweep(second);
    }

    /// Counts a request of a key, or of a token of this signer.
    pub(crate) fn request(&self, signer: Signer, now: Duration) -> Result<Left, NodeError> {
        let value = self.peek().limits.get(Limit::RestRequests);
        let bucket = {
            let mut buckets = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            if buckets.len() >= KEY_BUCKETS_MAX && !buckets.contains_key(&signer) {
                buckets.clear();
            }
            let rate = || {
                let account = Account { app: self.id, limit: Limit::RestRequests, signer: Some(signer) };
                Rate::new(account, Arc::clone(&self.watched))
            };
            Arc::clone(buckets.entry(signer).or_insert_with(rate))
        };
        let left = bucket.draw(now, value, 1).map_err(|exceeded| NodeError::Rate {
            limit: Limit::RestRequests,
            max: value.max,
            retry_after_ms: exceeded.retry_after_ms,
        })?;
        self.usage.seen(Limit::RestRequests, value.burst.max(1).saturating_sub(left.remaining));
        Ok(left)
    }

    /// Lets a connection in, one that is new at that moment or goes on, or says which limit refuses it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        new_at: Option<Duration>,
        place: Place,
    ) -> Result<ConnectionPermit, NodeError> {
        let app = self.peek();
        if app.status.blocks(Block::Connect) {
            return Err(NodeError::Refused(Refusal::Tenant));
        }
        let max = app.limits.get(Limit::Connections).max;
        let elsewhere = self.elsewhere.load(Ordering::Relaxed);
        let counted = self.stats.connections.try_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open.saturating_add(elsewhere) < max).then_some(open + 1)
        });
        let before = counted.unwrap_or(max);
        // Of an app that nobody was connected to here it is not known how many others there are.
        if app.limits.is_set(Limit::Connections) && (before == 0 || is_near(before.saturating_add(elsewhere), max)) {
            self.watched.nearly_full(self.id);
        }
        if counted.is_err() {
            return Err(NodeError::Full { limit: Limit::Connections, max });
        }
        // From here on the count is given back when the permit goes.
        let permit = ConnectionPermit::new(Arc::clone(self), place);
        let Some(now) = new_at else { return Ok(permit) };
        let rate = app.limits.get(Limit::ConnectRate);
        self.connects.draw(now, rate, 1).map_err(|exceeded| NodeError::Rate {
            limit: Limit::ConnectRate,
            max: rate.max,
            retry_after_ms: exceeded.retry_after_ms,
        })?;
        Ok(permit)
    }

    /// Takes a newer snapshot in; what was in force before it, and what is now. A revocation that was made here is held
    /// until a snapshot has it, and one that was ended here stays so: this one may have been read before.
    fn take_in(&self, mut app: App) -> Option<(Arc<App>, Arc<App>)> {
        let mut ahead = self.ahead();
        app.revocations = ahead.over(app.revocations);
        let app = Arc::new(app);
        let before =
            self.app.rcu(|current| if current.version < app.version { Arc::clone(&app) } else { Arc::clone(current) });
        drop(ahead);
        if before.version < app.version {
            self.budget.set_max(app.limits.get(Limit::OutboxBytesApp).max);
            Some((before, app))
        } else {
            None
        }
    }

    /// Holds a revocation before a snapshot does. Answers how many connections it ends.
    fn revoke(&self, revocation: &Revocation) -> u64 {
        let mut ahead = self.ahead();
        ahead.made(revocation);
        self.app.rcu(|app| App { revocations: app.revocations.with(revocation.clone()), ..App::clone(app) });
        drop(ahead);
        self.end_revoked(revocation)
    }

    /// Lets tokens work again before a snapshot does.
    fn end_revocation(&self, id: RevocationId) {
        let mut ahead = self.ahead();
        ahead.ended(id);
        self.app.rcu(|app| App { revocations: app.revocations.without(|one| one == id), ..App::clone(app) });
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the connections that a revocation may concern look again at their rights, and says how many it ends. One whose
    /// token was verified just before looks again by itself, once it has said who it is.
    fn end_revoked(&self, revocation: &Revocation) -> u64 {
        let meant = match &revocation.revoked {
            Revoked::User(user) => Whom::User(user.clone()),
            Revoked::Token(_) | Revoked::Label(_) | Revoked::Key(_) | Revoked::All => Whom::Everybody,
        };
        let app = self.app.load();
        let is_revoked = |outbox: &&Arc<Outbox>| match outbox.subject().as_deref() {
            Some(Subject::Client(client)) => app.revocations.of(client).is_some(),
            Some(Subject::Key { .. } | Subject::Inspector(_)) | None => false,
        };
        let meant = self.connections(&meant);
        let ended = meant.iter().filter(is_revoked).count() as u64;
        // All of them look: a subscription may have a token of its own, which the session alone knows.
        meant.iter().for_each(|outbox| outbox.signal(Signal::Recheck));
        ended
    }

    /// The connections that are meant.
    fn connections(&self, whom: &Whom) -> Vec<Arc<Outbox>> {
        match whom {
            Whom::User(user) => self.registry.of_user(user),
            Whom::Connection(id) => self.registry.find(*id).into_iter().collect(),
            Whom::Channel(channel) => self.channel(channel).map_or_else(Vec::new, |channel| channel.outboxes()),
            Whom::Everybody => {
                let mut all = Vec::new();
                self.registry.each(|outbox| all.push(Arc::clone(outbox)));
                all
            }
        }
    }

    /// Lists a connection. One of the same id that is listed already is older, and is told so.
    pub(crate) fn register(&self, outbox: &Arc<Outbox>) {
        if let Some(before) = self.registry.add(outbox.id(), outbox) {
            before.signal(Signal::Superseded);
        }
    }

    /// Lists a connection under the id that its client had before, and has now again.
    pub(crate) fn resume(&self, outbox: &Arc<Outbox>, id: ConnectionId) {
        let fresh = outbox.id();
        outbox.resume(id);
        // Never off the list between the two: whoever tells all connections something tells this one too.
        self.register(outbox);
        if fresh != id {
            self.registry.forget(fresh, outbox);
        }
    }

    /// A channel that somebody here is or lately was subscribed to.
    pub(crate) fn channel(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn occupied(&self, channel: &Arc<Channel>) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.insert(channel.name().clone(), Arc::clone(channel));
    }

    pub(crate) fn vacated(&self, channel: &ChannelName) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(channel);
    }

    /// What was measured until now.
    pub(crate) fn measures(&self) -> Measures {
        self.stats.measures(self.channel_count())
    }

    /// Channels with subscribers but for Fanfare's own, by name, after `after`, whose name starts with `prefix`, at most
    /// `limit`.
    pub(crate) fn channels(&self, prefix: &str, after: Option<&ChannelName>, limit: usize) -> Vec<(ChannelName, u32)> {
        let from = match after.map(ChannelName::as_str) {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .filter(|(name, _)| !name.is_reserved())
            .map(|(name, channel)| (name.clone(), channel.subscribers()))
            .filter(|(_, subscribers)| *subscribers > 0)
            .take(limit)
            .collect()
    }

    /// How many channels have or lately had subscribers. Fanfare's own, whose names begin with `$`, do not count.
    pub(crate) fn channel_count(&self) -> u64 {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let own = channels.range::<str, _>((Bound::Included("$"), Bound::Excluded("%"))).count();
        (channels.len() - own) as u64
    }

    pub(crate) fn signal_all(&self, signal: Signal) {
        self.registry.each(|outbox| outbox.signal(signal));
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::Revocations;

    use super::*;

    #[test]
    fn a_snapshot_that_was_read_before_a_revocation_does_not_undo_it() {
        let (directory, app) = (Directory::default(), App::for_tests());
        directory.upsert(app.clone());
        let revocation =
            Revocation { id: RevocationId::new(1, 1), revoked: Revoked::User("ann".into()), issued_until_ms: 1_000 };
        let held = || directory.get(app.id).expect("known").revocations.iter().count();
        let snapshot = |version, revocations| App { version, revocations, ..app.clone() };
        directory.revoke(app.id, &revocation);
        directory.upsert(snapshot(2, Revocations::default()));
        assert_eq!(held(), 1, "this one was read earlier");
        directory.upsert(snapshot(3, Revocations::new(vec![revocation.clone()])));
        assert_eq!(held(), 1);
        directory.upsert(snapshot(4, Revocations::default()));
        assert_eq!(held(), 0, "it has ended since");
        // One that is ended here is not held on to either.
        directory.revoke(app.id, &revocation);
        directory.end_revocation(app.id, revocation.id);
        directory.upsert(snapshot(5, Revocations::default()));
        assert_eq!(held(), 0);
    }

    #[test]
    fn a_snapshot_that_was_read_before_a_revocation_was_ended_does_not_bring_it_back() {
        let (directory, app) = (Directory::default(), App::for_tests());
        directory.upsert(app.clone());
        let revocation = |id| Revocation { id, revoked: Revoked::User("ann".into()), issued_until_ms: 1_000 };
        let first = revocation(RevocationId::new(1, 1));
        let held = || directory.get(app.id).expect("known").revocations.iter().map(|one| one.id).collect::<Vec<_>>();
        let snapshot = |version, all: &[&Revocation]| App {
            version,
            revocations: Revocations::new(all.iter().copied().cloned().collect()),
            ..app.clone()
        };
        directory.revoke(app.id, &first);
        directory.end_revocation(app.id, first.id);
        directory.upsert(snapshot(2, &[]));
        directory.upsert(snapshot(3, &[&first]));
        assert_eq!(held(), [], "read between both");
        directory.upsert(snapshot(4, &[]));
        // The same tokens again are another revocation.
        let second = revocation(RevocationId::new(2, 1));
        directory.upsert(snapshot(5, &[&second]));
        assert_eq!(held(), [second.id]);
    }
}
