//! The socket by hand: frames that only hand-made clients send, and the rules of RFC 6455 about them.

use std::env;

use ::harness::client::Client;
use ::harness::owner::Owner;
use ::harness::raw::{BINARY, CLOSE, PING, PONG, Raw, TEXT, frame};
use ::harness::server::Server;
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

const CONTINUATION: u8 = 0x80;
/// Not the last frame of its message.
const MORE: u8 = 0x80;

async fn connected(owner: &Owner) -> Result<Raw> {
    let mut raw = Raw::open(&owner.app_url()).await?;
    raw.text(r#"{"id":1,"connect":{}}"#).await?;
    let (first, hello) = raw.frame().await?;
    ensure!(first == TEXT && hello.starts_with(b"{\"id\":1,\"ok\":"), "{}", String::from_utf8_lossy(&hello));
    Ok(raw)
}

async fn json(raw: &mut Raw) -> Result<Value> {
    let (first, payload) = raw.frame().await?;
    ensure!(first == TEXT, "expected a text frame, got {first:#x}");
    Ok(serde_json::from_slice(&payload)?)
}

/// The same bytes without a mask, which clients must not send.
fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, u8::try_from(payload.len()).expect("short")], payload].concat()
}

#[tokio::test]
async fn a_broken_frame_closes_the_connection_with_the_number_of_its_rule() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let ping = br#"{"id":2,"ping":{}}"#;
    let pieces = [frame(TEXT & !MORE, b"{"), frame(0, b" ").repeat(70)].concat();
    let nonminimal = [&[TEXT, 0x80 | 126, 0, 5, 0, 0, 0, 0][..], b"hello"].concat();
    let negative = [&[TEXT, 0x80 | 127][..], &[0xFF; 8], &[0; 4]].concat();
    let huge = [&[TEXT, 0x80 | 127][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    let table = [
        ("not masked", unmasked(TEXT, ping), 1002),
        ("a reserved bit", frame(TEXT | 0x40, ping), 1002),
        ("an unknown kind", frame(0x83, ping), 1002),
        ("an unknown control", frame(0x8B, b""), 1002),
        ("a ping in pieces", frame(PING & !MORE, b"x"), 1002),
        ("a long ping", frame(PING, &[b'x'; 126]), 1002),
        ("the middle of nothing", frame(CONTINUATION, b"x"), 1002),
        ("a message inside another", [frame(TEXT & !MORE, b"{"), frame(TEXT, ping)].concat(), 1002),
        ("a length in a longer form", nonminimal, 1002),
        ("a length above all", negative, 1002),
        ("a close of one byte", frame(CLOSE, &[3]), 1002),
        ("a close with a number nobody may send", frame(CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("a close whose reason is no text", frame(CLOSE, &[0x03, 0xE8, 0xFF]), 1007),
        ("a text that is none", frame(TEXT, b"{\"id\":2,\"ping\":\"\xff\"}"), 1007),
        ("a text that ends inside a letter", frame(TEXT, b"\xc3"), 1007),
        ("too many pieces", pieces, 1008),
        ("a length beyond the limit", huge, 1009),
        ("more than a message may weigh", frame(TEXT, &vec![b' '; 2 << 20]), 1009),
    ];
    for (what, bytes, number) in table {
        let mut raw = connected(&owner).await?;
        // It may be closed on us before all is sent.
        let _ = raw.write(&bytes).await;
        let (closed, reason) = raw.closed().await.context(what)?;
        assert_eq!(closed, number, "{what}: {reason}");
    }
    Ok(())
}

#[tokio::test]
async fn whole_frames_are_understood_however_they_come() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut raw = connected(&owner).await?;
    // A message in three frames with a ping between; the pong comes before or after the answer.
    let pieces = [
        frame(TEXT & !MORE, br#"{"id":2,"#),
        frame(PING, b"are you there"),
        frame(0, br#""ping":"#),
        frame(CONTINUATION, b"{}}"),
    ];
    raw.write(&pieces.concat()).await?;
    let mut both = [raw.frame().await?, raw.frame().await?];
    both.sort_unstable_by_key(|(first, _)| *first != PONG);
    assert_eq!(both[0], (PONG, b"are you there".to_vec()));
    assert!(both[1].1.starts_with(br#"{"id":2,"ok":"#));
    // A byte at a time.
    for byte in frame(TEXT, br#"{"id":3,"ping":{}}"#) {
        raw.write(&[byte]).await?;
    }
    assert_eq!(json(&mut raw).await?["id"], 3);
    // Several commands in one frame, and frames in one write.
    let lines = "{\"id\":4,\"ping\":{}}\n\n{\"id\":5,\"ping\":{}}\r\n{\"id\":6,\"ping\":{}}";
    raw.write(&[frame(TEXT, lines.as_bytes()), frame(TEXT, br#"{"id":7,"ping":{}}"#)].concat()).await?;
    for id in 4..=7 {
        assert_eq!(json(&mut raw).await?["id"], id);
    }
    // An unasked pong is nothing; binary is not spoken, and that is no reason to part.
    raw.write(&[frame(PONG, b"x"), frame(BINARY, b"x")].concat()).await?;
    assert_eq!(json(&mut raw).await?["error"]["code"], "protocol_error");
    let many = vec![r#"{"id":8,"ping":{}}"#; 65].join("\n");
    raw.text(&many).await?;
    assert_eq!(json(&mut raw).await?["error"]["code"], "invalid_request", "65 commands in one frame");
    for (wrong, id, code) in [
        (r#"{"id":0,"ping":{}}"#, Value::Null, "invalid_request"),
        (r#"{"id":9007199254740992,"ping":{}}"#, Value::Null, "invalid_request"),
        (r#"{"id":1.5,"ping":{}}"#, Value::Null, "invalid_request"),
        (r#"{"ping":{}}"#, Value::Null, "invalid_request"),
        (r#"{"id":9}"#, json!(9), "unknown_command"),
        (r#"{"id":9,"pong":{}}"#, json!(9), "unknown_command"),
        (r#"{"id":9,"ping":{},"publish":{}}"#, json!(9), "invalid_request"),
        (r#"{"id":9,"ping":{"a":1}}"#, json!(9), "invalid_request"),
        (r#"{"id":9,"connect":{}}"#, json!(9), "conflict"),
        (r#"{"id":9,"unsubscribe":{"channel":"demo:x"}}"#, json!(9), "not_subscribed"),
        (r#"{"id":9,"subscribe":{"channel":"demo: x"}}"#, json!(9), "invalid_channel"),
        (r#"{"id":9,"ping":{}"#, json!(9), "invalid_json"),
    ] {
        raw.text(wrong).await?;
        let answer = json(&mut raw).await?;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{wrong}: {answer}");
    }
    raw.write(&frame(CLOSE, &[&1000_u16.to_be_bytes()[..], b"bye"].concat())).await?;
    assert_eq!(raw.closed().await?.0, 1000);
    Ok(())
}

#[tokio::test]
async fn the_answer_to_connect_says_who_how_often_and_how_much() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let ann = owner.connect_as("ann", &["room:*"]).await?;
    let hello = &ann.hello;
    assert!(hello["connection"].as_str().is_some_and(|id| id.starts_with("con_")), "{hello}");
    assert_eq!((&hello["user"], &hello["heartbeat_ms"]), (&json!("ann"), &json!(25_000)));
    assert!(hello["expires_ms"].as_u64().is_some_and(|expires| expires / 1_000 > ::harness::unix_now()), "{hello}");
    for limit in ["message_bytes", "subscriptions"] {
        assert!(hello["limits"][limit].as_u64().is_some_and(|max| max > 0), "{hello}");
    }
    for rate in ["publish_connection", "publish_channel", "command_rate"] {
        assert!(hello["limits"][rate]["max"].is_u64() && hello["limits"][rate]["burst"].is_u64(), "{hello}");
    }
    let anonymous = owner.connect_anonymous().await?;
    assert_eq!((anonymous.hello.get("user"), anonymous.hello.get("expires_ms")), (None, None));
    assert_ne!(anonymous.hello["connection"], hello["connection"]);

    // A connection can be left out of its own message, or of somebody else's.
    let (mut ann, mut bob) = (ann, owner.connect_as("bob", &["room:*"]).await?);
    ann.subscribe("room:9").await?;
    bob.subscribe("room:9").await?;
    let body = json!({ "data": 1, "exclude": ann.hello["connection"] });
    owner.publisher().post("/channels/room:9/messages", &body).await?.ok()?;
    owner.publisher().publish("room:9", 2).await?;
    assert_eq!(
        (ann.message("room:9").await?["data"].clone(), bob.message("room:9").await?["data"].clone()),
        (json!(2), json!(1))
    );
    Ok(())
}

#[tokio::test]
async fn silence_is_probed_and_then_ended() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}", owner.app);
    let etag = owner.get(&path).await?.header("etag").context("a version")?.to_owned();
    let mut there = connected(&owner).await?;
    owner.send_if(Method::PATCH, &path, &etag, &json!({ "heartbeat_ms": 5_000 })).await?.ok()?;
    ::harness::eventually("the heartbeat arrives", async || {
        Ok((owner.connect_anonymous().await?.hello["heartbeat_ms"] == 5_000).then_some(()))
    })
    .await?;
    let (mut silent, mut answering) = (connected(&owner).await?, connected(&owner).await?);
    let mut lively = Client::connect(&owner.app_url(), "lively", None).await?;
    for raw in [&mut silent, &mut answering] {
        assert_eq!(raw.frame().await?.0, PING);
    }
    // Who was there before the change is probed as often.
    assert_eq!(there.frame().await?.0, PING);
    answering.write(&frame(PONG, b"")).await?;
    lively.nothing_came().await?;
    // Who answers goes on; who does not is closed.
    assert_eq!(silent.closed().await?, (4201, "heartbeat_timeout".to_owned()));
    if env::var_os("FANFARE_LONG").is_some() {
        assert_eq!(answering.frame().await?.0, PING);
    }
    answering.text(r#"{"id":2,"ping":{}}"#).await?;
    loop {
        if let (TEXT, payload) = answering.frame().await? {
            assert!(payload.starts_with(b"{\"id\":2,"));
            return Ok(());
        }
    }
}

#[tokio::test]
async fn who_opens_a_socket_and_says_nothing_is_let_go() -> Result<()> {
    let options = ::harness::server::Options::default().with("FANFARE_NODE__CONNECT_WITHIN_MS", 1_000);
    let server = Server::start_with(options).await?;
    let owner = server.sign_up().await?;
    let mut raw = Raw::open(&owner.app_url()).await?;
    assert_eq!(raw.closed().await?, (4202, "connect_timeout".to_owned()));
    Ok(())
}
