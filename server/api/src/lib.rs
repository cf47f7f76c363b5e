//! Requests and answers of both REST planes, as types. The servers and the dashboard compile against the same ones.
//!
//! - the control plane: [`session`] (sign-up, sign-in, who am I), [`app`], [`key`], [`issuer`], [`acl`], [`dry_run`],
//!   [`settings`], [`limits`], [`live`] and [`inspector`] (the dashboard's own tokens), [`statistics`], [`audit`];
//! - the data plane: [`data`], [`presence`];
//! - every error of both: [`problem`];
//! - lists: [`page`].
//!
//! Requests refuse unknown fields, so that a misspelt option is never ignored; answers may grow. Ids, patterns,
//! capabilities and limits are the types of `fanfare-core`: what arrives here in a type is already well-formed.
//! Their OpenAPI schemas stand in [`schema`], made from the same tables as the types.
//!
//! This crate builds for wasm: no I/O, no runtime, no clock. Feature `server` adds [`server`], what both planes
//! share on axum, and nothing of it reaches the dashboard.

pub mod acl;
pub mod app;
pub mod audit;
pub mod data;
pub mod dry_run;
pub mod inspector;
pub mod issuer;
pub mod key;
pub mod limits;
pub mod live;
pub mod manage;
pub mod page;
pub mod presence;
pub mod problem;
#[cfg(feature = "server")]
pub mod reference;
pub mod schema;
pub mod secret;
#[cfg(feature = "server")]
pub mod server;
pub mod session;
pub mod settings;
pub mod statistics;

pub use page::{Page, PageQuery};
pub use problem::ProblemDocument;
pub use secret::SecretText;
