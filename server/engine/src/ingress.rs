//! How much of a thread's turn the clients of each app may read and run.
//!
//! The runtime polls connections in turn, so an app with a thousand busy ones would have a thousand turns where another has
//! one. Where a thread has clients of several apps to read, each app reads so much in a turn of the thread ([`turn`]); its
//! other connections give way and are polled again behind those of the others, with credit from the next turn on. What they
//! have not read waits in their sockets, whose senders feel it. An app that has a thread to itself is never held up.
//!
//! [`turn`]: crate::turn

use std::cell::RefCell;

use fanfare_core::id::AppId;

/// What the clients of one app may read and run in one turn.
const QUANTUM: u64 = 256 * 1024;
/// What a command costs beside its bytes.
const COMMAND_COST: u64 = 4 * 1024;

#[derive(Default)]
struct Reading {
    /// Apps whose clients were polled in this turn, and what they read and ran. A turn has few polls.
    apps: Vec<(AppId, u64)>,
    /// Whether there were several in the turn before.
    crowded: bool,
}

thread_local! {
    static READING: RefCell<Reading> = const { RefCell::new(Reading { apps: Vec::new(), crowded: false }) };
}

/// Whether a client of this app may be read now. On a thread that ends no turns nobody is held up.
pub(crate) fn may_read(app: AppId) -> bool {
    if !crate::turn::ends() {
        return true;
    }
    READING.with_borrow_mut(|Reading { apps, crowded }| {
        let Some((_, spent)) = apps.iter().find(|(known, _)| *known == app) else {
            apps.push((app, 0));
            return true;
        };
        *spent < QUANTUM || !(*crowded || apps.len() > 1)
    })
}

/// So many commands of so many bytes were read for a client of this app.
pub(crate) fn spent(app: AppId, commands: u32, bytes: usize) {
    READING.with_borrow_mut(|Reading { apps, .. }| {
        if let Some((_, spent)) = apps.iter_mut().find(|(known, _)| *known == app) {
            *spent += u64::from(commands) * COMMAND_COST + bytes as u64;
        }
    });
}

/// The thread's turn is over.
pub(crate) fn end_turn() {
    READING.with_borrow_mut(|Reading { apps, crowded }| {
        *crowded = apps.len() > 1;
        apps.clear();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_gives_way_where_there_are_others_and_only_there() {
        let (crowd, other) = (AppId::new(1, 1), AppId::new(2, 2));
        // Until somebody ends the thread's turns there are none.
        spent(crowd, 1_000, 0);
        assert!(may_read(crowd));
        crate::turn::end();
        assert!(may_read(crowd));
        spent(crowd, 1_000, 0);
        assert!(may_read(crowd), "it is alone");
        assert!(may_read(other));
        assert!(!may_read(crowd));
        spent(other, 10, 1_000);
        assert!(may_read(other), "it has read little");
        crate::turn::end();
        // The other may come again at any moment, so the turn after a crowded one is fair from its beginning.
        assert!(may_read(crowd));
        spent(crowd, 10, usize::try_from(QUANTUM).expect("it is small"));
        assert!(!may_read(crowd));
        crate::turn::end();
        assert!(may_read(crowd));
        spent(crowd, 1_000, 0);
        assert!(may_read(crowd), "nobody else was there for a whole turn");
    }
}
