//! What a connection is held to: how much it is sent, and being told in time.

use fanfare_core::{Limit, LimitValue};
use fanfare_protocol::native;

use super::{Connection, commands};
use crate::outbox::Wrote;
use crate::session::Near;
use crate::stats::AppStats;

impl Connection {
    /// The queue is empty: what waits by policy has its turn.
    pub(super) fn pour(&mut self) {
        let node = &self.node;
        let now = node.clock.monotonic();
        let poured = self.outbox.pour(now, |channel, dropped| commands::gap_frame(node, channel.key(), dropped));
        self.blocked = poured.blocked;
        self.catch_up |= poured.catch_up;
        self.poured = true;
        if poured.paced {
            self.wait_for_pace();
        }
        self.wrote(poured.wrote);
    }

    /// As much was sent as may be in a second: the next brings more.
    pub(super) fn wait_for_pace(&mut self) {
        self.outbox.tick_by(self.node.second() + 1);
        let max = self.limit(Limit::Delivery).max;
        self.tell_near(Near { limit: Limit::Delivery, used: max, max });
    }

    /// A limit as it holds for this connection.
    pub(super) fn limit(&self, limit: Limit) -> LimitValue {
        let app = self.entry.peek();
        self.session.subject().map_or_else(|| app.limits.get(limit), |subject| subject.limit(&app.limits, limit))
    }

    /// Counts deliveries, where the plan or the token says how many there may be.
    pub(super) fn set_pace(&self) {
        let app = self.entry.peek();
        let own = self.session.subject().and_then(|subject| subject.own_limits());
        let lowered = own.is_some_and(|own| own.is_set(Limit::Delivery));
        let paced = app.limits.is_set(Limit::Delivery) || lowered;
        self.outbox.set_pace(paced.then(|| self.limit(Limit::Delivery)));
    }

    /// Tells the client that little is left of a limit, once in a while.
    pub(super) fn tell_near(&mut self, near: Near) {
        let now_s = self.node.second();
        if self.session.is_near_news(near, now_s) {
            self.entry.usage.told(near.limit);
            self.reply(&native::push_limit_near(near.limit, near.used, near.max));
        }
    }

    pub(super) fn wrote(&self, wrote: Wrote) {
        AppStats::add(&self.entry.stats.messages_out, wrote.messages);
        AppStats::add(&self.entry.stats.bytes_out, wrote.bytes);
    }
}
