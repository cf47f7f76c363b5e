//! Tokens of issuers: what holds, and each known way to make one hold that should not.

use std::sync::Arc;

use fanfare_core::id::{AppId, IssuerId};
use fanfare_core::issuer::{ClaimMap, JwksUrl};
use fanfare_core::{Issuer, KeySource, PublicKey};
use serde_json::{Value, json};

use super::*;
use crate::issuers::{FetchedKeys, STALE_MAX_MS};

const ISS: &str = "https://id.example/";
const URL: &str = "https://id.example/keys";
const RSA_PUBLIC: &str = include_str!("../../../../core/src/public_key/fixtures/rsa.pem");

/// A key pair of each kind, by its algorithm.
fn private(algorithm: TokenAlgorithm) -> (EncodingKey, Algorithm) {
    let key = match algorithm {
        TokenAlgorithm::Es256 => EncodingKey::from_ec_pem(include_bytes!("../fixtures/ec.pem")),
        TokenAlgorithm::EdDsa => EncodingKey::from_ed_pem(include_bytes!("../fixtures/ed.pem")),
        TokenAlgorithm::Rs256 => EncodingKey::from_rsa_pem(include_bytes!("../fixtures/rsa.pem")),
    };
    let name = match algorithm {
        TokenAlgorithm::Es256 => Algorithm::ES256,
        TokenAlgorithm::EdDsa => Algorithm::EdDSA,
        TokenAlgorithm::Rs256 => Algorithm::RS256,
    };
    (key.expect("a private key"), name)
}

fn public(algorithm: TokenAlgorithm, kid: Option<&str>) -> PublicKey {
    let pem = match algorithm {
        TokenAlgorithm::Es256 => include_str!("../../../../core/src/public_key/fixtures/ec.pem"),
        TokenAlgorithm::EdDsa => include_str!("../../../../core/src/public_key/fixtures/ed.pem"),
        TokenAlgorithm::Rs256 => RSA_PUBLIC,
    };
    PublicKey { kid: kid.map(Into::into), ..PublicKey::parse(pem).expect("a public key") }
}

fn issuer(n: u64, source: KeySource) -> Issuer {
    Issuer {
        id: IssuerId::new(n, n.into()),
        name: "id".into(),
        iss: ISS.into(),
        aud: Some("fanfare".into()),
        source,
        ceiling: Capabilities::new(vec![(Pattern::parse("room:*").expect("valid"), Operations::CLIENT)]),
        claims: ClaimMap::default(),
        enabled: true,
    }
}

fn with_issuer(issuer: Issuer) -> App {
    App { issuers: vec![issuer], ..app() }
}

/// An app whose issuer has one key.
fn with_key(algorithm: TokenAlgorithm, kid: Option<&str>) -> App {
    with_issuer(issuer(1, KeySource::Key(public(algorithm, kid))))
}

fn url() -> JwksUrl {
    JwksUrl::parse(URL).expect("valid")
}

/// An app whose issuer has its keys at a URL.
fn with_url(algorithms: &[TokenAlgorithm]) -> App {
    with_issuer(issuer(1, KeySource::Jwks { url: url(), algorithms: algorithms.to_vec() }))
}

fn fetched(keys: Vec<PublicKey>) -> IssuerState {
    let state = IssuerState::default();
    state.set(IssuerId::new(1, 1), FetchedKeys { url: url(), fetched_ms: NOW, keys: keys.into() });
    state
}

fn claims_with(fields: Value) -> String {
    let mut claims = json!({"iss": ISS, "aud": "fanfare", "exp": 1_700_003_600, "iat": 1_700_000_000, "sub": "ann"});
    for (name, value) in fields.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims.to_string()
}

/// A token of exactly these texts, signed by the private key of an algorithm, whatever its header says.
fn signed_by(algorithm: TokenAlgorithm, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let (key, algorithm) = private(algorithm);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).expect("signs");
    format!("{message}.{signature}")
}

fn header_of(algorithm: &str, kid: Option<&str>) -> String {
    let mut header = json!({"alg": algorithm, "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    header.to_string()
}

fn token(algorithm: TokenAlgorithm, kid: Option<&str>, claims: &str) -> String {
    signed_by(algorithm, &header_of(algorithm.as_str(), kid), claims)
}

fn refusal(app: &App, token: &str) -> TokenError {
    check(app, token).expect_err(token)
}

#[test]
fn a_token_of_each_algorithm_holds_under_the_ceiling_of_its_issuer() {
    for algorithm in TokenAlgorithm::ALL {
        let claims = claims_with(json!({"jti": "t-1", "ff": {"cap": {"**": ["subscribe"]}, "labels": ["x"]}}));
        let token = token(algorithm, Some("k1"), &claims);
        for (app, state) in [
            (with_key(algorithm, Some("k1")), IssuerState::default()),
            (with_url(&[algorithm]), fetched(vec![public(algorithm, Some("k0")), public(algorithm, Some("k1"))])),
        ] {
            let verified = verify(&app, &state, &token, NOW).expect("valid");
            assert_eq!(
                (verified.signer, verified.subject.sub.as_deref()),
                (Signer::Issuer(IssuerId::new(1, 1)), Some("ann"))
            );
            assert_eq!(
                (verified.subject.marks.id.as_deref(), verified.subject.marks.issued_ms),
                (Some("t-1"), Some(NOW))
            );
            let subject = Subject::Client(Box::new(verified.subject));
            let on = |name| decide(&app, &subject, Operation::Subscribe, &ChannelName::parse(name).expect("valid"));
            assert!(on("room:9").is_ok());
            let refused = on("hall:9").expect_err("beyond the ceiling");
            assert_eq!(serde_json::to_value(refused.layer()).expect("prints"), "issuer");
        }
    }
}

#[test]
fn a_key_without_a_name_goes_by_the_issuers_id_or_none() {
    let app = with_key(TokenAlgorithm::EdDsa, None);
    let id = IssuerId::new(1, 1).to_string();
    assert!(check(&app, &token(TokenAlgorithm::EdDsa, None, &claims_with(json!({})))).is_ok());
    assert!(check(&app, &token(TokenAlgorithm::EdDsa, Some(&id), &claims_with(json!({})))).is_ok());
    let other = token(TokenAlgorithm::EdDsa, Some("k1"), &claims_with(json!({})));
    assert!(matches!(refusal(&app, &other), TokenError::IssuerKeyUnknown { .. }));
    let named = with_key(TokenAlgorithm::EdDsa, Some("k1"));
    assert!(check(&named, &token(TokenAlgorithm::EdDsa, None, &claims_with(json!({})))).is_err());
}

#[test]
fn algorithm_confusion_rs256_to_hs256_with_the_public_key_is_refused() {
    let app = with_key(TokenAlgorithm::Rs256, Some("rsa-1"));
    let key = public(TokenAlgorithm::Rs256, None);
    let jwk = key.to_jwk();
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().expect("text")).expect("base64");
    let secrets = [
        RSA_PUBLIC.as_bytes().to_vec(),
        RSA_PUBLIC.trim().as_bytes().to_vec(),
        jwk.to_string().into_bytes(),
        jwk["n"].as_str().expect("text").as_bytes().to_vec(),
        n,
        Vec::new(),
    ];
    let own = KeyId::new(1, 1).to_string();
    for secret in &secrets {
        for kid in [Some("rsa-1"), Some(own.as_str()), None] {
            for alg in ["HS256", "HS384", "HS512", "none", "nOnE", "", "RS256"] {
                let forged = signed(&header_of(alg, kid), &claims_with(json!({})), secret);
                assert!(check(&app, &forged).is_err(), "{alg} {kid:?}");
                let (unsigned, _) = forged.rsplit_once('.').expect("three parts");
                assert!(check(&app, &format!("{unsigned}.")).is_err());
            }
        }
    }
}

#[test]
fn the_algorithm_is_the_keys_own_and_one_that_the_record_allows() {
    let all = TokenAlgorithm::ALL;
    for key in all {
        let app = with_key(key, Some("k1"));
        for says in all.into_iter().filter(|says| *says != key) {
            let token = signed_by(key, &header_of(says.as_str(), Some("k1")), &claims_with(json!({})));
            assert!(matches!(refusal(&app, &token), TokenError::IssuerKeyUnknown { .. }), "{key} as {says}");
        }
        for says in ["PS256", "RS384", "RS512", "ES384", "ES512", "ES256K", "Ed25519", "rs256", "eddsa"] {
            let token = signed_by(key, &header_of(says, Some("k1")), &claims_with(json!({})));
            assert_eq!(refusal(&app, &token), TokenError::Algorithm, "{key} as {says}");
        }
        // One of our own keys is HS256, whoever signs.
        let own = KeyId::new(1, 1).to_string();
        let token = signed_by(key, &header_of(key.as_str(), Some(&own)), &claims_with(json!({})));
        assert_eq!(refusal(&app, &token), TokenError::Algorithm);
        // A key at the URL that the record does not allow is not used.
        let allowed: Vec<_> = all.into_iter().filter(|allowed| *allowed != key).collect();
        let state = fetched(vec![public(key, Some("k1"))]);
        let token = super::issued::token(key, Some("k1"), &claims_with(json!({})));
        assert!(verify(&with_url(&allowed), &state, &token, NOW).is_err(), "{key}");
    }
}

#[test]
fn a_token_cannot_bring_or_point_to_a_key_or_change_what_is_signed() {
    let app = with_key(TokenAlgorithm::Es256, Some("k1"));
    let own = public(TokenAlgorithm::EdDsa, Some("k1")).to_jwk();
    for (field, value) in [
        ("jwk", own.clone()),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["AA"])),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("p2c", json!(2_147_483_647)),
    ] {
        for algorithm in TokenAlgorithm::ALL {
            let header = json!({"alg": algorithm, "kid": "k1", field: value}).to_string();
            let refused = refusal(&app, &signed_by(algorithm, &header, &claims_with(json!({}))));
            assert!(matches!(refused, TokenError::HeaderField(named) if named == field), "{field}: {refused:?}");
        }
    }
    for typ in ["at+jwt", "jwt", "JOSE"] {
        let header = json!({"alg": "ES256", "kid": "k1", "typ": typ}).to_string();
        assert_eq!(
            refusal(&app, &signed_by(TokenAlgorithm::Es256, &header, &claims_with(json!({})))),
            TokenError::Type
        );
    }
}

#[test]
fn cve_2026_25537_times_of_issuers_are_integers_too() {
    let app = with_key(TokenAlgorithm::EdDsa, Some("k1"));
    for claim in ["exp", "nbf", "iat"] {
        for wrong in
            [json!("9999999999"), json!("1700003600"), json!(1.5), json!(null), json!([1]), json!(-1), json!({})]
        {
            let token = token(TokenAlgorithm::EdDsa, Some("k1"), &claims_with(json!({claim: wrong})));
            assert!(
                matches!(refusal(&app, &token), TokenError::Claim { claim: named, .. } if named == claim),
                "{claim}"
            );
        }
    }
    let long = token(TokenAlgorithm::EdDsa, Some("k1"), &claims_with(json!({"exp": 1_700_000_000 + 86_401})));
    assert!(matches!(refusal(&app, &long), TokenError::Lifetime { .. }));
}

#[test]
fn cve_2026_49998_one_kid_in_two_apps_is_two_keys() {
    // Both apps have an issuer of the same id, kid, iss and URL: what differs is the app, and the key.
    let algorithms = [TokenAlgorithm::EdDsa, TokenAlgorithm::Es256];
    let first = with_url(&algorithms);
    let second = App { id: AppId::new(2, 2), ..first.clone() };
    let state = |algorithm| fetched(vec![public(algorithm, Some("k1"))]);
    let (of_first, of_second) = (state(TokenAlgorithm::EdDsa), state(TokenAlgorithm::Es256));
    let claims = claims_with(json!({}));
    let (by_first, by_second) =
        (token(TokenAlgorithm::EdDsa, Some("k1"), &claims), token(TokenAlgorithm::Es256, Some("k1"), &claims));
    for _ in 0..3 {
        // The first is primed, whatever is remembered of it, before its token is shown to the second.
        assert!(verify(&first, &of_first, &by_first, NOW).is_ok());
        assert!(verify(&second, &of_second, &by_first, NOW).is_err());
        assert!(verify(&second, &of_second, &by_second, NOW).is_ok());
        assert!(verify(&first, &of_first, &by_second, NOW).is_err());
    }
    // The same in one app: two issuers with one kid do not stand in for each other.
    let mut both = with_key(TokenAlgorithm::EdDsa, Some("k1"));
    both.issuers.push(Issuer {
        iss: "https://other.example/".into(),
        ..issuer(2, KeySource::Key(public(TokenAlgorithm::Es256, Some("k1"))))
    });
    assert!(check(&both, &by_first).is_ok());
    assert!(matches!(refusal(&both, &by_second), TokenError::Claim { claim, .. } if claim == "iss"));
}

#[test]
fn cve_2026_32301_nothing_of_a_token_is_a_url() {
    // The record holds the whole URL. There is no place in it that a claim could fill, and nothing is asked for but it.
    let app = with_url(&TokenAlgorithm::ALL);
    let state = IssuerState::default();
    for iss in
        ["https://evil.example/", "https://id.example@evil.example/", "../../evil", "{{tenant}}", "https://id.example/"]
    {
        let claims = claims_with(json!({"iss": iss, "tenant": "evil", "aud": "https://evil.example/"}));
        let token = token(TokenAlgorithm::EdDsa, Some("k1"), &claims);
        assert_eq!(verify(&app, &state, &token, NOW).expect_err("no keys yet"), TokenError::IssuerNotReady);
    }
    let asked = state.to_fetch(&app);
    assert_eq!((asked.len(), asked[0].url.as_str(), asked[0].wanted), (1, URL, true));
    assert!(!state.to_fetch(&app)[0].wanted, "a wish is told once");
    for template in ["https://{{tenant}}.example/keys", "https://id.example/{iss}/keys"] {
        assert!(JwksUrl::parse(template).is_err(), "{template}");
    }
}

#[test]
fn iss_aud_and_required_claims_are_exact() {
    let mut issuer = issuer(1, KeySource::Key(public(TokenAlgorithm::EdDsa, None)));
    issuer.claims.required = [("/azp".parse().expect("valid"), "web".into())].into();
    let mut app = with_issuer(issuer);
    let refused = |app: &App, fields: Value| match check(app, &token(TokenAlgorithm::EdDsa, None, &claims_with(fields)))
    {
        Ok(_) => None,
        Err(TokenError::Claim { claim, .. }) => Some(claim),
        Err(TokenError::Audience) => Some("audience".to_owned()),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(refused(&app, json!({"azp": "web"})), None);
    assert_eq!(refused(&app, json!({"azp": "web", "aud": ["x", "fanfare"]})), None);
    for (fields, claim) in [
        (json!({"azp": "web", "iss": "https://id.example"}), "iss"),
        (json!({"azp": "web", "iss": "HTTPS://ID.EXAMPLE/"}), "iss"),
        (json!({"azp": "web", "iss": [ISS]}), "iss"),
        (json!({"azp": "web", "iss": null}), "iss"),
        (json!({"azp": "web", "aud": "fanfare2"}), "aud"),
        (json!({"azp": "web", "aud": []}), "aud"),
        (json!({"azp": "web", "aud": app.id.to_string()}), "aud"),
        (json!({"azp": "other"}), "/azp"),
        (json!({"azp": ["web"]}), "/azp"),
        (json!({}), "/azp"),
    ] {
        assert_eq!(refused(&app, fields.clone()).as_deref(), Some(claim), "{fields}");
    }
    // Without one of its own, a token's aud names the app, as that of a key's token does.
    app.issuers[0].aud = None;
    assert_eq!(refused(&app, json!({"azp": "web"})).as_deref(), Some("audience"));
    assert_eq!(refused(&app, json!({"azp": "web", "aud": app.id.to_string()})), None);
}

#[test]
fn a_claim_map_says_where_the_user_and_its_rights_lie() {
    let with = |map: &str, fields: Value| {
        let mut issuer = issuer(1, KeySource::Key(public(TokenAlgorithm::EdDsa, None)));
        issuer.claims = serde_json::from_str(map).expect("a map");
        check(&with_issuer(issuer), &token(TokenAlgorithm::EdDsa, None, &claims_with(fields)))
    };
    let roles = |map: &str, fields: Value| with(map, fields).expect("valid").subject.roles.join(" ");
    // Auth0, Clerk, Cognito and Supabase, as their tokens look.
    let auth0 = r#"{"roles":["/permissions","/https:~1~1x.example~1roles"]}"#;
    assert_eq!(roles(auth0, json!({"permissions": ["read:x"], "https://x.example/roles": ["admin"]})), "read:x admin");
    assert_eq!(roles(r#"{"roles":["/scope"]}"#, json!({"scope": "openid read:x"})), "openid read:x");
    assert_eq!(roles(r#"{"roles":["/o/rol","/org_role"]}"#, json!({"o": {"rol": "admin", "id": "org_1"}})), "admin");
    assert_eq!(roles(r#"{"roles":["/cognito:groups"]}"#, json!({"cognito:groups": ["staff"]})), "staff");
    let supabase = r#"{"roles":["/role","/app_metadata/roles"]}"#;
    assert_eq!(
        roles(supabase, json!({"role": "authenticated", "app_metadata": {"roles": ["vip"]}})),
        "authenticated vip"
    );
    assert_eq!(roles(supabase, json!({"app_metadata": null, "ff": {"roles": ["root"]}})), "", "the map counts alone");

    let verified = with(
        r#"{"sub":"/user/id","cap":"/fan/cap","info":"/user"}"#,
        json!({"user": {"id": "bob", "name": "Bob"}, "fan": {"cap": {"room:{sub}": ["publish"]}}}),
    )
    .expect("valid");
    assert_eq!(
        (verified.subject.sub.as_deref(), verified.subject.capabilities.map(|cap| cap.entries().len())),
        (Some("bob"), Some(1))
    );
    assert_eq!(verified.info.map(|info| info.get().to_owned()).as_deref(), Some(r#"{"id":"bob","name":"Bob"}"#));
    assert_eq!(with(r#"{"sub":"/user/id"}"#, json!({})).expect("valid").subject.sub, None);
    for (map, fields, place) in [
        (r#"{"sub":"/user/id"}"#, json!({"user": {"id": 7}}), "/user/id"),
        (r#"{"roles":["/r"]}"#, json!({"r": 7}), "/r"),
        (r#"{"roles":["/r"]}"#, json!({"r": vec!["x"; 65]}), "/r"),
        (r#"{"roles":["/r","/s"]}"#, json!({"r": vec!["x"; 40], "s": vec!["x"; 40]}), "roles"),
        (r#"{"cap":"/c"}"#, json!({"c": {"**": ["manage"]}}), "/c"),
        (r#"{"cap":"/c"}"#, json!({"c": "all"}), "/c"),
        (r#"{"info":"/i"}"#, json!({"i": "x"}), "/i"),
    ] {
        assert!(matches!(with(map, fields), Err(TokenError::Claim { claim, .. }) if claim == place), "{place}");
    }
}

#[test]
fn an_issuer_that_is_off_unknown_or_not_fetched_says_which() {
    let mut app = with_url(&TokenAlgorithm::ALL);
    let token = token(TokenAlgorithm::EdDsa, Some("k1"), &claims_with(json!({})));
    let state = IssuerState::default();
    let at = |app: &App, now| verify(app, &state, &token, now).map(|_| ()).map_err(|error| error.code());
    assert_eq!(at(&app, NOW), Err(ErrorCode::IssuerUnavailable));
    let keys =
        |kid| FetchedKeys { url: url(), fetched_ms: NOW, keys: Arc::new([public(TokenAlgorithm::EdDsa, Some(kid))]) };
    let id = IssuerId::new(1, 1);
    state.set(id, keys("k0"));
    assert_eq!(at(&app, NOW), Err(ErrorCode::TokenInvalid));
    state.set(id, keys("k1"));
    assert_eq!(at(&app, NOW), Ok(()));
    // Keys of another URL are nothing to this record.
    let other = FetchedKeys { url: JwksUrl::parse("https://id.example/other").expect("valid"), ..keys("k1") };
    state.set(id, other);
    assert_eq!(at(&app, NOW), Err(ErrorCode::IssuerUnavailable));
    state.set(id, FetchedKeys { fetched_ms: NOW - STALE_MAX_MS + 1, ..keys("k1") });
    assert_eq!(at(&app, NOW), Ok(()));
    state.set(id, FetchedKeys { fetched_ms: NOW - STALE_MAX_MS, ..keys("k1") });
    assert_eq!(at(&app, NOW), Err(ErrorCode::IssuerUnavailable));

    let mut off = with_key(TokenAlgorithm::EdDsa, Some("k1"));
    off.issuers[0].enabled = false;
    assert_eq!(refusal(&off, &token), TokenError::IssuerDisabled(id));
    app.issuers.clear();
    assert!(matches!(refusal(&app, &token), TokenError::IssuerKeyUnknown { .. }));
}

#[test]
fn a_signature_is_verified_once_and_everything_else_each_time() {
    let mut app = with_key(TokenAlgorithm::Es256, Some("k1"));
    let state = IssuerState::default();
    let token = token(TokenAlgorithm::Es256, Some("k1"), &claims_with(json!({})));
    let is_costly = |app: &App, token: &str| matches!(examine(app, &state, token, NOW), Examined::Costly(_));
    assert!(is_costly(&app, &token));
    assert!(verify(&app, &state, &token, NOW).is_ok());
    assert!(!is_costly(&app, &token));
    let at = |app: &App, now| verify(app, &state, &token, now).map(|_| ()).map_err(|error| error.code());
    assert_eq!(at(&app, NOW + 4_000_000), Err(ErrorCode::TokenExpired));
    // One character more or less, another key of the same name, or an issuer that is off: nothing is remembered of those.
    assert!(is_costly(&app, &format!("{token}A")));
    app.issuers[0].aud = Some("other".into());
    assert_eq!(at(&app, NOW), Err(ErrorCode::TokenInvalid));
    app.issuers[0].enabled = false;
    assert_eq!(at(&app, NOW), Err(ErrorCode::TokenRevoked));
    let mut replaced = public(TokenAlgorithm::Es256, Some("k1")).to_jwk();
    (replaced["x"], replaced["y"]) = (replaced["y"].clone(), replaced["x"].clone());
    let replaced = PublicKey::from_jwk(replaced.as_object().expect("an object")).expect("of the right form");
    let app = with_issuer(issuer(1, KeySource::Key(replaced)));
    assert!(is_costly(&app, &token));
    assert_eq!(
        refusal(&app, &token),
        TokenError::IssuerSignature(IssuerId::new(1, 1)),
        "a point off the curve signs nothing"
    );
}

/// How many altered tokens are tried of each algorithm: a sample, or with `FANFARE_TEST_TOKENS=100000` so many in all.
fn rounds() -> usize {
    std::env::var("FANFARE_TEST_TOKENS")
        .ok()
        .and_then(|all| all.parse::<usize>().ok())
        .map_or(40, |all| all.div_ceil(4))
}

#[test]
fn of_a_hundred_thousand_altered_tokens_none_is_accepted() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let (mut tried, rounds) = (0, rounds());
    let keyed = (app(), signed(&header(1), CLAIMS, &secret(1)));
    let issued = TokenAlgorithm::ALL.map(|algorithm| {
        (
            with_key(algorithm, Some("k1")),
            token(algorithm, Some("k1"), &claims_with(json!({"ff": {"cap": {"room:9": ["subscribe"]}}}))),
        )
    });
    for (app, good) in [keyed].into_iter().chain(issued) {
        // With the state of an app where the good one is known, so that what is remembered is tried too.
        let state = IssuerState::default();
        assert!(verify(&app, &state, &good, NOW).is_ok());
        let mut left = rounds;
        while left > 0 {
            let mut forged = good.clone().into_bytes();
            let mut at = |length: usize| rng.next_u32() as usize % length;
            for _ in 0..=at(3) {
                let (place, letter) = (at(forged.len()), ALPHABET[at(ALPHABET.len())]);
                match at(4) {
                    0 => forged.insert(place, letter),
                    1 => drop(forged.remove(place)),
                    2 => forged.swap(place, at(good.len() - 3)),
                    _ => forged[place] = letter,
                }
            }
            if forged != good.as_bytes() {
                let forged = std::str::from_utf8(&forged).expect("letters");
                assert!(verify(&app, &state, forged, NOW).is_err(), "{forged}");
                (left, tried) = (left - 1, tried + 1);
            }
        }
    }
    println!("{tried} altered tokens, none accepted");
    assert_eq!(tried, rounds * 4);
}
