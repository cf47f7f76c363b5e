//! The data plane.

pub mod transport;
