//! The last events, and what of them is looked for.

use std::collections::{HashSet, VecDeque};

use fanfare_core::debug::{DebugEvent, DebugEvents};

use crate::browser;

/// How many events the page keeps.
pub(super) const KEPT: usize = 2_000;

/// What is kept, the newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Memory {
    events: VecDeque<DebugEvent>,
    known: HashSet<String>,
    /// How many came in all.
    came: usize,
    /// How much happened that was not told.
    pub(super) dropped: u64,
    /// How many were here and are gone.
    pub(super) let_go: u64,
}

/// What is looked for. Empty texts and no kinds look for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Narrowed {
    pub(super) kinds: Vec<String>,
    pub(super) channel: String,
    pub(super) user: String,
    pub(super) connection: String,
}

impl Memory {
    /// Takes in what was told. A line that was lost and made again tells the past again: what is known stays as it is.
    pub(super) fn take(&mut self, told: DebugEvents) {
        let before = self.came;
        for event in told.events {
            if !self.known.insert(event.id.clone()) {
                continue;
            }
            self.events.push_front(event);
            self.came += 1;
            if self.events.len() > KEPT
                && let Some(gone) = self.events.pop_back()
            {
                self.known.remove(&gone.id);
                self.let_go += 1;
            }
        }
        if self.came > before {
            self.dropped += told.dropped;
        }
    }

    /// Forgets what is shown; what is told again stays unknown.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        (self.dropped, self.let_go) = (0, 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many came since another moment.
    pub(super) fn since(&self, then: &Self) -> usize {
        self.came.saturating_sub(then.came)
    }

    pub(super) fn find(&self, id: &str) -> Option<&DebugEvent> {
        self.events.iter().find(|event| event.id == id)
    }

    /// What matches, the newest first.
    pub(super) fn matching(&self, narrowed: &Narrowed) -> Vec<DebugEvent> {
        self.events.iter().filter(|event| narrowed.matches(event)).cloned().collect()
    }
}

impl Narrowed {
    fn matches(&self, event: &DebugEvent) -> bool {
        let what = &event.what;
        (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == what.kind()))
            && (self.channel.is_empty() || what.channel() == Some(&self.channel))
            && (self.user.is_empty() || what.user() == Some(&self.user))
            && (self.connection.is_empty() || what.connection().is_some_and(|id| id.to_string() == self.connection))
    }

    /// The same with one kind more, or less.
    pub(super) fn switched(&self, kind: &str) -> Self {
        let mut other = self.clone();
        let before = other.kinds.len();
        other.kinds.retain(|known| known != kind);
        if other.kinds.len() == before {
            other.kinds.push(kind.to_owned());
        }
        other
    }

    /// The page's URL that narrows so, with one event chosen.
    pub(super) fn url(&self, path: &str, event: &str) -> String {
        let Self { kinds, channel, user, connection } = self;
        let kinds = kinds.join(",");
        let all =
            [("kind", &*kinds), ("channel", channel), ("user", user), ("connection", connection), ("event", event)];
        browser::with_query(path, &all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::debug::Happened;
    use fanfare_core::id::ConnectionId;

    fn event(number: usize) -> DebugEvent {
        let connection = ConnectionId::new(1, number as u128 % 2);
        let channel = format!("room:{}", number % 3);
        DebugEvent { id: number.to_string(), time: 0, what: Happened::Subscribed { connection, channel } }
    }

    fn told(numbers: std::ops::Range<usize>, dropped: u64) -> DebugEvents {
        DebugEvents { events: numbers.map(event).collect(), dropped }
    }

    #[test]
    fn the_last_are_kept_once_and_the_rest_is_counted() {
        let mut memory = Memory::default();
        memory.take(told(0..5, 3));
        let then = memory.clone();
        memory.take(told(0..5, 3));
        assert_eq!((memory.since(&then), memory.dropped), (0, 3), "the past is told again after a lost line");
        memory.take(told(3..KEPT + 10, 0));
        assert_eq!((memory.since(&then), memory.let_go, memory.events.len()), (KEPT + 5, 10, KEPT));
        assert!(memory.find("9").is_none() && memory.find("10").is_some());
        assert_eq!(memory.matching(&Narrowed::default())[0].id, (KEPT + 9).to_string(), "the newest first");
        memory.clear();
        memory.take(told(KEPT..KEPT + 10, 0));
        assert!(memory.is_empty(), "what was cleared does not come back");
    }

    #[test]
    fn every_filter_narrows_and_kinds_are_switched() {
        let mut memory = Memory::default();
        memory.take(told(0..6, 0));
        let count = |narrowed: &Narrowed| memory.matching(narrowed).len();
        let all = Narrowed::default();
        assert_eq!(count(&all), 6);
        assert_eq!(count(&Narrowed { channel: "room:1".to_owned(), ..all.clone() }), 2);
        assert_eq!(count(&Narrowed { connection: ConnectionId::new(1, 1).to_string(), ..all.clone() }), 3);
        assert_eq!(count(&Narrowed { user: "ann".to_owned(), ..all.clone() }), 0);
        let refused = all.switched("refused");
        assert_eq!((count(&refused), count(&refused.switched("subscribed"))), (0, 6));
        assert_eq!(refused.switched("refused"), all);
    }
}
