//! The members that are connections of this node, and the lease they are held under.
//!
//! What Redis is asked about a member is handed in under the lock that notes it, so that what is noted last is what is
//! done last. A lease that ended took its members along: they are entered again under a new one, whose name was never used.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_core::id::AppId;
use fanfare_core::{ChannelKey, MemberId};
use fanfare_engine::presence::{Generation, How};

/// Tells one note of a member from the next.
pub(super) type Note = u64;

pub(super) struct Own(Mutex<State>);

pub(super) struct State {
    pub(super) lease: Lease,
    /// Whether members may not be held under it yet.
    pub(super) is_due: bool,
    /// The data set that members were entered into.
    lineage: Option<Box<str>>,
    members: HashMap<ChannelKey, HashMap<MemberId, Held>>,
    count: u64,
    notes: Note,
}

/// A lease, as Redis is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) name: Arc<str>,
    /// Redis may not know it yet, and takes it.
    pub(super) is_new: bool,
}

/// A member as it is to be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) generation: Generation,
    pub(super) since_ms: u64,
    pub(super) weight: u64,
    pub(super) user: Arc<str>,
    pub(super) told: Arc<str>,
    pub(super) note: Note,
}

/// What stood before a note, to be put back where Redis refuses.
#[derive(Debug)]
pub(super) struct Before {
    note: Note,
    held: Option<Held>,
}

impl Own {
    pub(super) fn new(lease: String) -> Self {
        Self(Mutex::new(State {
            lease: Lease { name: lease.into(), is_new: true },
            is_due: false,
            lineage: None,
            members: HashMap::new(),
            count: 0,
            notes: 0,
        }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes a member that is put. `None` where a later generation of it is here, or none that could resume.
    pub(super) fn note(&mut self, channel: &ChannelKey, id: &MemberId, how: How, mut held: Held) -> Option<Before> {
        self.notes += 1;
        held.note = self.notes;
        let known = self.members.get(channel).and_then(|members| members.get(id));
        if known.is_some_and(|known| known.generation > held.generation) {
            return None;
        }
        if how == How::Resume {
            held = Held { generation: held.generation, note: held.note, ..known?.clone() };
        }
        let note = held.note;
        let before = self.members.entry(channel.clone()).or_default().insert(id.clone(), held);
        self.count += u64::from(before.is_none());
        Some(Before { note, held: before })
    }

    /// Redis refused what was noted.
    pub(super) fn undo(&mut self, channel: &ChannelKey, id: &MemberId, before: Before) {
        let is_last = self.get(channel, id).is_some_and(|held| held.note == before.note);
        match before.held {
            // Something was noted since.
            _ if !is_last => {}
            Some(held) => {
                self.members.entry(channel.clone()).or_default().insert(id.clone(), held);
            }
            None => self.remove(channel, id),
        }
    }

    /// A member of this generation leaves.
    pub(super) fn leave(&mut self, channel: &ChannelKey, id: &MemberId, generation: Generation) {
        if self.get(channel, id).is_some_and(|held| held.generation == generation) {
            self.remove(channel, id);
        }
    }

    pub(super) fn get(&self, channel: &ChannelKey, id: &MemberId) -> Option<&Held> {
        self.members.get(channel)?.get(id)
    }

    fn remove(&mut self, channel: &ChannelKey, id: &MemberId) {
        let Entry::Occupied(mut members) = self.members.entry(channel.clone()) else { return };
        self.count -= u64::from(members.get_mut().remove(id).is_some());
        if members.get().is_empty() {
            members.remove();
        }
    }

    /// An app is gone.
    pub(super) fn forget(&mut self, app: AppId) {
        self.members.retain(|channel, _| channel.app() != app);
        self.count = self.members.values().map(|members| members.len() as u64).sum();
    }

    /// Everybody, to be entered again.
    pub(super) fn everybody(&self) -> Vec<(ChannelKey, MemberId)> {
        let all = self.members.iter().flat_map(|(key, members)| members.keys().map(|id| (key.clone(), id.clone())));
        all.collect()
    }

    /// A lease does not hold any more: another takes its place, if none has.
    pub(super) fn renew(&mut self, ended: &str, fresh: impl FnOnce() -> String) {
        if *self.lease.name == *ended {
            self.lease = Lease { name: fresh().into(), is_new: true };
            self.is_due = true;
        }
    }

    /// Redis knows a lease.
    pub(super) fn is_known(&mut self, lease: &str) {
        if *self.lease.name == *lease {
            self.lease.is_new = false;
        }
    }

    /// Whether Redis has taken a new lease is unknown: it is not asked to take it again, for it may have ended since.
    pub(super) fn is_doubtful(&mut self, lease: &str, fresh: impl FnOnce() -> String) {
        if self.lease.is_new {
            self.renew(lease, fresh);
        }
    }

    /// Redis goes by this lineage. Whether it went by another before.
    pub(super) fn is_another(&mut self, lineage: &str) -> bool {
        let before = self.lineage.replace(lineage.into());
        before.is_some_and(|before| *before != *lineage)
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::ChannelName;
    use fanfare_core::id::ConnectionId;

    use super::*;

    fn key(app: u64) -> ChannelKey {
        ChannelKey::from_broker(AppId::new(app, 1), ChannelName::parse("a").expect("valid"))
    }

    fn held(generation: Generation, told: &str) -> Held {
        Held { generation, since_ms: 1, weight: 2, user: "-".into(), told: told.into(), note: 0 }
    }

    #[test]
    fn what_is_noted_last_stands_whatever_redis_refused_before() {
        let own = Own::new("one".to_owned());
        let (mut state, a, ann) = (own.state(), key(1), MemberId::Connection(ConnectionId::new(1, 1)));
        let told = |state: &State| state.get(&a, &ann).map(|held| held.told.to_string());
        let first = state.note(&a, &ann, How::Enter, held(1, "first")).expect("noted");
        let second = state.note(&a, &ann, How::Update, held(1, "second")).expect("noted");
        state.undo(&a, &ann, first);
        assert_eq!(told(&state).as_deref(), Some("second"));
        state.undo(&a, &ann, second);
        assert_eq!((told(&state).as_deref(), state.count()), (Some("first"), 1));
        let third = state.note(&a, &ann, How::Resume, held(2, "")).expect("noted");
        assert_eq!(told(&state).as_deref(), Some("first"), "whoever resumes says nothing new");
        assert!(state.note(&a, &ann, How::Enter, held(1, "late")).is_none());
        state.leave(&a, &ann, 1);
        assert_eq!(state.count(), 1, "an old link ends nothing");
        state.leave(&a, &ann, 2);
        state.undo(&a, &ann, third);
        assert_eq!((told(&state), state.count(), state.everybody().len()), (None, 0, 0));
        assert!(state.note(&a, &ann, How::Resume, held(9, "")).is_none(), "nobody is there");
    }

    #[test]
    fn a_lease_that_ended_is_replaced_once_and_everybody_is_due() {
        let own = Own::new("one".to_owned());
        let mut state = own.state();
        for app in [1, 2] {
            let noted = state.note(&key(app), &MemberId::User("ann".into()), How::Enter, held(0, "x"));
            assert!(noted.is_some());
        }
        state.is_known("one");
        assert!(!state.lease.is_new && !state.is_due && !state.is_another("l") && !state.is_another("l"));
        state.renew("one", || "two".to_owned());
        state.renew("one", || "three".to_owned());
        state.is_known("one");
        assert_eq!(state.lease, Lease { name: "two".into(), is_new: true });
        assert!(state.is_due && state.is_another("m"));
        state.is_doubtful("two", || "four".to_owned());
        state.is_known("four");
        state.is_doubtful("four", || panic!("it is known"));
        assert_eq!(state.lease, Lease { name: "four".into(), is_new: false });
        state.forget(key(1).app());
        assert_eq!((state.everybody().len(), state.count()), (1, 1));
    }
}
