//! The black-box suite: one binary, one module a guarantee's home.

mod brokers;
mod harness;
mod rls;
mod store;
mod tidy;
