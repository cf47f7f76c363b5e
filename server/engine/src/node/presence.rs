//! Presence: who may enter a channel and see who is there, and when a member leaves.
//!
//! A client's member is known by its connection, and leaves with it; one that a backend enters is known by its user, and
//! leaves when the backend says so or its time is over.

use std::sync::Arc;

use fanfare_core::id::ConnectionId;
use fanfare_core::permission::decide;
use fanfare_core::{
    App, AppStatus, ChannelKey, ChannelName, ErrorCode, Limit, Member, MemberId, Operation, Problem, Subject,
};
use fanfare_protocol::native::PresencePage;
use serde_json::value::RawValue;

use super::Node;
use crate::broker::Pending;
use crate::caller::Caller;
use crate::directory::AppEntry;
use crate::error::NodeError;
use crate::hub::Channel;
use crate::outbox::{Outbox, Wants};
use crate::presence::{Generation, How, Membership, NotEntered, Placed, Put, Read};
use crate::stats::AppStats;

/// The most members of one page.
const MEMBERS_MAX: u32 = 1_000;
/// About how many bytes of members one page holds at most.
const BYTES_MAX: u64 = 256 * 1024;

/// Which members to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PresenceQuery {
    /// Those after this one.
    pub after: Option<MemberId>,
    /// At most so many, 1 to 1,000.
    pub limit: u32,
}

/// A user that a backend enters.
#[derive(Debug, Clone)]
pub struct EnterUser {
    /// Who.
    pub user: Box<str>,
    /// What others may see of the user.
    pub info: Option<Box<RawValue>>,
    /// What the user says.
    pub data: Option<Box<RawValue>>,
    /// How long the user stays, in milliseconds; until taken out where nothing is said.
    pub ttl_ms: Option<u64>,
}

/// What a client enters with, or says anew.
pub(crate) struct EnterClient<'a> {
    pub(crate) info: Option<&'a RawValue>,
    pub(crate) data: Option<Box<RawValue>>,
    pub(crate) how: How,
    pub(crate) generation: Generation,
}

/// Refuses a channel whose settings switch presence off.
fn is_on(app: &App, channel: &ChannelName) -> Result<(), NodeError> {
    if app.settings_of(channel).presence { Ok(()) } else { Err(NodeError::PresenceOff) }
}

/// Decides whether somebody may be a member of a channel.
pub(crate) fn may_be_present(app: &App, subject: &Subject, channel: &ChannelName) -> Result<ChannelKey, NodeError> {
    let key = decide(app, subject, Operation::Presence, channel)?.channel_key();
    is_on(app, channel).map(|()| key)
}

/// Decides whether somebody may see who is on a channel. A key that may manage it may see too.
pub(crate) fn may_see(app: &App, subject: &Subject, channel: &ChannelName) -> Result<ChannelKey, NodeError> {
    let grant = decide(app, subject, Operation::PresenceRead, channel);
    let grant = match (grant, subject) {
        (Err(refusal), Subject::Key { .. }) => {
            decide(app, subject, Operation::Manage, channel).map_err(|_| NodeError::from(refusal))?
        }
        (grant, _) => grant?,
    };
    is_on(app, channel).map(|()| grant.channel_key())
}

/// Notes what was decided; that presence is switched off is no decision of the rules.
fn noted(caller: &Caller, app: &App, asked: (Operation, &ChannelName), outcome: &Result<ChannelKey, NodeError>) {
    let outcome = match outcome {
        Ok(_) => Ok(()),
        Err(NodeError::Refused(refusal)) => Err(*refusal),
        Err(_) => return,
    };
    caller.entry.decisions.note(app, caller.asking(), asked, &outcome);
}

impl Node {
    /// Lists who is present.
    ///
    /// # Errors
    /// When a layer refuses, the channel has no presence, or it cannot be reached.
    pub async fn presence(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        query: PresenceQuery,
    ) -> Result<PresencePage, NodeError> {
        let outcome = match self.begin_presence(caller, channel, query) {
            Ok(pending) => pending.wait().await,
            Err(error) => Err(error),
        };
        self.counted(&caller.entry, outcome)
    }

    /// The part of [`Node::presence`] that needs no waiting.
    pub(crate) fn begin_presence(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        query: PresenceQuery,
    ) -> Result<Pending<Result<PresencePage, NodeError>>, NodeError> {
        let app = caller.entry.peek();
        let key = may_see(&app, &caller.subject, channel);
        noted(caller, &app, (Operation::PresenceRead, channel), &key);
        let key = key?;
        // Whoever may be told of changes too must miss none between this page and the next telling.
        let mut peek = caller.connection.and_then(|_| self.watches.peek(&key));
        let read = Read {
            after: query.after,
            limit: query.limit.clamp(1, MEMBERS_MAX),
            bytes_max: BYTES_MAX,
            listed_max: app.limits.get(Limit::PresenceMembers).max,
        };
        let channel = channel.clone();
        Ok(self.presence.read(&key, read).map(move |page| {
            let page = page?;
            if let Some(peek) = &mut peek {
                peek.at(page.version);
            }
            let crate::presence::Page { version, count, members, next } = page;
            Ok(PresencePage { channel, version, count, members, next })
        }))
    }

    /// Puts a client in, or changes what it says. Calls made one after the other take effect in that order.
    pub(crate) fn enter_client(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        enter: EnterClient<'_>,
    ) -> Result<Pending<Result<(), NodeError>>, NodeError> {
        let (connection, generation) = (caller.connection.ok_or(NodeError::NotPresent)?, enter.generation);
        let app = caller.entry.peek();
        let key = may_be_present(&app, &caller.subject, channel);
        noted(caller, &app, (Operation::Presence, channel), &key);
        let key = key?;
        let max = caller.subject.limit(&app.limits, Limit::Subscriptions).max;
        let is_new = match enter.how {
            How::Enter => self.memberships.enter(&caller.entry, (connection, generation), channel, max),
            How::Update | How::Resume if self.memberships.is_there(connection, generation, channel) => Ok(false),
            How::Update | How::Resume => Err(NotEntered::Resumed),
        };
        let is_new = is_new.map_err(|why| match why {
            NotEntered::Resumed => NodeError::NotPresent,
            NotEntered::Full => NodeError::Full { limit: Limit::Subscriptions, max },
        })?;
        let member = Member {
            id: MemberId::Connection(connection),
            user: caller.sub().map(Into::into),
            info: enter.info.map(ToOwned::to_owned),
            data: enter.data,
            since_ms: self.clock.unix_ms(),
        };
        match self.put(&caller.entry, &app, &key, (member, generation, enter.how, None)) {
            Pending::Ready(Ok(_)) => {
                // Another link may have resumed this connection since: then nobody would take it out.
                if !self.memberships.is_there(connection, generation, channel) {
                    self.take_out(&key, &MemberId::Connection(connection), generation);
                    return Err(NodeError::NotPresent);
                }
                Ok(Pending::Ready(Ok(())))
            }
            Pending::Ready(Err(error)) => {
                if is_new {
                    self.memberships.leave(connection, generation, channel);
                }
                Err(error)
            }
            // It stays noted though it may be refused: taking out whoever is not there is nothing.
            Pending::Later(put) => {
                let (memberships, presence) = (Arc::clone(&self.memberships), Arc::clone(&self.presence));
                let channel = channel.clone();
                Ok(Pending::Later(Box::pin(async move {
                    put.await?;
                    if !memberships.is_there(connection, generation, &channel) {
                        // Where this fails, whoever ends the node's lease takes it out.
                        let _ = presence.leave(&key, &MemberId::Connection(connection), generation).wait().await;
                        return Err(NodeError::NotPresent);
                    }
                    Ok(())
                })))
            }
        }
    }

    /// Takes a client out. Answers whether it was there.
    pub(crate) fn leave_client(
        &self,
        entry: &Arc<AppEntry>,
        (connection, generation): (ConnectionId, Generation),
        channel: &ChannelName,
    ) -> bool {
        let was_there = self.memberships.leave(connection, generation, channel);
        if was_there {
            let key = ChannelKey::from_broker(entry.id(), channel.clone());
            self.take_out(&key, &MemberId::Connection(connection), generation);
        }
        was_there
    }

    /// Takes a client out of every channel: its rights are gone.
    pub(crate) fn leave_everywhere(&self, connection: ConnectionId, generation: Generation) {
        if let Some(membership) = self.memberships.take(connection, generation) {
            self.take_out_all(connection, &membership);
        }
    }

    /// A client's link is lost: unless it resumes in time, it leaves every channel.
    pub(crate) fn lose_client(&self, connection: ConnectionId, generation: Generation) {
        self.memberships.lose(connection, generation, self.clock.monotonic());
    }

    /// Takes those out whose app is gone, whose link has been lost for too long, and whose time is over.
    pub(super) fn sweep_presence(&self) {
        for app in self.directory.take_gone() {
            self.presence.forget(app);
        }
        let now = self.clock.monotonic();
        while let Some((connection, membership)) = self.memberships.take_due(now) {
            self.take_out_all(connection, &membership);
        }
        self.presence.sweep(self.clock.unix_ms());
    }

    fn take_out_all(&self, connection: ConnectionId, membership: &Membership) {
        for channel in &membership.channels {
            let key = ChannelKey::from_broker(membership.entry.id(), channel.clone());
            self.take_out(&key, &MemberId::Connection(connection), membership.generation);
        }
    }

    /// The caller's connection goes on over a new link, of this generation: nobody is told anything, and what the link
    /// before it still does counts no more. Places that the caller has no right to any more, or where another user was, are
    /// left at once.
    pub fn take_over_presence(&self, caller: &Caller, generation: Generation) {
        let Some(connection) = caller.connection else { return };
        let app = caller.entry.app();
        let Some((before, channels)) = self.memberships.resume(app.id, connection, generation) else { return };
        for channel in channels {
            let id = MemberId::Connection(connection);
            let user = caller.sub().map(Into::into);
            let member = Member { id: id.clone(), user, info: None, data: None, since_ms: 0 };
            let key = ChannelKey::from_broker(app.id, channel.clone());
            let stays = may_be_present(&app, &caller.subject, &channel).is_ok()
                && match self.put(&caller.entry, &app, &key, (member, generation, How::Resume, None)) {
                    Pending::Ready(resumed) => resumed.is_ok(),
                    Pending::Later(resumed) => {
                        self.tasks.spawn(resumed);
                        true
                    }
                };
            if !stays {
                self.memberships.leave(connection, generation, &channel);
                self.take_out(&key, &id, before);
            }
        }
    }

    /// Puts a user in, or changes what is said of them.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` the channel, it has no presence, or a limit is reached.
    pub async fn enter_user(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        enter: EnterUser,
    ) -> Result<Member, NodeError> {
        let outcome = async {
            let app = caller.entry.app();
            let key = decide(&app, &caller.subject, Operation::Manage, channel)?.channel_key();
            is_on(&app, channel)?;
            let now_ms = self.clock.unix_ms();
            let EnterUser { user, info, data, ttl_ms } = enter;
            let id = MemberId::User(user.clone());
            let mut member = Member { id, user: Some(user), info, data, since_ms: now_ms };
            let expires_ms = ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms));
            let placed =
                self.put(&caller.entry, &app, &key, (member.clone(), 0, How::Enter, expires_ms)).wait().await?;
            // Put in after its app went and was forgotten, it would stay for good.
            if caller.entry.peek().status == AppStatus::Deleted {
                self.take_out(&key, &member.id, 0);
                return Err(NodeError::UnknownApp);
            }
            member.since_ms = placed.since_ms;
            Ok(member)
        };
        let outcome = outcome.await;
        self.counted(&caller.entry, outcome)
    }

    /// Takes a user out whom a backend entered.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` the channel, or no such user was entered.
    pub async fn leave_user(&self, caller: &Caller, channel: &ChannelName, user: &str) -> Result<(), NodeError> {
        let outcome = async {
            let key = decide(&caller.entry.app(), &caller.subject, Operation::Manage, channel)?.channel_key();
            let was_there = self.presence.leave(&key, &MemberId::User(user.into()), 0).wait().await?;
            if !was_there {
                let detail = format!("No backend has entered {user} into {channel}.");
                return Err(NodeError::Invalid(Box::new(Problem::new(ErrorCode::NotFound, detail))));
            }
            Ok(())
        };
        let outcome = outcome.await;
        self.counted(&caller.entry, outcome)
    }

    fn put(
        &self,
        entry: &Arc<AppEntry>,
        app: &App,
        key: &ChannelKey,
        (member, generation, how, expires_ms): (Member, Generation, How, Option<u64>),
    ) -> Pending<Result<Placed, NodeError>> {
        let put = Put {
            member,
            generation,
            how,
            expires_ms,
            rate: (app.limits.get(Limit::PresenceRate), self.clock.monotonic()),
            app_bytes_max: app.limits.get(Limit::PresenceBytesApp).max,
        };
        let (entry, says) = (Arc::clone(entry), u64::from(how != How::Resume));
        self.presence.put(key, put).map(move |placed| {
            let placed = placed?;
            AppStats::add(&entry.stats.presence_in, says);
            Ok(placed)
        })
    }

    fn take_out(&self, key: &ChannelKey, member: &MemberId, generation: Generation) {
        if let Pending::Later(left) = self.presence.leave(key, member, generation) {
            self.tasks.spawn(left);
        }
    }

    /// Has a subscription told of who is on its channel, as it wants from now on.
    pub(crate) fn watch_presence(
        &self,
        entry: &Arc<AppEntry>,
        channel: &Arc<Channel>,
        (outbox, slot): (&Arc<Outbox>, u32),
        wants: Wants,
    ) {
        outbox.watch(slot, wants);
        if wants.is_nothing() {
            self.watches.unwatch(channel.key(), outbox);
        } else {
            self.watches.watch(entry, channel, (outbox, slot), wants);
        }
    }

    /// Tells watchers what has changed. [`Node::run`] calls it five times a second.
    pub fn tell_presence(&self) {
        self.watches.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use fanfare_core::id::{KeyId, RuleId};
    use fanfare_core::permission::ClientSubject;
    use fanfare_core::position::PositionKey;
    use fanfare_core::{Capabilities, Clock, Effect, Operations, Pattern, Rule, Who};

    use super::*;
    use crate::chance::Chance;
    use crate::clock::Hand;
    use crate::{MemoryBroker, MemoryOptions, NodeOptions};

    fn node() -> (Arc<Node>, Arc<Hand>) {
        let clock = Arc::new(Hand::default());
        let broker = Arc::new(MemoryBroker::new(MemoryOptions::default(), 0, Chance::new(Some(1))));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let node = Node::new(NodeOptions::default(), broker, shared, PositionKey::new([1; 32]));
        let mut app = App::for_tests();
        app.rules = vec![Rule {
            id: RuleId::new(1, 1),
            pattern: Pattern::parse("room:*").expect("valid"),
            who: Who::Everyone,
            operations: Operations::CLIENT,
            effect: Effect::Allow,
        }];
        node.directory.upsert(app);
        (node, clock)
    }

    fn client(node: &Node, user: &str) -> Caller {
        let subject = ClientSubject { sub: Some(user.into()), ..ClientSubject::default() };
        Caller {
            entry: node.directory.entry(App::for_tests().id).expect("it is there"),
            subject: Arc::new(Subject::Client(Box::new(subject))),
            connection: Some(ConnectionId::new(1, 1)),
        }
    }

    fn room() -> ChannelName {
        ChannelName::parse("room:9").expect("valid")
    }

    fn enter(node: &Node, caller: &Caller, generation: Generation) -> Result<(), NodeError> {
        let enter = EnterClient { info: None, data: None, how: How::Enter, generation };
        match node.enter_client(caller, &room(), enter)? {
            Pending::Ready(entered) => entered,
            Pending::Later(_) => panic!("memory answers at once"),
        }
    }

    fn count(node: &Node) -> u64 {
        node.presence.members()
    }

    #[test]
    fn whoever_resumes_in_time_keeps_its_places_and_the_old_link_ends_nothing() {
        let ((node, clock), id) = (node(), ConnectionId::new(1, 1));
        let ann = client(&node, "ann");
        enter(&node, &ann, 1).expect("entered");
        node.lose_client(id, 1);
        clock.0.store(9_000, Ordering::Relaxed);
        node.take_over_presence(&ann, 2);
        // The old link is still there, and ends late in every way there is.
        node.lose_client(id, 1);
        node.leave_everywhere(id, 1);
        assert!(!node.leave_client(&ann.entry, (id, 1), &room()));
        assert!(matches!(enter(&node, &ann, 1), Err(NodeError::NotPresent)));
        clock.0.store(60_000, Ordering::Relaxed);
        node.sweep_presence();
        assert_eq!(count(&node), 1);
        node.lose_client(id, 2);
        clock.0.store(71_000, Ordering::Relaxed);
        node.sweep_presence();
        assert_eq!(count(&node), 0);
        node.take_over_presence(&ann, 3);
        assert_eq!(count(&node), 0, "whoever comes too late enters again");
    }

    #[tokio::test]
    async fn whom_a_backend_entered_leaves_with_the_app() {
        let (node, _) = node();
        let subject = Subject::Key { id: KeyId::new(1, 1), capabilities: Capabilities::everything() };
        let backend = Caller { connection: None, subject: Arc::new(subject), ..client(&node, "ann") };
        let bob = || EnterUser { user: "bob".into(), info: None, data: None, ttl_ms: None };
        let there = || async {
            let key = ChannelKey::from_broker(backend.entry.id(), room());
            let read = Read { after: None, limit: 10, bytes_max: 1_000, listed_max: 10 };
            node.presence.read(&key, read).wait().await.expect("memory answers").count
        };
        let deleted = App { status: AppStatus::Deleted, version: 2, ..App::clone(&backend.entry.app()) };
        let restored = App { version: 3, ..App::clone(&backend.entry.app()) };
        let ways: [(&str, &dyn Fn()); 2] = [
            ("marked", &|| node.directory.upsert(deleted.clone())),
            ("removed", &|| node.directory.remove(backend.entry.id())),
        ];
        for (way, goes) in ways {
            node.enter_user(&backend, &room(), bob()).await.expect("entered");
            node.sweep_presence();
            assert_eq!(there().await, 1, "{way}");
            goes();
            node.sweep_presence();
            assert_eq!(there().await, 0, "{way}");
            assert_eq!(node.presence.members(), 0, "{way}");
            assert!(node.enter_user(&backend, &room(), bob()).await.is_err(), "{way}");
            assert_eq!(there().await, 0, "{way}");
            node.directory.upsert(restored.clone());
        }
    }

    #[test]
    fn nobody_resumes_into_places_of_another_user_or_without_the_right() {
        for (user, rule) in [("eve", true), ("ann", false)] {
            let (node, _) = node();
            let ann = client(&node, "ann");
            enter(&node, &ann, 1).expect("entered");
            if !rule {
                let app = App { version: 2, rules: Vec::new(), ..App::clone(&ann.entry.app()) };
                node.directory.upsert(app);
            }
            node.take_over_presence(&client(&node, user), 2);
            assert_eq!(count(&node), 0, "{user}");
            assert!(node.memberships.channels(ConnectionId::new(1, 1), 2).is_empty());
        }
    }
}
