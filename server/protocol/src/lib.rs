//! Wire formats: bytes to commands, replies and messages to frames.
//!
//! A protocol is a folder: [`native`] is Fanfare's own, specified in `native/PROTOCOL.md` and held still by the
//! transcripts beside it. What protocols share stands on its own: [`json`] reads strictly and writes leanly, [`draft`]
//! is the one JSON shape of a message as published (socket, REST and batch), [`websocket`] is RFC 6455 without any
//! I/O, and a [`Frame`] is an outbound message encoded once for everybody who gets it.
//!
//! ```text
//! socket bytes ─ websocket::Decoder ─▶ text ─ native::parse ─▶ Command ─▶ engine
//! socket bytes ◀──────────────────── Frame ◀─ native::{reply, error, push_*} ◀─ engine
//! ```
//!
//! Start with [`native::parse`], then [`native::push_message`].
//!
//! This crate never does I/O, never reads a clock, knows no tokio and no tenant's rights, and builds for wasm. Whatever
//! bytes it is given, it neither panics nor holds more than the bound it was given: every input is bounded in length,
//! depth and count before it is looked at more closely.

pub mod draft;
mod fields;
pub mod frame;
pub mod json;
pub mod member;
pub mod native;
pub mod websocket;

pub use frame::Frame;
