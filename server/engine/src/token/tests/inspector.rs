//! Tokens of the dashboard: each case signed rightly, and wrong in one thing alone.

use fanfare_core::Act;
use fanfare_core::id::UserId;
use fanfare_core::{Revocation, Revocations, Revoked};

use super::*;
use crate::token::verify_inspector;

/// An app with a tenant's key 1 and the platform's key 2.
fn app_with_platform() -> App {
    let platform = Key { kind: KeyKind::Platform, ..key(2) };
    App { keys: vec![key(1), platform], ..App::for_tests() }
}

fn typed(n: u64, typ: &str) -> String {
    format!(r#"{{"alg":"HS256","typ":"{typ}","kid":"{}"}}"#, KeyId::new(n, n.into()))
}

/// A member's claims with some of them replaced by a text.
fn claims(replaced: &[(&str, &str)]) -> String {
    let (member, app) = (UserId::new(7, 7), App::for_tests().id);
    let mut all = vec![
        ("sub", format!("\"{member}\"")),
        ("aud", format!("\"{app}\"")),
        ("iat", "1700000000".to_owned()),
        ("exp", "1700000300".to_owned()),
    ];
    for (name, value) in replaced {
        all.retain(|(known, _)| known != name);
        if !value.is_empty() {
            all.push((name, (*value).to_owned()));
        }
    }
    let fields: Vec<String> = all.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn look(header: &str, claims: &str, digit: u8, now_ms: u64) -> Option<Result<fanfare_core::Inspector, TokenError>> {
    verify_inspector(&app_with_platform(), &signed(header, claims, &secret(digit)), now_ms)
}

#[test]
fn only_the_platforms_key_lets_a_member_look_and_only_in_its_own_type() {
    let header = typed(2, "ff-inspector+jwt");
    let inspector = look(&header, &claims(&[]), 2, NOW).expect("of this type").expect("valid");
    assert_eq!((inspector.key, inspector.member, inspector.act), (KeyId::new(2, 2), UserId::new(7, 7), None));

    let forged = look(&typed(1, "ff-inspector+jwt"), &claims(&[]), 1, NOW);
    assert_eq!(forged.expect("of this type"), Err(TokenError::NotThePlatforms(KeyId::new(1, 1))));
    let wrong_secret = look(&header, &claims(&[]), 1, NOW);
    assert_eq!(wrong_secret.expect("of this type"), Err(TokenError::Signature(KeyId::new(2, 2))));
    for typ in ["JWT", "ff-ct+jwt"] {
        assert!(look(&typed(2, typ), &claims(&[]), 2, NOW).is_none(), "{typ} is a client's");
    }
    let no_type = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, KeyId::new(2, 2));
    assert!(look(&no_type, &claims(&[]), 2, NOW).is_none());
    let issuers = r#"{"alg":"ES256","typ":"ff-inspector+jwt","kid":"k"}"#;
    assert_eq!(look(issuers, &claims(&[]), 2, NOW).expect("of this type"), Err(TokenError::KeyId));

    // And what lets look is no channel token.
    let token = signed(&header, CLAIMS, &secret(2));
    assert_eq!(check(&app_with_platform(), &token).map(|_| ()), Err(TokenError::Type));
}

#[test]
fn every_claim_is_required_known_and_in_its_bounds() {
    let header = typed(2, "ff-inspector+jwt");
    let other_app = format!("\"{}\"", fanfare_core::id::AppId::new(2, 2));
    for (what, replaced) in [
        ("nobody", vec![("sub", "")]),
        ("no member", vec![("sub", r#""ann""#)]),
        ("for no app", vec![("aud", "")]),
        ("for a list of apps", vec![("aud", r#"["app_1"]"#)]),
        ("for another app", vec![("aud", &*other_app)]),
        ("of no time", vec![("iat", "")]),
        ("without end", vec![("exp", "")]),
        ("an end in words", vec![("exp", r#""1700000300""#)]),
        ("too long", vec![("exp", "1700000301")]),
        ("an act for too long", vec![("exp", "1700000031"), ("act", r#"{"disconnect_user":"ann"}"#)]),
        ("an unknown act", vec![("exp", "1700000030"), ("act", r#"{"publish":"room:9"}"#)]),
        ("two acts", vec![("exp", "1700000030"), ("act", r#"{"disconnect_user":"a","delete_history":"b"}"#)]),
        ("an act on Fanfare's own", vec![("exp", "1700000030"), ("act", r#"{"delete_history":"$stats:overview"}"#)]),
        ("an act on nobody", vec![("exp", "1700000030"), ("act", r#"{"disconnect_user":""}"#)]),
        ("more", vec![("ff", r#"{"cap":{"**":["publish"]}}"#)]),
    ] {
        let refused = look(&header, &claims(&replaced), 2, NOW).expect("of this type");
        assert!(refused.is_err(), "{what}: {refused:?}");
    }
    let act = claims(&[("exp", "1700000030"), ("act", r#"{"disconnect_user":"ann"}"#)]);
    let inspector = look(&header, &act, 2, NOW).expect("of this type").expect("valid");
    assert_eq!(inspector.act, Some(Act::DisconnectUser("ann".into())));
}

#[test]
fn it_ends_in_time_and_with_the_key_and_with_a_revocation() {
    let header = typed(2, "ff-inspector+jwt");
    let at = |seconds: u64| look(&header, &claims(&[]), 2, NOW + seconds * 1_000).expect("of this type").is_ok();
    assert!(at(0) && at(309) && !at(310));
    assert!(look(&header, &claims(&[]), 2, NOW - 11_000).expect("of this type").is_err(), "it is of the future");

    let token = signed(&header, &claims(&[]), &secret(2));
    let with = |change: &dyn Fn(&mut App)| {
        let mut app = app_with_platform();
        change(&mut app);
        verify_inspector(&app, &token, NOW).expect("of this type").map(|_| ()).map_err(|error| error.code())
    };
    let revoke = |revoked: Revoked, issued_until_ms| {
        move |app: &mut App| {
            let id = fanfare_core::id::RevocationId::new(1, 1);
            let one = Revocation { id, revoked: revoked.clone(), issued_until_ms };
            app.revocations = Revocations::new(vec![one]);
        }
    };
    assert_eq!(with(&|_| ()), Ok(()));
    assert_eq!(with(&|app| app.keys[1].state = KeyState::Revoked), Err(ErrorCode::TokenRevoked));
    assert_eq!(with(&|app| app.keys[1].kind = KeyKind::Tenant), Err(ErrorCode::TokenInvalid));
    assert_eq!(with(&revoke(Revoked::All, NOW)), Err(ErrorCode::TokenRevoked));
    assert_eq!(with(&revoke(Revoked::All, NOW - 1)), Ok(()));
    assert_eq!(with(&revoke(Revoked::User(UserId::new(7, 7).to_string().into()), NOW)), Err(ErrorCode::TokenRevoked));
}
