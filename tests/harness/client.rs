//! A client of the native protocol that is not ours below the frames: tungstenite judges our WebSocket layer.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async};

use crate::TIMEOUT;
use crate::journals::Journals;
use crate::ledger::{Journal, Ledger, Outcome, Payload, Position, Publish};

/// The native subprotocol.
pub const SUBPROTOCOL: &str = "fanfare.v1.json";

/// A connection. What it sees is written into a journal for each channel, for the ledger to judge.
#[derive(Debug)]
pub struct Client {
    name: String,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// Pushes that came while an answer was awaited.
    pushes: VecDeque<Value>,
    journals: Journals,
    /// The answer to `connect`.
    pub hello: Value,
}

impl Client {
    /// Opens a socket to an app and does no more.
    ///
    /// # Errors
    /// When the handshake is refused.
    pub async fn open(app_url: &str, name: &str) -> Result<Self> {
        let host = app_url.split('/').nth(2).context("an app's URL has a host")?;
        Self::open_over(timeout(TIMEOUT, TcpStream::connect(host)).await??, app_url, name).await
    }

    /// As [`open`](Self::open), over a link that was made before.
    ///
    /// # Errors
    /// When the handshake is refused.
    pub async fn open_over(stream: TcpStream, app_url: &str, name: &str) -> Result<Self> {
        let url = format!("{}/socket", app_url.replacen("http", "ws", 1));
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
        let shaken = timeout(TIMEOUT, client_async(request, MaybeTlsStream::Plain(stream))).await?;
        let (socket, response) = shaken?;
        let chosen = response.headers().get("Sec-WebSocket-Protocol").map(HeaderValue::as_bytes);
        ensure!(chosen == Some(SUBPROTOCOL.as_bytes()), "the server chose another subprotocol");
        Ok(Self {
            name: name.to_owned(),
            socket,
            next_id: 1,
            pushes: VecDeque::new(),
            journals: Journals::new(name),
            hello: Value::Null,
        })
    }

    /// Opens a socket to an app and connects.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn connect(app_url: &str, name: &str, token: Option<&str>) -> Result<Self> {
        let mut client = Self::open(app_url, name).await?;
        client.introduce(token).await?;
        Ok(client)
    }

    /// Opens a socket to an app and goes on with the connection that gave this ticket out.
    ///
    /// # Errors
    /// When the ticket does not hold.
    pub async fn come_back(app_url: &str, name: &str, ticket: &str) -> Result<Self> {
        let mut client = Self::open(app_url, name).await?;
        client.hello = client.ok("connect", json!({ "resume": ticket })).await?;
        ensure!(client.hello["resumed"] == true, "{name} did not go on: {}", client.hello);
        Ok(client)
    }

    /// The ticket to come back with.
    ///
    /// # Errors
    /// When `connect` brought none.
    pub fn ticket(&self) -> Result<String> {
        Ok(self.hello["resume"].as_str().context("hello has a ticket")?.to_owned())
    }

    /// Sends `connect`.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn introduce(&mut self, token: Option<&str>) -> Result<()> {
        let body = token.map_or_else(|| json!({}), |token| json!({ "token": token }));
        self.hello = self.ok("connect", body).await?;
        Ok(())
    }

    /// Sends a command and returns its answer: `Ok` is its `ok`, `Err` its `error`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn command(&mut self, kind: &str, body: Value) -> Result<Result<Value, Value>> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "id": id, kind: &body }).to_string()).await?;
        let mut answer = self.answer(id).await.with_context(|| format!("{kind} of {}", self.name))?;
        if let Some(ok) = answer.get_mut("ok").map(Value::take) {
            self.journals.note_answer(kind, &body, &ok)?;
            return Ok(Ok(ok));
        }
        Ok(Err(answer["error"].take()))
    }

    /// Sends a command that must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ok(&mut self, kind: &str, body: Value) -> Result<Value> {
        match self.command(kind, body).await? {
            Ok(ok) => Ok(ok),
            Err(error) => bail!("{kind} of {} was refused: {error}", self.name),
        }
    }

    /// Sends a command that must be refused, and returns the problem.
    ///
    /// # Errors
    /// When it is not.
    pub async fn refused(&mut self, kind: &str, body: Value) -> Result<Value> {
        match self.command(kind, body).await? {
            Ok(ok) => bail!("{kind} of {} was not refused: {ok}", self.name),
            Err(error) => Ok(error),
        }
    }

    /// Subscribes from now on.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn subscribe(&mut self, channel: &str) -> Result<Value> {
        self.ok("subscribe", json!({ "channel": channel })).await
    }

    /// Subscribes from a position.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn resume(&mut self, channel: &str, position: &str) -> Result<Value> {
        self.ok("subscribe", json!({ "channel": channel, "position": position })).await
    }

    /// Publishes data.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn publish(&mut self, channel: &str, data: impl Into<Value>) -> Result<Value> {
        self.ok("publish", json!({ "channel": channel, "data": data.into() })).await
    }

    /// Publishes data and enters how that ended into a ledger.
    ///
    /// # Errors
    /// When the link breaks.
    pub async fn publish_into(&mut self, ledger: &mut Ledger, channel: &str, data: impl Into<Value>) -> Result<()> {
        let data = data.into();
        let payload = Payload::of(data.to_string().as_bytes());
        let outcome = match self.command("publish", json!({ "channel": channel, "data": data })).await? {
            Ok(ok) => {
                let position = ok["position"].as_str().and_then(Position::parse);
                Outcome::Acked(position.context("a position reads <lineage>.<seq>")?)
            }
            Err(_) => Outcome::Nacked,
        };
        ledger.publish(Publish { publisher: self.name.clone(), channel: channel.to_owned(), payload, outcome });
        Ok(())
    }

    /// The next push, whatever it is.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn push(&mut self) -> Result<Value> {
        if let Some(push) = self.pushes.pop_front() {
            return Ok(push);
        }
        let push = self.receive().await.with_context(|| format!("{} waits for a push", self.name))?;
        ensure!(push.get("id").is_none(), "an answer nobody waits for: {push}");
        Ok(push)
    }

    /// The next push, which must be a message of this channel: its fields.
    ///
    /// # Errors
    /// When another comes, or none in time.
    pub async fn message(&mut self, channel: &str) -> Result<Value> {
        let mut push = self.push().await?;
        let message = push.get_mut("msg").map(Value::take);
        let message = message.with_context(|| format!("{} expected a message, got {push}", self.name))?;
        ensure!(message["channel"] == channel, "{} expected a message of {channel}, got {message}", self.name);
        Ok(message)
    }

    /// Nothing was sent to this client before the answer to a ping that is sent now.
    ///
    /// # Errors
    /// When something was.
    pub async fn nothing_came(&mut self) -> Result<()> {
        self.ok("ping", json!({})).await?;
        ensure!(self.pushes.is_empty(), "{} expected nothing, got {:?}", self.name, self.pushes);
        Ok(())
    }

    /// Waits until the server closes; its number and reason. What comes before is left out.
    ///
    /// # Errors
    /// When it does not close in time, or without saying why.
    pub async fn closed(&mut self) -> Result<(u16, String)> {
        loop {
            let next = timeout(TIMEOUT, self.socket.next()).await.context("the server does not close")?;
            match next {
                Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                    return Ok((code.into(), reason.to_string()));
                }
                Some(Ok(Message::Close(None))) | None => bail!("the server closed without a reason"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Sends a text frame as it is.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        self.socket.send(Message::text(text)).await.with_context(|| format!("{} sends", self.name))
    }

    /// Sends any WebSocket message as it is.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_raw(&mut self, message: Message) -> Result<()> {
        self.socket.send(message).await.with_context(|| format!("{} sends", self.name))
    }

    /// The next text frame, answer or push, past whatever was set aside.
    ///
    /// # Errors
    /// When none comes in time, or the server closes.
    pub async fn receive(&mut self) -> Result<Value> {
        let value = loop {
            match timeout(TIMEOUT, self.socket.next()).await.context("nothing comes")? {
                Some(Ok(Message::Text(text))) => break serde_json::from_str::<Value>(&text)?,
                Some(Ok(Message::Close(frame))) => bail!("the server closed: {frame:?}"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the server closed the link"),
            }
        };
        self.journals.note_push(&value)?;
        Ok(value)
    }

    /// The next text frame, or the number and reason of the server's close.
    ///
    /// # Errors
    /// When neither comes in time.
    pub async fn receive_or_closed(&mut self) -> Result<Result<Value, (u16, String)>> {
        let value = loop {
            match timeout(TIMEOUT, self.socket.next()).await.context("nothing comes")? {
                Some(Ok(Message::Text(text))) => break serde_json::from_str::<Value>(&text)?,
                Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                    return Ok(Err((code.into(), reason.to_string())));
                }
                Some(Ok(Message::Close(None))) | None => bail!("the server closed without a reason"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        };
        self.journals.note_push(&value)?;
        Ok(Ok(value))
    }

    /// Ends the link without a word, as a lost network does. What was seen stays in the journals.
    #[must_use]
    pub fn vanish(mut self) -> Vec<Journal> {
        self.journals.end();
        self.journals.all()
    }

    /// What was seen so far, a journal for each channel.
    #[must_use]
    pub fn journals(&self) -> Vec<Journal> {
        self.journals.all()
    }

    /// Goes on with a journal that an earlier connection of the same client began.
    pub fn continue_journal(&mut self, journal: Journal) {
        self.journals.continue_with(journal);
    }

    async fn answer(&mut self, id: u64) -> Result<Value> {
        loop {
            let value = self.receive().await?;
            match value.get("id") {
                Some(other) if *other == id => return Ok(value),
                Some(_) => bail!("an answer nobody waits for: {value}"),
                None if value.get("error").is_some() => bail!("refused without an id: {value}"),
                None => self.pushes.push_back(value),
            }
        }
    }
}
