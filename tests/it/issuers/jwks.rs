//! Fetching keys from a real TLS server that misbehaves in every way it can.

use ::harness::eventually;
use ::harness::jwks::{Mode, Sink};
use ::harness::owner::Owner;
use ::harness::server::{Options, Server};
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{ED, RSA, connect, create, path, refused};

/// A server that trusts the sink's certificate, and may ask it; failures and unknown keys are tried again soon.
fn options(sink: &Sink) -> Options {
    guarded(sink).with("FANFARE_JWKS__HOSTS_ALLOWED", r#"["localhost"]"#).with("FANFARE_JWKS__FETCH_APART_MS", 300)
}

/// A server that trusts the sink's certificate, and would ask it if addresses of this machine were public.
fn guarded(sink: &Sink) -> Options {
    Options::default().with("SSL_CERT_FILE", sink.certificate()).with("FANFARE_JWKS__TIMEOUT_MS", 1_500)
}

fn keys(keys: &[Value]) -> Mode {
    Mode::Document(json!({ "keys": keys }))
}

async fn state(owner: &Owner, issuer: &Value) -> Result<Value> {
    Ok(owner.get(&path(owner, issuer)).await?.ok()?["jwks"].clone())
}

/// What went wrong with the issuer's keys, once something has.
async fn error(owner: &Owner, issuer: &Value) -> Result<String> {
    eventually("the fetch fails", async || Ok(state(owner, issuer).await?["error"].as_str().map(str::to_owned))).await
}

#[tokio::test]
async fn keys_are_fetched_rotate_and_serve_on_while_their_server_is_away() -> Result<()> {
    let sink = Sink::start(keys(&[ED.jwk("k1")?, json!({ "kty": "oct", "k": "AA", "kid": "k9" })])).await?;
    let mut server = Server::start_with(options(&sink)).await?;
    let owner = server.sign_up().await?;
    let issuer = create(&owner, json!({ "jwks_url": sink.url(), "algorithms": ["EdDSA", "RS256"] })).await?;
    let first = ED.sign(Some("k1"), &json!({ "sub": "ann" }))?;
    let mut ann = connect(&owner, "ann", &first).await?;
    let told = state(&owner, &issuer).await?;
    assert_eq!(told["keys"], json!([{ "kid": "k1", "algorithm": "EdDSA" }]), "{told}");
    assert!(told["fetched_at"].is_string() && told.get("error").is_none(), "{told}");

    // Rotation: a token with the new name makes the keys be fetched again, and then holds. Who is in stays in.
    sink.set(keys(&[RSA.jwk("k2")?]));
    let second = RSA.sign(Some("k2"), &json!({ "sub": "bob" }))?;
    assert_eq!(refused(&owner, &second).await?, "token_invalid");
    connect(&owner, "bob", &second).await?;
    assert_eq!(refused(&owner, &first).await?, "token_invalid", "the old key is gone");
    ann.nothing_came().await?;

    // Down: what was fetched serves on, also after a restart of the node (F48).
    sink.set(Mode::Down);
    assert_eq!(refused(&owner, &first).await?, "token_invalid");
    assert!(error(&owner, &issuer).await?.contains("cannot be reached"));
    for _ in 0..20 {
        connect(&owner, "bob", &second).await?;
    }
    let told = state(&owner, &issuer).await?;
    assert_eq!(told["keys"][0]["kid"], "k2", "what was found last is still shown: {told}");
    eventually("the snapshot holds the keys", async || {
        Ok(server.data().join("snapshot.sealed").exists().then_some(()))
    })
    .await?;
    server.stop().await?;
    server.launch().await?;
    connect(&owner, "bob", &second).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_misbehaves_is_named_and_costs_nothing() -> Result<()> {
    let elsewhere = Sink::start(keys(&[ED.jwk("k1")?])).await?;
    let sink = Sink::start(Mode::Redirect(elsewhere.url())).await?;
    let server = Server::start_with(options(&sink)).await?;
    let owner = server.sign_up().await?;
    let many: Vec<Value> = (0..101).map(|n| json!({ "kty": "EC", "kid": n.to_string() })).collect();
    let token = ED.sign(Some("k1"), &json!({ "sub": "ann" }))?;
    for (mode, said) in [
        (Mode::Redirect(elsewhere.url()), "redirect"),
        (Mode::Redirect("http://169.254.169.254/latest/meta-data".to_owned()), "redirect"),
        (Mode::Status(404), "404"),
        (Mode::Status(500), "500"),
        (Mode::Drip, "no complete answer came within 1.5 s"),
        (Mode::Huge, "256 KiB"),
        (Mode::Endless, "256 KiB"),
        (Mode::Down, "cannot be reached"),
        (Mode::Document(json!("<html>")), "no JWKS"),
        (keys(&many), "101 keys"),
        (keys(&[]), "no key"),
        (keys(&[json!({ "kty": "oct", "k": "AA", "kid": "k1" })]), "no key"),
    ] {
        sink.set(mode.clone());
        let issuer = create(&owner, json!({ "jwks_url": sink.url() })).await?;
        let error = error(&owner, &issuer).await?;
        assert!(error.contains(said), "{mode:?}: {error}");
        assert_eq!(refused(&owner, &token).await?, "issuer_unavailable", "{mode:?}");
        owner.send(reqwest::Method::DELETE, &path(&owner, &issuer), &json!({})).await?;
    }
    assert_eq!(elsewhere.connects(), 0, "no redirect is followed");
    // What was poured at the server is what fits into sockets on the way, not a gigabyte.
    assert!(sink.sent() < 32 * 1024 * 1024, "{} bytes were taken", sink.sent());
    Ok(())
}

#[tokio::test]
async fn addresses_that_are_not_public_are_never_asked() -> Result<()> {
    let sink = Sink::start(keys(&[ED.jwk("k1")?])).await?;
    let server = Server::start_with(guarded(&sink)).await?;
    let owner = server.sign_up().await?;
    let port = sink.url().rsplit_once(':').and_then(|(_, rest)| rest.split('/').next().map(str::to_owned));
    let port = port.context("the sink has a port")?;
    for (url, said) in [
        (sink.url(), "only 443"),
        (format!("https://127.0.0.1:{port}/keys"), "only 443"),
        ("https://localhost/keys".to_owned(), "not public"),
        ("https://127.0.0.1/keys".to_owned(), "not public"),
        ("https://169.254.169.254/latest/meta-data".to_owned(), "not public"),
        ("https://10.0.0.1/keys".to_owned(), "not public"),
        ("https://[::1]/keys".to_owned(), "not public"),
        ("https://[::ffff:127.0.0.1]/keys".to_owned(), "not public"),
        ("https://[fd00:ec2::254]/keys".to_owned(), "not public"),
        ("https://no-such-host.invalid/keys".to_owned(), "resolved"),
    ] {
        let issuer = create(&owner, json!({ "jwks_url": url })).await?;
        let error = error(&owner, &issuer).await?;
        assert!(error.contains(said), "{url}: {error}");
        owner.send(reqwest::Method::DELETE, &path(&owner, &issuer), &json!({})).await?;
    }
    assert_eq!(sink.connects(), 0);
    Ok(())
}

#[tokio::test]
async fn a_flood_of_unknown_keys_fetches_at_most_once_a_minute() -> Result<()> {
    let sink = Sink::start(keys(&[ED.jwk("k1")?])).await?;
    // As shipped: a minute apart.
    let server = Server::start_with(options(&sink).with("FANFARE_JWKS__FETCH_APART_MS", 60_000)).await?;
    let owner = server.sign_up().await?;
    create(&owner, json!({ "jwks_url": sink.url() })).await?;
    let good = ED.sign(Some("k1"), &json!({ "sub": "ann" }))?;
    connect(&owner, "ann", &good).await?;
    let url = format!("{}/channels/room:1/messages", owner.app_url());
    let http = reqwest::Client::new();
    for round in 0..20 {
        let tokens = (0..100).map(|n| ED.sign(Some(&format!("k-{round}-{n}")), &json!({ "sub": "ann" })));
        let tokens: Vec<String> = tokens.collect::<Result<_>>()?;
        let asked = tokens.iter().map(|token| http.get(&url).bearer_auth(token).send());
        for answer in futures_util::future::try_join_all(asked).await? {
            assert_eq!(answer.status(), 401);
        }
    }
    connect(&owner, "ann", &good).await?;
    assert_eq!(sink.connects(), 1, "2,000 tokens with unknown keys made it be asked again");
    Ok(())
}

#[tokio::test]
async fn nothing_in_a_token_makes_the_server_ask_anybody() -> Result<()> {
    let (own, evil) = (Sink::start(keys(&[ED.jwk("k1")?])).await?, Sink::start(keys(&[RSA.jwk("k1")?])).await?);
    let server = Server::start_with(options(&own)).await?;
    let owner = server.sign_up().await?;
    create(&owner, json!({ "jwks_url": own.url() })).await?;
    connect(&owner, "ann", &ED.sign(Some("k1"), &json!({ "sub": "ann" }))?).await?;
    let url = evil.url();
    let host = url.trim_start_matches("https://").trim_end_matches("/keys").to_owned();
    for claims in [
        json!({ "iss": url }),
        json!({ "iss": format!("https://{host}"), "tenant": host, "realm": host }),
        json!({ "iss": format!("https://id.example@{host}/") }),
        json!({ "iss": format!("{url}/../keys"), "aud": url }),
        json!({ "jku": url, "x5u": url, "jwks_uri": url }),
    ] {
        assert_eq!(refused(&owner, &RSA.sign(Some("k1"), &claims)?).await?, "token_invalid", "{claims}");
        assert_eq!(refused(&owner, &RSA.sign(Some("k-new"), &claims)?).await?, "token_invalid", "{claims}");
    }
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    (header.kid, header.jku, header.x5u) = (Some("k1".to_owned()), Some(url.clone()), Some(url.clone()));
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(RSA.private)?;
    let forged = jsonwebtoken::encode(
        &header,
        &json!({ "iss": super::ISS, "aud": super::AUD, "exp": ::harness::unix_now() + 60 }),
        &key,
    )?;
    assert_eq!(refused(&owner, &forged).await?, "token_invalid");
    assert_eq!(evil.connects(), 0);
    Ok(())
}
