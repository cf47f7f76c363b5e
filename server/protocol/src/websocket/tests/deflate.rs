//! RFC 7692: what may come compressed, how, and what is refused; and that what is sent can be read by anybody.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::*;
use crate::websocket::deflate::{Inflate, deflate};

const RSV1: u8 = 0x40;
const SMALL: Options = Options { deflate: true, ..super::SMALL };
const LARGE: Options = Options { deflate: true, ..super::LARGE };
/// "Hello", compressed: the example of RFC 7692 §7.2.3.1.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn compressed(message: &[u8]) -> Vec<u8> {
    deflate(message, 15, 2 * message.len() + 64).expect("there is room")
}

/// Asserts the outcome of a stream, however it is cut.
fn expect(options: Options, stream: &[u8], seen: Vec<Seen>, status: Option<u16>) {
    for cuts in [&[usize::MAX][..], &[1], &[2], &[3, 1], &[7, 2, 5], &[1000]] {
        assert_eq!(decode(options, stream, cuts), (seen.clone(), status), "cut {cuts:?}: {stream:?}");
    }
}

/// Some JSON that is not the same all over.
fn json(bytes: usize) -> String {
    let mut out = String::from("{\"items\":[");
    let mut number = 1_u64;
    while out.len() < bytes {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.push_str(&format!("{{\"id\":{},\"price\":{},\"tags\":[\"new\"]}},", number >> 40, number % 977));
    }
    out.truncate(bytes);
    out
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, b'H', b'e', b'l', b'l', b'o', 0x00];
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    for payload in [&HELLO[..], &stored, &last, &two_blocks, &last[..7]] {
        expect(SMALL, &frame(FIN | RSV1 | TEXT, payload), vec![text("Hello")], None);
    }
    let fragments = frames(&[(RSV1 | TEXT, &HELLO[..3]), (FIN, &HELLO[3..])]);
    expect(SMALL, &fragments, vec![text("Hello")], None);
    // Nothing is taken over: the second message of §7.2.3.2 refers to the first, and is refused.
    let taken_over = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let stream = frames(&[(FIN | RSV1 | TEXT, &HELLO), (FIN | RSV1 | TEXT, &taken_over)]);
    expect(SMALL, &stream, vec![text("Hello")], Some(1007));
}

#[test]
fn empty_messages_and_fragments_are_read() {
    for payload in [&b""[..], &[0x00], &[0x02, 0x00], &[0x03, 0x00], &[0x00, 0x00, 0x00, 0xff, 0xff, 0x00]] {
        expect(SMALL, &frame(FIN | RSV1 | TEXT, payload), vec![text("")], None);
        expect(SMALL, &frame(FIN | RSV1 | BINARY, payload), vec![Seen::Binary(vec![])], None);
    }
    let around = frames(&[(RSV1 | TEXT, b""), (CONTINUATION, &HELLO), (CONTINUATION, b""), (FIN, b"")]);
    expect(SMALL, &around, vec![text("Hello")], None);
}

#[test]
fn compressed_and_plain_messages_and_control_frames_follow_each_other() {
    let stream = frames(&[
        (FIN | TEXT, b"plain"),
        (FIN | RSV1 | TEXT, &HELLO),
        (RSV1 | BINARY, &HELLO[..2]),
        (PING, b"p"),
        (CONTINUATION, &HELLO[2..6]),
        (PONG, b""),
        (FIN, &HELLO[6..]),
        (TEXT, b"pl"),
        (FIN, b"ain"),
        (FIN | RSV1 | TEXT, &HELLO),
        (CLOSE, b""),
    ]);
    let seen = vec![
        text("plain"),
        text("Hello"),
        Seen::Ping(b"p".into()),
        Seen::Pong(vec![]),
        Seen::Binary(b"Hello".into()),
        text("plain"),
        text("Hello"),
        Seen::Close(None),
    ];
    expect(SMALL, &stream, seen, None);
}

#[test]
fn the_first_reserved_bit_stands_on_the_first_frame_of_a_message_alone() {
    let begun = frame(RSV1 | TEXT, &HELLO[..3]);
    for first in [FIN | RSV1, RSV1 | CONTINUATION, RSV1 | PING, RSV1 | PONG, RSV1 | CLOSE] {
        expect(SMALL, &frame(first, &HELLO[3..]), vec![], Some(1002));
        expect(SMALL, &[&begun[..], &frame(first, &HELLO[3..])].concat(), vec![], Some(1002));
    }
    for bits in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
        for first in [FIN | TEXT, FIN | BINARY, TEXT, PING, CLOSE] {
            expect(SMALL, &frame(first | bits, b""), vec![], Some(1002));
        }
    }
    for opcode in [3, 7, 11, 15] {
        expect(SMALL, &frame(FIN | RSV1 | opcode, b""), vec![], Some(1002));
    }
    // Without the agreement the bit means nothing.
    expect(super::SMALL, &frame(FIN | RSV1 | TEXT, &HELLO), vec![], Some(1002));
}

#[test]
fn what_is_no_deflate_is_refused() {
    let cut = compressed(json(600).as_bytes());
    for payload in [
        &[0x07][..],
        &[0xff; 20],
        &[0x00, 0x05, 0x00, 0x05, 0x00],
        // A length of more than there is, a distance of more than there is.
        &[0x00, 0x06, 0x00, 0xf9, 0xff, b'H'],
        &[0x4b, 0x04, 0x12, 0x00],
        &cut[..cut.len() / 2],
        &cut[..cut.len() - 3],
        &[&HELLO[..], &[0xff, 0xff]].concat(),
    ] {
        let (seen, status) = decode(SMALL, &frame(FIN | RSV1 | BINARY, payload), &[usize::MAX]);
        assert_eq!((seen, status), (vec![], Some(1007)), "{payload:?}");
    }
}

#[test]
fn texts_are_utf8_when_inflated_and_fail_before_they_are_whole() {
    for said in ["κόσμε", "\u{10ffff}", "a\0b", &"ü€😀".repeat(40)] {
        expect(SMALL, &frame(FIN | RSV1 | TEXT, &compressed(said.as_bytes())), vec![text(said)], None);
    }
    for said in [&b"\x80"[..], b"a\xffb", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok \xe2\x82"] {
        expect(SMALL, &frame(FIN | RSV1 | TEXT, &compressed(said)), vec![], Some(1007));
        expect(SMALL, &frame(FIN | RSV1 | BINARY, &compressed(said)), vec![Seen::Binary(said.into())], None);
    }
    // A block that is whole is looked at though its message goes on.
    let mut wrong = compressed(b"ok \xff");
    wrong.extend([0, 0, 0xff, 0xff]);
    expect(SMALL, &frame(RSV1 | TEXT, &wrong), vec![], Some(1007));
}

#[test]
fn a_message_is_bounded_as_it_is_inflated() {
    for (bytes, status) in [(999, None), (1_000, None), (1_001, Some(1009)), (1_000_000, Some(1009))] {
        let plain = vec![b'a'; bytes];
        let seen = if status.is_none() { vec![Seen::Binary(plain.clone())] } else { vec![] };
        expect(SMALL, &frame(FIN | RSV1 | BINARY, &compressed(&plain)), seen.clone(), status);
        let payload = compressed(&plain);
        let (head, tail) = payload.split_at(payload.len() / 2);
        expect(SMALL, &frames(&[(RSV1 | BINARY, head), (FIN, tail)]), seen, status);
    }
    // Declared: a message may be an eighth and a little longer on the way than it is.
    let mut declared = frame(FIN | RSV1 | BINARY, &[0; 1_000 + 125 + 1_024]);
    declared.truncate(8);
    expect(SMALL, &declared, vec![], None);
    let mut declared = frame(FIN | RSV1 | BINARY, &[0; 1_000 + 125 + 1_025]);
    declared.truncate(8);
    expect(SMALL, &declared, vec![], Some(1009));
    // All fragments together, however little is in them.
    let empty_blocks = [0, 0, 0, 0xff, 0xff].repeat(100);
    let stream = [frame(RSV1 | BINARY, &empty_blocks), frame(CONTINUATION, &empty_blocks).repeat(6)].concat();
    expect(SMALL, &stream, vec![], Some(1009));
    let stream = [frame(RSV1 | BINARY, b""), frame(CONTINUATION, b"").repeat(8)].concat();
    expect(SMALL, &stream, vec![], Some(1008));
}

/// A thousand bytes from each that came, and nested: a message is inflated once, and no further than it may be long.
#[test]
fn a_bomb_costs_no_more_than_a_message() {
    let flat = miniz_oxide::deflate::compress_to_vec(&vec![0; 16 * 1024 * 1024], 9);
    let nested = miniz_oxide::deflate::compress_to_vec(&flat, 9);
    assert!(flat.len() < 17_000 && nested.len() < 200, "{} {}", flat.len(), nested.len());
    for (payload, status) in [(&nested, None), (&flat, Some(1009))] {
        for cuts in [&[usize::MAX][..], &[100], &[1]] {
            let (seen, violation) = decode(LARGE, &frame(FIN | RSV1 | BINARY, payload), cuts);
            assert_eq!((seen.len(), violation), (usize::from(status.is_none()), status));
        }
    }
    let mut message = Vec::new();
    let mut inflate = Inflate::new();
    assert!(inflate.push(&flat, &mut message, 50_000).is_err());
    assert!(message.capacity() <= 50_001, "{}", message.capacity());
}

#[test]
fn what_is_sent_can_be_read_and_refers_back_no_further_than_agreed() {
    for bytes in [0, 1, 5, 255, 256, 257, 1_000, 4_096, 40_000, 200_000] {
        let plain = json(bytes);
        for window_bits in 8..=15 {
            let mut sent = deflate(plain.as_bytes(), window_bits, 2 * bytes + 64).expect("there is room");
            let stream = frame(FIN | RSV1 | TEXT, &sent);
            assert_eq!(decode(LARGE, &stream, &[1_000]), (vec![text(&plain)], None), "{bytes} {window_bits}");
            sent.extend([0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff]);
            assert!(inflate_through(1 << window_bits, &sent) == plain.as_bytes(), "{bytes} {window_bits}");
        }
    }
    let noise = miniz_oxide::deflate::compress_to_vec(json(40_000).as_bytes(), 9);
    assert!(deflate(&noise, 15, noise.len() - 100).is_none(), "what does not become smaller is given up");
}

/// Inflates through a ring that forgets what lies further back than the window: a reference beyond it reads something else.
fn inflate_through(window: usize, stream: &[u8]) -> Vec<u8> {
    let mut state = DecompressorOxide::new();
    let (mut ring, mut at, mut read, mut out) = (vec![0; window], 0, 0, Vec::new());
    loop {
        let (status, taken, wrote) = decompress(&mut state, &stream[read..], &mut ring, at, 0);
        out.extend_from_slice(&ring[at..at + wrote]);
        read += taken;
        at = (at + wrote) % window;
        match status {
            TINFLStatus::HasMoreOutput => {}
            status => {
                assert_eq!(status, TINFLStatus::Done);
                return out;
            }
        }
    }
}
