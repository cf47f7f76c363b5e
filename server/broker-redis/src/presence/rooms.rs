//! The channels whose presence this node hears.
//!
//! ```text
//!   attach ─▶ wanted ──subscribed──▶ live ──pushes──▶ the ear
//!                ▲                     │
//!                └── the link ended ───┘    when it is back, the ear is told that it may have missed something
//! ```
//!
//! After the link came up nothing is told until it is known what became of Redis: where it lost members, every node enters
//! its own again, and watchers are not told that all have left in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_core::ChannelKey;
use fanfare_engine::presence::PresenceError;
use tokio::sync::oneshot;

use crate::channels::Round;
use crate::link::Change;

/// Versions that leap further have begun anew, with the time: whoever misses so many changes at once is rare, and waits for
/// a moment.
const LEAP: u64 = 1_000;

type Waiter = oneshot::Sender<Result<(), PresenceError>>;

/// Channels whose presence is heard, by the name that changes are told under.
#[derive(Default)]
pub(super) struct Rooms(Mutex<State>);

#[derive(Default)]
struct State {
    rooms: HashMap<Arc<str>, Room>,
    round: Round,
    spell: Spell,
    phase: Phase,
    live: u64,
}

/// Tells one time of waiting from the next.
pub(super) type Spell = u64;

/// Whether pushes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// The link came up: not before Redis has said what it is.
    #[default]
    Fresh,
    /// Redis may have lost members: not before all nodes had time to enter theirs.
    Waiting,
    Settled,
}

struct Room {
    key: ChannelKey,
    round: Round,
    is_live: bool,
    /// The greatest version that was heard or read on this link.
    version: Option<u64>,
    waiters: Vec<Waiter>,
}

/// Whether a channel is heard.
pub(super) enum Attached {
    Already,
    /// Once it is subscribed to, and changes are told.
    Soon(oneshot::Receiver<Result<(), PresenceError>>),
}

/// What becomes of a push.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is told to whoever hears this channel.
    Told(ChannelKey),
    /// Nobody hears it, or not yet.
    Untold,
    /// Versions began anew: Redis may have lost members.
    Anew,
}

/// A channel whose version is compared with what Redis says.
#[derive(Debug, Clone)]
pub(super) struct Audited {
    pub(super) told: Arc<str>,
    pub(super) key: ChannelKey,
    pub(super) version: Option<u64>,
}

impl Rooms {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody wants to hear a channel. The link is asked under the lock: what it is asked last is how the channel stands.
    pub(super) fn attach(&self, told: String, key: &ChannelKey, ask: impl FnOnce(Change)) -> Attached {
        let mut state = self.state();
        let (waiter, attached) = oneshot::channel();
        let is_settled = state.phase == Phase::Settled;
        if let Some(room) = state.rooms.get_mut(&*told) {
            if room.is_live && is_settled {
                return Attached::Already;
            }
            room.waiters.retain(|waiter| !waiter.is_closed());
            room.waiters.push(waiter);
            return Attached::Soon(attached);
        }
        state.round += 1;
        let (told, round): (Arc<str>, Round) = (told.into(), state.round);
        let room = Room { key: key.clone(), round, is_live: false, version: None, waiters: vec![waiter] };
        state.rooms.insert(Arc::clone(&told), room);
        ask(Change::Want(told, round));
        Attached::Soon(attached)
    }

    /// Nobody wants to hear a channel any more, unless it is `wanted` again.
    pub(super) fn detach(&self, told: &str, wanted: &dyn Fn() -> bool, ask: impl FnOnce(Change)) {
        let mut state = self.state();
        if wanted() {
            return;
        }
        if let Some((told, room)) = state.rooms.remove_entry(told) {
            state.live -= u64::from(room.is_live);
            ask(Change::Leave(told));
        }
    }

    /// The link has come up, anew: every channel is wanted on it, in which spell.
    pub(super) fn all_wanted(&self) -> Vec<(Arc<str>, Round)> {
        let mut state = self.state();
        let State { rooms, round, spell, phase, live } = &mut *state;
        (*spell, *phase, *live) = (*spell + 1, Phase::Fresh, 0);
        let wanted = rooms.iter_mut().map(|(told, room)| {
            *round += 1;
            (room.round, room.is_live, room.version) = (*round, false, None);
            (Arc::clone(told), room.round)
        });
        wanted.collect()
    }

    /// A channel is subscribed to. Which, if whoever hears it may have missed something and is to be told now.
    pub(super) fn subscribed(&self, told: &str, round: Round) -> Option<ChannelKey> {
        let mut state = self.state();
        let is_settled = state.phase == Phase::Settled;
        let room = state.rooms.get_mut(told).filter(|room| room.round == round && !room.is_live)?;
        room.is_live = true;
        let told = is_settled.then(|| room.is_told());
        state.live += 1;
        told
    }

    /// This version of a channel is pushed.
    pub(super) fn pushed(&self, told: &[u8], version: u64) -> Pushed {
        let mut state = self.state();
        let is_settled = state.phase == Phase::Settled;
        let room = std::str::from_utf8(told).ok().and_then(|told| state.rooms.get_mut(told));
        let Some(room) = room else { return Pushed::Untold };
        let before = room.version;
        room.version = before.max(Some(version));
        match before {
            _ if !is_settled => Pushed::Untold,
            Some(before) if version > before + LEAP => Pushed::Anew,
            _ => Pushed::Told(room.key.clone()),
        }
    }

    /// This version of a channel was read.
    pub(super) fn read(&self, told: &str, version: u64) {
        if let Some(room) = self.state().rooms.get_mut(told) {
            room.version = room.version.max(Some(version));
        }
    }

    /// Redis has said that it is as it was. Which spell is to be settled, if that was waited for.
    pub(super) fn as_before(&self) -> Option<Spell> {
        let state = self.state();
        (state.phase == Phase::Fresh).then_some(state.spell)
    }

    /// From now on pushes are told, unless that is waited for anew. Which channels may have missed something.
    pub(super) fn settle(&self, spell: Spell) -> Vec<ChannelKey> {
        let mut state = self.state();
        if state.spell != spell || state.phase == Phase::Settled {
            return Vec::new();
        }
        state.phase = Phase::Settled;
        state.rooms.values_mut().filter(|room| room.is_live).map(Room::is_told).collect()
    }

    /// Members may be lost, and are entered again: until that is settled nothing is told.
    pub(super) fn unsettle(&self) -> Spell {
        let mut state = self.state();
        state.spell += 1;
        state.phase = Phase::Waiting;
        state.spell
    }

    /// Some of the channels, others each time.
    pub(super) fn sample(&self, turn: u64, count: usize) -> Vec<Audited> {
        let state = self.state();
        if state.phase != Phase::Settled {
            return Vec::new();
        }
        let total = state.rooms.len().max(1);
        let skip = usize::try_from(turn).unwrap_or(0).wrapping_mul(count) % total;
        let audited = |(told, room): (&Arc<str>, &Room)| Audited {
            told: Arc::clone(told),
            key: room.key.clone(),
            version: room.version,
        };
        state.rooms.iter().skip(skip).filter(|(_, room)| room.is_live).take(count).map(audited).collect()
    }

    /// Whether a channel still stands where an audit found it, and Redis elsewhere.
    pub(super) fn is_elsewhere(&self, audited: &Audited, version: u64) -> bool {
        let mut state = self.state();
        let Some(room) = state.rooms.get_mut(&audited.told) else { return false };
        room.is_live && room.version == audited.version && room.version.is_some_and(|heard| heard != version)
    }

    /// An audit found a channel elsewhere: what is read next says where it stands.
    pub(super) fn forget_version(&self, told: &str) {
        if let Some(room) = self.state().rooms.get_mut(told) {
            room.version = None;
        }
    }

    /// Channels that are heard.
    pub(super) fn live(&self) -> u64 {
        self.state().live
    }
}

impl Room {
    /// From now on its changes are told. Whose they are.
    fn is_told(&mut self) -> ChannelKey {
        for waiter in self.waiters.drain(..) {
            // Whoever waited may have gone.
            let _ = waiter.send(Ok(()));
        }
        self.key.clone()
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::ChannelName;
    use fanfare_core::id::AppId;

    use super::*;

    fn key() -> ChannelKey {
        ChannelKey::from_broker(AppId::new(1, 1), ChannelName::parse("a").expect("valid"))
    }

    fn attached(rooms: &Rooms) -> (Attached, Round) {
        let mut asked = None;
        let attached = rooms.attach("{p1}d:a".to_owned(), &key(), |change| asked = Some(change));
        match asked {
            Some(Change::Want(_, round)) => (attached, round),
            _ => panic!("the link is asked"),
        }
    }

    #[test]
    fn a_channel_is_heard_once_it_is_confirmed_and_told_once_redis_is_known() {
        let rooms = Rooms::default();
        rooms.all_wanted();
        let (waiting, round) = attached(&rooms);
        let Attached::Soon(mut waiting) = waiting else { panic!("not yet") };
        assert!(waiting.try_recv().is_err());
        assert_eq!(rooms.subscribed("{p1}d:a", round), None, "nothing is told before it is settled");
        assert!(waiting.try_recv().is_err());
        assert_eq!((rooms.pushed(b"{p1}d:a", 7), rooms.live()), (Pushed::Untold, 1));
        let spell = rooms.as_before().expect("not settled");
        assert_eq!(rooms.settle(spell), [key()], "what came before is missed");
        assert_eq!(waiting.try_recv(), Ok(Ok(())));
        assert!(matches!(rooms.attach("{p1}d:a".to_owned(), &key(), |_| panic!("it is heard")), Attached::Already));
        assert_eq!((rooms.settle(spell).len(), rooms.as_before()), (0, None), "once");
        for (version, expected) in [(8, Pushed::Told(key())), (6, Pushed::Told(key())), (9_999, Pushed::Anew)] {
            assert_eq!(rooms.pushed(b"{p1}d:a", version), expected, "{version}");
        }
        // What was lost is waited for, whatever Redis says of itself, and for the last loss.
        let (first, last) = (rooms.unsettle(), rooms.unsettle());
        assert_eq!((rooms.as_before(), rooms.settle(first).len()), (None, 0));
        assert_eq!(rooms.pushed(b"{p1}d:a", 10_000), Pushed::Untold);
        assert_eq!(rooms.settle(last), [key()]);
    }

    #[test]
    fn a_link_that_comes_back_has_all_wanted_and_missed() {
        let rooms = Rooms::default();
        rooms.all_wanted();
        let (_, old) = attached(&rooms);
        rooms.settle(1);
        assert_eq!(rooms.subscribed("{p1}d:a", old), Some(key()), "settled before it was confirmed");
        let again = rooms.all_wanted();
        assert_eq!((again.len(), rooms.live()), (1, 0));
        assert_eq!(rooms.subscribed("{p1}d:a", old), None, "a confirmation of the link before");
        assert_eq!(rooms.settle(1), [], "and its end of waiting");
        rooms.settle(2);
        assert_eq!(rooms.subscribed(&again[0].0, again[0].1), Some(key()));
        rooms.detach("{p1}d:a", &|| true, |_| panic!("it is wanted"));
        let mut left = false;
        rooms.detach("{p1}d:a", &|| false, |change| left = matches!(change, Change::Leave(_)));
        assert!(left && rooms.live() == 0 && rooms.pushed(b"{p1}d:a", 9) == Pushed::Untold);
    }

    #[test]
    fn an_audit_finds_what_stands_elsewhere_unless_it_has_moved_on() {
        let rooms = Rooms::default();
        rooms.all_wanted();
        let (_, round) = attached(&rooms);
        rooms.subscribed("{p1}d:a", round);
        assert!(rooms.sample(0, 9).is_empty());
        rooms.settle(1);
        let before = rooms.sample(0, 9).remove(0);
        assert!(!rooms.is_elsewhere(&before, 5), "nothing was read yet");
        rooms.read("{p1}d:a", 4);
        let audited = rooms.sample(3, 9).remove(0);
        assert!(rooms.is_elsewhere(&audited, 5) && rooms.is_elsewhere(&audited, 3) && !rooms.is_elsewhere(&audited, 4));
        rooms.pushed(b"{p1}d:a", 5);
        assert!(!rooms.is_elsewhere(&audited, 5));
    }
}
