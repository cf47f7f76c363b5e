//! A channel's members as a node follows them, and what its watchers are still to be told. Pure.
//!
//! Changes are heard one by one, each with the next number. One that is missing, or the beginning, makes the roster read:
//! what is heard meanwhile is held, and follows the page that was read. Watchers do not notice a repair: what is told is
//! the difference between what they know and what is there.
//!
//! Somebody may have read a page between two tellings, and so know a member that has come and gone in between. Such a
//! member is told to have left, although it was never told to have come.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fanfare_core::{Member, MemberId};
use fanfare_protocol::native::PresenceDiff;

use super::{Change, Page, What};

/// Changes held while a page is read; more are dropped and read again.
const HELD_MAX: usize = 4_096;
/// About how many members one diff holds.
const DIFF_MEMBERS_MAX: usize = 500;
/// About how many bytes of members one diff holds.
const DIFF_BYTES_MAX: usize = 64 * 1024;

/// What a node knows of a channel.
#[derive(Debug)]
pub(super) struct Roster {
    members: Members,
    version: u64,
    count: u64,
    /// The version that watchers were told last.
    told: u64,
    /// The newest version that somebody has read beside what is told.
    peeked: u64,
    /// How many are reading now.
    peeking: u32,
    touched: HashMap<MemberId, Touched>,
    /// What is heard while a page is awaited.
    reading: Option<Held>,
    /// No difference says it: watchers are told everything anew.
    anew: bool,
    /// Whether a page was ever read.
    known: bool,
}

#[derive(Debug)]
enum Members {
    Listed(BTreeMap<MemberId, Arc<Member>>),
    /// Too many to be listed: only the count is known.
    Crowded,
}

/// A member that has changed since watchers were told.
#[derive(Debug)]
struct Touched {
    before: Option<Arc<Member>>,
    first: u64,
    last: u64,
}

#[derive(Debug, Default)]
struct Held {
    changes: Vec<Change>,
    dropped: bool,
}

/// What watchers are to be told.
#[derive(Debug)]
pub(super) enum Telling {
    /// Nothing.
    Nothing,
    /// These, in this order.
    Diffs(Vec<PresenceDiff>),
    /// The first page again, or the count.
    Anew,
}

impl Roster {
    /// Nothing is known: a page is awaited.
    pub(super) fn new() -> Self {
        Self {
            members: Members::Listed(BTreeMap::new()),
            version: 0,
            count: 0,
            told: 0,
            peeked: 0,
            peeking: 0,
            touched: HashMap::new(),
            reading: Some(Held::default()),
            anew: false,
            known: false,
        }
    }

    /// Whether a page is awaited: nobody can be told anything.
    pub(super) const fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether members are counted only.
    pub(super) const fn is_crowded(&self) -> bool {
        matches!(self.members, Members::Crowded)
    }

    /// Whether watchers are to be told everything anew.
    pub(super) const fn is_anew(&self) -> bool {
        self.anew
    }

    /// Whether there is something that watchers may have to be told.
    pub(super) fn has_news(&self) -> bool {
        self.anew || !self.touched.is_empty()
    }

    /// Whether the count of a crowded channel is another than was told.
    pub(super) const fn is_untold(&self) -> bool {
        self.told != self.version
    }

    /// The version known.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// How many members there are.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// A change is heard. Answers whether one before it is missing: a page must be read.
    pub(super) fn hear(&mut self, change: &Change, listed_max: u64) -> bool {
        if let Some(held) = &mut self.reading {
            held.hold(change);
            return false;
        }
        if change.version > self.version + 1 {
            let mut held = Held::default();
            held.hold(change);
            self.reading = Some(held);
            return true;
        }
        self.apply(change, listed_max);
        false
    }

    /// Changes may not have been heard. Answers whether a page must be asked for: the one that is awaited may be too old,
    /// and is followed by another.
    pub(super) const fn miss(&mut self) -> bool {
        match &mut self.reading {
            Some(held) => {
                held.dropped = true;
                false
            }
            None => true,
        }
    }

    /// A page is to be read that will contain, or be followed by, what is heard from now on.
    pub(super) fn read_anew(&mut self) {
        self.reading = Some(Held::default());
    }

    /// A page that was asked for after [`Roster::read_anew`], or after a hole. Answers whether another is needed.
    pub(super) fn read(&mut self, page: Page, listed_max: u64) -> bool {
        let Some(held) = self.reading.take() else { return false };
        let was = std::mem::replace(&mut self.members, Members::Crowded);
        // No difference leads to a version that goes back: it is of another count. Nor for somebody who has read what was
        // missed here: they may know a member that came and went unheard.
        let leads_nowhere = page.version < self.version || self.peeking > 0 || self.peeked > self.version;
        (self.version, self.count) = (page.version, page.count);
        let now = page
            .members
            .map(|members| members.into_iter().map(|member| (member.id.clone(), member)).collect::<BTreeMap<_, _>>());
        match (was, &now) {
            _ if !self.known => self.told = self.version,
            (Members::Listed(was), Some(now)) if !leads_nowhere && !self.anew => self.differ(was, now),
            (Members::Crowded, None) if !leads_nowhere => {}
            _ => self.all_anew(),
        }
        self.known = true;
        self.members = now.map_or(Members::Crowded, Members::Listed);
        let mut again = held.dropped;
        for change in &held.changes {
            again |= self.hear(change, listed_max);
        }
        if again {
            self.read_anew();
        }
        again
    }

    /// What a page that was read says else than what was known is what watchers are to be told.
    fn differ(&mut self, was: BTreeMap<MemberId, Arc<Member>>, now: &BTreeMap<MemberId, Arc<Member>>) {
        let gone: Vec<MemberId> = was.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
        let here = now.iter().filter(|(id, member)| was.get(*id) != Some(*member)).map(|(id, _)| id.clone());
        let changed: Vec<MemberId> = gone.into_iter().chain(here).collect();
        if changed.len() > DIFF_MEMBERS_MAX {
            return self.all_anew();
        }
        for id in changed {
            let before = was.get(&id).cloned();
            self.touch(id, before);
        }
    }

    fn all_anew(&mut self) {
        self.anew = true;
        self.touched = HashMap::new();
    }

    fn apply(&mut self, change: &Change, listed_max: u64) {
        if change.version <= self.version {
            return;
        }
        (self.version, self.count) = (change.version, change.count);
        if self.is_crowded() {
            return;
        }
        if change.count > listed_max {
            self.members = Members::Crowded;
            return self.all_anew();
        }
        match &change.what {
            What::Here(member) => self.put(member),
            What::Gone(id) => self.take(id),
        }
    }

    fn put(&mut self, member: &Arc<Member>) {
        if let Members::Listed(members) = &mut self.members {
            let before = members.insert(member.id.clone(), Arc::clone(member));
            self.touch(member.id.clone(), before);
        }
    }

    fn take(&mut self, id: &MemberId) {
        if let Members::Listed(members) = &mut self.members
            && let Some(before) = members.remove(id)
        {
            self.touch(id.clone(), Some(before));
        }
    }

    fn touch(&mut self, id: MemberId, before: Option<Arc<Member>>) {
        if self.anew {
            return;
        }
        let version = self.version;
        let touched = self.touched.entry(id).or_insert(Touched { before, first: version, last: version });
        touched.last = version;
    }

    /// Somebody who is told of changes reads a page: until it is there, nothing that came and went is kept from them.
    pub(super) const fn begin_peek(&mut self) {
        self.peeking += 1;
    }

    /// The page was read, at this version, or not at all.
    pub(super) fn end_peek(&mut self, version: u64) {
        self.peeking -= 1;
        self.peeked = self.peeked.max(version);
    }

    /// The first page, for somebody who will be told of every change from it on.
    pub(super) fn first_page(&mut self, limit: usize, bytes_max: usize) -> Page {
        self.peeked = self.peeked.max(self.version);
        let Members::Listed(all) = &self.members else {
            return Page { version: self.version, count: self.count, members: None, next: None };
        };
        let (mut members, mut bytes) = (Vec::new(), 0);
        for member in all.values().take(limit) {
            bytes += member.weight();
            if bytes > bytes_max && !members.is_empty() {
                break;
            }
            members.push(Arc::clone(member));
        }
        let next = members.last().filter(|_| members.len() < all.len()).map(|last| last.id.clone());
        Page { version: self.version, count: self.count, members: Some(members), next }
    }

    /// What watchers are to be told now; after this they know it.
    pub(super) fn tell(&mut self) -> Telling {
        if self.is_reading() {
            return Telling::Nothing;
        }
        if std::mem::take(&mut self.anew) || (self.is_crowded() && self.told != self.version) {
            self.told = self.version;
            self.touched = HashMap::new();
            return Telling::Anew;
        }
        let mut touched: Vec<_> = std::mem::take(&mut self.touched).into_iter().collect();
        // By their last change: so a part of them takes a client exactly to a version, whatever it had read before.
        touched.sort_by(|(left_id, left), (right_id, right)| (left.last, left_id).cmp(&(right.last, right_id)));
        let mut diffs: Vec<PresenceDiff> = Vec::new();
        let (mut members, mut bytes) = (usize::MAX, 0);
        for (id, touched) in touched {
            let Some(now) = self.is_news(&id, &touched) else { continue };
            let full = members >= DIFF_MEMBERS_MAX || bytes > DIFF_BYTES_MAX;
            if full && diffs.last().is_none_or(|diff| diff.version < touched.last) {
                let from = diffs.last().map_or(self.told, |diff| diff.version);
                diffs.push(PresenceDiff { from, version: from, count: self.count, ..PresenceDiff::default() });
                (members, bytes) = (0, 0);
            }
            let Some(diff) = diffs.last_mut() else { continue };
            diff.version = touched.last;
            members += 1;
            bytes += now.as_ref().map_or(0, |member| member.weight());
            match (now, touched.before) {
                (None, _) => diff.left.push(id),
                (Some(now), None) => diff.entered.push(now),
                (Some(now), Some(_)) => diff.updated.push(now),
            }
        }
        let Some(last) = diffs.last_mut() else { return Telling::Nothing };
        last.version = self.version;
        self.told = self.version;
        Telling::Diffs(diffs)
    }

    /// What a touched member is now, if that is not what everybody knows.
    fn is_news(&self, id: &MemberId, touched: &Touched) -> Option<Option<Arc<Member>>> {
        let Members::Listed(members) = &self.members else { return None };
        let now = members.get(id).cloned();
        let somebody_may_know_other = self.peeking > 0 || self.peeked >= touched.first;
        (somebody_may_know_other || now != touched.before).then_some(now)
    }
}

impl Held {
    fn hold(&mut self, change: &Change) {
        if self.changes.len() >= HELD_MAX {
            *self = Self { changes: Vec::new(), dropped: true };
        }
        if !self.dropped {
            self.changes.push(change.clone());
        }
    }
}

#[cfg(test)]
mod tests;
