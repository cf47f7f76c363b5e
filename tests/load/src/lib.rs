//! What the load generator shares with the black-box suite: the [`ledger`] that judges every delivery, and the
//! [`platform`] that starts a real server.

pub mod ledger;
pub mod platform;
