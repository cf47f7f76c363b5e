//! How a connection ends: with a goodbye, with a ticket to come back with, or without a word.

use fanfare_core::ErrorCode;
use fanfare_core::measures::Ending;

use super::{Connection, Phase, presence};
use crate::outbox::{Freed, Wire};
use crate::session::Session;
use crate::stats::AppStats;
use crate::transport::Reader;

/// How long a closing link may take.
const CLOSE_WITHIN_S: u32 = 5;

impl Connection {
    /// Ends the connection with a reason a client can act on.
    pub(super) fn close(&mut self, reader: &impl Reader, code: ErrorCode) {
        if self.phase == Phase::Open && presence::ends_with(code) {
            self.node.leave_everywhere(self.outbox.id(), self.generation());
        }
        self.say_goodbye(reader, Ending::Code(code), code.close(), code.as_str());
    }

    pub(super) fn say_goodbye(&mut self, reader: &impl Reader, ending: Ending, status: u16, reason: &str) {
        if self.phase != Phase::Open {
            return;
        }
        self.ending = ending;
        let replies = self.take_replies();
        self.outbox.send(&replies);
        let last = reader.close_frame(status, reason);
        let is_last = self.outbox.carries();
        if is_last {
            self.outbox.settle(Some(last));
        } else {
            self.outbox.send(&[last]);
        }
        let until_s = self.node.second().saturating_add(CLOSE_WITHIN_S);
        self.phase = Phase::Closing { until_s };
        self.inflight.clear();
        self.backlog.clear();
        self.leave_all();
        self.outbox.tick_at(until_s);
        if is_last {
            // Nothing is heard from such a client, so nothing is awaited.
            self.phase = Phase::Ended;
        }
    }

    /// The client goes with what there is, and a ticket to be back with.
    pub(super) fn pause(&mut self) {
        let replies = self.take_replies();
        self.outbox.send(&replies);
        self.outbox.settle(None);
        self.phase = Phase::Ended;
    }

    /// A place in the outbox is free again.
    pub(super) fn let_go(&self, freed: &Freed) {
        self.node.hub.leave(&freed.channel, freed.member);
        if freed.watched {
            self.node.watches.unwatch(freed.channel.key(), &self.outbox);
        }
    }

    fn leave_all(&mut self) {
        let subscriptions = self.session.subscriptions();
        self.node.lose_client(self.outbox.id(), self.generation());
        for freed in self.outbox.free_all() {
            self.let_go(&freed);
        }
        AppStats::sub(&self.entry.stats.subscriptions, subscriptions);
        self.session = Session::default();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Also when the task panicked or was aborted: places, counts and the registry are given back.
        self.tell_disconnected();
        self.leave_all();
        // Between two requests nobody can tell whether a client is gone.
        if self.outbox.wire() != Wire::Poll || matches!(self.ending, Ending::Code(_)) {
            self.entry.stats.ended(self.ending);
        }
        self.node.links.ended(self.outbox.wire());
        self.outbox.end();
        self.entry.registry.remove(&self.outbox);
    }
}
