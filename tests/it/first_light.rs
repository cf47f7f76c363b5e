//! The way of a message from a backend to a client, and every door that does not open.

use ::harness::answer::{Answer, http};
use ::harness::client::{Client, SUBPROTOCOL};
use ::harness::owner::Owner;
use ::harness::publisher::Published;
use ::harness::raw::Raw;
use ::harness::server::Server;
use ::harness::{eventually, unix_now};
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Signs claims with a printed key as a backend in any language would, with a choice of what can go wrong.
fn sign(algorithm: Algorithm, kid: &str, secret: &str, claims: &Value) -> Result<String> {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    Ok(jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes()))?)
}

fn parts(key: &str) -> Result<(&str, &str)> {
    key.split_once(':').context("a printed key has two parts")
}

/// Claims of somebody who may do everything a client can on `room:*`.
fn claims() -> Value {
    let cap = json!({ "room:*": ["subscribe", "publish", "history"] });
    json!({ "sub": "ann", "exp": unix_now() + 600, "ff": { "cap": cap } })
}

#[tokio::test]
async fn a_published_message_reaches_a_subscriber_as_it_was_sent() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (kid, secret) = parts(&owner.key)?;
    let token = sign(Algorithm::HS256, kid, secret, &claims())?;
    let mut ann = Client::connect(&owner.app_url(), "ann", Some(&token)).await?;
    assert_eq!(ann.hello["user"], "ann");
    let fence = ann.subscribe("room:9").await?;

    let data = json!({ "text": "Grüße 🎺", "list": [1, 2.5, null, true], "nested": { "empty": {} } });
    let body = json!({ "name": "greet", "data": data, "key": "k", "headers": { "trace": "1" } });
    let published: Published = owner.publisher().post("/channels/room:9/messages", &body).await?.parse()?;
    let message = ann.message("room:9").await?;
    assert_eq!(message["data"], data);
    assert_eq!((&message["name"], &message["key"]), (&json!("greet"), &json!("k")));
    assert_eq!((&message["id"], &message["headers"]), (&json!(published.id), &json!({ "trace": "1" })));
    assert_eq!(message["seq"].as_u64(), fence["seq"].as_u64().map(|seq| seq + 1));
    let position = format!("{}.{}", fence["lineage"].as_str().context("a lineage")?, message["seq"]);
    assert_eq!((published.position, published.durability.as_str(), published.duplicate), (position, "memory", false));
    assert_eq!(message.get("publisher"), None, "a backend is no user");

    // What a publisher wrote is not touched: numbers keep their digits, text its escapes.
    let raw = r#"{"data":{"n":1.50,"big":123456789012345678901234567890,"e":1E+2,"u":"\u00e9"}}"#;
    let request = owner.publisher().request(Method::POST, "/channels/room:9/messages");
    Answer::to(request.header("content-type", "application/json").body(raw)).await?.ok()?;
    let mut plain = Raw::open(&owner.app_url()).await?;
    plain.text(&json!({ "id": 1, "connect": { "token": token } }).to_string()).await?;
    plain.text(r#"{"id":2,"subscribe":{"channel":"room:9","rewind":{"messages":1}}}"#).await?;
    let (_hello, _fence) = (plain.frame().await?, plain.frame().await?);
    let pushed = String::from_utf8(plain.frame().await?.1)?;
    assert!(
        pushed.contains(r#""data":{"n":1.50,"big":123456789012345678901234567890,"e":1E+2,"u":"\u00e9"}"#),
        "{pushed}"
    );
    Ok(())
}

#[tokio::test]
async fn a_backend_calls_with_its_key_by_basic_or_bearer_or_with_a_token() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (id, secret) = parts(&owner.key)?;
    let token = owner.token_for("ann", &["room:*"])?;
    let (url, body) = (format!("{}/channels/room:9/messages", owner.app_url()), json!({ "data": "hi" }));
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;

    // `curl -u key_…:ffs_…`, `curl -H "Authorization: Bearer key_…:ffs_…"`, and a client's token.
    let calls = [
        (http()?.post(&url).basic_auth(id, Some(secret)), None),
        (http()?.post(&url).bearer_auth(&owner.key), None),
        (http()?.post(&url).bearer_auth(&token), Some("ann")),
    ];
    for (request, publisher) in calls {
        Answer::to(request.json(&body)).await?.ok()?;
        assert_eq!(ann.message("room:9").await?.get("publisher").and_then(Value::as_str), publisher);
    }

    let stranger = server.sign_up().await?;
    let (stranger_id, stranger_secret) = parts(&stranger.key)?;
    let refused = [
        ("no credential", http()?.post(&url), "key_invalid"),
        ("another secret", http()?.post(&url).basic_auth(id, Some(stranger_secret)), "key_invalid"),
        ("another app's key", http()?.post(&url).basic_auth(stranger_id, Some(stranger_secret)), "key_invalid"),
        ("half a key", http()?.post(&url).basic_auth(id, Some("")), "key_invalid"),
        ("another scheme", http()?.post(&url).header("authorization", format!("Digest {}", owner.key)), "key_invalid"),
        (
            "another app's token",
            http()?.post(&url).bearer_auth(stranger.token_for("ann", &["room:*"])?),
            "token_invalid",
        ),
    ];
    for (what, request, code) in refused {
        let answer = Answer::to(request.json(&body)).await?;
        assert_eq!((answer.status, answer.refusal()?.as_str()), (401, code), "{what}");
        assert!(answer.header("www-authenticate").is_some(), "{what}");
    }
    ann.nothing_came().await
}

/// Waits until the data plane works by an ACL that was just written: until anonymous clients may, or may not, come in.
async fn anonymous_may(owner: &Owner, expected: bool) -> Result<()> {
    eventually("the ACL arrives", async || {
        let mut client = Client::open(&owner.app_url(), "anonymous").await?;
        let answer = client.command("connect", json!({})).await?;
        Ok((answer.is_ok() == expected).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_refusal_names_the_layer_that_refused() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let weak = owner.create_key("weak", &json!({ "lobby:*": ["subscribe", "publish"], "**": ["sign"] })).await?;
    let deny =
        json!({ "pattern": "room:vault", "who": "everyone", "operations": ["subscribe", "publish"], "effect": "deny" });
    let acl = owner.replace_acl(&json!({ "rules": [deny] })).await?;
    let rule = acl["rules"][0]["id"].as_str().context("a rule has an id")?;
    anonymous_may(&owner, false).await?;

    let (weak_id, weak_secret) = parts(&weak)?;
    let of_weak = sign(Algorithm::HS256, weak_id, weak_secret, &claims())?;
    let without_cap = owner.token(&json!({ "sub": "ann" }))?;
    let full = owner.token_for("ann", &["room:*"])?;
    let reader = owner.token(&json!({ "sub": "ann", "ff": { "cap": { "room:*": ["subscribe"] } } }))?;
    // Who, what on which channel, and the layer.
    let table = [
        (&full, "subscribe", "hall:1", "token", None),
        (&full, "history", "hall:1", "token", None),
        (&reader, "publish", "room:9", "token", None),
        (&of_weak, "subscribe", "room:9", "key", None),
        (&of_weak, "publish", "room:9", "key", None),
        (&full, "subscribe", "room:vault", "acl", Some(rule)),
        (&full, "publish", "room:vault", "acl", Some(rule)),
        (&without_cap, "subscribe", "room:9", "acl", None),
    ];
    for (token, operation, channel, layer, rule) in table {
        let mut client = Client::connect(&owner.app_url(), "ann", Some(token)).await?;
        let body = match operation {
            "publish" => json!({ "channel": channel, "data": 1 }),
            _ => json!({ "channel": channel }),
        };
        let problem = client.refused(operation, body).await?;
        let told = (problem["code"].as_str(), problem["layer"].as_str(), problem["rule"].as_str());
        assert_eq!(told, (Some("forbidden"), Some(layer), rule), "{operation} on {channel}: {problem}");
        client.nothing_came().await?;
    }

    // The same over REST.
    let answer = owner.publisher_with(&weak).post("/channels/room:9/messages", &json!({ "data": 1 })).await?;
    assert_eq!((answer.refusal()?.as_str(), answer.status, &answer.body["layer"]), ("forbidden", 403, &json!("key")));
    let url = format!("{}/channels/room:vault/messages", owner.app_url());
    let answer = Answer::to(http()?.post(url).bearer_auth(&full).json(&json!({ "data": 1 }))).await?;
    assert_eq!((answer.refusal()?.as_str(), &answer.body["rule"]), ("forbidden", &json!(rule)));
    Ok(())
}

/// A key that may not sign, once the data plane knows it.
async fn key_without_sign(owner: &Owner) -> Result<String> {
    let key = owner.create_key("nosign", &json!({ "**": ["subscribe", "publish"] })).await?;
    eventually("the key arrives", async || {
        let answer = owner.publisher_with(&key).post("/channels/room:9/messages", &json!({ "data": 1 })).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    Ok(key)
}

#[tokio::test]
async fn a_token_that_nobody_signed_so_opens_nothing() -> Result<()> {
    let server = Server::start().await?;
    let (owner, stranger) = (server.sign_up().await?, server.sign_up().await?);
    let (kid, secret) = parts(&owner.key)?;
    let (other_kid, other_secret) = parts(&stranger.key)?;
    let nosign = key_without_sign(&owner).await?;
    let (nosign_kid, nosign_secret) = parts(&nosign)?;
    let with = |field: &str, value: Value| {
        let mut claims = claims();
        claims[field] = value;
        claims
    };
    let hs256 = |claims: &Value| sign(Algorithm::HS256, kid, secret, claims);
    // Signed well, under a header that is not taken.
    let of_kid = || Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
    let headed =
        |header: Header| jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret.as_bytes()));
    let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let unsigned = |header: Value, signature: &str| format!("{}.{}.{signature}", encode(&header), encode(&claims()));
    let good = hs256(&claims())?;
    let (signed, signature) = good.rsplit_once('.').context("three parts")?;
    let (header, _) = signed.split_once('.').context("three parts")?;
    let root = with("ff", json!({ "cap": { "**": ["subscribe"] } }));
    let now = unix_now();
    let table = [
        ("expired", hs256(&with("exp", json!(now - 120)))?, "token_expired", 4402),
        ("of another app", sign(Algorithm::HS256, other_kid, other_secret, &claims())?, "token_invalid", 4401),
        (
            "of another app, by this app's key id",
            sign(Algorithm::HS256, kid, other_secret, &claims())?,
            "token_invalid",
            4401,
        ),
        (
            "of a key that may not sign",
            sign(Algorithm::HS256, nosign_kid, nosign_secret, &claims())?,
            "token_revoked",
            4403,
        ),
        ("HS512", sign(Algorithm::HS512, kid, secret, &claims())?, "token_invalid", 4401),
        ("HS384", sign(Algorithm::HS384, kid, secret, &claims())?, "token_invalid", 4401),
        ("none", unsigned(json!({ "alg": "none", "typ": "JWT", "kid": kid }), ""), "token_invalid", 4401),
        ("none in capitals", unsigned(json!({ "alg": "NONE", "kid": kid }), signature), "token_invalid", 4401),
        ("shaped as RS256", unsigned(json!({ "alg": "RS256", "kid": kid }), &"A".repeat(342)), "token_invalid", 4401),
        (
            "that brings its own key",
            headed(Header { jku: Some("https://evil.test".to_owned()), ..of_kid() })?,
            "token_invalid",
            4401,
        ),
        ("without a kid", headed(Header::new(Algorithm::HS256))?, "token_invalid", 4401),
        ("other claims, the old signature", format!("{header}.{}.{signature}", encode(&root)), "token_invalid", 4401),
        ("without a signature", format!("{signed}."), "token_invalid", 4401),
        ("without exp", hs256(&json!({ "sub": "ann" }))?, "token_invalid", 4401),
        ("of more than a day", hs256(&with("exp", json!(now + 90_000)))?, "token_invalid", 4401),
        ("not valid yet", hs256(&with("nbf", json!(now + 300)))?, "token_invalid", 4401),
        ("for another audience", hs256(&with("aud", json!(stranger.app)))?, "token_invalid", 4401),
        ("that may sign", hs256(&with("ff", json!({ "cap": { "**": ["sign"] } })))?, "token_invalid", 4401),
        ("text", "not a token".to_owned(), "token_invalid", 4401),
        ("empty", String::new(), "invalid_request", 4000),
    ];
    for (what, token, code, close) in table {
        let mut client = Client::open(&owner.app_url(), what).await?;
        let problem = client.refused("connect", json!({ "token": token })).await?;
        assert_eq!(problem["code"], code, "{what}: {problem}");
        assert!(token.is_empty() || !problem.to_string().contains(&token), "{what}: the token is repeated");
        assert_eq!(client.closed().await?, (close, code.to_owned()), "{what}");
        let url = format!("{}/channels/room:9/messages", owner.app_url());
        let answer = Answer::to(http()?.get(url).bearer_auth(&token)).await?;
        assert_eq!(answer.status, 401, "{what}: {}", answer.body);
    }
    Client::connect(&owner.app_url(), "ann", Some(&good)).await.map(drop)
}

#[tokio::test]
async fn without_a_rule_for_them_clients_without_a_token_are_refused() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    // The starter ACL gives everyone `demo:**`, and nothing else.
    let mut anonymous = owner.connect_anonymous().await?;
    assert_eq!(anonymous.hello.get("user"), None);
    anonymous.subscribe("demo:hello").await?;
    let problem = anonymous.refused("subscribe", json!({ "channel": "room:9" })).await?;
    assert_eq!((&problem["layer"], problem.get("rule")), (&json!("acl"), None));

    owner.replace_acl(&json!({ "rules": [] })).await?;
    assert_eq!(anonymous.closed().await?, (4400, "token_missing".to_owned()));
    let mut late = Client::open(&owner.app_url(), "late").await?;
    assert_eq!(late.refused("connect", json!({})).await?["code"], "token_missing");
    assert_eq!(late.closed().await?, (4400, "token_missing".to_owned()));
    // Whoever has a token still comes in.
    owner.connect_as("ann", &["room:*"]).await.map(drop)
}

#[tokio::test]
async fn nothing_goes_before_connect() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let table = [
        (r#"{"id":7,"ping":{}}"#, 4016, "connect_first"),
        (r#"{"id":7,"subscribe":{"channel":"demo:hello"}}"#, 4016, "connect_first"),
        (r#"{"id":7,"publish":{"channel":"demo:hello","data":1}}"#, 4016, "connect_first"),
        (r#"{"id":7,"connekt":{}}"#, 4004, "unknown_command"),
        (r#"{"id":7,"connect":{"tokn":"x"}}"#, 4000, "invalid_request"),
    ];
    for (frame, number, code) in table {
        let mut client = Client::open(&owner.app_url(), "hasty").await?;
        // What stands behind it in the same frame is not run either.
        client.send(&format!("{frame}\n{{\"id\":8,\"connect\":{{}}}}")).await?;
        let answer = client.receive().await?;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(code)), "{frame}");
        assert_eq!(client.closed().await?, (number, code.to_owned()), "{frame}");
    }
    for (message, number, code) in [
        (Message::text("hello"), 4001, "invalid_json"),
        (Message::binary(&br#"{"id":1,"connect":{}}"#[..]), 4017, "protocol_error"),
    ] {
        let mut client = Client::open(&owner.app_url(), "no command").await?;
        client.send_raw(message).await?;
        assert_eq!(client.receive().await?["error"]["code"], code);
        assert_eq!(client.closed().await?, (number, code.to_owned()));
    }
    Ok(())
}

/// Opens a socket with headers and connects by what came with the handshake alone.
async fn connect_by(owner: &Owner, headers: &[(&str, &str)]) -> Result<(Option<String>, Value)> {
    let mut raw = Raw::handshake(&owner.app_url(), headers).await?;
    ensure!(raw.status == 101, "refused: {}", raw.head);
    let chosen = raw.header("sec-websocket-protocol").map(str::to_owned);
    raw.text(r#"{"id":1,"connect":{}}"#).await?;
    Ok((chosen, serde_json::from_slice(&raw.frame().await?.1)?))
}

#[tokio::test]
async fn a_token_may_come_with_the_handshake_and_is_never_echoed() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let token = owner.token_for("ann", &["room:*"])?;
    let (borne, offered) = (format!("Bearer {token}"), format!("fanfare.token.{token}"));
    let listed = format!("{SUBPROTOCOL}, {offered}");
    let turned = format!("{offered},{SUBPROTOCOL}");
    for headers in [
        &[("Authorization", &*borne)][..],
        &[("Sec-WebSocket-Protocol", &*listed)],
        &[("Sec-WebSocket-Protocol", &*turned)],
        &[("Sec-WebSocket-Protocol", SUBPROTOCOL), ("Sec-WebSocket-Protocol", &*offered)],
    ] {
        let (chosen, answer) = connect_by(&owner, headers).await?;
        assert_eq!(answer["ok"]["user"], "ann", "{answer}");
        assert_eq!(chosen.as_deref(), (headers[0].0 != "Authorization").then_some(SUBPROTOCOL));
    }
    // A browser's client that has a token only still speaks some protocol; an unknown one alone is refused.
    for (protocols, status) in [("chat.v1", 400), ("fanfare.v2.json", 400), (&*format!("{listed}, {offered}x"), 400)] {
        let raw = Raw::handshake(&owner.app_url(), &[("Sec-WebSocket-Protocol", protocols)]).await?;
        assert_eq!(raw.status, status, "{protocols}");
        assert!(!raw.head.contains(&token));
    }
    let bad = format!("{SUBPROTOCOL}, fanfare.token.{token}x");
    let (_, answer) = connect_by(&owner, &[("Sec-WebSocket-Protocol", &bad)]).await?;
    assert_eq!(answer["error"]["code"], "token_invalid");

    // The token in `connect` goes before the one of the handshake.
    let mut raw = Raw::handshake(&owner.app_url(), &[("Authorization", &borne)]).await?;
    let other = owner.token_for("bob", &["room:*"])?;
    raw.text(&json!({ "id": 1, "connect": { "token": other } }).to_string()).await?;
    let answer: Value = serde_json::from_slice(&raw.frame().await?.1)?;
    assert_eq!(answer["ok"]["user"], "bob");
    Ok(())
}

#[tokio::test]
async fn pages_of_other_origins_than_the_listed_ones_get_no_socket() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    // Why a page gets none, as it can read itself: over the socket. `None` when it gets one.
    let refusal = async |origin: &str| -> Result<Option<Value>> {
        let mut raw = Raw::handshake(&owner.app_url(), &[("Origin", origin)]).await?;
        assert_eq!((raw.status, raw.header("access-control-allow-credentials")), (101, None), "{origin:?}");
        raw.text(r#"{"id":1,"connect":{}}"#).await?;
        let answer: Value = serde_json::from_slice(&raw.frame().await?.1)?;
        let Some(error) = answer.get("error").cloned() else { return Ok(None) };
        assert_eq!((answer.get("id"), raw.closed().await?.0), (None, 4010), "{origin:?}: nothing it asks is answered");
        Ok(Some(error["code"].clone()))
    };
    // An app that lists none admits any.
    assert_eq!(refusal("https://anything.example").await?, None);

    let path = format!("/apps/{}", owner.app);
    let etag = owner.get(&path).await?.header("etag").context("an app has a version")?.to_owned();
    let listed = json!({ "origins": ["https://example.com", "http://localhost:3000"] });
    owner.send_if(Method::PATCH, &path, &etag, &listed).await?.ok()?;
    eventually("the list arrives", async || Ok(refusal("https://anything.example").await?.map(drop))).await?;

    for (origin, status) in [
        ("https://example.com", 101),
        ("http://localhost:3000", 101),
        ("http://example.com", 403),
        ("https://example.com.evil.test", 403),
        ("https://evil-example.com", 403),
        ("https://evil.test/https://example.com", 403),
        ("https://www.example.com", 403),
        ("https://example.com:443", 403),
        ("https://example.com:8443", 403),
        ("https://example.com.", 403),
        ("https://example.com/", 403),
        ("https://example.co", 403),
        ("https://EXAMPLE.com", 403),
        ("HTTPS://example.com", 403),
        ("https://example.com@evil.test", 403),
        ("http://localhost", 403),
        ("http://localhost:30001", 403),
        ("null", 403),
        ("", 403),
        ("https://example.com https://evil.test", 403),
    ] {
        let denied = (status == 403).then(|| json!("origin_denied"));
        assert_eq!(refusal(origin).await?, denied, "{origin:?}");
    }
    let twice = [("Origin", "https://example.com"), ("Origin", "https://evil.test")];
    assert_eq!(Raw::handshake(&owner.app_url(), &twice).await?.status, 400);
    // What is no browser says no origin and has a token to show.
    assert_eq!(Raw::handshake(&owner.app_url(), &[]).await?.status, 101);
    Ok(())
}
