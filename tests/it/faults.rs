//! What goes wrong around a server, and what its users notice of it.

mod clients;
mod configuration;
mod disk;
mod postgres;
