//! Rules whose cases can be counted out: every first byte, every order of frames, every status, every wrong character.

use super::*;

/// What the first byte of a message's first frame may be, with permessage-deflate and without (§5.2; RFC 7692 §6).
#[test]
fn every_first_byte_has_one_meaning_or_none() {
    for deflate in [false, true] {
        let options = Options { deflate, ..SMALL };
        for first in 0..=255_u8 {
            let (fin, bits, opcode) = (first & FIN != 0, first & 0x70, first & 15);
            let data = matches!(opcode, 1 | 2) && (bits == 0 || deflate && bits == 0x40);
            let control = matches!(opcode, 8..=10) && bits == 0 && fin;
            let (seen, status) = decode(options, &frame(first, b""), &[usize::MAX]);
            let expected = match (opcode, data || control) {
                (_, false) => (vec![], Some(1002)),
                (1 | 2, true) if !fin => (vec![], None),
                (1, true) => (vec![text("")], None),
                (2, true) => (vec![Seen::Binary(vec![])], None),
                (8, true) => (vec![Seen::Close(None)], None),
                (9, true) => (vec![Seen::Ping(vec![])], None),
                (_, true) => (vec![Seen::Pong(vec![])], None),
            };
            assert_eq!((seen, status), expected, "{first:#04x}, deflate {deflate}");
        }
    }
}

/// Every order of up to four frames: a message is begun by a text or a binary frame, goes on in continuations until one is
/// final, and nothing else comes between but control frames (§5.4).
#[test]
fn every_order_of_frames_is_a_row_of_messages_or_refused() {
    const FRAMES: [u8; 7] = [TEXT, FIN | TEXT, BINARY, FIN | BINARY, CONTINUATION, FIN | CONTINUATION, PING];
    for length in 1..=4_u32 {
        for number in 0..FRAMES.len().pow(length) {
            let row: Vec<u8> =
                (0..length).map(|place| FRAMES[number / FRAMES.len().pow(place) % FRAMES.len()]).collect();
            let (mut seen, mut status, mut message) = (Vec::new(), None, None::<(u8, String)>);
            for (index, first) in row.iter().enumerate() {
                let (part, opcode) = (index.to_string(), first & 15);
                match (&mut message, opcode) {
                    (_, 9) => seen.push(Seen::Ping(part.into_bytes())),
                    (Some((_, said)), 0) => said.push_str(&part),
                    (None, 1 | 2) => message = Some((opcode, part)),
                    _ => {
                        status = Some(1002);
                        break;
                    }
                }
                if first & FIN != 0
                    && opcode != 9
                    && let Some((opcode, said)) = message.take()
                {
                    seen.push(if opcode == 1 { Seen::Text(said) } else { Seen::Binary(said.into_bytes()) });
                }
            }
            let stream: Vec<u8> =
                row.iter().enumerate().flat_map(|(index, first)| frame(*first, index.to_string().as_bytes())).collect();
            assert_eq!(decode(SMALL, &stream, &[5]), (seen, status), "{row:02x?}");
        }
    }
}

/// §7.4: what may be sent, what is reserved, and what belongs to nobody.
#[test]
fn every_status_is_allowed_or_reserved() {
    for status in 0..=u16::MAX {
        let allowed = matches!(status, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let (seen, violation) = decode(SMALL, &frame(CLOSE, &status.to_be_bytes()), &[usize::MAX]);
        let expected = if allowed { (1, None) } else { (0, Some(1002)) };
        assert_eq!((seen.len(), violation), expected, "{status}");
    }
}

/// A text that cannot become UTF-8 ends at the first byte that shows it, not at the end of its frame or message (§8.1).
#[test]
fn every_wrong_character_ends_a_text_at_the_byte_that_shows_it() {
    for (bytes, shown_at) in [
        (&b"\x80"[..], 1),
        (b"\xbf", 1),
        (b"\xc0\x80", 1),
        (b"\xc1\x80", 1),
        (b"\xc2\x00", 2),
        (b"\xc2\xc0", 2),
        (b"\xdf\xff", 2),
        (b"\xe0\x80\x80", 2),
        (b"\xe0\x9f\xbf", 2),
        (b"\xe1\x80\x00", 3),
        (b"\xe1\xc0\x80", 2),
        (b"\xed\xa0\x80", 2),
        (b"\xed\xbf\xbf", 2),
        (b"\xef\xbf\xc0", 3),
        (b"\xf0\x80\x80\x80", 2),
        (b"\xf0\x8f\xbf\xbf", 2),
        (b"\xf0\x90\x80\x00", 4),
        (b"\xf1\x80\x7f\x80", 3),
        (b"\xf4\x8f\xbf\xc0", 4),
        (b"\xf4\x90\x80\x80", 2),
        (b"\xf5\x80\x80\x80", 1),
        (b"\xf8\x80\x80\x80\x80", 1),
        (b"\xfc\x80\x80\x80\x80\x80", 1),
        (b"\xfe", 1),
        (b"\xff", 1),
    ] {
        for before in ["", "a", "€", "😀😀"] {
            let whole = [before.as_bytes(), bytes, b" and more"].concat();
            for first in [FIN | TEXT, TEXT] {
                let stream = frame(first, &whole);
                let shown = 6 + before.len() + shown_at;
                assert_eq!(decode(SMALL, &stream[..shown - 1], &[1]), (vec![], None), "{whole:x?}");
                assert_eq!(decode(SMALL, &stream[..shown], &[1]), (vec![], Some(1007)), "{whole:x?}");
                assert_eq!(decode(SMALL, &stream[..shown], &[100]), (vec![], Some(1007)), "{whole:x?}");
            }
        }
    }
}

/// Every length around the borders of the three ways to write one, whole and declared one short of the bound (§5.2).
#[test]
fn every_class_of_lengths_is_read_in_its_shortest_form_alone() {
    for length in [0_u64, 1, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536, 65_537, 131_072] {
        let shortest = match length {
            0..=125 => 0,
            126..=65_535 => 2,
            _ => 8,
        };
        for wide in [0, 2, 8] {
            if wide == 0 && length > 125 || wide == 2 && length > 65_535 {
                continue;
            }
            let short = [length as u8, 126, 127][usize::from(wide > 0) + usize::from(wide > 2)];
            let mut stream = vec![FIN | BINARY, 0x80 | short];
            stream.extend_from_slice(&length.to_be_bytes()[8 - wide..]);
            stream.extend_from_slice(&[0; 4]);
            stream.resize(stream.len() + length as usize, 7);
            let expected = if wide == shortest {
                (vec![Seen::Binary(vec![7; length as usize])], None)
            } else {
                (vec![], Some(1002))
            };
            assert!(decode(LARGE, &stream, &[1_000]) == expected, "{length} in {wide} bytes");
        }
    }
}
