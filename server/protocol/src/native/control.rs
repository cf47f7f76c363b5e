//! Pushes by which a client learns what was done to its connection from outside.

use super::write::{Fields, REPLY_BYTES};
use crate::frame::Frame;

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
