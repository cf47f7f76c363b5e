//! Connections and users as a backend sees them, wherever they are.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::id::ConnectionId;
use fanfare_core::position::PositionKey;
use fanfare_core::{ChannelName, ErrorCode, Limit, Problem, Subject};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::manage::{may_look_at_all, may_look_at_channel};
use super::{Node, told};
use crate::bus::{Answers, Look, Seen};
use crate::caller::Caller;
use crate::directory::AppEntry;
use crate::error::NodeError;
use crate::outbox::Outbox;

/// Bytes of one node's part of a page of connections, about: what comes on top is on the next.
const PAGE_BYTES_MAX: usize = 256 * 1024;

/// What is asked of all nodes at one moment, of one app and of all.
pub(crate) const LOOKS_APP_MAX: usize = 4;
pub(super) const LOOKS_MAX: usize = 16;
/// How long a question waits for those before it.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// Which connections to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConnectionsQuery {
    /// Those of this user.
    pub user: Option<Box<str>>,
    /// Those that are subscribed to this channel.
    pub channel: Option<ChannelName>,
    /// Those after this one.
    pub after: Option<ConnectionId>,
    /// At most so many, 1 to 1,000.
    pub limit: u32,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// Its id; made when it came.
    pub id: ConnectionId,
    /// Its user.
    pub user: Option<Box<str>>,
    /// `ff.meta` of its token, a JSON object.
    pub meta: Option<Box<str>>,
    /// How it is connected.
    pub transport: Box<str>,
    /// What it is subscribed to, by name; Fanfare's own channels included.
    pub channels: Vec<Box<str>>,
    /// Bytes that wait until it takes them.
    pub bytes_waiting: u64,
    /// How long it took to answer the node's last probe; `None` before the first, which comes when the link is silent.
    pub round_trip: Option<Duration>,
}

/// A connection, seen from near.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionDetail {
    /// What a list shows of it.
    pub info: ConnectionInfo,
    /// Where each of its subscriptions stands, by channel.
    pub places: Vec<SubscriptionPlace>,
    /// The limits that it alone counts towards: which, how much it uses, how much it may.
    pub limits: Vec<(Limit, u64, u64)>,
}

/// Connections, and where they go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionsPage {
    /// The oldest first.
    pub connections: Vec<ConnectionInfo>,
    /// Continue after this one; `None` after the last page.
    pub next: Option<ConnectionId>,
    /// Nodes that did not answer in time.
    pub missing: u32,
}

/// Where a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionPlace {
    /// Its channel; Fanfare's own included.
    pub channel: Box<str>,
    /// Up to where it was sent everything, as told outside; `None` before its first page.
    pub position: Option<String>,
    /// Whether messages reach it as they come; else it reads on from history.
    pub is_live: bool,
}

impl Node {
    /// Lists the app's connections, the oldest first. A page may be shorter than it may be, with more behind it.
    ///
    /// # Errors
    /// When the caller is neither a member nor a key that may `manage` the channel that is asked for, or, without one,
    /// `**`.
    pub async fn connections_of(&self, caller: &Caller, query: ConnectionsQuery) -> Result<ConnectionsPage, NodeError> {
        let allowed = match &query.channel {
            Some(channel) => may_look_at_channel(caller, channel).map(drop),
            None => may_look_at_all(caller),
        };
        self.counted(&caller.entry, allowed)?;
        let limit = query.limit.clamp(1, 1_000) as usize;
        let answers = self.look(caller, Look::Connections(query)).await;
        let Answers { seen, missing } = self.counted(&caller.entry, answers)?;
        let (mut connections, mut horizon) = (Vec::new(), None::<ConnectionId>);
        for (_, seen) in seen {
            let Seen::Connections(some, more) = seen else { continue };
            // Behind the last of a node that has more, some of its connections are not known.
            if let Some(last) = some.last().filter(|_| more) {
                horizon = Some(horizon.map_or(last.id, |horizon| horizon.min(last.id)));
            }
            connections.extend(some);
        }
        connections.retain(|info| horizon.is_none_or(|horizon| info.id <= horizon));
        connections.sort_by_key(|info| info.id);
        // One that has just come back at another node may still be known to the one before.
        connections.dedup_by_key(|info| info.id);
        let more = horizon.is_some() || connections.len() > limit;
        connections.truncate(limit);
        let next = connections.last().map(|info| info.id).filter(|_| more);
        Ok(ConnectionsPage { connections, next, missing })
    }

    /// One connection.
    ///
    /// # Errors
    /// When the caller is neither a member nor a key that may `manage` `**`, there is no such connection, or the node that
    /// may have it did not answer.
    pub async fn connection_detail(&self, caller: &Caller, id: ConnectionId) -> Result<ConnectionDetail, NodeError> {
        self.counted(&caller.entry, may_look_at_all(caller))?;
        let answers = self.look(caller, Look::Connection(id)).await;
        let Answers { seen, missing } = self.counted(&caller.entry, answers)?;
        let found = seen.into_iter().find_map(|(_, seen)| match seen {
            Seen::Connection(detail) => detail,
            _ => None,
        });
        let found = found.ok_or_else(|| {
            let (code, detail) = if missing > 0 {
                (ErrorCode::TryAgain, "A node did not answer in time, and the connection is at no other.")
            } else {
                (ErrorCode::NotFound, "There is no such connection: it has ended, or never was.")
            };
            NodeError::Invalid(Box::new(Problem::new(code, detail)))
        });
        Ok(*self.counted(&caller.entry, found)?)
    }
}

/// A turn, at once where there is one.
async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, NodeError> {
    if let Ok(turn) = turns.try_acquire() {
        return Ok(turn);
    }
    // They are never closed.
    timeout(TURN_WITHIN, turns.acquire()).await.ok().and_then(Result::ok).ok_or(NodeError::Overloaded)
}

impl Node {
    /// Asks all nodes for a caller: few at one moment for each app and for all, as answers of many nodes come in over the
    /// link that messages come over. The others wait for a while.
    ///
    /// # Errors
    /// When too many wait.
    pub(super) async fn look(&self, caller: &Caller, look: Look) -> Result<Answers, NodeError> {
        let _app = turn(&caller.entry.looks).await?;
        let _all = turn(&self.looks).await?;
        Ok(self.bus().look(caller.entry.id(), look).wait().await)
    }
}

impl AppEntry {
    /// Connections of this node that are meant, the oldest first, and whether there are more.
    pub(crate) fn connections_page(&self, query: &ConnectionsQuery) -> (Vec<ConnectionInfo>, bool) {
        let limit = query.limit.clamp(1, 1_000) as usize;
        let found = find(self, query, limit + 1);
        let all = found.len();
        let mut bytes = 0;
        let fits = |info: &ConnectionInfo| {
            // One at least is given.
            let fits = bytes < PAGE_BYTES_MAX;
            bytes += 200 + info.channels.iter().map(|name| name.len() + 3).sum::<usize>();
            bytes += info.meta.as_ref().map_or(0, |meta| meta.len());
            fits
        };
        let page: Vec<_> =
            found.into_iter().take(limit).map(|(id, outbox)| info(id, &outbox)).take_while(fits).collect();
        let more = page.len() < all;
        (page, more)
    }

    /// A connection of this node, seen from near.
    pub(crate) fn connection_detail(&self, id: ConnectionId, positions: &PositionKey) -> Option<ConnectionDetail> {
        let outbox = self.registry.find(id)?;
        let (info, app) = (info(id, &outbox), self.peek());
        let max =
            |limit| outbox.subject().map_or_else(|| app.limits.get(limit), |who| who.limit(&app.limits, limit)).max;
        let used = [(Limit::Subscriptions, info.channels.len() as u64), (Limit::OutboxBytes, info.bytes_waiting)];
        let limits = used.into_iter().map(|(limit, used)| (limit, used, max(limit))).collect();
        let mut places: Vec<_> = outbox
            .places()
            .into_iter()
            .map(|place| SubscriptionPlace {
                channel: place.channel.name().as_str().into(),
                position: place.position.map(|position| told(positions, place.channel.key(), position)),
                is_live: place.is_live,
            })
            .collect();
        places.sort_unstable_by(|one, other| one.channel.cmp(&other.channel));
        Some(ConnectionDetail { info, places, limits })
    }
}

/// The connections that are meant, the oldest first.
fn find(entry: &AppEntry, query: &ConnectionsQuery, limit: usize) -> Vec<(ConnectionId, Arc<Outbox>)> {
    let found = match (&query.user, &query.channel) {
        (None, None) => return entry.registry.page(query.after, limit),
        (Some(user), _) => entry.registry.of_user(user),
        (None, Some(channel)) => entry.channel(channel).map_or_else(Vec::new, |channel| channel.outboxes()),
    };
    let mut found: Vec<_> = found.into_iter().map(|outbox| (outbox.id(), outbox)).collect();
    found.retain(|(id, outbox)| {
        query.after.is_none_or(|after| *id > after)
            && (query.user.is_none() || query.channel.as_ref().is_none_or(|name| outbox.is_subscribed(name)))
    });
    if found.len() > limit {
        // All of a crowded channel are not sorted for one page of them.
        found.select_nth_unstable_by_key(limit, |(id, _)| *id);
        found.truncate(limit);
    }
    found.sort_unstable_by_key(|(id, _)| *id);
    found
}

fn info(id: ConnectionId, outbox: &Outbox) -> ConnectionInfo {
    let (mut channels, bytes_waiting) = outbox.look();
    channels.sort_unstable();
    let channels = channels.iter().map(|name| name.as_str().into()).collect();
    let subject = outbox.subject();
    let client = match subject.as_deref() {
        Some(Subject::Client(client)) => Some(client),
        Some(Subject::Key { .. } | Subject::Inspector(_)) | None => None,
    };
    ConnectionInfo {
        id,
        user: client.and_then(|client| client.sub.clone()),
        meta: client.and_then(|client| client.meta.clone()),
        transport: outbox.transport().into(),
        channels,
        bytes_waiting: bytes_waiting as u64,
        round_trip: outbox.round_trip(),
    }
}
