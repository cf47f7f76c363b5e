//! No tenant sees, reaches or changes another.
//!
//! [`rest`] walks every operation of both OpenAPI documents and [`socket`] every command of the native protocol: each has
//! a row that says how to call it with somebody else's ids, and one without a row fails by name. [`among_own`] mixes a
//! stranger's ids into requests that are otherwise one's own. [`crossing`] publishes to the same channels of several apps.

mod among_own;
mod crossing;
mod rest;
mod socket;
mod world;
