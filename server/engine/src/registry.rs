//! An app's connections on this node, found by their id and by their user.
//!
//! Both indexes hold ids, hashes and pointers, and no text. They are parted so that connects do not wait for each other.
//! No outbox lock is taken under a lock of theirs. A client that comes back with a ticket takes the place of the
//! connection it goes on with, which then removes only what is still its own.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_core::Subject;
use fanfare_core::id::ConnectionId;

use crate::outbox::Outbox;

const SHARDS: usize = 16;

/// The connections of one app.
#[derive(Default)]
pub(crate) struct Registry {
    by_id: [Mutex<Index<ConnectionId>>; SHARDS],
    by_user: [Mutex<Index<UserPlace>>; SHARDS],
    hasher: RandomState,
}

type Index<K> = BTreeMap<K, Arc<Outbox>>;

/// The keyed hash of a user's name, and the random half of a connection's id. Two names may share a hash: whoever looks
/// a user up compares the name itself.
type UserPlace = (u64, u64);

impl Registry {
    /// Lists a connection under an id. Answers the older one that stood there.
    pub(crate) fn add(&self, id: ConnectionId, outbox: &Arc<Outbox>) -> Option<Arc<Outbox>> {
        let before = self.ids(id).insert(id, Arc::clone(outbox));
        before.filter(|before| !Arc::ptr_eq(before, outbox))
    }

    /// Lists a connection under its user. A second call is a new token of the same user.
    pub(crate) fn identify(&self, outbox: &Arc<Outbox>, subject: Arc<Subject>) {
        if let Some(user) = subject.sub() {
            let place = self.place(user, outbox.id());
            self.users(place).insert(place, Arc::clone(outbox));
        }
        outbox.identify(subject);
    }

    /// Takes a connection off the list of ids, unless a newer one stands there.
    pub(crate) fn forget(&self, id: ConnectionId, outbox: &Arc<Outbox>) {
        remove_own(&mut self.ids(id), &id, outbox);
    }

    /// Takes a connection off both lists.
    pub(crate) fn remove(&self, outbox: &Arc<Outbox>) {
        let id = outbox.id();
        self.forget(id, outbox);
        if let Some(user) = outbox.subject().as_deref().and_then(Subject::sub) {
            let place = self.place(user, id);
            remove_own(&mut self.users(place), &place, outbox);
        }
    }

    /// The connection with this id.
    pub(crate) fn find(&self, id: ConnectionId) -> Option<Arc<Outbox>> {
        self.ids(id).get(&id).cloned()
    }

    /// The connections of this user.
    pub(crate) fn of_user(&self, user: &str) -> Vec<Arc<Outbox>> {
        let hash = self.hasher.hash_one(user);
        let mut found: Vec<_> = {
            let users = self.users((hash, 0));
            users.range((hash, 0)..=(hash, u64::MAX)).map(|(_, outbox)| Arc::clone(outbox)).collect()
        };
        found.retain(|outbox| outbox.is_of(user));
        found
    }

    /// At most so many connections in the order of their ids, which is that of their age, after this one.
    pub(crate) fn page(&self, after: Option<ConnectionId>, limit: usize) -> Vec<(ConnectionId, Arc<Outbox>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        for shard in &self.by_id {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let part = shard.range((from, Bound::Unbounded)).take(limit);
            found.extend(part.map(|(id, outbox)| (*id, Arc::clone(outbox))));
        }
        found.sort_unstable_by_key(|(id, _)| *id);
        found.truncate(limit);
        found
    }

    /// Calls `each` under a lock: it must neither wait nor take an outbox lock.
    pub(crate) fn each(&self, mut each: impl FnMut(&Arc<Outbox>)) {
        for shard in &self.by_id {
            shard.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(&mut each);
        }
    }

    fn ids(&self, id: ConnectionId) -> MutexGuard<'_, Index<ConnectionId>> {
        self.by_id[usize::from(id.to_bytes()[15]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn users(&self, (hash, _): UserPlace) -> MutexGuard<'_, Index<UserPlace>> {
        // The remainder is below SHARDS, which is a usize.
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        self.by_user[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, user: &str, id: ConnectionId) -> UserPlace {
        let [_, _, _, _, _, _, _, _, random @ ..] = id.to_bytes();
        (self.hasher.hash_one(user), u64::from_be_bytes(random))
    }
}

fn remove_own<K: Ord>(index: &mut Index<K>, place: &K, outbox: &Arc<Outbox>) {
    if index.get(place).is_some_and(|listed| Arc::ptr_eq(listed, outbox)) {
        index.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Wire;
    use crate::transport::Sink;
    use fanfare_core::permission::ClientSubject;
    use std::io::{self, IoSlice};

    struct Nowhere;

    impl Sink for Nowhere {
        fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
            Ok(bytes.iter().map(|part| part.len()).sum())
        }

        fn finish(&mut self) {}
    }

    fn outbox(number: u64) -> Arc<Outbox> {
        Outbox::new(ConnectionId::new(number, number.into()), Wire::NativeJson, Box::new(Nowhere), Arc::default())
    }

    fn subject(user: Option<&str>) -> Arc<Subject> {
        let client = ClientSubject { sub: user.map(Into::into), ..ClientSubject::default() };
        Arc::new(Subject::Client(Box::new(client)))
    }

    fn numbers(found: &[Arc<Outbox>]) -> Vec<u64> {
        let mut numbers: Vec<u64> = found.iter().map(|outbox| outbox.id().unix_ms()).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn connections_are_found_by_id_and_by_user_until_they_go() {
        let registry = Registry::default();
        let all: Vec<_> = (1..=60).map(outbox).collect();
        for (index, outbox) in all.iter().enumerate() {
            assert!(registry.add(outbox.id(), outbox).is_none());
            let user = ["ann", "bob", ""][index % 3];
            registry.identify(outbox, subject((!user.is_empty()).then_some(user)));
        }
        // A new token of the same user is not a second connection.
        registry.identify(&all[0], subject(Some("ann")));
        assert_eq!(numbers(&registry.of_user("ann")), (1..=60).step_by(3).collect::<Vec<_>>());
        assert!(registry.of_user("").is_empty() && registry.of_user("eve").is_empty());
        assert_eq!(registry.find(all[7].id()).map(|found| found.id()), Some(all[7].id()));
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = registry.page(after, 7);
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            paged.extend(page.iter().map(|(id, _)| id.unix_ms()));
        }
        assert_eq!(paged, (1..=60).collect::<Vec<_>>());
        for outbox in &all {
            registry.remove(outbox);
        }
        let mut left = 0;
        registry.each(|_| left += 1);
        assert!(left == 0 && registry.of_user("ann").is_empty() && registry.find(all[7].id()).is_none());
    }

    #[test]
    fn whoever_goes_on_elsewhere_removes_nothing_of_the_one_that_took_its_place() {
        let (registry, old, new) = (Registry::default(), outbox(1), outbox(1));
        assert!(registry.add(old.id(), &old).is_none());
        registry.identify(&old, subject(Some("ann")));
        assert!(registry.add(new.id(), &new).is_some_and(|before| Arc::ptr_eq(&before, &old)));
        registry.identify(&new, subject(Some("ann")));
        registry.remove(&old);
        assert!(registry.find(new.id()).is_some_and(|found| Arc::ptr_eq(&found, &new)));
        assert_eq!(registry.of_user("ann").len(), 1);
        registry.remove(&new);
        assert!(registry.find(new.id()).is_none() && registry.of_user("ann").is_empty());
    }
}
