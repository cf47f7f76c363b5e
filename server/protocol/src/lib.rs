//! Wire formats: bytes to commands, messages to frames. No I/O, no clock, no tokio.

pub mod frame;

pub use frame::Frame;
