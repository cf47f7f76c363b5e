//! What the black-box suite stands on: a Postgres, a server, its users, and a judge.
//!
//! - [`postgres`]: one private cluster for all tests that run at the same time, a migrated database of its own for each
//!   test.
//! - [`server`]: the real `fanfare` binary on free ports, with its own database and data directory.
//! - [`client`]: a native-protocol client that is not ours below the frames, so that it judges our WebSocket layer.
//! - [`ledger`]: the checker of `delivery.md`: no loss, no duplicate, no other order, no unjustified recovery.
//!
//! A test shows its guarantee; what it takes to set it up is here. Start reading at [`server::Server`].

pub mod postgres;

pub use fanfare_load::ledger;
