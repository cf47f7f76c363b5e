//! The black-box suite: one binary, one module a guarantee's home.

mod bombs;
mod brokers;
mod carried;
mod changes;
mod chaos;
mod connections;
mod control;
mod deploy;
mod fairness;
mod faults;
mod first_light;
mod fuzz;
mod harness;
mod isolation;
mod issuers;
mod lifecycle;
mod nodes;
mod outage;
mod presence;
mod recovery;
mod rest;
mod rls;
mod secrets;
mod shortage;
mod store;
mod tidy;
