//! Rates of clients whose connection is nothing but a ticket: what one of them has used must outlive its request, or each
//! request would begin anew.
//!
//! On this node: who spreads requests over nodes has the rate on each of them. A bucket that nobody draws from is full
//! after a while, and then as good as none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fanfare_core::id::ConnectionId;

use crate::error::NodeError;
use crate::session::SharedRates;

/// Clients of one app whose rates are remembered.
const CLIENTS_MAX: usize = 65_536;
/// How long after its last request a client's are.
const REMEMBERED_S: u32 = 60;
/// How often it is looked for those that need not be remembered any more.
const SWEEP_EVERY_S: u32 = 16;

/// The rates of one app's clients, and in which second each was asked for last.
#[derive(Debug, Default)]
pub(crate) struct CarriedRates(Mutex<HashMap<ConnectionId, (SharedRates, u32)>>);

impl CarriedRates {
    /// The rates of a client.
    ///
    /// # Errors
    /// When too many are remembered.
    pub(crate) fn rates(&self, client: ConnectionId, second: u32) -> Result<SharedRates, NodeError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CLIENTS_MAX && !known.contains_key(&client) {
            return Err(NodeError::Overloaded);
        }
        let (rates, asked_s) = known.entry(client).or_default();
        *asked_s = second;
        Ok(Arc::clone(rates))
    }

    pub(crate) fn sweep(&self, second: u32) {
        if second.is_multiple_of(SWEEP_EVERY_S) {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, (rates, asked_s)| {
                Arc::strong_count(rates) > 1 || second < asked_s.saturating_add(REMEMBERED_S)
            });
            if known.is_empty() {
                *known = HashMap::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_rates_are_the_same_until_it_was_away_for_long() {
        let (rates, ann) = (CarriedRates::default(), ConnectionId::new(1, 1));
        let first = rates.rates(ann, 10).expect("there is room");
        assert!(Arc::ptr_eq(&first, &rates.rates(ann, 16).expect("there is room")));
        rates.sweep(160);
        assert!(Arc::ptr_eq(&first, &rates.rates(ann, 160).expect("there is room")), "somebody counts there");
        let address = Arc::as_ptr(&first);
        drop(first);
        rates.sweep(208);
        assert_eq!(Arc::as_ptr(&rates.rates(ann, 209).expect("there is room")), address);
        rates.sweep(272);
        assert!(rates.0.lock().expect("nobody panicked").is_empty());
    }

    #[test]
    fn as_many_are_remembered_as_are_bounded() {
        let rates = CarriedRates::default();
        for number in 0..CLIENTS_MAX as u64 {
            rates.rates(ConnectionId::new(number, 1), 1).expect("there is room");
        }
        assert!(rates.rates(ConnectionId::new(1, 2), 1).is_err());
        assert!(rates.rates(ConnectionId::new(1, 1), 1).is_ok(), "who is known stays known");
    }
}
