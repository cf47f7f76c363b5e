//! The nouns of Fanfare, shared by every other crate and by the dashboard (it builds for wasm).
//!
//! What lives here is parsed once at the edge into a type that cannot be wrong, and trusted from there on: ids
//! ([`id`]), channel names and patterns ([`channel`], [`pattern`]), what a client or key may do ([`capability`],
//! [`acl`], [`permission`]), what they were allowed ([`decision`]), whose tokens an app trusts ([`issuer`], [`public_key`]), what an app is at one moment
//! ([`app`]), who looks at it through the dashboard ([`inspection`]), its limits ([`limits`]) and channel settings ([`settings`]), where a message stands ([`position`]), the
//! message itself ([`message`]), who is present ([`presence`]), the one table of errors and close reasons ([`codes`]),
//! what is measured ([`measures`], [`histogram`]), and what happens ([`debug`]).
//!
//! Start with [`permission::decide`]: it is the formula of who may do what, and it touches most of the nouns.
//!
//! This crate never does I/O, never reads a clock and never draws a random number: time comes in through
//! [`clock::Clock`], chance as an argument.

pub mod acl;
pub mod app;
pub mod capability;
pub mod channel;
pub mod clock;
pub mod codes;
pub mod debug;
pub mod decision;
pub mod histogram;
pub mod id;
pub mod inspection;
pub mod issuer;
pub mod json;
pub mod limits;
pub mod measures;
pub mod message;
pub mod pattern;
pub mod permission;
pub mod position;
pub mod presence;
pub mod problem;
pub mod public_key;
pub mod revocation;
pub mod role;
pub mod secret;
pub mod settings;

pub use acl::{Effect, Rule, Who};
pub use app::{App, AppStatus, Block, Key, KeyKind, KeyState};
pub use capability::{Capabilities, Operation, Operations};
pub use channel::{ChannelKey, ChannelName};
pub use clock::Clock;
pub use codes::ErrorCode;
pub use decision::{Asked, Decision};
pub use histogram::Histogram;
pub use inspection::{Act, Inspector};
pub use issuer::{Issuer, KeySource};
pub use limits::{Limit, LimitValue, Limits};
pub use message::{Data, Draft, Message};
pub use pattern::Pattern;
pub use permission::{Ceiling, Refusal, Signer, Subject};
pub use position::{Lineage, Position, Seq};
pub use presence::{Member, MemberId};
pub use problem::{FieldError, Problem};
pub use public_key::{PublicKey, TokenAlgorithm};
pub use revocation::{Revocation, Revocations, Revoked};
pub use role::Role;
pub use settings::{ChannelSettings, SlowPolicy};
