//! Connections and users as a backend sees them: of this node.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::id::ConnectionId;
use fanfare_core::{ChannelName, ErrorCode, Limit, Problem, Subject};

use super::Node;
use super::manage::{may_look_at_all, may_look_at_channel};
use crate::caller::Caller;
use crate::directory::AppEntry;
use crate::error::NodeError;
use crate::outbox::Outbox;

/// Which connections to list.
#[derive(Debug, Clone, Default)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Its id; made when it came.
    pub id: ConnectionId,
    /// Its user.
    pub user: Option<Box<str>>,
    /// `ff.meta` of its token, a JSON object.
    pub meta: Option<Box<str>>,
    /// How it is connected.
    pub transport: &'static str,
    /// What it is subscribed to, by name.
    pub channels: Vec<ChannelName>,
    /// Bytes that wait until it takes them.
    pub bytes_waiting: u64,
    /// How long it took to answer the node's last probe; `None` before the first, which comes when the link is silent.
    pub round_trip: Option<Duration>,
}

/// A connection, seen from near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionDetail {
    /// What a list shows of it.
    pub info: ConnectionInfo,
    /// Where each of its subscriptions stands, by channel.
    pub places: Vec<SubscriptionPlace>,
    /// The limits that it alone counts towards: which, how much it uses, how much it may.
    pub limits: Vec<(Limit, u64, u64)>,
}

/// Where a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionPlace {
    /// Its channel.
    pub channel: ChannelName,
    /// Up to where it was sent everything, as told outside; `None` before its first page.
    pub position: Option<String>,
    /// Whether messages reach it as they come; else it reads on from history.
    pub is_live: bool,
}

impl Node {
    /// Lists the app's connections on this node, the oldest first, and where the next page starts.
    ///
    /// # Errors
    /// When the caller is neither a member nor a key that may `manage` the channel that is asked for, or, without one,
    /// `**`.
    pub fn connections_of(
        &self,
        caller: &Caller,
        query: &ConnectionsQuery,
    ) -> Result<(Vec<ConnectionInfo>, Option<ConnectionId>), NodeError> {
        let allowed = match &query.channel {
            Some(channel) => may_look_at_channel(caller, channel).map(drop),
            None => may_look_at_all(caller),
        };
        self.counted(&caller.entry, allowed)?;
        let limit = query.limit.clamp(1, 1_000) as usize;
        let mut found = find(&caller.entry, query, limit + 1);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|(id, _)| *id).filter(|_| more);
        Ok((found.into_iter().map(|(id, outbox)| info(id, &outbox)).collect(), next))
    }

    /// One connection, if it is here.
    ///
    /// # Errors
    /// When the caller is neither a member nor a key that may `manage` `**`, or there is no such connection on this node.
    pub fn connection_detail(&self, caller: &Caller, id: ConnectionId) -> Result<ConnectionDetail, NodeError> {
        self.counted(&caller.entry, may_look_at_all(caller))?;
        let found = caller.entry.registry.find(id).ok_or_else(|| {
            let detail = "There is no such connection: it has ended, or never was.";
            NodeError::Invalid(Box::new(Problem::new(ErrorCode::NotFound, detail)))
        });
        let outbox = self.counted(&caller.entry, found)?;
        let info = info(id, &outbox);
        let app = caller.entry.peek();
        let max =
            |limit| outbox.subject().map_or_else(|| app.limits.get(limit), |who| who.limit(&app.limits, limit)).max;
        let used = [(Limit::Subscriptions, info.channels.len() as u64), (Limit::OutboxBytes, info.bytes_waiting)];
        let limits = used.into_iter().map(|(limit, used)| (limit, used, max(limit))).collect();
        let mut places: Vec<_> = outbox
            .places()
            .into_iter()
            .map(|place| SubscriptionPlace {
                channel: place.channel.name().clone(),
                position: place.position.map(|position| self.tell(place.channel.key(), position)),
                is_live: place.is_live,
            })
            .collect();
        places.sort_unstable_by(|one, other| one.channel.cmp(&other.channel));
        Ok(ConnectionDetail { info, places, limits })
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
    let subject = outbox.subject();
    let client = match subject.as_deref() {
        Some(Subject::Client(client)) => Some(client),
        Some(Subject::Key { .. } | Subject::Inspector(_)) | None => None,
    };
    ConnectionInfo {
        id,
        user: client.and_then(|client| client.sub.clone()),
        meta: client.and_then(|client| client.meta.clone()),
        transport: outbox.transport(),
        channels,
        bytes_waiting: bytes_waiting as u64,
        round_trip: outbox.round_trip(),
    }
}
