//! Frames to clients, never masked (RFC 6455 §5.1).

use bytes::Bytes;

use super::deflate::deflate;
use super::extension::Deflate;
use super::header::{CONTROL_BYTES_MAX, Opcode, RSV1};

/// The longest header of an unmasked frame.
pub(crate) const HEADER_BYTES_MAX: usize = 10;
/// The longest reason of a goodbye: a control frame less the status.
const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// A text message in one frame.
#[must_use]
pub fn text(message: &str) -> Bytes {
    frame(Opcode::Text, true, message.as_bytes())
}

/// A binary message in one frame.
#[must_use]
pub fn binary(message: &[u8]) -> Bytes {
    frame(Opcode::Binary, true, message)
}

/// A message in one frame, compressed as agreed, however little that saves. Messages that many get are made once, as a
/// [`Frame`](crate::Frame).
///
/// # Panics
/// Never: DEFLATE does not double anything, whatever it was given.
#[must_use]
pub fn deflated(opcode: Opcode, message: &[u8], agreed: Deflate) -> Bytes {
    let most = 2 * message.len() + 64;
    let payload = deflate(message, agreed.window_bits(), most).expect("compressing does not double anything");
    let (mut header, size) = header(opcode, true, payload.len());
    header[0] |= RSV1;
    let mut out = Vec::with_capacity(size + payload.len());
    out.extend_from_slice(&header[..size]);
    out.extend_from_slice(&payload);
    out.into()
}

/// A probe; a payload over 125 bytes is cut.
#[must_use]
pub fn ping(payload: &[u8]) -> Bytes {
    frame(Opcode::Ping, true, cut(payload))
}

/// The answer to a probe, with the probe's payload.
#[must_use]
pub fn pong(payload: &[u8]) -> Bytes {
    frame(Opcode::Pong, true, cut(payload))
}

/// A goodbye. The reason is cut, between characters, to what a control frame holds.
#[must_use]
pub fn close(status: u16, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let mut payload = Vec::with_capacity(CONTROL_BYTES_MAX);
    payload.extend_from_slice(&status.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    frame(Opcode::Close, true, &payload)
}

/// A goodbye that says nothing, the answer to one.
#[must_use]
pub fn close_empty() -> Bytes {
    frame(Opcode::Close, true, &[])
}

/// Any frame: `fin` says that its message ends with it.
#[must_use]
pub fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Bytes {
    let (header, size) = header(opcode, fin, payload.len());
    let mut out = Vec::with_capacity(size + payload.len());
    out.extend_from_slice(&header[..size]);
    out.extend_from_slice(payload);
    out.into()
}

/// A header and how many of its bytes count.
pub(crate) fn header(opcode: Opcode, fin: bool, length: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut header = [0; HEADER_BYTES_MAX];
    header[0] = u8::from(fin) << 7 | opcode as u8;
    let size = match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=125), _) => {
            header[1] = length;
            2
        }
        (_, Ok(length)) => {
            header[1] = 126;
            header[2..4].copy_from_slice(&length.to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(length as u64).to_be_bytes());
            HEADER_BYTES_MAX
        }
    };
    (header, size)
}

fn cut(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(CONTROL_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_unmasked_and_their_lengths_shortest() {
        assert_eq!(&text("Hello")[..], b"\x81\x05Hello");
        assert_eq!(&frame(Opcode::Text, false, b"Hel")[..], b"\x01\x03Hel");
        assert_eq!(&frame(Opcode::Continuation, true, b"lo")[..], b"\x80\x02lo");
        assert_eq!(&ping(b"Hello")[..], b"\x89\x05Hello");
        assert_eq!(&pong(b"Hello")[..], b"\x8a\x05Hello");
        assert_eq!(&binary(&[0; 256])[..4], b"\x82\x7E\x01\x00");
        assert_eq!(&binary(&[0; 65_536])[..10], b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00");
        assert_eq!(&binary(&[0; 125])[..2], b"\x82\x7D");
        assert_eq!(&binary(&[0; 65_535])[..4], b"\x82\x7E\xFF\xFF");
    }

    #[test]
    fn control_frames_are_cut_to_125_bytes_between_characters() {
        assert_eq!(&close(4201, "heartbeat_timeout")[..], b"\x88\x13\x10\x69heartbeat_timeout");
        assert_eq!(&close_empty()[..], b"\x88\x00");
        assert_eq!(close(1000, &"é".repeat(100)).len(), 2 + 2 + 122);
        assert_eq!((ping(&[0; 200]).len(), pong(&[0; 200]).len()), (127, 127));
    }
}
