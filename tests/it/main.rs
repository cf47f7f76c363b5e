//! The black-box suite: one binary, one module a guarantee's home.

mod brokers;
mod control;
mod harness;
mod isolation;
mod lifecycle;
mod outage;
mod rls;
mod store;
mod tidy;
