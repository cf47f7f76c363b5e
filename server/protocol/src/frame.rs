//! A ready-made outbound message: encoded once, shared by every connection that gets it.
//!
//! A server's WebSocket frames are not masked (RFC 6455 §5.1), so the frame's header is a function of the payload
//! alone. It is written into headroom before the payload: one allocation serves WebSocket connections, which take
//! header and payload, and every transport that takes the payload alone.

use bytes::Bytes;

use crate::websocket::Opcode;
use crate::websocket::encode::{HEADER_BYTES_MAX as HEADROOM, header};

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
        let length = buffer.len() - HEADROOM;
        let (header, size) = header(Opcode::Text, true, length);
        buffer[HEADROOM - size..HEADROOM].copy_from_slice(&header[..size]);
        let wire = Bytes::from(buffer).slice(HEADROOM - size..);
        Self { wire, header: u8::try_from(size).expect("a header has at most ten bytes") }
    }

    /// Header and payload, as written to a WebSocket.
    #[must_use]
    pub const fn websocket(&self) -> &Bytes {
        &self.wire
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
}
