//! What the store promises, on a real Postgres. `rls.rs` beside it is about who may see what.

mod change;
mod decisions;
mod feed;
mod idempotency;
mod people;
mod revocations;
mod secrets;
mod setup;
mod statistics;
