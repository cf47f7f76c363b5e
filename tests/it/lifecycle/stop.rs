//! A stop that an operator asks for.

use ::harness::raw::{CLOSE, Raw, TEXT, frame};
use ::harness::server::{Options, Server};
use ::harness::{TIMEOUT, eventually};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const IN_FLIGHT: u64 = 20;

/// A socket of ann's, connected and subscribed to `room:9`.
async fn ann(app_url: &str, token: &str) -> Result<Raw> {
    let mut raw = Raw::open(app_url).await?;
    raw.text(&json!({ "id": 1, "connect": { "token": token } }).to_string()).await?;
    raw.text(r#"{"id":2,"subscribe":{"channel":"room:9"}}"#).await?;
    for _ in 0..2 {
        let answer: Value = serde_json::from_slice(&raw.frame().await?.1)?;
        answer.get("ok").with_context(|| answer.to_string())?;
    }
    Ok(raw)
}

/// Everything until the server closes, and its close frame's number and reason.
async fn until_close(raw: &mut Raw) -> Result<(Vec<Value>, u16, String)> {
    let mut seen = Vec::new();
    loop {
        match raw.frame().await? {
            (TEXT, text) => seen.push(serde_json::from_slice(&text)?),
            (CLOSE, payload) if payload.len() > 2 => {
                let number = u16::from_be_bytes([payload[0], payload[1]]);
                // The server need not wait for us any more.
                raw.write(&frame(CLOSE, &payload)).await?;
                return Ok((seen, number, String::from_utf8(payload[2..].to_vec())?));
            }
            (first, _) => bail!("an unexpected frame {first:#x}"),
        }
    }
}

#[tokio::test]
async fn a_stop_finishes_what_was_begun_and_tells_clients_to_move() -> Result<()> {
    let mut server = Server::start_with(Options::default().with("FANFARE_STOP__DRAIN_MS", 5_000)).await?;
    let owner = server.sign_up().await?;
    let token = owner.token_for("ann", &["room:*"])?;
    let (mut reader, mut writer) = (ann(&owner.app_url(), &token).await?, ann(&owner.app_url(), &token).await?);
    let mut silent = owner.connect_anonymous().await?;

    // A request that is half sent when the stop begins.
    let host = server.gateway_url().trim_start_matches("http://").to_owned();
    let body = json!({ "data": "half" }).to_string();
    let (early, late) = body.split_at(body.len() / 2);
    let head = format!(
        "POST /v1/apps/{}/channels/room:9/messages HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{early}",
        owner.app,
        STANDARD.encode(&owner.key),
        body.len()
    );
    let mut request = TcpStream::connect(&host).await?;
    request.write_all(head.as_bytes()).await?;

    // Publishes that are on their way: the first answer shows that the server has them.
    let publish = |id| format!(r#"{{"id":{id},"publish":{{"channel":"room:9","data":{id}}}}}"#);
    let all: Vec<u8> = (100..100 + IN_FLIGHT).flat_map(|id| frame(TEXT, publish(id).as_bytes())).collect();
    writer.write(&all).await?;
    let mut answers = vec![serde_json::from_slice(&writer.frame().await?.1)?];
    server.platform().signal("TERM")?;

    let (rest, number, reason) = until_close(&mut writer).await?;
    assert_eq!((number, reason.as_str()), (4200, "moving"));
    answers.extend(rest);
    let acked = answers.iter().filter(|answer: &&Value| answer.pointer("/ok/position").is_some()).count();
    assert_eq!(acked as u64, IN_FLIGHT, "what reached the server is acknowledged: {answers:?}");
    assert_eq!(silent.closed().await?, (4200, "moving".to_owned()));
    drop(silent);
    let (seen, number, _) = until_close(&mut reader).await?;
    let heard = seen.iter().filter(|push| push.get("msg").is_some()).count();
    assert_eq!((heard as u64, number), (IN_FLIGHT, 4200), "what is acknowledged is delivered: {seen:?}");

    request.write_all(late.as_bytes()).await?;
    let mut answer = String::new();
    timeout(TIMEOUT, request.read_to_string(&mut answer)).await.context("the request is not answered")??;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""position""#), "{answer}");

    assert_eq!(server.ended().await?, 0);
    assert!(TcpStream::connect(&host).await.is_err(), "nobody listens any more");
    Ok(())
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_a_second_signal_ends_it_at_once() -> Result<()> {
    let mut server = Server::start_with(Options::default().with("FANFARE_STOP__DRAIN_MS", 600_000)).await?;
    let owner = server.sign_up().await?;
    // It never reads, so it does not answer the close.
    let stuck = Raw::open(&owner.app_url()).await?;
    server.platform().signal("TERM")?;
    eventually("readiness says that it stops", async || {
        let answer = server.ready().await?;
        Ok((answer.status == 503 && answer.body["reasons"].to_string().contains("stopping")).then_some(()))
    })
    .await?;
    server.platform().signal("TERM")?;
    assert_eq!(server.ended().await?, 0);
    drop(stuck);
    Ok(())
}
