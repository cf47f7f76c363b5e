//! A worker's turn: what one thread of the runtime does between two waits for the network.
//!
//! Many clients are often ready at once. Each writes an answer, and what each publishes goes to sockets that others of
//! the same turn are about to write to as well. Writing at the end of the turn joins all that one socket is owed into
//! one call of the kernel, which costs more than everything else about a small message.
//!
//! ```text
//!   wait ─► poll a ─► poll b ─► poll c ─► end: fan out what is ready, write what is corked ─► wait
//! ```
//!
//! A thread defers only once [`end`] was called on it: a runtime that does not call it before its threads wait
//! ([`on`]) works as if this module were not there. A turn that grows long ends early, so that nothing waits for a busy
//! thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::hub::Hub;
use crate::ingress;
use crate::outbox::Outbox;

/// Polls of connections and requests after which a turn ends early.
const STEPS_MAX: u32 = 32;

#[derive(Default)]
struct Turn {
    /// Hubs with ready channels: one, but in tests.
    hubs: Vec<Arc<Hub>>,
    /// Outboxes that wait to be written.
    corked: Vec<Arc<Outbox>>,
    steps: u32,
}

thread_local! {
    static ENDS: Cell<bool> = const { Cell::new(false) };
    static TURN: RefCell<Turn> = const { RefCell::new(Turn { hubs: Vec::new(), corked: Vec::new(), steps: 0 }) };
}

/// Has a runtime end its threads' turns before they wait.
pub fn on(runtime: &mut tokio::runtime::Builder) -> &mut tokio::runtime::Builder {
    runtime.on_thread_park(end)
}

/// Ends this thread's turn.
pub fn end() {
    ENDS.set(true);
    ingress::end_turn();
    let Turn { mut hubs, mut corked, steps: _ } = TURN.take();
    // Fan-out first: what it adds to a corked outbox is written with it.
    hubs.drain(..).for_each(|hub| hub.run_ready());
    corked.drain(..).for_each(|outbox| outbox.uncork());
    // The lists are kept for the next turn. Nothing in between has begun one: neither step waits or runs tasks.
    TURN.with_borrow_mut(|turn| {
        if turn.hubs.is_empty() && turn.corked.is_empty() {
            *turn = Turn { hubs, corked, steps: 0 };
        }
    });
}

/// Whether somebody ends this thread's turns, so that work may wait for that.
pub fn ends() -> bool {
    ENDS.get()
}

/// A step of the turn is done: the hub's ready channels are fanned out, now or at the turn's end.
pub(crate) fn step(hub: &Arc<Hub>) {
    if !ends() {
        return hub.run_ready();
    }
    let long = TURN.with_borrow_mut(|turn| {
        if hub.has_ready() && !turn.hubs.iter().any(|known| Arc::ptr_eq(known, hub)) {
            turn.hubs.push(Arc::clone(hub));
        }
        turn.steps += 1;
        turn.steps >= STEPS_MAX
    });
    if long {
        end();
    }
}

/// An outbox holds answers that are written at the turn's end.
pub(crate) fn corked(outbox: &Arc<Outbox>) {
    TURN.with_borrow_mut(|turn| turn.corked.push(Arc::clone(outbox)));
}
