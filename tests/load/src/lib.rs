//! What the load generator shares with the black-box suite: the [`ledger`] that judges every delivery.

pub mod ledger;
