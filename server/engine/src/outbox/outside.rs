//! What others than deliverers and the connection's task do with an outbox: leave an order, look, write of no
//! subscription.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fanfare_core::{ChannelName, Position, Subject};
use fanfare_protocol::Frame;

use super::{NOWHERE, Outbox, PUSH_BYTES_MAX, Signal, Wire};
use crate::bus::Order;
use crate::hub::Channel;

/// Orders that wait for one connection's task.
const ORDERS_MAX: usize = 64;

/// Orders for a connection's task.
#[derive(Default)]
pub(super) struct Orders(Vec<Order>);

/// Where one of its subscriptions stands.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) channel: Arc<Channel>,
    /// `None` before its first page, when it did not say where it was.
    pub(crate) position: Option<Position>,
    pub(crate) is_live: bool,
}

impl Outbox {
    /// Tells the task to do something. Answers whether it will: not when the connection ends, or has more to do than is
    /// remembered. A goodbye takes the place of everything before it.
    pub(crate) fn order(&self, order: Order) -> bool {
        let mut state = self.state();
        if state.sink.is_none() {
            return false;
        }
        let Orders(orders) = &mut **state.orders.get_or_insert_default();
        match order {
            Order::Disconnect { .. } => orders.clear(),
            Order::Subscribe { .. } | Order::Unsubscribe { .. } => {}
        }
        if orders.len() >= ORDERS_MAX {
            return false;
        }
        orders.push(order);
        drop(state);
        self.signal(Signal::Ordered);
        true
    }

    pub(crate) fn take_orders(&self) -> Vec<Order> {
        self.state().orders.take().map_or_else(Vec::new, |orders| orders.0)
    }

    /// Says who the client is.
    pub(crate) fn identify(&self, subject: Arc<Subject>) {
        self.state().subject = Some(subject);
    }

    /// Who the client is; `None` before it has connected.
    pub(crate) fn subject(&self) -> Option<Arc<Subject>> {
        self.state().subject.clone()
    }

    /// Writes or queues a frame of no subscription, unless more waits than may for pushes. Answers whether it did.
    pub(crate) fn offer(&self, frame: &Frame) -> bool {
        let bytes = self.own(frame);
        let mut state = self.state();
        if state.sink.is_none() || state.queued >= PUSH_BYTES_MAX {
            return false;
        }
        let mut blocked = state.write(&[&bytes], |_| bytes.clone());
        if self.wire == Wire::Stream {
            blocked |= state.write_place();
        }
        drop(state);
        if blocked {
            self.signal(Signal::Blocked);
        }
        true
    }

    /// The channels of its subscriptions, and how many bytes wait.
    pub(crate) fn look(&self) -> (Vec<ChannelName>, usize) {
        let state = self.state();
        let channels = state.slots.iter().flatten().map(|taken| taken.channel.name().clone());
        (channels.collect(), state.queued)
    }

    /// Where each of its subscriptions stands.
    pub(crate) fn places(&self) -> Vec<Place> {
        let state = self.state();
        let place = |taken: &super::Slot| Place {
            channel: Arc::clone(&taken.channel),
            position: Some(taken.cursor.position()).filter(|position| *position != NOWHERE),
            is_live: taken.cursor.is_live(),
        };
        state.slots.iter().flatten().map(|taken| place(taken)).collect()
    }

    /// Remembers how long the client took to answer a probe.
    pub(crate) fn answered_within(&self, span: Duration) {
        // Nothing stands for "never"; an answer within a microsecond is none.
        let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX).max(1);
        self.round_trip_us.store(micros, Ordering::Relaxed);
    }

    /// How long the client took to answer the last probe.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip_us.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }

    /// Whether one of its subscriptions is to this channel.
    pub(crate) fn is_subscribed(&self, channel: &ChannelName) -> bool {
        self.state().slots.iter().flatten().any(|taken| taken.channel.name() == channel)
    }

    /// How the client is connected, in a word.
    pub(crate) const fn transport(&self) -> &'static str {
        self.wire.transport()
    }

    /// Whether the client is this user.
    pub(crate) fn is_of(&self, user: &str) -> bool {
        self.state().subject.as_ref().is_some_and(|subject| subject.sub() == Some(user))
    }
}
