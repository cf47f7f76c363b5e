//! Pushes by which a client learns what was done to its connection, or to a message, from outside.

use fanfare_core::{ChannelName, Message};

use super::write::{Fields, REPLY_BYTES, SubscribedOk};
use crate::frame::Frame;
use crate::json::{Form, message_hint, write_body};

/// Tells why the connection is about to be closed, in the words of whoever asked for it.
#[must_use]
pub fn push_disconnected(reason: &str) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"notice\":{");
        let mut fields = Fields::new(out);
        fields.text("kind", "disconnected");
        fields.text("reason", reason);
        out.extend_from_slice(b"}}");
    })
}

/// Tells that the connection is closed, and why, over transports that have no frame of their own for that.
#[must_use]
pub fn push_close(status: u16, reason: &str) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"close\":{");
        let mut fields = Fields::new(out);
        fields.number("status", status.into());
        fields.text("reason", reason);
        out.extend_from_slice(b"}}");
    })
}

/// Hands over the ticket with which the client goes on: its subscriptions stand in it where they are behind everything
/// that was told before.
#[must_use]
pub fn push_ticket(ticket: &str) -> Frame {
    Frame::text(REPLY_BYTES + ticket.len(), |out| {
        out.push(b'{');
        Fields::new(out).text("ticket", ticket);
        out.push(b'}');
    })
}

/// Tells that the connection is subscribed to a channel though it did not ask. The fields are those of the answer it
/// would have got.
#[must_use]
pub fn push_subscribed(subscribed: &SubscribedOk) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"subscribed\":{");
        Fields::new(out).subscribed(subscribed);
        out.extend_from_slice(b"}}");
    })
}

/// Stands in the place of a message that was deleted before it was read.
#[must_use]
pub(super) fn push_deleted(channel: &ChannelName, message: &Message) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"deleted\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.number("seq", message.position.seq);
        fields.text("id", &message.id);
        out.extend_from_slice(b"}}");
    })
}

/// A message to a user, of no channel: nothing keeps it, so it has no `seq`.
#[must_use]
pub fn push_user_message(message: &Message) -> Frame {
    Frame::text(message_hint(message), |out| {
        out.extend_from_slice(b"{\"msg\":{\"channel\":\"$user\",");
        write_body(out, message, Form::Loose);
        out.extend_from_slice(b"}}");
    })
}
