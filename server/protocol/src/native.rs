//! The native protocol, version 1, in JSON. `native/PROTOCOL.md` specifies it; the transcripts beside it hold it,
//! and hold `openapi/asyncapi.yaml` to it.
//!
//! Inbound: [`parse`] takes a text frame apart into [`Command`]s, strictly. Outbound: [`reply`] and [`error`] answer a
//! command, [`push_message`] and its siblings tell what nobody asked for. Nothing in a push depends on the connection,
//! so a message is encoded once for everybody.

#[cfg(test)]
mod asyncapi;
mod command;
mod control;
mod parse;
#[cfg(test)]
mod transcripts;
mod write;

pub use command::{
    Command, CommandError, CommandKind, Connect, Direction, History, Presence, PresenceAction, PresenceGet, Refresh,
    Rewind, Start, Subscribe, Token,
};
pub use control::{push_close, push_disconnected, push_subscribed, push_ticket, push_user_message};
pub use parse::{
    COMMANDS_MAX, HISTORY_LIMIT_MAX, ID_MAX, PRESENCE_LIMIT_MAX, REWIND_MESSAGES_MAX, REWIND_MS_MAX, parse,
};
pub use write::{
    Gap, GapReason, Hello, HistoryOk, Occupancy, PresenceDiff, PresenceEnded, PresencePage, PublishedOk, Recovery,
    Reply, SubscribedOk, error, push_continued, push_gap, push_join_leave, push_join_leave_missed, push_limit_near,
    push_message, push_occupancy, push_presence, push_presence_diff, push_presence_ended, push_reconnect,
    push_recovery, push_token_expiring, push_unsubscribed, reply,
};

pub use crate::draft::Publication as Publish;

/// The WebSocket subprotocol that says this protocol.
pub const SUBPROTOCOL: &str = "fanfare.v1.json";
