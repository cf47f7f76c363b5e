//! Every rule by table, each with a token that is signed rightly and breaks that rule alone; then forgeries in numbers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_core::app::{KeyKind, KeyState};
use fanfare_core::permission::{Marks, decide};
use fanfare_core::secret::{KeySecret, SecretBytes};
use fanfare_core::{ChannelName, Limit, LimitValue, Limits, Operations, Pattern, Subject};
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::Rng;

mod inspector;
mod issued;

use super::*;

/// Unix milliseconds; the claims of [`CLAIMS`] hold at it.
const NOW: u64 = 1_700_000_000_000;
const CLAIMS: &str = r#"{"exp":1700003600,"iat":1700000000,"sub":"ann"}"#;

fn secret(digit: u8) -> Vec<u8> {
    KeySecret::from_digits([digit; 43]).expose().as_bytes().to_vec()
}

fn key(n: u64) -> Key {
    Key {
        id: KeyId::new(n, n.into()),
        kind: KeyKind::Tenant,
        name: "backend".into(),
        capabilities: Capabilities::everything(),
        expires_ms: None,
        state: KeyState::Active,
        secret_hash: [0; 32],
        signing_secret: Some(SecretBytes::new(secret(n as u8))),
    }
}

/// Verifies to the end, however long that takes.
fn verify(app: &App, issuers: &IssuerState, token: &str, now_ms: u64) -> Result<VerifiedToken, TokenError> {
    match examine(app, issuers, token, now_ms) {
        Examined::Settled(outcome) => *outcome,
        Examined::Costly(work) => conclude(app, issuers, work.run(), now_ms),
    }
}

/// Verifies at the moment of these tests, with nothing remembered.
fn check(app: &App, token: &str) -> Result<VerifiedToken, TokenError> {
    verify(app, &IssuerState::default(), token, NOW)
}

/// An app with the keys 1 and 2.
fn app() -> App {
    App { keys: vec![key(1), key(2)], ..App::for_tests() }
}

fn encode(part: &str) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// A token of exactly these texts, signed with a secret.
fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("HS256 signs");
    format!("{message}.{signature}")
}

fn header(n: u64) -> String {
    format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{}"}}"#, KeyId::new(n, n.into()))
}

fn with_header(header: &str) -> Result<VerifiedToken, TokenError> {
    check(&app(), &signed(header, CLAIMS, &secret(1)))
}

fn with_claims(claims: &str) -> Result<VerifiedToken, TokenError> {
    check(&app(), &signed(&header(1), claims, &secret(1)))
}

/// The name of the claim that was refused.
fn refused_claim(claims: &str) -> String {
    match with_claims(claims) {
        Err(TokenError::Claim { claim, .. }) => claim,
        other => panic!("{claims}: {other:?}"),
    }
}

#[test]
fn what_a_token_says_arrives() {
    let claims = r#"{"exp":1700003600,"sub":"ann","team":"red","n":7,"aud":["x","APP"],"odd":"a:b","iat":1700000000,"jti":"t-1","ff":{"cap":{"room:{team}":["subscribe"]},"roles":["staff"],"info":{"name":"Ann"},"meta":{"plan":"x"},"limits":{"subscriptions":3,"publish_connection":5,"command_rate":{"max":7,"burst":9}},"labels":["session:4","beta"]}}"#;
    let app = app();
    let claims = claims.replace("APP", &app.id.to_string());
    let verified = check(&app, &signed(&header(1), &claims, &secret(1))).expect("valid");
    let key = KeyId::new(1, 1);
    assert_eq!((verified.signer, verified.expires_ms), (Signer::Key(key), 1_700_003_600_000));
    assert_eq!(verified.info.as_ref().map(|info| info.get()), Some(r#"{"name":"Ann"}"#));
    let cap = Capabilities::new(vec![(
        Pattern::parse("room:{team}").expect("valid"),
        Operations::NONE.with(Operation::Subscribe),
    )]);
    let mut limits = Limits::default();
    limits.set(Limit::Subscriptions, LimitValue::count(3));
    limits.set(Limit::PublishConnection, LimitValue::rate(5, 5));
    limits.set(Limit::CommandRate, LimitValue::rate(7, 9));
    let expected = ClientSubject {
        sub: Some("ann".into()),
        roles: vec!["staff".into()],
        capabilities: Some(cap),
        ceiling: Some(Ceiling { signer: Signer::Key(key), capabilities: Capabilities::everything() }),
        claims: vec![("team".into(), "red".into())],
        marks: Marks {
            id: Some("t-1".into()),
            issued_ms: Some(NOW),
            labels: ["session:4".into(), "beta".into()].into(),
        },
        limits: Some(Box::new(limits)),
        meta: Some(r#"{"plan":"x"}"#.into()),
    };
    assert_eq!(verified.subject, expected);
    let subject = Subject::Client(Box::new(verified.subject));
    let may = |name| decide(&app, &subject, Operation::Subscribe, &ChannelName::parse(name).expect("valid")).is_ok();
    assert!(may("room:red") && !may("room:blue"));
}

#[test]
fn a_token_without_sub_and_ff_is_an_anonymous_one() {
    let verified = with_claims(r#"{"exp":1700003600}"#).expect("valid");
    assert_eq!((verified.subject.sub, verified.subject.capabilities), (None, None));
}

#[test]
fn the_key_of_the_app_decides_how_a_token_is_checked() {
    let kid = KeyId::new(1, 1);
    let with = |fields: &str| with_header(&format!("{{{fields}}}"));
    assert!(with(&format!(r#""alg":"HS256","kid":"{kid}""#)).is_ok());
    assert!(with(&format!(r#""alg":"HS256","kid":"{kid}","typ":"ff-ct+jwt","cty":"x","x5t":"y""#)).is_ok());
    for alg in [
        r#""none""#,
        r#""nOnE""#,
        r#""NONE""#,
        r#""hs256""#,
        r#""HS384""#,
        r#""HS512""#,
        r#""RS256""#,
        r#""ES256""#,
        r#""EdDSA""#,
        r#""dir""#,
        r#""PBES2-HS256+A128KW""#,
        r#""""#,
        "null",
        "256",
        r#"["HS256"]"#,
    ] {
        assert_eq!(with(&format!(r#""alg":{alg},"kid":"{kid}""#)).expect_err(alg), TokenError::Algorithm, "{alg}");
    }
    assert_eq!(with(&format!(r#""kid":"{kid}""#)).expect_err("no alg"), TokenError::Algorithm);
    for typ in [r#""jwt""#, r#""JOSE""#, r#""at+jwt""#, "null", "1"] {
        assert_eq!(with(&format!(r#""alg":"HS256","kid":"{kid}","typ":{typ}"#)).expect_err(typ), TokenError::Type);
    }
    for field in ["jku", "x5u", "x5c", "jwk", "crit", "b64", "zip", "enc", "p2s", "p2c"] {
        let refused = with(&format!(r#""alg":"HS256","kid":"{kid}","{field}":"x""#)).expect_err(field);
        assert_eq!(refused, TokenError::HeaderField(field));
    }
}

#[test]
fn a_kid_is_the_id_of_a_key_and_nothing_else() {
    for kid in [
        r#""../../etc/passwd""#,
        r#""key_' OR 1=1 --""#,
        r#""*""#,
        r#""key_\r\nX: y""#,
        r#""""#,
        "null",
        "7",
        r#"["key_1"]"#,
        r#""app_00000000010000000000000001""#,
        r#""rsa-1""#,
        r#""key_00000000010000000000000001 ""#,
    ] {
        assert_eq!(with_header(&format!(r#"{{"alg":"HS256","kid":{kid}}}"#)).expect_err(kid), TokenError::KeyId);
    }
    assert_eq!(with_header(r#"{"alg":"HS256"}"#).expect_err("no kid"), TokenError::KeyId);
    let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(2_000));
    assert_eq!(with_header(&long).expect_err("long"), TokenError::HeaderTooLong);
    let unknown = KeyId::new(9, 9);
    let refused = with_header(&format!(r#"{{"alg":"HS256","kid":"{unknown}"}}"#)).expect_err("unknown");
    assert_eq!((refused.clone(), refused.code()), (TokenError::KeyUnknown(unknown), ErrorCode::TokenInvalid));
}

#[test]
fn times_are_json_integers() {
    for claim in ["exp", "nbf", "iat"] {
        let others = if claim == "exp" { "" } else { r#""exp":1700003600,"# };
        for wrong in [
            r#""1700003600""#,
            "1700003600.0",
            "1700003600.5",
            "1.7e9",
            "1e400",
            "-1",
            "-0",
            "null",
            "true",
            "[1700003600]",
            "{}",
            "99999999999999999999999",
        ] {
            assert_eq!(refused_claim(&format!(r#"{{{others}"{claim}":{wrong}}}"#)), claim, "{wrong}");
        }
    }
    assert_eq!(refused_claim(r#"{"sub":"ann"}"#), "exp");
    assert!(matches!(
        with_claims(r#"{"exp":1700003600,"exp":1700003600}"#),
        Err(TokenError::Json { part: "claims", .. })
    ));
    assert!(matches!(with_claims(r#"{"exp":18446744073709551615}"#), Err(TokenError::Lifetime { .. })));
}

#[test]
fn a_token_lives_from_iat_and_nbf_to_exp_within_the_skew_and_at_most_a_day() {
    let now = NOW / 1000;
    let at = |claims: &str, skew| {
        let token = signed(&header(1), claims, &secret(1));
        let parts = Parts::split(&token).expect("three parts");
        verify_keyed(&app(), &parts, KeyId::new(1, 1), NOW, Skew::seconds(skew).expect("allowed")).map(|_| ())
    };
    let day = LIFETIME_MAX_S;
    let table = [
        (format!(r#"{{"exp":{}}}"#, now - 59), 60, Ok(())),
        (format!(r#"{{"exp":{}}}"#, now - 60), 60, Err(TokenError::Expired { seconds: 60 })),
        (format!(r#"{{"exp":{}}}"#, now + 1), 0, Ok(())),
        (format!(r#"{{"exp":{now}}}"#), 0, Err(TokenError::Expired { seconds: 0 })),
        (r#"{"exp":0}"#.to_owned(), 60, Err(TokenError::Expired { seconds: now })),
        (format!(r#"{{"exp":{},"nbf":{}}}"#, now + 100, now + 60), 60, Ok(())),
        (
            format!(r#"{{"exp":{},"nbf":{}}}"#, now + 100, now + 61),
            60,
            Err(TokenError::Early { claim: "nbf", seconds: 61 }),
        ),
        (
            format!(r#"{{"exp":{},"iat":{}}}"#, now + 100, now + 61),
            60,
            Err(TokenError::Early { claim: "iat", seconds: 61 }),
        ),
        (format!(r#"{{"exp":{}}}"#, now + day), 60, Ok(())),
        (format!(r#"{{"exp":{}}}"#, now + day + 1), 60, Err(TokenError::Lifetime { seconds: day + 1 })),
        (format!(r#"{{"exp":{},"iat":{}}}"#, now + 100, now + 100 - day), 60, Ok(())),
        (
            format!(r#"{{"exp":{},"iat":{}}}"#, now + 100, now + 99 - day),
            60,
            Err(TokenError::Lifetime { seconds: day + 1 }),
        ),
        (
            format!(r#"{{"exp":{},"iat":{}}}"#, now + 10 * day, now + 10 * day),
            60,
            Err(TokenError::Early { claim: "iat", seconds: 10 * day }),
        ),
    ];
    for (claims, skew, expected) in table {
        assert_eq!(at(&claims, skew), expected, "{claims}");
    }
    assert_eq!(Skew::seconds(61), None);
    assert_eq!(TokenError::Expired { seconds: 1 }.code(), ErrorCode::TokenExpired);
}

#[test]
fn claims_have_their_types_and_bounds() {
    let long = "x".repeat(256);
    let roles = vec![r#""r""#; 65].join(",");
    let patterns: Vec<String> = (0..257).map(|n| format!(r#""a{n}":[]"#)).collect();
    let table = [
        (r#""sub":7"#.to_owned(), "sub"),
        (r#""sub":"""#.to_owned(), "sub"),
        (format!(r#""sub":"{long}""#), "sub"),
        (r#""sub":null"#.to_owned(), "sub"),
        (r#""aud":7"#.to_owned(), "aud"),
        (r#""aud":[7]"#.to_owned(), "aud"),
        (r#""ff":[]"#.to_owned(), "ff"),
        (r#""ff":null"#.to_owned(), "ff"),
        (r#""ff":{"caps":{}}"#.to_owned(), "ff.caps"),
        (r#""jti":7"#.to_owned(), "jti"),
        (r#""jti":"""#.to_owned(), "jti"),
        (format!(r#""jti":"{}""#, "x".repeat(129)), "jti"),
        (r#""ff":{"limits":[]}"#.to_owned(), "ff.limits"),
        (r#""ff":{"limits":{"connections":5}}"#.to_owned(), "ff.limits"),
        (r#""ff":{"limits":{"wings":5}}"#.to_owned(), "ff.limits"),
        (r#""ff":{"limits":{"subscriptions":-1}}"#.to_owned(), "ff.limits"),
        (r#""ff":{"limits":{"subscriptions":"5"}}"#.to_owned(), "ff.limits"),
        (r#""ff":{"limits":{"subscriptions":{"max":5,"burst":9}}}"#.to_owned(), "ff.limits"),
        (r#""ff":{"limits":{"command_rate":{"max":5,"more":9}}}"#.to_owned(), "ff.limits"),
        (r#""ff":{"meta":"x"}"#.to_owned(), "ff.meta"),
        (format!(r#""ff":{{"meta":{{"x":"{}"}}}}"#, "y".repeat(1_024)), "ff.meta"),
        (r#""ff":{"labels":"a"}"#.to_owned(), "ff.labels"),
        (r#""ff":{"labels":[""]}"#.to_owned(), "ff.labels"),
        (format!(r#""ff":{{"labels":["{}"]}}"#, "x".repeat(65)), "ff.labels"),
        (format!(r#""ff":{{"labels":[{}]}}"#, vec![r#""a""#; 17].join(",")), "ff.labels"),
        (r#""ff":{"cap":[]}"#.to_owned(), "ff.cap"),
        (r#""ff":{"cap":{"a*":["subscribe"]}}"#.to_owned(), "ff.cap"),
        (r#""ff":{"cap":{"a":["fly"]}}"#.to_owned(), "ff.cap"),
        (r#""ff":{"cap":{"a":["sign"]}}"#.to_owned(), "ff.cap"),
        (r#""ff":{"cap":{"a":["manage"]}}"#.to_owned(), "ff.cap"),
        (format!(r#""ff":{{"cap":{{{}}}}}"#, patterns.join(",")), "ff.cap"),
        (r#""ff":{"roles":"staff"}"#.to_owned(), "ff.roles"),
        (r#""ff":{"roles":[""]}"#.to_owned(), "ff.roles"),
        (r#""ff":{"roles":[7]}"#.to_owned(), "ff.roles"),
        (format!(r#""ff":{{"roles":["{long}"]}}"#), "ff.roles"),
        (format!(r#""ff":{{"roles":[{roles}]}}"#), "ff.roles"),
        (r#""ff":{"info":"x"}"#.to_owned(), "ff.info"),
        (format!(r#""ff":{{"info":{{"x":"{}"}}}}"#, "y".repeat(1_024)), "ff.info"),
    ];
    for (claims, claim) in table {
        assert_eq!(refused_claim(&format!(r#"{{"exp":1700003600,{claims}}}"#)), claim, "{claims}");
    }
    for audience in [r#""app_x""#, r#"["app_x"]"#, "[]", r#""""#] {
        assert_eq!(
            with_claims(&format!(r#"{{"exp":1700003600,"aud":{audience}}}"#)).expect_err(audience),
            TokenError::Audience
        );
    }
}

#[test]
fn at_most_thirty_two_claims_are_kept_for_placeholders() {
    let many: Vec<String> = (0..100).map(|n| format!(r#""c{n}":"v""#)).collect();
    let verified = with_claims(&format!(r#"{{"exp":1700003600,{}}}"#, many.join(","))).expect("valid");
    assert_eq!(verified.subject.claims.len(), 32);
}

#[test]
fn claims_are_strict_json_of_eight_levels() {
    let deep = |levels: usize| format!(r#"{{"exp":1700003600,"x":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert!(with_claims(&deep(7)).is_ok());
    assert!(with_claims(&deep(8)).is_err() && with_claims(&deep(3_000)).is_err());
    for broken in [
        "",
        "7",
        "[]",
        "{",
        r#"{"exp":1700003600} x"#,
        r#"{"exp":1700003600,"ff":{"cap":{},"cap":{}}}"#,
        r#"{"exp":1700003600,"ff":{},"\u0066f":{}}"#,
    ] {
        assert!(matches!(with_claims(broken), Err(TokenError::Json { .. } | TokenError::Form)), "{broken}");
    }
}

#[test]
fn a_revoked_expired_or_rolled_key_signs_no_more() {
    let token = signed(&header(1), CLAIMS, &secret(1));
    let with = |change: fn(&mut Key)| {
        let mut app = app();
        change(&mut app.keys[0]);
        check(&app, &token).map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|key| key.state = KeyState::Overlap { until_ms: NOW + 1 }), Ok(()));
    assert_eq!(with(|key| key.state = KeyState::Overlap { until_ms: NOW }), Err(ErrorCode::TokenRevoked));
    assert_eq!(with(|key| key.state = KeyState::Revoked), Err(ErrorCode::TokenRevoked));
    assert_eq!(with(|key| key.expires_ms = Some(NOW)), Err(ErrorCode::TokenRevoked));
    assert_eq!(with(|key| key.signing_secret = None), Err(ErrorCode::TokenRevoked));
    assert_eq!(with(|key| key.signing_secret = Some(SecretBytes::new(vec![1; 31]))), Err(ErrorCode::TokenRevoked));
    assert_eq!(
        with(|key| key.capabilities =
            Capabilities::new(vec![(Pattern::parse("**").expect("valid"), Operations::CLIENT)])),
        Err(ErrorCode::TokenRevoked)
    );
}

#[test]
fn a_token_of_another_app_or_key_is_refused() {
    // Twelve swaps: two apps with the same key ids and other secrets, and every pairing of kid and secret.
    let mut other = app();
    other.id = fanfare_core::id::AppId::new(2, 2);
    for (n, key) in (11..).zip(&mut other.keys) {
        key.signing_secret = Some(SecretBytes::new(secret(n)));
    }
    let mut accepted = Vec::new();
    for kid in [1, 2] {
        for digit in [1, 2, 11, 12] {
            let token = signed(&header(kid), CLAIMS, &secret(digit));
            // The first app is asked first each time: no answer may be remembered under the kid alone.
            for (name, app) in [("first", app()), ("second", other.clone())] {
                if check(&app, &token).is_ok() {
                    accepted.push((name, kid, digit));
                }
            }
        }
    }
    assert_eq!(accepted, [("first", 1, 1), ("second", 1, 11), ("first", 2, 2), ("second", 2, 12)]);
}

#[test]
fn a_huge_token_is_refused_by_its_length_alone() {
    for huge in ["a".repeat(1 << 20), ".".repeat(1 << 20), "[".repeat(100_000), "é".repeat(5_000)] {
        assert_eq!(check(&app(), &huge).map(|_| ()), Err(TokenError::TooLong { bytes: huge.len() }));
    }
    let fitting = format!(r#"{{"exp":1700003600,"x":"{}"}}"#, "y".repeat(5_900));
    assert!(with_claims(&fitting).is_ok());
    let too_long = format!(r#"{{"exp":1700003600,"x":"{}"}}"#, "y".repeat(6_200));
    assert!(matches!(with_claims(&too_long), Err(TokenError::TooLong { .. })));
}

#[test]
fn what_is_signed_here_is_accepted_and_what_would_not_be_is_not_signed() {
    let key = key(1);
    let info = serde_json::from_str(r#"{"name":"Ann"}"#).expect("valid");
    let claims = Claims {
        sub: Some("ann".into()),
        roles: vec!["staff".into()],
        info: Some(info),
        id: Some("t-1".into()),
        labels: vec!["beta".into()],
        meta: Some(serde_json::from_str(r#"{"plan":"x"}"#).expect("valid")),
        limits: Some(serde_json::from_str(r#"{"subscriptions":5}"#).expect("valid")),
        issued_ms: NOW,
        ttl_s: 60,
        ..Claims::default()
    };
    let verified = check(&app(), &sign(&key, &claims).expect("signs")).expect("valid");
    assert_eq!((verified.subject.sub.as_deref(), verified.expires_ms), (Some("ann"), NOW + 60_000));
    let marks = Marks { id: Some("t-1".into()), issued_ms: Some(NOW), labels: ["beta".into()].into() };
    assert_eq!((verified.subject.marks, verified.subject.meta.as_deref()), (marks, Some(r#"{"plan":"x"}"#)));
    assert_eq!(verified.subject.limits.map(|limits| limits.get(Limit::Subscriptions).max), Some(5));
    let none = Claims { ttl_s: 0, ..claims.clone() };
    let long = Claims { ttl_s: LIFETIME_MAX_S + 1, ..claims.clone() };
    let keys_own = Claims { cap: Some(Capabilities::everything()), ..claims.clone() };
    let nobody = Claims { sub: Some(String::new()), ..claims.clone() };
    let labels = Claims { labels: vec!["x".into(); 17], ..claims.clone() };
    for claims in [none, long, keys_own, nobody, labels] {
        assert!(sign(&key, &claims).is_err(), "{claims:?}");
    }
    let unable = Key { signing_secret: None, ..key };
    assert_eq!(sign(&unable, &claims), Err(TokenError::KeyMayNotSign(unable.id)));
}

#[test]
fn every_refusal_says_what_to_do() {
    let id = KeyId::new(1, 1);
    for error in [
        TokenError::Form,
        TokenError::Algorithm,
        TokenError::KeyId,
        TokenError::KeyUnknown(id),
        TokenError::KeyRevoked(id),
        TokenError::Signature(id),
        TokenError::Audience,
    ] {
        let said = error.to_string();
        assert!(said.len() > 40 && !said.contains("ffs_0"), "{said}");
    }
}

/// Parts that an attacker without the secret can make, mixed in every way.
fn forgeries() -> Vec<String> {
    let kid = KeyId::new(1, 1);
    let token = signed(&header(1), CLAIMS, &secret(1));
    let [head, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let algorithms = [
        "none", "None", "nOnE", "NONE", "", "HS256", "hs256", "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA",
        "RSA-OAEP", "dir",
    ];
    let extras = [
        "",
        r#","alg":"none""#,
        r#","jwk":{"kty":"oct","k":"AA"}"#,
        r#","jku":"http://127.0.0.1/""#,
        r#","crit":["b64"],"b64":false"#,
        r#","zip":"DEF""#,
        r#","p2c":2147483647,"p2s":"AA""#,
    ];
    let mut headers = vec![head.to_owned(), String::new(), encode("{}"), encode("null")];
    for algorithm in algorithms {
        headers.extend(extras.map(|extra| encode(&format!(r#"{{"alg":"{algorithm}","kid":"{kid}"{extra}}}"#))));
    }
    let bodies = [
        claims.to_owned(),
        encode(r#"{"exp":1700003600,"sub":"root"}"#),
        encode(r#"{"exp":1700003600,"ff":{"cap":{"**":["publish"]}}}"#),
        String::new(),
    ];
    let mut signatures = vec![
        String::new(),
        signature.to_owned(),
        encode("x"),
        "A".repeat(43),
        format!("{signature}="),
        format!("{signature}A"),
    ];
    for guess in ["", "secret", kid.to_string().as_str(), "ffs_"] {
        let signed = signed(&header(1), CLAIMS, guess.as_bytes());
        signatures.push(signed.rsplit('.').next().expect("three parts").to_owned());
    }
    let mut all = Vec::new();
    for head in &headers {
        for body in &bodies {
            all.extend(signatures.iter().map(|signature| format!("{head}.{body}.{signature}")));
            all.extend([
                format!("{head}.{body}"),
                format!("{head}.{body}.."),
                format!("{head}.e.{body}.i.t"),
                format!(r#"{{"payload":"{body}","signatures":[{{"protected":"{head}","signature":"{signature}"}}]}}"#),
            ]);
        }
    }
    all.retain(|forged| *forged != token);
    all
}

#[test]
fn of_many_thousand_forgeries_none_is_accepted() {
    let (app, token) = (app(), signed(&header(1), CLAIMS, &secret(1)));
    assert!(check(&app, &token).is_ok());
    let mut tried = 0;
    let mut refused = |forged: &[u8]| {
        // What is not text never reaches the verifier: it would be no text frame and no header.
        if let Ok(forged) = std::str::from_utf8(forged)
            && forged != token
        {
            tried += 1;
            assert!(check(&app, forged).is_err(), "{forged}");
        }
    };
    for forged in forgeries() {
        refused(forged.as_bytes());
    }
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut forged = token.clone().into_bytes();
            forged[at] ^= 1 << bit;
            refused(&forged);
        }
        refused(&token.as_bytes()[..at]);
        refused([&token[..at], &token[at + 1..]].concat().as_bytes());
    }
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for _ in 0..10_000 {
        let mut forged = token.clone().into_bytes();
        for _ in 0..=rng.next_u32() % 3 {
            let at = rng.next_u32() as usize % forged.len();
            forged[at] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.="[rng.next_u32() as usize % 66];
        }
        refused(&forged);
    }
    assert!(tried > 15_000, "{tried}");
}
