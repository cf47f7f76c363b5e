//! What others than deliverers and the connection's task do with an outbox: leave an order, and look.

use std::sync::Arc;

use fanfare_core::Subject;

use super::{Outbox, Signal};
use crate::bus::Order;

/// Orders that wait for one connection's task.
const ORDERS_MAX: usize = 64;

/// Orders for a connection's task.
#[derive(Default)]
pub(super) struct Orders(Vec<Order>);

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

    /// Whether the client is this user.
    pub(crate) fn is_of(&self, user: &str) -> bool {
        self.state().subject.as_ref().is_some_and(|subject| subject.sub() == Some(user))
    }
}
