//! Plain publishes are answered without the machinery around all other requests: nobody may see a difference.

use std::collections::BTreeMap;
use std::time::Duration;

use ::harness::TIMEOUT;
use ::harness::raw::{Raw, place};
use ::harness::server::{Options, Server};
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

/// A publish as bytes; with a trailer announced it is no plain one, which changes nothing else.
fn publish(app_url: &str, channel: &str, key: &str, lines: &str, body: &str) -> Result<Vec<u8>> {
    let (host, path) = place(app_url)?;
    let key = STANDARD.encode(key);
    let length = body.len();
    Ok(format!(
        "POST {path}/channels/{channel}/messages HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
    )
    .into_bytes())
}

/// What an answer says, without what differs from one request to the next.
async fn said(raw: &mut Raw) -> Result<(u16, BTreeMap<String, String>, Value)> {
    let mut headers = BTreeMap::new();
    for line in raw.head.lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').context("a header")?;
        let differs = ["date", "x-request-id", "ratelimit", "content-length", "retry-after"].contains(&name);
        let before = headers.insert(name.to_owned(), if differs { String::new() } else { value.trim().to_owned() });
        assert_eq!(before, None, "{name} is told once");
    }
    let mut body: Value = serde_json::from_str(&raw.body().await?)?;
    for name in ["id", "position", "request_id", "retry_after_ms"] {
        if let Some(value) = body.get_mut(name) {
            *value = json!(value.is_string());
        }
    }
    Ok((raw.status, headers, body))
}

#[tokio::test]
async fn a_direct_answer_is_the_one_of_every_other_door() -> Result<()> {
    let server = Server::start().await?;
    let (owner, other) = (server.sign_up().await?, server.sign_up().await?);
    let reader = owner.create_key("reader", &json!({ "**": ["history"] })).await?;
    let reading = owner.publisher_with(&reader);
    ::harness::eventually(
        "the key arrives",
        async || Ok((reading.get("/channels").await?.status != 401).then_some(())),
    )
    .await?;
    let (app, key) = (owner.app_url(), owner.key.clone());
    let long = json!({ "data": "x".repeat(70_000) }).to_string();
    let too_long = json!({ "data": "x".repeat(1024 * 1024) }).to_string();
    let unknown = format!("{}/v1/apps/app_00000000000000000000000000", server.gateway_url());
    let cases: [(&str, &str, &str, &str, u16); 13] = [
        (&app, "room:9", &key, r#"{"name":"greet","data":"hi"}"#, 200),
        (&app, "room:9", &key, &long, 200),
        (&app, "room:9", &key, &too_long, 413),
        (&app, "room:9", &key, "{}", 400),
        (&app, "room:9", &key, r#"{"data":1,"dat":2}"#, 400),
        (&app, "room:9", &key, "", 400),
        (&app, "room::9", &key, r#"{"data":1}"#, 400),
        (&app, "$stats:overview", &key, r#"{"data":1}"#, 400),
        (&app, "room:9", &reader, r#"{"data":1}"#, 403),
        (&app, "room:9", &other.key, r#"{"data":1}"#, 401),
        (&app, "room:9", "no key", r#"{"data":1}"#, 401),
        (&other.app_url(), "room:9", &key, r#"{"data":1}"#, 401),
        (&unknown, "room:9", &key, r#"{"data":1}"#, 404),
    ];
    for (app, channel, key, body, status) in cases {
        let mut direct = Raw::send(app, &publish(app, channel, key, "", body)?).await?;
        let mut whole = Raw::send(app, &publish(app, channel, key, "Trailer: x\r\n", body)?).await?;
        let (direct, whole) = (said(&mut direct).await?, said(&mut whole).await?);
        let shown = &body[..body.len().min(40)];
        assert_eq!(direct, whole, "{channel} {shown}");
        assert_eq!(direct.0, status, "{channel} {shown}: {}", direct.2);
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_may_go_from_direct_requests_to_any_other_with_none_lost() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (app, key) = (owner.app_url(), owner.key.clone());
    let numbered =
        |number: u32, lines: &str| publish(&app, "room:9", &key, lines, &json!({ "data": number }).to_string());
    // All of it in one write, a plain request last, which comes too late to be direct.
    let mut bytes = [numbered(1, "")?, numbered(2, "")?, numbered(3, "Trailer: x\r\n")?, numbered(4, "")?].concat();
    let (host, path) = place(&app)?;
    let upgrade = format!(
        "GET {path}/socket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    bytes.extend(upgrade.as_bytes());
    let mut raw = Raw::send(&app, &bytes).await?;
    for number in 1..=4 {
        if number > 1 {
            raw.answer().await?;
        }
        let body: Value = serde_json::from_str(&raw.body().await?)?;
        let position = body["position"].as_str().context("accepted")?;
        assert!(position.ends_with(&format!(".{number}")), "{body}");
    }
    raw.answer().await?;
    assert_eq!(raw.status, 101, "{}", raw.head);
    raw.text(r#"{"id":1,"ping":{}}"#).await?;
    assert!(String::from_utf8(raw.frame().await?.1)?.contains(r#""id":1"#));
    Ok(())
}

#[tokio::test]
async fn a_body_may_come_in_any_parts() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (app, key) = (owner.app_url(), owner.key.clone());
    let request = |number: usize| publish(&app, "room:9", &key, "", &json!({ "data": number }).to_string());
    let mut raw = Raw::send(&app, &request(0)?).await?;
    raw.body().await?;
    let whole = request(1)?;
    // From a cut inside the first word to one before the last byte.
    for (number, cut) in (1..whole.len()).step_by(23).chain([whole.len() - 1]).enumerate() {
        let bytes = request(number + 1)?;
        let (first, rest) = bytes.split_at(cut.min(bytes.len() - 1));
        raw.write(first).await?;
        tokio::task::yield_now().await;
        raw.write(rest).await?;
        raw.answer().await?;
        let body: Value = serde_json::from_str(&raw.body().await?)?;
        let position = body["position"].as_str().context("accepted")?;
        assert!(position.ends_with(&format!(".{}", number + 2)), "cut at {cut}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_drips_is_ended_as_any_other() -> Result<()> {
    let server = Server::start_with(Options::default().with("FANFARE_GATEWAY__BODY_TIMEOUT_MS", 1_000)).await?;
    let owner = server.sign_up().await?;
    let app = owner.app_url();
    let whole = publish(&app, "room:9", &owner.key, "", &json!({ "data": "x".repeat(5_000) }).to_string())?;
    let begins = whole.len() - 5_000;
    let (mut reader, mut writer) = TcpStream::connect(place(&app)?.0).await?.into_split();
    writer.write_all(&whole[..begins]).await?;
    // A byte at a time, often enough that no single wait is long: all of it would take minutes.
    let dripping = async {
        let mut drops = interval(Duration::from_millis(100));
        for byte in &whole[begins..] {
            drops.tick().await;
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        anyhow::bail!("the connection took all of it, or ended without an answer")
    };
    let mut head = [0; 12];
    tokio::select! {
        read = timeout(TIMEOUT, reader.read_exact(&mut head)) => read.context("no answer")??,
        ended = dripping => return ended,
    };
    assert_eq!(&head, b"HTTP/1.1 400");
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_revoked_ends_on_a_connection_that_it_is_remembered_on() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let key = owner.create_key("short", &json!({ "**": ["publish"] })).await?;
    let app = owner.app_url();
    let bytes = publish(&app, "room:9", &key, "", r#"{"data":1}"#)?;
    let mut raw = Raw::send(&app, &bytes).await?;
    raw.body().await?;
    ::harness::eventually("the key arrives", async || {
        raw.write(&bytes).await?;
        raw.answer().await?;
        raw.body().await?;
        Ok((raw.status == 200).then_some(()))
    })
    .await?;
    let id = key.split(':').next().context("a key has an id")?;
    owner.post(&format!("/apps/{}/keys/{id}/revoke", owner.app), &json!({})).await?.ok()?;
    ::harness::eventually("the key ends", async || {
        raw.write(&bytes).await?;
        raw.answer().await?;
        raw.body().await?;
        Ok((raw.status == 401).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_server_that_stops_ends_idle_connections_of_publishers_at_once() -> Result<()> {
    let mut server = Server::start().await?;
    let owner = server.sign_up().await?;
    let app = owner.app_url();
    let mut raw = Raw::send(&app, &publish(&app, "room:9", &owner.key, "", r#"{"data":1}"#)?).await?;
    assert_eq!(raw.status, 200);
    raw.body().await?;
    server.stop().await?;
    assert!(raw.ended().await?);
    Ok(())
}
