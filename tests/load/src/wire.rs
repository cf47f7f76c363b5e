//! Bytes on the wire, built once: commands at fixed offsets, so that the floor can look instead of parse.
//!
//! ```text
//! {"id":1000001,"subscribe":{"channel":"load:000123"}}
//!                ^ 15: the kind's letter        ^ 43: the channel's number, always six digits
//! ```

use std::fmt::Write as _;

/// Any key will do: these clients have nothing to hide from proxies.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Where the kind's letter is.
const KIND_AT: usize = 15;

/// How many payload bytes the floor looks at.
pub(crate) const LOOK_BYTES: usize = 49;

/// What a frame asks of the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Anything that is answered and no more.
    Connect,
    /// Deliver this channel here.
    Subscribe(u32),
    /// Deliver to this channel.
    Publish(u32),
}

/// The name of a channel by its number.
pub(crate) fn channel(number: u32) -> String {
    format!("load:{number:06}")
}

/// The first frame.
pub(crate) fn connect(token: &str) -> Vec<u8> {
    let token = if token.is_empty() { String::new() } else { format!("\"token\":\"{token}\"") };
    masked(&format!("{{\"id\":1000001,\"connect\":{{{token}}}}}"))
}

/// The second frame.
pub(crate) fn subscribe(number: u32) -> Vec<u8> {
    masked(&format!("{{\"id\":1000002,\"subscribe\":{{\"channel\":\"{}\"}}}}", channel(number)))
}

/// A publish whose data begins with the time it was sent, in microseconds.
pub(crate) fn publish(number: u32, sent_us: u64, data_bytes: usize) -> Vec<u8> {
    masked(&format!(
        "{{\"id\":1000003,\"publish\":{{\"channel\":\"{}\",\"data\":\"{}\"}}}}",
        channel(number),
        data(sent_us, data_bytes)
    ))
}

/// The data of a message: the time it was sent, and padding.
pub(crate) fn data(sent_us: u64, data_bytes: usize) -> String {
    let mut data = format!("t={sent_us:012};");
    data.extend(std::iter::repeat_n('x', data_bytes.saturating_sub(data.len())));
    data
}

/// The time that a delivered payload was sent; the floor delivers none.
pub(crate) fn sent_us(payload: &[u8]) -> Option<u64> {
    let at = payload.windows(3).position(|three| three == b"\"t=")? + 3;
    let sent = std::str::from_utf8(payload.get(at..at + 12)?).ok()?.parse().ok()?;
    (sent > 0).then_some(sent)
}

/// The number of a message, or of where a subscription was moved to.
pub(crate) fn seq(payload: &[u8]) -> Option<u64> {
    let at = payload.windows(6).position(|six| six == b"\"seq\":")? + 6;
    let digits = payload[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&payload[at..at + digits]).ok()?.parse().ok()
}

/// The handshake; the server's answer is not judged here, the suite does that.
pub(crate) fn handshake(path: &str) -> Vec<u8> {
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    text += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    text += "Sec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n";
    text.into_bytes()
}

/// A publish over REST.
pub(crate) fn rest_publish(path: &str, authorization: &str, data: &str) -> Vec<u8> {
    let body = format!("{{\"data\":\"{data}\"}}");
    let mut text = format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\n");
    let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    text.into_bytes()
}

/// What stands in the first bytes of a masked payload.
pub(crate) fn look(mask: [u8; 4], payload: &[u8]) -> Option<Ask> {
    let byte = |at: usize| payload.get(at).map(|byte| byte ^ mask[at % 4]);
    let number = |from: usize| {
        (from..from + 6).try_fold(0_u32, |number, at| Some(number * 10 + u32::from(byte(at)?.wrapping_sub(b'0'))))
    };
    match byte(KIND_AT)? {
        b'c' => Some(Ask::Connect),
        b's' => Some(Ask::Subscribe(number(43)?)),
        b'p' => Some(Ask::Publish(number(41)?)),
        _ => None,
    }
}

/// The header of a server's text frame.
pub(crate) fn text_header(length: usize) -> Vec<u8> {
    header(length, 0)
}

fn header(length: usize, mask_bit: u8) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short) if short < 126 => vec![0x81, short | mask_bit],
        _ => {
            let length = u16::try_from(length).expect("load frames are below 64 KiB").to_be_bytes();
            vec![0x81, 126 | mask_bit, length[0], length[1]]
        }
    }
}

fn masked(payload: &str) -> Vec<u8> {
    let mut frame = header(payload.len(), 0x80);
    frame.extend(MASK);
    frame.extend(payload.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A frame found at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// What it is: 1 text, 8 close, 9 ping, 10 pong.
    pub(crate) opcode: u8,
    /// The client's mask, if there is one.
    pub(crate) mask: Option<[u8; 4]>,
    /// Where the payload begins.
    pub(crate) begins: usize,
    /// How long the payload is.
    pub(crate) length: usize,
}

impl Head {
    /// Reads a header if all of it is there.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, mut begins) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
            short => (usize::from(short), 2),
        };
        let mask = if second & 0x80 == 0 {
            None
        } else {
            let mask = bytes.get(begins..begins + 4)?.try_into().ok()?;
            begins += 4;
            Some(mask)
        };
        Some(Self { opcode: first & 0x0f, mask, begins, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_sees_what_a_client_asks() {
        for (frame, ask) in [
            (connect("abc"), Ask::Connect),
            (subscribe(42), Ask::Subscribe(42)),
            (publish(123_456, 7, 128), Ask::Publish(123_456)),
        ] {
            let head = Head::read(&frame).unwrap();
            assert_eq!(head.begins + head.length, frame.len());
            assert_eq!(look(head.mask.unwrap(), &frame[head.begins..]), Some(ask));
        }
    }

    #[test]
    fn a_delivery_tells_when_it_was_sent() {
        let payload = format!("{{\"msg\":{{\"data\":\"{}\"}}}}", data(1_234, 128));
        assert_eq!(sent_us(payload.as_bytes()), Some(1_234));
        assert_eq!(data(1, 128).len(), 128);
        assert_eq!(seq(br#"{"msg":{"channel":"load:000000","seq":42,"id":"a"}}"#), Some(42));
        assert_eq!(seq(b"{}"), None);
    }
}
