//! A ready-made outbound message: encoded once, shared by every connection that gets it.
//!
//! A server's WebSocket frames are not masked (RFC 6455 §5.1), so the frame's header is a function of the payload
//! alone. It is written into headroom before the payload: one allocation serves WebSocket connections, which take
//! header and payload, and every transport that takes the payload alone.

use bytes::Bytes;

use crate::websocket::Opcode;
use crate::websocket::deflate::deflate;
use crate::websocket::encode::{HEADER_BYTES_MAX as HEADROOM, header};
use crate::websocket::extension::WINDOW_BITS_MAX;
use crate::websocket::header::RSV1;

/// The shortest payload that is compressed. Below it little is saved: there is nothing yet to refer back to.
const DEFLATE_BYTES_MIN: usize = 256;

/// One encoded outbound message. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// WebSocket header and payload.
    wire: Bytes,
    header: u8,
}

impl Frame {
    /// Encodes a text message: `write` appends the payload, valid UTF-8, to the buffer it is given.
    pub fn text(payload_hint: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut buffer = Vec::with_capacity(HEADROOM + payload_hint);
        buffer.resize(HEADROOM, 0);
        write(&mut buffer);
        Self::finish(buffer, 0)
    }

    /// The same message compressed by itself, for WebSockets with permessage-deflate; itself where that saves little. The
    /// payload refers back as far as it is long: who may only be sent a smaller window is sent the plain one.
    #[must_use]
    pub fn deflated(&self) -> Self {
        let payload = &self.wire[usize::from(self.header)..];
        if payload.len() < DEFLATE_BYTES_MIN {
            return self.clone();
        }
        let Some(deflated) = deflate(payload, WINDOW_BITS_MAX, payload.len() - payload.len() / 8) else {
            return self.clone();
        };
        let mut buffer = Vec::with_capacity(HEADROOM + deflated.len());
        buffer.resize(HEADROOM, 0);
        buffer.extend_from_slice(&deflated);
        Self::finish(buffer, RSV1)
    }

    fn finish(mut buffer: Vec<u8>, bits: u8) -> Self {
        let length = buffer.len() - HEADROOM;
        let (mut header, size) = header(Opcode::Text, true, length);
        header[0] |= bits;
        buffer[HEADROOM - size..HEADROOM].copy_from_slice(&header[..size]);
        let wire = Bytes::from(buffer).slice(HEADROOM - size..);
        Self { wire, header: u8::try_from(size).expect("a header has at most ten bytes") }
    }

    /// Header and payload, as written to a WebSocket.
    #[must_use]
    pub const fn websocket(&self) -> &Bytes {
        &self.wire
    }

    /// As an event of an event stream (`data: …`). A line must not end inside it: in JSON that can only be blank.
    #[must_use]
    pub fn event(&self) -> Bytes {
        self.on_one_line(b"data: ", b"\n\n")
    }

    /// As a line of its own.
    #[must_use]
    pub fn line(&self) -> Bytes {
        self.on_one_line(b"", b"\n")
    }

    fn on_one_line(&self, before: &[u8], behind: &[u8]) -> Bytes {
        let payload = &self.wire[usize::from(self.header)..];
        let mut out = Vec::with_capacity(before.len() + payload.len() + behind.len());
        out.extend_from_slice(before);
        out.extend(payload.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        out.extend_from_slice(behind);
        out.into()
    }

    /// How long the payload is.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.wire.len() - usize::from(self.header)
    }

    /// The payload alone.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.wire.slice(usize::from(self.header)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_takes_the_shortest_form_for_every_length() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = Frame::text(length, |out| out.extend(std::iter::repeat_n(b'x', length)));
            assert_eq!(frame.websocket()[..header.len()], header[..], "{length}");
            assert_eq!(frame.payload().len(), length);
            assert_eq!(frame.websocket().len(), header.len() + length);
        }
    }

    #[test]
    fn an_event_and_a_line_end_once() {
        let frame = Frame::text(0, |out| out.extend_from_slice(b"{\"data\":\n\r1}"));
        assert_eq!(frame.event(), "data: {\"data\":  1}\n\n");
        assert_eq!(frame.line(), "{\"data\":  1}\n");
    }

    #[test]
    fn a_message_is_compressed_where_that_saves_something() {
        let said = r#"{"msg":{"channel":"room:9","data":"#.to_owned() + &"\"as before\",".repeat(60);
        let plain = Frame::text(0, |out| out.extend_from_slice(said.as_bytes()));
        let deflated = plain.deflated();
        assert!(deflated.websocket().len() < plain.websocket().len() / 4);
        assert_eq!(deflated.websocket()[0], 0xC1);
        assert_eq!(deflated.payload_bytes(), deflated.payload().len());
        let short = Frame::text(0, |out| out.extend_from_slice(&said.as_bytes()[..DEFLATE_BYTES_MIN - 1]));
        assert_eq!(short.deflated(), short);
        let digits: String =
            (0..300_u32).map(|at| format!("{:08x}", at.wrapping_mul(2_654_435_761).rotate_left(at))).collect();
        let twice = miniz_oxide::deflate::compress_to_vec(digits.as_bytes(), 9);
        let twice = Frame::text(0, |out| out.extend_from_slice(&twice));
        assert_eq!(twice.deflated(), twice);
    }
}
