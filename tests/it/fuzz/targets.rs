//! What must hold of each parser, whatever it is given.

use bytes::Bytes;
use fanfare_core::app::{KeyKind, KeyState};
use fanfare_core::id::{AppId, KeyId};
use fanfare_core::pattern::NoClaims;
use fanfare_core::position::PositionKey;
use fanfare_core::secret::SecretBytes;
use fanfare_core::{App, Capabilities, ChannelKey, ChannelName, Key, Lineage, Pattern};
use fanfare_engine::token;
use fanfare_protocol::websocket::handshake::{Spoken, accept};
use fanfare_protocol::websocket::{Decoder, Event, Options};
use fanfare_protocol::{draft, native};

use super::fuzz;

const BOUNDS: Options = Options { message_bytes_max: 4_096, fragments_max: Some(16), deflate: false };
/// What an inflater and the frame around it may hold beside the message.
const BESIDE: usize = 16 * 1024;

/// What a stream says, and how it ends, given in pieces of this size.
fn heard(options: Options, bytes: &[u8], piece: usize) -> (Vec<(u8, Bytes)>, Option<u16>) {
    let mut decoder = Decoder::new(options);
    let mut heard = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        let mut part = part.to_vec();
        let outcome = decoder.decode(&mut part, &mut |event| {
            heard.push(match event {
                Event::Text(text) => (1, Bytes::copy_from_slice(text.as_bytes())),
                Event::Binary(bytes) => (2, Bytes::copy_from_slice(bytes)),
                Event::Ping(bytes) => (9, Bytes::copy_from_slice(bytes)),
                Event::Pong(bytes) => (10, Bytes::copy_from_slice(bytes)),
                Event::Close(said) => (8, Bytes::from(said.map_or("", |said| said.reason).to_owned())),
            });
        });
        assert!(decoder.held_bytes() <= options.message_bytes_max + BESIDE, "{} held", decoder.held_bytes());
        if let Err(violation) = outcome {
            assert!(matches!(violation.status, 1002 | 1007..=1009));
            return (heard, Some(violation.status));
        }
    }
    assert!(heard.iter().all(|(_, bytes)| bytes.len() <= options.message_bytes_max));
    (heard, None)
}

#[test]
fn frames_say_the_same_however_they_are_cut() {
    fuzz(include_str!("../../fuzz/framing.txt"), |bytes| {
        let whole = heard(BOUNDS, bytes, usize::MAX);
        assert_eq!(heard(BOUNDS, bytes, 1), whole);
        assert_eq!(heard(BOUNDS, bytes, 7), whole);
    });
}

#[test]
fn compressed_frames_say_the_same_however_they_are_cut() {
    let bounds = Options { deflate: true, ..BOUNDS };
    fuzz(include_str!("../../fuzz/framing.txt"), |bytes| {
        let whole = heard(bounds, bytes, usize::MAX);
        assert_eq!(heard(bounds, bytes, 1), whole);
    });
    // The bytes as they are inflated, without having to hit upon a frame around them.
    fuzz(include_str!("../../fuzz/deflate.txt"), |bytes| {
        let length = u16::try_from(bytes.len().min(4_000)).expect("is short");
        let mut frame = vec![0xc2, 0x80 | 126, 0, 0, 0, 0, 0, 0];
        frame[2..4].copy_from_slice(&length.to_be_bytes());
        if length < 126 {
            frame.splice(1..4, [0x80 | length.to_be_bytes()[1]]);
        }
        frame.extend_from_slice(&bytes[..length.into()]);
        let whole = heard(bounds, &frame, usize::MAX);
        assert_eq!(heard(bounds, &frame, 3), whole);
        assert!(whole.0.len() == 1 || whole.1.is_some(), "a whole frame is answered");
    });
}

#[test]
fn handshakes_are_judged() {
    fuzz(include_str!("../../fuzz/handshake.txt"), |bytes| {
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((std::str::from_utf8(&line[..colon]).ok()?, line[colon + 1..].trim_ascii()))
        });
        let spoken = Spoken { subprotocols: &["fanfare.v1.json"], deflate: true };
        match accept("GET", "HTTP/1.1", lines, spoken) {
            Ok(accepted) => {
                for (_, value) in accepted.headers() {
                    assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{value:?}");
                }
                let window = accepted.deflate.map_or(15, fanfare_protocol::websocket::Deflate::window_bits);
                assert!((8..=15).contains(&window));
            }
            Err(error) => assert!(matches!(error.status(), 400 | 426)),
        }
    });
}

#[test]
fn commands_are_read_or_refused_in_their_place() {
    fuzz(include_str!("../../fuzz/commands.txt"), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let mut count = 0;
        for command in native::parse(text) {
            count += 1;
            if let Ok(command) = command {
                assert!((1..1 << 53).contains(&command.id));
            }
        }
        assert!((1..=64).contains(&count), "{count}");
        if let Ok(draft) = draft::parse(bytes) {
            assert!(draft.weight() <= bytes.len());
        }
    });
}

#[test]
fn no_token_is_accepted_but_the_one_that_was_signed() {
    const NOW_MS: u64 = 1_700_000_000_000;
    let key = Key {
        id: KeyId::new(1, 1),
        kind: KeyKind::Tenant,
        name: "fuzz".into(),
        capabilities: Capabilities::everything(),
        expires_ms: None,
        state: KeyState::Active,
        secret_hash: [0; 32],
        signing_secret: Some(SecretBytes::new(vec![7; 48])),
    };
    let claims = token::Claims { sub: Some("ann".into()), issued_ms: NOW_MS, ttl_s: 60, ..token::Claims::default() };
    let signed = token::sign(&key, &claims).expect("signs");
    let app = App { keys: vec![key], ..App::for_tests() };
    assert!(token::verify(&app, &signed, NOW_MS).is_ok());
    let corpus = [&signed, "\n", include_str!("../../fuzz/tokens.txt")].concat();
    fuzz(&corpus, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if token::verify(&app, text, NOW_MS).is_ok() {
            assert_eq!(text, signed, "a forgery was accepted");
        }
    });
}

/// The matcher once more, as slowly and plainly as it can be written.
fn covers(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (["**"], [_, ..]) => true,
        (["*", pattern @ ..], [_, name @ ..]) => covers(pattern, name),
        ([first, pattern @ ..], [part, name @ ..]) => first == part && covers(pattern, name),
        _ => false,
    }
}

#[test]
fn patterns_match_what_the_reference_matches() {
    fuzz(include_str!("../../fuzz/patterns.txt"), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let (pattern, name) = text.split_once(' ').unwrap_or((text, text));
        let (Ok(parsed), Ok(channel)) = (Pattern::parse(pattern), ChannelName::parse(name)) else { return };
        let (parts, segments): (Vec<_>, Vec<_>) = (pattern.split(':').collect(), name.split(':').collect());
        assert_eq!(parsed.matches(&channel, &NoClaims), covers(&parts, &segments));
    });
}

#[test]
fn a_position_that_is_read_is_one_that_was_given_out() {
    let key = PositionKey::new([7; 32]);
    let here = ChannelKey::from_broker(AppId::new(1, 1), ChannelName::parse("a:b").expect("a name"));
    let lineage = key.seal(&here, Lineage { epoch: 1, term: 2, nonce: 3 });
    let corpus = format!("{lineage}.0\n{lineage}.18446744073709551615\n{}", include_str!("../../fuzz/positions.txt"));
    fuzz(&corpus, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(position) = key.open(&here, text) {
            assert_eq!(format!("{}.{}", key.seal(&here, position.lineage), position.seq), text);
            assert!(text.starts_with(&lineage), "a lineage was made up");
        }
    });
}
