//! What was done about an app's revocations and snapshots may not show yet: one may have been read before, and come after.

use std::collections::{HashSet, VecDeque};

use fanfare_core::id::RevocationId;
use fanfare_core::{Revocation, Revocations};

/// How many ended revocations are remembered: many times what can be ended while one snapshot is read.
const ENDED_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Ahead {
    /// Made, and in no snapshot so far; the store bounds how many there can be.
    made: Vec<Revocation>,
    /// Ended, the last one last, at most [`ENDED_MAX`]. An id is never used again, so that none of these can be in force.
    ended: VecDeque<RevocationId>,
}

impl Ahead {
    /// One was made.
    pub(super) fn made(&mut self, revocation: &Revocation) {
        self.made.retain(|one| one.revoked != revocation.revoked);
        self.made.push(revocation.clone());
    }

    /// One was ended.
    pub(super) fn ended(&mut self, id: RevocationId) {
        self.made.retain(|one| one.id != id);
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }

    /// What is in force where a snapshot has these.
    pub(super) fn over(&mut self, snapshot: Revocations) -> Revocations {
        self.made.retain(|revocation| !snapshot.cover(revocation));
        let ended: HashSet<RevocationId> = self.ended.iter().copied().collect();
        let is_over = snapshot.iter().any(|one| ended.contains(&one.id));
        let snapshot = if is_over { snapshot.without(|id| ended.contains(&id)) } else { snapshot };
        self.made.iter().fold(snapshot, |held, revocation| held.with(revocation.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_were_ended_are_remembered() {
        let mut ahead = Ahead::default();
        for number in 0..2 * ENDED_MAX as u64 {
            ahead.ended(RevocationId::new(number, 1));
        }
        assert_eq!(
            (ahead.ended.len(), ahead.ended.back()),
            (ENDED_MAX, Some(&RevocationId::new(2 * ENDED_MAX as u64 - 1, 1)))
        );
    }
}
