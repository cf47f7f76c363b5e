//! Which connections of this node are members, and where: so that each leaves once, whoever ends it.
//!
//! A connection whose link is lost keeps its places for [`GRACE`]; whoever resumes it goes on in them, as a later
//! *generation* of the same connection. The task of a link only says what happened to it: the places are here and not in
//! the task, because a client may resume while its old task still waits for a link that is dead. From then on the old
//! task speaks for nobody.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_core::ChannelName;
use fanfare_core::id::{AppId, ConnectionId};

use super::Generation;
use crate::directory::AppEntry;

/// How long a client may be away before it leaves.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

const SHARDS: usize = 16;

/// The members that are connections of this node.
pub(crate) struct Memberships {
    shards: [Mutex<HashMap<ConnectionId, Membership>>; SHARDS],
    /// Lost links, the longest lost first.
    lost: Mutex<VecDeque<(Duration, ConnectionId)>>,
}

/// Where a connection is a member.
pub(crate) struct Membership {
    pub(crate) entry: Arc<AppEntry>,
    pub(crate) generation: Generation,
    pub(crate) channels: BTreeSet<ChannelName>,
    /// When it leaves, the link being lost.
    leaves_at: Option<Duration>,
}

impl Default for Memberships {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), lost: Mutex::default() }
    }
}

impl Memberships {
    fn shard(&self, connection: ConnectionId) -> MutexGuard<'_, HashMap<ConnectionId, Membership>> {
        let index = usize::from(connection.to_bytes()[15]) % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a connection enters, if it is a member of fewer than `max` channels or of this one. Answers whether it
    /// was not there.
    pub(crate) fn enter(
        &self,
        entry: &Arc<AppEntry>,
        (connection, generation): (ConnectionId, Generation),
        channel: &ChannelName,
        max: u64,
    ) -> Result<bool, NotEntered> {
        let mut shard = self.shard(connection);
        let known = shard.get_mut(&connection);
        if known.as_ref().is_some_and(|known| known.generation > generation) {
            return Err(NotEntered::Resumed);
        }
        if known.as_ref().map_or(0, |known| known.channels.len() as u64) >= max
            && !known.as_ref().is_some_and(|known| known.channels.contains(channel))
        {
            return Err(NotEntered::Full);
        }
        let membership = shard.entry(connection).or_insert_with(|| Membership {
            entry: Arc::clone(entry),
            generation,
            channels: BTreeSet::new(),
            leaves_at: None,
        });
        Ok(membership.channels.insert(channel.clone()))
    }

    /// Whether a connection is a member here, and nobody has resumed it.
    pub(crate) fn is_there(&self, connection: ConnectionId, generation: Generation, channel: &ChannelName) -> bool {
        let shard = self.shard(connection);
        let known = shard.get(&connection).filter(|known| known.generation == generation);
        known.is_some_and(|known| known.channels.contains(channel))
    }

    /// Notes that a connection leaves. Answers whether it was there.
    pub(crate) fn leave(&self, connection: ConnectionId, generation: Generation, channel: &ChannelName) -> bool {
        let mut shard = self.shard(connection);
        let Some(known) = shard.get_mut(&connection).filter(|known| known.generation == generation) else {
            return false;
        };
        let was_there = known.channels.remove(channel);
        if known.channels.is_empty() {
            shard.remove(&connection);
        }
        was_there
    }

    /// Where a connection is a member.
    pub(crate) fn channels(&self, connection: ConnectionId, generation: Generation) -> Vec<ChannelName> {
        let shard = self.shard(connection);
        let known = shard.get(&connection).filter(|known| known.generation == generation);
        known.map(|known| known.channels.iter().cloned().collect()).unwrap_or_default()
    }

    /// A link is lost: its places are kept for a while. It may be told several times, and after somebody has resumed.
    pub(crate) fn lose(&self, connection: ConnectionId, generation: Generation, now: Duration) {
        let leaves_at = now + GRACE;
        match self.shard(connection).get_mut(&connection) {
            Some(known) if known.generation == generation && known.leaves_at.is_none() => {
                known.leaves_at = Some(leaves_at);
            }
            Some(_) | None => return,
        }
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).push_back((leaves_at, connection));
    }

    /// Forgets a connection and says where it was a member.
    pub(crate) fn take(&self, connection: ConnectionId, generation: Generation) -> Option<Membership> {
        match self.shard(connection).entry(connection) {
            Entry::Occupied(known) if known.get().generation == generation => Some(known.remove()),
            Entry::Occupied(_) | Entry::Vacant(_) => None,
        }
    }

    /// Forgets a connection whose link has been lost for long enough; `None` when there is no other.
    pub(crate) fn take_due(&self, now: Duration) -> Option<(ConnectionId, Membership)> {
        loop {
            let (at, connection) =
                self.lost.lock().unwrap_or_else(PoisonError::into_inner).pop_front_if(|(at, _)| *at <= now)?;
            // It may have been resumed, or forgotten, meanwhile.
            if let Entry::Occupied(known) = self.shard(connection).entry(connection)
                && known.get().leaves_at == Some(at)
            {
                return Some((connection, known.remove()));
            }
        }
    }

    /// Somebody goes on as this connection, lost or not: its places are the new generation's. Says whose they were, and
    /// where they are.
    pub(crate) fn resume(
        &self,
        app: AppId,
        connection: ConnectionId,
        generation: Generation,
    ) -> Option<(Generation, Vec<ChannelName>)> {
        let mut shard = self.shard(connection);
        match shard.get_mut(&connection) {
            Some(known) if known.entry.id() == app && known.generation < generation => {
                known.leaves_at = None;
                let before = std::mem::replace(&mut known.generation, generation);
                Some((before, known.channels.iter().cloned().collect()))
            }
            Some(_) | None => None,
        }
    }
}

/// Why a connection does not enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotEntered {
    /// Another goes on in its place.
    Resumed,
    /// It is a member of as many channels as it may.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;
    use fanfare_core::App;

    fn entry() -> Arc<AppEntry> {
        let directory = Directory::default();
        let app = App::for_tests();
        let id = app.id;
        directory.upsert(app);
        directory.entry(id).expect("it is there")
    }

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text).expect("valid")
    }

    #[test]
    fn a_lost_connection_is_due_once_and_only_after_the_grace() {
        let (entry, members, ann) = (entry(), Memberships::default(), ConnectionId::new(1, 1));
        for channel in ["a", "b"] {
            assert_eq!(members.enter(&entry, (ann, 0), &name(channel), 2), Ok(true));
        }
        assert_eq!(members.enter(&entry, (ann, 0), &name("a"), 2), Ok(false));
        assert_eq!(members.enter(&entry, (ann, 0), &name("c"), 2), Err(NotEntered::Full));
        let at = Duration::from_secs;
        members.lose(ann, 0, at(5));
        members.lose(ann, 0, at(9));
        assert!(members.take_due(at(14)).is_none());
        let (connection, gone) = members.take_due(at(15)).expect("due");
        assert_eq!((connection, gone.channels.len()), (ann, 2));
        assert!(members.take_due(at(99)).is_none() && members.channels(ann, 0).is_empty());
    }

    #[test]
    fn whoever_resumed_is_not_due_and_the_old_link_speaks_for_it_no_more() {
        let (entry, members, ann) = (entry(), Memberships::default(), ConnectionId::new(1, 1));
        let app = entry.id();
        assert_eq!(members.enter(&entry, (ann, 1), &name("a"), 9), Ok(true));
        members.lose(ann, 1, Duration::ZERO);
        assert!(members.resume(AppId::new(9, 9), ann, 2).is_none(), "another app's connection");
        assert_eq!(members.resume(app, ann, 2), Some((1, vec![name("a")])));
        assert!(members.resume(app, ann, 2).is_none(), "a generation goes on once");
        assert!(members.take_due(Duration::from_secs(99)).is_none());
        members.lose(ann, 1, Duration::ZERO);
        assert!(members.take_due(Duration::from_secs(99)).is_none());
        assert!(!members.leave(ann, 1, &name("a")) && members.take(ann, 1).is_none());
        assert_eq!(members.enter(&entry, (ann, 1), &name("b"), 9), Err(NotEntered::Resumed));
        assert!(members.is_there(ann, 2, &name("a")) && members.leave(ann, 2, &name("a")));
    }
}
