//! Every command of the native protocol, with the victim's channels and positions, by whoever is not the victim.

use anyhow::{Context, Result, ensure};
use fanfare_protocol::native::CommandKind;
use futures_util::StreamExt as _;
use harness::TIMEOUT;
use harness::client::Client;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::rest::{forged_token, revoked_token, strangers_token};
use super::world::{CHANNEL, World};

/// A command with the victim's ids, and what comes of it.
struct Row {
    command: &'static str,
    body: fn(&World) -> Result<Value>,
    /// On a connection to the victim's app that has no token.
    anonymous: Outcome,
    /// On a connection to the stranger's own app, with every right there.
    at_home: Outcome,
}

/// What comes of a command.
enum Outcome {
    /// The error's code.
    Refused(&'static str),
    /// It is done, for whoever asks and in their app alone.
    Own,
}

use Outcome::{Own, Refused};

const ROWS: &[Row] = &[
    Row {
        command: "connect",
        body: |world| Ok(json!({ "token": forged_token(world)? })),
        anonymous: Refused("conflict"),
        at_home: Refused("conflict"),
    },
    Row {
        command: "refresh",
        body: |world| Ok(json!({ "token": forged_token(world)? })),
        anonymous: Refused("token_invalid"),
        at_home: Refused("token_invalid"),
    },
    Row {
        command: "subscribe",
        body: |world| Ok(json!({ "channel": CHANNEL, "position": world.position })),
        anonymous: Refused("forbidden"),
        at_home: Refused("invalid_position"),
    },
    Row {
        command: "unsubscribe",
        body: |_| Ok(json!({ "channel": CHANNEL })),
        anonymous: Refused("not_subscribed"),
        at_home: Refused("not_subscribed"),
    },
    Row {
        command: "publish",
        body: |_| Ok(json!({ "channel": CHANNEL, "data": "mallorys" })),
        anonymous: Refused("forbidden"),
        at_home: Own,
    },
    Row {
        command: "presence",
        body: |_| Ok(json!({ "channel": CHANNEL, "action": "get" })),
        anonymous: Refused("forbidden"),
        at_home: Own,
    },
    Row {
        command: "history",
        body: |world| Ok(json!({ "channel": CHANNEL, "from": world.position })),
        anonymous: Refused("forbidden"),
        at_home: Refused("invalid_position"),
    },
    Row { command: "ping", body: |_| Ok(json!({})), anonymous: Own, at_home: Own },
];

fn row(command: &str) -> Result<&'static Row> {
    let row = ROWS.iter().find(|row| row.command == command);
    row.with_context(|| format!("the command {command} has no row in isolation/socket.rs"))
}

#[tokio::test]
async fn no_command_serves_a_stranger() -> Result<()> {
    let mut world = World::new().await?;
    let before = world.state().await?;
    for command in CommandKind::NAMES {
        let Row { body, anonymous, at_home, .. } = row(command)?;
        let body = body(&world)?;
        without_connecting(&world, command, &body).await.with_context(|| format!("{command} before connect"))?;
        let nobody = world.victim.connect_anonymous().await?;
        judge(&world, nobody, (command, &body), anonymous).await.with_context(|| format!("{command} by nobody"))?;
        let stranger = world.stranger.connect_as("mallory", &["**"]).await?;
        judge(&world, stranger, (command, &body), at_home).await.with_context(|| format!("{command} at home"))?;
        ensure!(world.state().await? == before, "{command} changed something of the victim's");
    }
    assert_eq!(ROWS.len(), CommandKind::NAMES.len(), "a row is of no command");
    Ok(())
}

/// Sends the command on a fresh connection of somebody, who is told no more than the outcome says.
async fn judge(world: &World, mut client: Client, (command, body): (&str, &Value), outcome: &Outcome) -> Result<()> {
    let answer = client.command(command, body.clone()).await?;
    match (outcome, &answer) {
        (Refused(code), Err(error)) => ensure!(error["code"] == *code, "expected {code}, got {error}"),
        (Own, Ok(_)) => {}
        _ => anyhow::bail!("it was answered {answer:?}"),
    }
    world.tells_nothing(&format!("{body} {}", world.key_ids()), &format!("{answer:?}"))
}

/// Every command but `connect` is refused before it, and `connect` with whatever is not a token of the victim's app.
async fn without_connecting(world: &World, command: &str, body: &Value) -> Result<()> {
    let mut client = Client::open(&world.victim.app_url(), "mallory").await?;
    let expected = if command == "connect" { "token_invalid" } else { "connect_first" };
    let error = client.refused(command, body.clone()).await?;
    ensure!(error["code"] == expected, "expected {expected}, got {error}");
    let (_, reason) = client.closed().await?;
    ensure!(reason == expected, "the connection was closed for {reason}");
    world.tells_nothing(&format!("{body} {}", world.key_ids()), &error.to_string())
}

#[tokio::test]
async fn a_token_counts_in_its_own_app_alone_however_it_is_handed_in() -> Result<()> {
    let world = World::new().await?;
    for (what, token, code) in [
        ("the stranger's token", strangers_token(&world)?, "token_invalid"),
        ("a forged token", forged_token(&world)?, "token_invalid"),
        ("a token of a revoked key", revoked_token(&world)?, "token_revoked"),
        ("the stranger's key", world.stranger.key.clone(), "token_invalid"),
    ] {
        let mut client = Client::open(&world.victim.app_url(), "mallory").await?;
        let error = client.refused("connect", json!({ "token": token })).await?;
        assert_eq!(error["code"], code, "{what} in connect: {error}");
        world.tells_nothing(&world.key_ids(), &error.to_string())?;
        assert_eq!(client.closed().await?.1, code, "{what} in connect");
        let bearer = ("Authorization", format!("Bearer {token}"));
        let offered = ("Sec-WebSocket-Protocol", format!("fanfare.v1.json, fanfare.token.{token}"));
        for (header, value) in [bearer, offered] {
            // A key holds a colon, which no subprotocol may.
            if header.starts_with("Sec-") && value.contains(':') {
                continue;
            }
            let told = connect_with(&world.victim.app_url(), header, &value).await?;
            assert_eq!(told["error"]["code"], code, "{what} in {header}: {told}");
            world.tells_nothing(&world.key_ids(), &told.to_string())?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_ticket_counts_in_its_own_app_alone_and_only_as_it_was_given_out() -> Result<()> {
    let world = World::new().await?;
    let (mut victim, stranger) =
        (world.victim.connect_as("ann", &["**"]).await?, world.stranger.connect_as("ann", &["**"]).await?);
    let (victims, strangers) = (victim.ticket()?, stranger.ticket()?);
    let anonymous = world.stranger.connect_anonymous().await?.ticket()?;
    let token = world.victim.token_for("mallory", &["demo:**"])?;
    let app_url = world.victim.app_url();
    let altered = format!("{}{}", &victims[..victims.len() - 1], if victims.ends_with('A') { 'Q' } else { 'A' });
    let cut = victims[..victims.len() / 2].to_owned();
    for (what, ticket) in [
        ("the stranger's ticket", &strangers),
        ("an anonymous ticket of the stranger's app", &anonymous),
        ("an altered ticket", &altered),
        ("half a ticket", &cut),
        ("a token", &token),
        ("the stranger's key", &world.stranger.key),
    ] {
        let mut client = Client::open(&app_url, "mallory").await?;
        let error = client.refused("connect", json!({ "resume": ticket })).await?;
        assert_eq!(error["code"], "resume_invalid", "{what}: {error}");
        assert_eq!(client.closed().await?, (4405, "resume_invalid".to_owned()), "{what}");
        world.tells_nothing(&world.key_ids(), &error.to_string())?;
    }
    // Beside a good token they change nothing: who comes is somebody new. The victim's own names another user.
    for ticket in [&strangers, &altered, &victims] {
        let mut client = Client::open(&app_url, "mallory").await?;
        let hello = client.ok("connect", json!({ "token": token, "resume": ticket })).await?;
        assert_eq!((&hello["resumed"], &hello["user"]), (&json!(false), &json!("mallory")));
        assert_ne!(hello["connection"], victim.hello["connection"]);
    }
    // Nobody of them took the victim's place.
    victim.nothing_came().await?;
    let mut client = Client::open(&world.stranger.app_url(), "mallory").await?;
    assert_eq!(client.refused("connect", json!({ "resume": victims })).await?["code"], "resume_invalid");
    Ok(())
}

/// What `connect` without a token is answered after a handshake with this header.
async fn connect_with(app_url: &str, header: &'static str, value: &str) -> Result<Value> {
    let mut request = format!("{}/socket", app_url.replacen("http", "ws", 1)).into_client_request()?;
    request.headers_mut().insert(header, HeaderValue::from_str(value)?);
    let (mut socket, _) = timeout(TIMEOUT, connect_async(request)).await??;
    futures_util::SinkExt::send(&mut socket, Message::text(r#"{"id":1,"connect":{}}"#)).await?;
    let frame = timeout(TIMEOUT, socket.next()).await?.context("an answer comes")??;
    Ok(serde_json::from_str(frame.to_text()?)?)
}
