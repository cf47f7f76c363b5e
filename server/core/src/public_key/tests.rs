//! Keys made by OpenSSL are read, printed and read again; everything else is refused with what to do.

use super::*;

const EC: &str = include_str!("fixtures/ec.pem");
const ED: &str = include_str!("fixtures/ed.pem");
const RSA: &str = include_str!("fixtures/rsa.pem");
const RSA_1024: &str = include_str!("fixtures/rsa1024.pem");
const P384: &str = include_str!("fixtures/p384.pem");

fn parse(text: &str) -> Result<PublicKey, PublicKeyError> {
    PublicKey::parse(text)
}

/// The JWK of a key with some fields set or, with `null`, taken away.
fn jwk(pem: &str, fields: Value) -> String {
    let mut jwk = parse(pem).expect("a key").to_jwk();
    for (name, value) in fields.as_object().expect("an object") {
        let jwk = jwk.as_object_mut().expect("an object");
        if value.is_null() {
            jwk.remove(name)
        } else {
            jwk.insert(name.clone(), value.clone())
        };
    }
    jwk.to_string()
}

#[test]
fn a_key_reads_the_same_as_pem_and_as_jwk() {
    for (pem, algorithm) in [(EC, TokenAlgorithm::Es256), (ED, TokenAlgorithm::EdDsa), (RSA, TokenAlgorithm::Rs256)] {
        let key = parse(pem).expect(pem);
        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(parse(&format!("\n{}\r\n", pem.replace('\n', "\r\n"))), Ok(key.clone()));
        assert_eq!(parse(&key.to_jwk().to_string()), Ok(key.clone()));
        let named =
            parse(&jwk(pem, json!({"kid": "a/b+c==", "use": "sig", "alg": algorithm, "x5t": "y"}))).expect("named");
        assert_eq!((named.kid.as_deref(), &named.material), (Some("a/b+c=="), &key.material));
        let read: PublicKey = serde_json::from_value(serde_json::to_value(&named).expect("prints")).expect("reads");
        assert_eq!(read, named);
    }
}

#[test]
fn what_is_no_usable_public_key_is_refused_by_name() {
    use PublicKeyError as E;
    let algorithm = TokenAlgorithm::Rs256;
    let purpose = |field| E::Purpose { field, algorithm };
    let short = parse(EC).expect("a key").to_jwk()["x"].as_str().expect("text")[..40].to_owned();
    let table = [
        (String::new(), E::Form),
        ("ssh-ed25519 AAAA".to_owned(), E::Form),
        ("{".to_owned(), E::Form),
        (r#"{"kty":"EC","kty":"EC"}"#.to_owned(), E::Form),
        ("x".repeat(KEY_BYTES_MAX + 1), E::TooLong),
        (EC.replace("PUBLIC", "PRIVATE"), E::Private),
        (EC.replace("BEGIN PUBLIC", "BEGIN RSA PRIVATE"), E::Private),
        (EC[..EC.len() / 2].to_owned(), E::Form),
        (EC.replace("MFkw", "MFkx"), E::Kind),
        (P384.to_owned(), E::Kind),
        (RSA_1024.to_owned(), E::RsaSize { bits: 1024 }),
        (jwk(EC, json!({"d": "AA"})), E::Private),
        (json!({"kty": "oct", "k": "AA"}).to_string(), E::Private),
        (json!({"kty": "oct"}).to_string(), E::Kind),
        (jwk(EC, json!({"crv": "P-384"})), E::Kind),
        (jwk(EC, json!({"crv": "secp256k1"})), E::Kind),
        (jwk(ED, json!({"crv": "X25519"})), E::Kind),
        (jwk(EC, json!({"x": short})), E::Form),
        (jwk(EC, json!({"x": null})), E::Form),
        (jwk(RSA, json!({"e": "Ag"})), E::RsaExponent),
        (jwk(RSA, json!({"e": "AQ"})), E::RsaExponent),
        (jwk(RSA, json!({"e": "AQAAAAE"})), E::RsaExponent),
        (jwk(RSA, json!({"alg": "HS256"})), purpose("alg")),
        (jwk(RSA, json!({"alg": "RS512"})), purpose("alg")),
        (jwk(RSA, json!({"alg": "RSA-OAEP"})), purpose("alg")),
        (jwk(RSA, json!({"alg": 7})), purpose("alg")),
        (jwk(RSA, json!({"use": "enc"})), purpose("use")),
        (jwk(RSA, json!({"key_ops": ["encrypt"]})), purpose("key_ops")),
        (jwk(RSA, json!({"kid": ""})), E::Kid),
        (jwk(RSA, json!({"kid": "../x"})), E::Kid),
        (jwk(RSA, json!({"kid": "k".repeat(65)})), E::Kid),
        (jwk(RSA, json!({"kid": 7})), E::Kid),
    ];
    for (text, expected) in table {
        assert_eq!(parse(&text), Err(expected), "{text}");
    }
    // A cut or lengthened document never reads, wherever it was cut.
    let der = STANDARD.decode(RSA.lines().filter(|line| !line.starts_with('-')).collect::<String>()).expect("base64");
    assert!(der::public_key(&der).is_some());
    assert!((0..der.len()).all(|length| der::public_key(&der[..length]).is_none()));
    assert!(der::public_key(&[&der[..], &[0]].concat()).is_none());
}

#[test]
fn a_jwks_gives_the_keys_that_can_verify_and_counts_the_rest() {
    let key = |pem: &str, fields| serde_json::from_str::<Value>(&jwk(pem, fields)).expect("json");
    let document = json!({"keys": [
        key(RSA, json!({"kid": "a", "x5c": ["AA"]})),
        key(EC, json!({"kid": "b"})),
        key(ED, json!({"kid": "a"})),
        key(ED, json!({})),
        key(RSA, json!({"kid": "c", "use": "enc"})),
        {"kty": "oct", "k": "AA", "kid": "d"},
        7,
    ], "more": true});
    let set = parse_jwks(document.to_string().as_bytes()).expect("a set");
    let kids: Vec<_> = set.keys.iter().filter_map(|key| key.kid.as_deref()).collect();
    assert_eq!((kids, set.skipped), (vec!["a", "b"], 5));
    assert_eq!(set.keys[0].algorithm(), TokenAlgorithm::Rs256);
    for wrong in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(parse_jwks(wrong.as_bytes()), Err(JwksError::Form), "{wrong}");
    }
    let many = json!({"keys": vec![json!({}); 101]});
    assert_eq!(parse_jwks(many.to_string().as_bytes()), Err(JwksError::TooMany { keys: 101 }));
}

#[test]
fn a_point_under_which_anybody_can_sign_is_no_key() {
    for small in SMALL_ORDER {
        for side in [0, 0x80] {
            let mut point = small;
            point[31] |= side;
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(point), "kid": "k"});
            assert_eq!(parse(&jwk.to_string()), Err(PublicKeyError::SmallOrder), "{point:02x?}");
            // RFC 8410 §4: the same point as OpenSSL writes it.
            let der = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], &point[..]].concat();
            let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
            assert_eq!(parse(&pem), Err(PublicKeyError::SmallOrder), "{point:02x?}");
            let set = parse_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).expect("a JWKS");
            assert_eq!((set.keys.len(), set.skipped), (0, 1));
        }
    }
}
