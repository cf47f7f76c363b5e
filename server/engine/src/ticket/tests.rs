use fanfare_core::permission::{Subject, decide};
use fanfare_core::{
    App, ErrorCode, Key, KeyKind, KeyState, Limit, LimitValue, Limits, Operation, Operations, Pattern, Refusal,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::error::NodeError;
use crate::session::Session;

const NOW: u64 = 1_700_000_000_000;
const EXPIRES: u64 = NOW + 3_600_000;

fn keys() -> TicketKeys {
    TicketKeys::fresh(&Chance::new(Some(1)))
}

fn key() -> Key {
    Key {
        id: KeyId::new(NOW, u128::MAX),
        kind: KeyKind::Tenant,
        name: "k".into(),
        capabilities: Capabilities::everything(),
        expires_ms: None,
        state: KeyState::Active,
        secret_hash: [0; 32],
        signing_secret: None,
    }
}

fn app(key: Key) -> App {
    App { keys: vec![key], ..App::for_tests() }
}

fn token() -> VerifiedToken {
    let capabilities = serde_json::from_str(r#"{"room:*":["subscribe","publish"],"user:{sub}:**":["subscribe"]}"#);
    let mut limits = Limits::default();
    limits.set(Limit::Subscriptions, LimitValue::count(5));
    let subject = ClientSubject {
        sub: Some("user-8213412".into()),
        roles: vec!["staff".into()],
        capabilities: Some(capabilities.expect("valid")),
        ceiling: Some(Ceiling { signer: Signer::Key(key().id), capabilities: key().capabilities }),
        claims: vec![("team".into(), "red".into())],
        marks: Marks { id: Some("7f".into()), issued_ms: Some(NOW), labels: ["session:4".into()].into() },
        limits: Some(Box::new(limits)),
        meta: Some(r#"{"plan":"gold"}"#.into()),
    };
    let info = RawValue::from_string(r#"{"name":"Ann"}"#.to_owned()).expect("JSON");
    VerifiedToken { subject, expires_ms: EXPIRES, signer: Signer::Key(key().id), info: Some(info) }
}

/// The least that a token of a user with rights of its own says.
fn ordinary() -> VerifiedToken {
    let whole = token();
    let subject = ClientSubject {
        sub: whole.subject.sub,
        capabilities: whole.subject.capabilities,
        ceiling: whole.subject.ceiling,
        ..ClientSubject::default()
    };
    VerifiedToken { subject, info: None, ..whole }
}

/// What the session that goes on with it may do.
fn start_again(ticket: &ResumeTicket<'_>, app: &App) -> Result<Session, NodeError> {
    let mut session = Session::default();
    session.start_again(app, ticket.holds(NOW)?, NOW, NOW)?;
    Ok(session)
}

fn ticket(token: Option<&VerifiedToken>) -> ResumeTicket<'_> {
    ResumeTicket::of(ConnectionId::new(NOW, 7), NOW, NOW, token)
}

fn sealed(token: Option<&VerifiedToken>) -> String {
    keys().seal(App::for_tests().id, &ticket(token), &Chance::new(Some(2))).expect("short enough")
}

fn open(text: &str) -> Result<ResumeTicket<'static>, TicketError> {
    keys().open(App::for_tests().id, text)
}

#[test]
fn a_ticket_gives_what_the_token_gave_and_shows_nothing_of_it() {
    let token = token();
    let text = sealed(Some(&token));
    assert!(text.len() <= 600, "even with all there is it is short: {}", text.len());
    let opened = open(&text).expect("it was sealed here");
    assert_eq!((opened.connection, opened.generation), (ConnectionId::new(NOW, 7), NOW));
    let again = opened.holds(NOW).expect("it holds").expect("it has a token");
    assert_eq!((again.expires_ms, again.signer), (EXPIRES, token.signer));
    assert_eq!(again.info.map(|info| info.to_string()), token.info.as_ref().map(ToString::to_string));
    let session = start_again(&opened, &app(key())).expect("its key works");
    assert_eq!(session.subject().map(AsRef::as_ref), Some(&Subject::Client(Box::new(token.subject))));
    let bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64url");
    for seen in ["user-8213412", "staff", "room", "Ann", "gold"] {
        assert!(!bytes.windows(seen.len()).any(|part| part == seen.as_bytes()), "{seen} can be read in it");
    }
}

#[test]
fn an_ordinary_ticket_has_four_hundred_bytes_at_most() {
    let text = sealed(Some(&ordinary()));
    assert!(text.len() <= 400, "{} bytes", text.len());
    assert!(sealed(None).len() <= 220, "{} bytes", sealed(None).len());
}

#[test]
fn a_ticket_of_one_app_is_none_in_another() {
    let text = sealed(None);
    assert!(open(&text).is_ok());
    assert_eq!(keys().open(AppId::new(1, 2), &text).err(), Some(TicketError::Foreign));
}

#[test]
fn no_altered_ticket_is_taken() {
    let token = token();
    let text = sealed(Some(&token));
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut dice, mut tried) = (StdRng::seed_from_u64(3), 0);
    while tried < 10_000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..dice.random_range(1..4) {
            let at = dice.random_range(0..bytes.len().max(1));
            match dice.random_range(0..5) {
                0 if bytes.len() > 1 => drop(bytes.remove(at)),
                1 => bytes.insert(at, alphabet[dice.random_range(0..64)]),
                2 => bytes.truncate(at.max(1)),
                3 => bytes.swap(0, at),
                _ => bytes[at] = alphabet[dice.random_range(0..64)],
            }
        }
        if bytes != text.as_bytes() {
            let altered = String::from_utf8(bytes).expect("letters");
            assert!(open(&altered).is_err(), "{altered}");
            tried += 1;
        }
    }
    for foreign in ["", "A", "AAAA", "….", &format!("{text}="), &format!(" {text}"), &"A".repeat(TICKET_BYTES_MAX + 1)]
    {
        assert_eq!(open(foreign).err(), Some(TicketError::Form), "{foreign}");
    }
}

#[test]
fn a_ticket_ends_with_its_token_and_identifies_a_little_longer() {
    let token = token();
    let ticket = ticket(Some(&token));
    assert!(ticket.holds(EXPIRES - 1).is_ok());
    assert_eq!(ticket.holds(EXPIRES + 2_000).err(), Some(TicketError::Expired { seconds: 2 }));
    assert_eq!(ticket.identifies(EXPIRES + EXPIRY_GRACE_MS - 1), Ok(()));
    assert!(ticket.identifies(EXPIRES + EXPIRY_GRACE_MS).is_err());
}

#[test]
fn an_anonymous_ticket_ends_after_two_hours() {
    let ticket = ticket(None);
    assert!(ticket.holds(NOW + ANONYMOUS_MS - 1).expect("it holds").is_none());
    assert!(ticket.holds(NOW + ANONYMOUS_MS).is_err());
}

#[test]
fn a_ticket_never_outlives_the_key_behind_it() {
    let token = token();
    let ticket = ticket(Some(&token));
    let sign_no_more = Capabilities::new(vec![(Pattern::parse("**").expect("valid"), Operations::CLIENT)]);
    let keys = [
        Key { state: KeyState::Revoked, ..key() },
        Key { state: KeyState::Overlap { until_ms: NOW }, ..key() },
        Key { expires_ms: Some(NOW), ..key() },
        Key { capabilities: sign_no_more, ..key() },
    ];
    for app in keys.map(app).into_iter().chain([App::for_tests()]) {
        let refused = start_again(&ticket, &app).expect_err("its key does not work");
        assert_eq!(refused.problem().code, ErrorCode::ResumeInvalid);
    }
}

#[test]
fn a_ticket_is_under_the_ceiling_that_its_key_has_today() {
    let token = token();
    let lowered = serde_json::from_str(r#"{"room:1":["subscribe","sign"]}"#).expect("valid");
    let app = app(Key { capabilities: lowered, ..key() });
    let session = start_again(&ticket(Some(&token)), &app).expect("its key works");
    let subject = session.subject().expect("connected");
    let may = |channel| decide(&app, subject, Operation::Subscribe, &ChannelName::parse(channel).expect("valid"));
    assert!(may("room:1").is_ok());
    assert!(matches!(may("room:2"), Err(Refusal::Key { .. })));
}

#[test]
fn keys_rotate_with_an_overlap() {
    let one = |number: u8| [&[number][..], &[number; KEY_LEN]].concat();
    let ring = |numbers: &[u8]| {
        let bytes = numbers.iter().flat_map(|number| one(*number)).collect();
        TicketKeys::new(SecretBytes::new(bytes)).expect("a ring")
    };
    let (app, chance) = (App::for_tests().id, Chance::new(Some(1)));
    let seal = |keys: &TicketKeys| keys.seal(app, &ticket(None), &chance).expect("short enough");
    let (old, both, turned, new) = (ring(&[1]), ring(&[1, 2]), ring(&[2, 1]), ring(&[2]));
    assert!(both.open(app, &seal(&old)).is_ok() && old.open(app, &seal(&both)).is_ok(), "the new one only opens");
    assert!(both.open(app, &seal(&turned)).is_ok() && turned.open(app, &seal(&old)).is_ok());
    assert_eq!(new.open(app, &seal(&old)).err(), Some(TicketError::Foreign));
    let renumbered = TicketKeys::new(SecretBytes::new([&[2][..], &[1; KEY_LEN]].concat())).expect("a ring");
    assert_eq!(renumbered.open(app, &seal(&old)).err(), Some(TicketError::Foreign), "the number is bound in");
    for wrong in [0, 1, KEY_LEN, NUMBERED_LEN + 1, NUMBERED_LEN * (KEYS_MAX + 1)] {
        assert!(TicketKeys::new(SecretBytes::new(vec![0; wrong])).is_none(), "{wrong} bytes");
    }
    assert!(!format!("{old:?}").contains('1'), "keys do not print");
}

#[test]
fn a_ticket_carries_subscriptions_up_to_its_bound() {
    let place = |number: u64| Place {
        channel: ChannelName::parse_any(&format!("$stats:{number}")).expect("valid"),
        position: Position { lineage: Lineage { epoch: u64::MAX, term: NOW, nonce: u32::MAX }, seq: number },
    };
    let with = |count| ResumeTicket { places: (0..count).map(place).collect(), ..ticket(None) };
    let seal = |count| keys().seal(App::for_tests().id, &with(count), &Chance::new(Some(1)));
    let text = seal(100).expect("it fits");
    assert_eq!(open(&text).expect("it was sealed here").places, with(100).places);
    assert!(text.len() <= TICKET_BYTES_MAX);
    assert_eq!(seal(1_000), Err(TicketError::TooLong));
}

#[test]
fn a_ticket_with_a_word_of_a_later_version_is_not_half_believed() {
    let (app, chance) = (App::for_tests().id, Chance::new(Some(1)));
    let mut written = serde_json::to_value(ticket(None)).expect("JSON");
    written["z"] = true.into();
    let plain = written.to_string();
    let (keys, nonce) = (keys(), [9; NONCE_LEN]);
    let (number, key) = keys.keys().next().expect("a key");
    let payload = Payload { msg: plain.as_bytes(), aad: &bound_to(app, number) };
    let body = cipher(key).encrypt(&XNonce::from(nonce), payload).expect("sealed");
    let text = URL_SAFE_NO_PAD.encode([&[number], &nonce[..], &body].concat());
    assert_eq!(keys.open(app, &text).err(), Some(TicketError::Version));
    assert!(keys.seal(app, &ticket(None), &chance).is_ok());
}

/// What one costs: `cargo test -p fanfare-engine --release -- --ignored --nocapture a_ticket_is_cheap`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn a_ticket_is_cheap() {
    let (token, keys, app, chance) = (ordinary(), keys(), app(key()), Chance::new(None));
    let text = keys.seal(app.id, &ticket(Some(&token)), &chance).expect("sealed");
    let rounds = 100_000_u32;
    let begun = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(keys.seal(app.id, &ticket(Some(&token)), &chance).expect("sealed"));
    }
    let sealed = begun.elapsed() / rounds;
    let begun = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(start_again(&keys.open(app.id, &text).expect("opens"), &app).expect("holds"));
    }
    println!("{} bytes: sealed in {sealed:?}, opened and judged in {:?}", text.len(), begun.elapsed() / rounds);
}
