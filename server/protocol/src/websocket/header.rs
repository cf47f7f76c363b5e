//! The header of a frame from a client (RFC 6455 §5.2).

use super::Violation;

/// The longest header: two bytes, eight of length, four of mask.
pub(crate) const HEADER_BYTES_MAX: usize = 14;
/// The longest payload of a control frame.
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that came before.
    Continuation = 0,
    /// A text message, or its first part.
    Text = 1,
    /// A binary message, or its first part.
    Binary = 2,
    /// Goodbye.
    Close = 8,
    /// A probe.
    Ping = 9,
    /// The answer to a probe.
    Pong = 10,
}

impl Opcode {
    const fn parse(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is about the connection and may come between the frames of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A header that breaks no rule that can be judged by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whether the message ends with this frame.
    pub(crate) fin: bool,
    /// Whether the message that begins with this frame is compressed.
    pub(crate) deflated: bool,
    pub(crate) opcode: Opcode,
    pub(crate) length: u64,
    pub(crate) mask: [u8; 4],
}

impl Header {
    /// Reads a header and tells how long it is; `None` while bytes are missing. What the first bytes forbid is refused
    /// without waiting for the rest. `deflate` says that permessage-deflate was agreed.
    pub(crate) fn parse(bytes: &[u8], deflate: bool) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, deflated, opcode) = parse_first(first, deflate)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::protocol("a frame from a client is not masked"));
        }
        let short = second & 0x7F;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Violation::protocol("a control frame has more than 125 bytes"));
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = bytes.get(2..2 + extended) else { return Ok(None) };
        let length = match extended {
            0 => u64::from(short),
            _ => length.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
        };
        check_length(length, extended)?;
        let size = 2 + extended + 4;
        let Some(mask) = bytes.get(size - 4..size) else { return Ok(None) };
        let mask = mask.try_into().expect("the range has four bytes");
        Ok(Some((Self { fin, deflated, opcode, length, mask }, size)))
    }
}

/// The first bit of the three reserved ones: the message that begins here is compressed (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0x40;

fn parse_first(first: u8, deflate: bool) -> Result<(bool, bool, Opcode), Violation> {
    let deflated = deflate && first & RSV1 != 0;
    // Whatever was not agreed has no meaning (RFC 6455 §5.2).
    if first & 0x70 & !(RSV1 * u8::from(deflated)) != 0 {
        return Err(Violation::protocol("a reserved bit is set whose meaning was not agreed"));
    }
    let fin = first & 0x80 != 0;
    let Some(opcode) = Opcode::parse(first & 0x0F) else {
        return Err(Violation::protocol("there is no such opcode"));
    };
    if opcode.is_control() && !fin {
        return Err(Violation::protocol("a control frame is fragmented"));
    }
    if deflated && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(Violation::protocol("only the first frame of a message can say that it is compressed"));
    }
    Ok((fin, deflated, opcode))
}

fn check_length(length: u64, extended: usize) -> Result<(), Violation> {
    if length >> 63 != 0 {
        return Err(Violation::protocol("the highest bit of a length is set"));
    }
    let shortest = match length {
        0..=125 => 0,
        126..=0xFFFF => 2,
        _ => 8,
    };
    if extended == shortest { Ok(()) } else { Err(Violation::protocol("a length is not written in its shortest form")) }
}
