//! Clients of networks that break WebSockets: long polls, streams, and commands beside them.

mod closing;
mod commands;
mod input;
mod polling;
mod presence;
mod streaming;
