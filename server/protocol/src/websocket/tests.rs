//! RFC 6455, rule by rule, in the order of the Autobahn suite's groups; then everything against a slow reference.
//!
//! Every table runs whole, byte by byte and in odd pieces: how the stream was cut must never matter.

mod deflate;
mod tables;

use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const SMALL: Options = Options { message_bytes_max: 1_000, fragments_max: Some(8), deflate: false };
const LARGE: Options = Options { message_bytes_max: 200_000, fragments_max: None, deflate: false };

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = FIN | 8;
const PING: u8 = FIN | 9;
const PONG: u8 = FIN | 10;

/// An event that can be kept.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Binary(bytes) => Self::Binary(bytes.into()),
            Event::Ping(bytes) => Self::Ping(bytes.into()),
            Event::Pong(bytes) => Self::Pong(bytes.into()),
            Event::Close(goodbye) => Self::Close(goodbye.map(|said| (said.status, said.reason.into()))),
        }
    }
}

/// What was seen, and the status of the violation that ended it.
type Outcome = (Vec<Seen>, Option<u16>);

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

fn frames(all: &[(u8, &[u8])]) -> Vec<u8> {
    all.iter().flat_map(|(first, payload)| frame(*first, payload)).collect()
}

/// Decodes a stream cut into pieces of these sizes, over and over.
fn decode(options: Options, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut decoder = Decoder::new(options);
    let mut seen = Vec::new();
    let mut rest = stream.to_vec();
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let cut = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
        let mut piece: Vec<u8> = rest.drain(..cut).collect();
        let outcome = decoder.decode(&mut piece, &mut |event| seen.push(event.into()));
        let held = decoder.held_bytes();
        let inflater = if options.deflate { super::deflate::Inflate::BYTES } else { 0 };
        assert!(held <= options.message_bytes_max + 513 + inflater, "{held} bytes are held");
        if let Err(violation) = outcome {
            assert_eq!(held, 0, "nothing is held after a violation");
            assert!(violation.reason.len() <= 123);
            return (seen, Some(violation.status));
        }
    }
    (seen, None)
}

/// Asserts the outcome of a stream, however it is cut.
fn expect(options: Options, stream: &[u8], seen: Vec<Seen>, status: Option<u16>) {
    for cuts in [&[usize::MAX][..], &[1], &[2], &[3, 1], &[7, 2, 5], &[1000]] {
        assert_eq!(decode(options, stream, cuts), (seen.clone(), status), "cut {cuts:?}: {stream:?}");
    }
    assert_eq!(reference(options, stream), (seen, status), "the reference: {stream:?}");
}

fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

#[test]
fn group_1_messages_of_every_length_class_arrive() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
        let payload = vec![b'*'; length];
        let said = String::from_utf8(payload.clone()).expect("ASCII");
        let outcome = |bytes: &[u8]| decode(LARGE, bytes, &[997]);
        assert_eq!(outcome(&frame(FIN | TEXT, &payload)), (vec![Seen::Text(said)], None), "{length}");
        assert_eq!(outcome(&frame(FIN | BINARY, &payload)), (vec![Seen::Binary(payload)], None), "{length}");
    }
}

#[test]
fn group_2_pings_and_pongs_carry_up_to_125_bytes() {
    for length in [0, 5, 124, 125] {
        let payload = vec![0xFE; length];
        expect(SMALL, &frame(PING, &payload), vec![Seen::Ping(payload.clone())], None);
        expect(SMALL, &frame(PONG, &payload), vec![Seen::Pong(payload)], None);
    }
    for first in [PING, PONG, CLOSE] {
        expect(SMALL, &frame(first, &[b'x'; 126]), vec![], Some(1002));
    }
    let ten: Vec<u8> = (0..10).flat_map(|n| frame(PING, &[n])).collect();
    expect(SMALL, &ten, (0..10).map(|n| Seen::Ping(vec![n])).collect(), None);
}

#[test]
fn group_3_reserved_bits_are_refused() {
    for bits in 1..8_u8 {
        for first in [FIN | TEXT, FIN | BINARY, PING, CLOSE, TEXT] {
            expect(SMALL, &frame(first | bits << 4, b""), vec![], Some(1002));
        }
        let after = frames(&[(FIN | TEXT, b"a"), (FIN | TEXT | bits << 4, b"b"), (PING, b"")]);
        expect(SMALL, &after, vec![text("a")], Some(1002));
    }
}

#[test]
fn group_4_unknown_opcodes_are_refused() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        expect(SMALL, &frame(FIN | opcode, b""), vec![], Some(1002));
        expect(SMALL, &frames(&[(FIN | TEXT, b"a"), (FIN | opcode, b"b")]), vec![text("a")], Some(1002));
    }
}

#[test]
fn group_5_fragments_make_one_message_and_control_frames_come_between() {
    expect(SMALL, &frame(9, b"fragmented ping"), vec![], Some(1002));
    expect(SMALL, &frame(10, b"fragmented pong"), vec![], Some(1002));
    expect(SMALL, &frame(8, b""), vec![], Some(1002));
    expect(SMALL, &frames(&[(TEXT, b"fra"), (FIN, b"gment")]), vec![text("fragment")], None);
    let between = frames(&[(TEXT, b"fra"), (PING, b"p"), (CONTINUATION, b"g"), (PONG, b""), (FIN, b"ment")]);
    expect(SMALL, &between, vec![Seen::Ping(b"p".into()), Seen::Pong(vec![]), text("fragment")], None);
    expect(SMALL, &frames(&[(BINARY, b""), (CONTINUATION, b""), (FIN, b"")]), vec![Seen::Binary(vec![])], None);
    for (stream, seen) in [
        (frames(&[(FIN, b"nothing to continue")]), vec![]),
        (frames(&[(CONTINUATION, b"nothing to continue")]), vec![]),
        (frames(&[(FIN | TEXT, b"a"), (FIN, b"b")]), vec![text("a")]),
        (frames(&[(TEXT, b"a"), (FIN | TEXT, b"b")]), vec![]),
        (frames(&[(TEXT, b"a"), (BINARY, b"b")]), vec![]),
        (frames(&[(BINARY, b"a"), (CONTINUATION, b"b"), (FIN | BINARY, b"c")]), vec![]),
    ] {
        expect(SMALL, &stream, seen, Some(1002));
    }
}

#[test]
fn group_6_texts_are_utf8_and_fail_at_their_first_wrong_byte() {
    let good = [
        "κόσμε",
        "\0",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "\u{feff}x",
    ];
    for said in good {
        expect(SMALL, &frame(FIN | TEXT, said.as_bytes()), vec![text(said)], None);
        let apart: Vec<u8> = said.bytes().flat_map(|byte| frame(CONTINUATION, &[byte])).collect();
        let apart = [frame(TEXT, b""), apart, frame(FIN, b"")].concat();
        let free = Options { fragments_max: None, ..SMALL };
        expect(free, &apart, vec![text(said)], None);
    }
    let bad: [&[u8]; 22] = [
        b"\x80",
        b"\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xc3(",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc",
        b"\xfe",
        b"\xff",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"a\xffb",
        b"\xe2\x82x",
        b"\xf0\x9f\x98x",
        b"\xc2",
    ];
    for said in bad {
        expect(SMALL, &frame(FIN | TEXT, said), vec![], Some(1007));
        expect(SMALL, &frames(&[(TEXT, b"ok"), (FIN, said)]), vec![], Some(1007));
        expect(SMALL, &frame(FIN | BINARY, said), vec![Seen::Binary(said.into())], None);
    }
    // A character cut in two is whole after the next fragment, and none may be missing at the end.
    expect(SMALL, &frames(&[(TEXT, b"\xf0\x9f"), (FIN, b"\x98\x80")]), vec![text("😀")], None);
    expect(SMALL, &frames(&[(TEXT, b"\xf0\x9f"), (FIN, b"\x98")]), vec![], Some(1007));
    // The rest of the frame, or of the message, need not come.
    let frame = frame(FIN | TEXT, b"ok \xf4\x90 more to come");
    expect(SMALL, &frame[..6 + 5], vec![], Some(1007));
    expect(SMALL, &frame[..6 + 4], vec![], None);
}

#[test]
fn group_7_goodbyes_are_read_and_end_everything() {
    let goodbye = |status: u16, reason: &[u8]| frame(CLOSE, &[&status.to_be_bytes()[..], reason].concat());
    let close = |status, reason: &str| Seen::Close(Some((status, reason.to_owned())));
    expect(SMALL, &frame(CLOSE, b""), vec![Seen::Close(None)], None);
    expect(SMALL, &frame(CLOSE, b"\x03"), vec![], Some(1002));
    expect(SMALL, &goodbye(1000, b""), vec![close(1000, "")], None);
    expect(SMALL, &goodbye(1000, "Adiós".as_bytes()), vec![close(1000, "Adiós")], None);
    expect(SMALL, &goodbye(1000, &[b'*'; 123]), vec![close(1000, &"*".repeat(123))], None);
    expect(SMALL, &goodbye(1000, &[b'*'; 124]), vec![], Some(1002));
    expect(SMALL, &goodbye(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"), vec![], Some(1007));
    expect(SMALL, &goodbye(1000, b"\xce"), vec![], Some(1007));
    for status in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4201, 4999]
    {
        expect(SMALL, &goodbye(status, b""), vec![close(status, "")], None);
    }
    for status in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        expect(SMALL, &goodbye(status, b""), vec![], Some(1002));
    }
    // What comes after is not looked at, right or wrong; and a goodbye may come between fragments.
    let after =
        [frames(&[(TEXT, b"a"), (CLOSE, b"\x03\xe8"), (FIN, b"b"), (FIN | TEXT, b"c")]), vec![0xFF; 20]].concat();
    expect(SMALL, &after, vec![close(1000, "")], None);
}

#[test]
fn group_10_one_message_may_come_in_many_fragments_within_its_bounds() {
    let payload = vec![b'*'; 65_536];
    let stream: Vec<u8> = payload
        .chunks(1_300)
        .enumerate()
        .flat_map(|(index, part)| {
            let fin = if (index + 1) * 1_300 >= 65_536 { FIN } else { 0 };
            frame(fin | if index == 0 { BINARY } else { CONTINUATION }, part)
        })
        .collect();
    assert_eq!(decode(LARGE, &stream, &[4096]), (vec![Seen::Binary(payload)], None));
}

#[test]
fn unmasked_frames_are_refused() {
    expect(SMALL, &[0x81, 0x05, b'H', b'e', b'l', b'l', b'o'], vec![], Some(1002));
    expect(SMALL, &[0x89, 0x00], vec![], Some(1002));
}

#[test]
fn lengths_are_written_in_their_shortest_form_below_2_to_the_63() {
    for header in [
        vec![0x82, 0xFE, 0, 125],
        vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
        vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5],
        vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0],
        vec![0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    ] {
        expect(SMALL, &header, vec![], Some(1002));
    }
}

#[test]
fn a_message_over_the_bound_is_refused_when_it_is_declared() {
    expect(SMALL, &frame(FIN | BINARY, &[0; 1_001])[..8], vec![], Some(1009));
    expect(SMALL, &frame(FIN | BINARY, &[0; 1_000]), vec![Seen::Binary(vec![0; 1_000])], None);
    let huge = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    expect(SMALL, &huge, vec![], Some(1009));
    // All fragments together, declared before any of the last is there.
    let stream = frames(&[(TEXT, &[b'a'; 600]), (FIN, &[b'a'; 401])]);
    expect(SMALL, &stream[..stream.len() - 401], vec![], Some(1009));
    // A goodbye to the largest number: reassembly after 2⁶³ would overflow if it were added.
    expect(SMALL, &[frames(&[(BINARY, b"a")]), [&[0x80][..], &huge[1..]].concat()].concat(), vec![], Some(1009));
}

#[test]
fn a_message_over_the_bound_on_fragments_is_refused_even_if_they_are_empty() {
    let stream =
        |count: usize| [frame(BINARY, b""), frame(CONTINUATION, b"").repeat(count - 2), frame(FIN, b"")].concat();
    expect(SMALL, &stream(8), vec![Seen::Binary(vec![])], None);
    expect(SMALL, &stream(9), vec![], Some(1008));
    let free = Options { fragments_max: None, ..SMALL };
    expect(free, &stream(500), vec![Seen::Binary(vec![])], None);
}

#[test]
fn a_declaration_costs_no_memory_and_a_whole_message_leaves_none() {
    let mut decoder = Decoder::new(LARGE);
    let mut stream = frame(FIN | BINARY, &[7; 200_000]);
    let (head, tail) = stream.split_at_mut(100);
    decoder.decode(head, &mut |_| ()).expect("valid");
    assert!(decoder.held_bytes() < 1_000, "{}", decoder.held_bytes());
    let mut whole = 0;
    decoder.decode(tail, &mut |_| whole += 1).expect("valid");
    assert_eq!((whole, decoder.held_bytes()), (1, 0));
    assert!(size_of::<Decoder>() <= 24);
}

#[test]
fn after_a_violation_nothing_is_looked_at() {
    let mut decoder = Decoder::new(SMALL);
    let mut seen = 0;
    assert!(decoder.decode(&mut frame(FIN | 3, b""), &mut |_| seen += 1).is_err());
    assert!(decoder.decode(&mut frame(FIN | TEXT, b"a"), &mut |_| seen += 1).is_ok());
    assert_eq!(seen, 0);
}

/// The rules once more, as slowly and plainly as they can be written.
fn reference(options: Options, stream: &[u8]) -> Outcome {
    let mut seen = Vec::new();
    let status = reference_status(options, stream, &mut seen);
    (seen, status)
}

fn reference_status(options: Options, mut rest: &[u8], seen: &mut Vec<Seen>) -> Option<u16> {
    let mut message: Option<(u8, Vec<u8>, u32)> = None;
    while let Some(first) = rest.first() {
        let (fin, opcode) = (first & 0x80 != 0, first & 15);
        let control = opcode >= 8;
        if first & 0x70 != 0 || !matches!(opcode, 0..=2 | 8..=10) || control && !fin {
            return Some(1002);
        }
        let second = *rest.get(1)?;
        if second < 128 || control && second > 128 + 125 {
            return Some(1002);
        }
        let wide = [0, 2, 8][usize::from(second >= 254) + usize::from(second == 255)];
        let length = rest.get(2..2 + wide)?;
        let length = if wide == 0 {
            u64::from(second - 128)
        } else {
            length.iter().fold(0, |all, byte| all * 256 + u64::from(*byte))
        };
        if length >> 63 == 1 || wide == 2 && length < 126 || wide == 8 && length < 65_536 {
            return Some(1002);
        }
        let mask = rest.get(2 + wide..6 + wide)?;
        let (kind, before, fragments) = message.clone().unwrap_or((opcode, vec![], 0));
        if !control {
            if (opcode == 0) != message.is_some() {
                return Some(1002);
            }
            if before.len() as u64 + length > options.message_bytes_max as u64 {
                return Some(1009);
            }
            if options.fragments_max.is_some_and(|most| fragments + 1 > most) {
                return Some(1008);
            }
        }
        let here = &rest[6 + wide..];
        let here = &here[..here.len().min(length as usize)];
        let payload: Vec<u8> = here.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        let whole = payload.len() as u64 == length;
        rest = &rest[6 + wide + here.len()..];
        if control {
            match (whole, opcode) {
                (false, _) => return None,
                (true, 9) => seen.push(Seen::Ping(payload)),
                (true, 10) => seen.push(Seen::Pong(payload)),
                (true, _) => return reference_close(&payload, seen),
            }
            continue;
        }
        let all = [before, payload].concat();
        let said = std::str::from_utf8(&all);
        if kind == 1 && said.is_err_and(|error| error.error_len().is_some() || whole && fin) {
            return Some(1007);
        }
        match (whole, fin, kind) {
            (false, ..) => return None,
            (true, false, _) => message = Some((kind, all, fragments + 1)),
            (true, true, 1) => seen.push(Seen::Text(String::from_utf8(all).expect("checked above"))),
            (true, true, _) => seen.push(Seen::Binary(all)),
        }
        if fin {
            message = None;
        }
    }
    None
}

fn reference_close(payload: &[u8], seen: &mut Vec<Seen>) -> Option<u16> {
    let said = match payload {
        [] => None,
        [_] => return Some(1002),
        [high, low, reason @ ..] => Some((u16::from(*high) * 256 + u16::from(*low), reason)),
    };
    let forbidden = |status: u16| {
        status < 1000 || [1004, 1005, 1006, 1015].contains(&status) || (1016..3000).contains(&status) || status > 4999
    };
    match said {
        Some((status, _)) if forbidden(status) => return Some(1002),
        Some((_, reason)) if std::str::from_utf8(reason).is_err() => return Some(1007),
        _ => {}
    }
    seen.push(Seen::Close(said.map(|(status, reason)| (status, String::from_utf8_lossy(reason).into_owned()))));
    None
}

/// Frames that are mostly right, so that a stream goes on for a while.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![FIN | TEXT, FIN | BINARY, TEXT, BINARY, CONTINUATION, CONTINUATION, FIN, FIN, PING, PONG]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "\\PC{0,60}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..140),
        1 => (0..700_usize).prop_map(|length| vec![b'*'; length]),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_it_says_what_the_reference_hears(
        stream in prop::collection::vec(any_frame(), 0..12),
        cuts in prop::collection::vec(1..200_usize, 1..20),
        end: prop::sample::Index,
        flip in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut stream = stream.concat();
        if let Some((at, bits)) = flip && !stream.is_empty() {
            let at = at.index(stream.len());
            stream[at] ^= bits;
        }
        stream.truncate(end.index(stream.len() + 1));
        let expected = reference(SMALL, &stream);
        prop_assert_eq!(&decode(SMALL, &stream, &cuts), &expected);
        prop_assert_eq!(&decode(SMALL, &stream, &[1]), &expected);
    }

    #[test]
    fn random_bytes_neither_panic_nor_pile_up(
        stream in prop::collection::vec(any::<u8>(), 0..2_000),
        cuts in prop::collection::vec(1..64_usize, 1..8),
    ) {
        prop_assert_eq!(decode(SMALL, &stream, &cuts), reference(SMALL, &stream));
    }
}
