//! A client of networks that break WebSockets: it polls, or reads a stream, and carries its ticket.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail, ensure};
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::TIMEOUT;
use crate::answer::{Answer, http};
use crate::journals::Journals;
use crate::ledger::Journal;

/// The media type of lines of JSON.
pub const LINES: &str = "application/x-ndjson";

/// A client that is connected by one request after the other. What it takes is written into a journal for each channel.
#[derive(Debug, Clone)]
pub struct Carried {
    app_url: String,
    http: reqwest::Client,
    /// What goes with every request.
    pub headers: HeaderMap,
    /// The ticket of the last answer.
    pub ticket: Option<String>,
    journals: Journals,
    next_id: u64,
}

/// What one poll was answered.
#[derive(Debug, Clone, Default)]
pub struct Polled {
    /// Answers and pushes.
    pub frames: Vec<Value>,
    /// The ticket behind them.
    pub ticket: Option<String>,
    /// The end, where it was one: its number and reason.
    pub closed: Option<(u64, String)>,
}

impl Carried {
    /// Nobody yet.
    ///
    /// # Errors
    /// When the TLS stack is broken.
    pub fn new(app_url: &str, name: &str) -> Result<Self> {
        let (app_url, http, headers) = (app_url.to_owned(), http()?, HeaderMap::new());
        Ok(Self { app_url, http, headers, ticket: None, journals: Journals::new(name), next_id: 1 })
    }

    /// Has the next request go to this node.
    pub fn go_to(&mut self, app_url: &str) {
        app_url.clone_into(&mut self.app_url);
    }

    /// Connects by a poll.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn connect(app_url: &str, name: &str, token: Option<&str>) -> Result<Self> {
        let mut client = Self::new(app_url, name)?;
        let body = token.map_or_else(|| json!({}), |token| json!({ "token": token }));
        client.command("connect", body).await?;
        Ok(client)
    }

    /// The request for one of the three doors: `stream`, `poll` or `commands`.
    pub fn request(&self, door: &str, ticket: Option<&str>, commands: &[Value]) -> RequestBuilder {
        let ticket = ticket.map(|ticket| json!({ "ticket": ticket }));
        let lines = ticket.iter().chain(commands).map(|line| format!("{line}\n"));
        let request = self.http.post(format!("{}/{door}", self.app_url)).headers(self.headers.clone());
        request.header("content-type", LINES).body(lines.collect::<String>())
    }

    /// Sends commands with a poll, or polls without, and takes the answer.
    ///
    /// # Errors
    /// When the poll is refused.
    pub async fn poll(&mut self, commands: &[Value]) -> Result<Polled> {
        self.poll_for("poll", commands).await
    }

    /// Takes what is there, and waits for nothing.
    ///
    /// # Errors
    /// When the poll is refused.
    pub async fn look(&mut self) -> Result<Polled> {
        self.poll_for("poll?wait_ms=0", &[]).await
    }

    async fn poll_for(&mut self, door: &str, commands: &[Value]) -> Result<Polled> {
        let polled = self.peek(door, commands).await?;
        self.take(&polled, commands)?;
        Ok(polled)
    }

    /// Polls, and goes on as if no answer had come.
    ///
    /// # Errors
    /// When the poll is refused.
    pub async fn peek(&self, door: &str, commands: &[Value]) -> Result<Polled> {
        let answer = Answer::to(self.request(door, self.ticket.as_deref(), commands)).await?;
        ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);
        let lines = lines(answer)?;
        Polled::of(lines)
    }

    /// Goes on behind an answer.
    ///
    /// # Errors
    /// When it is none.
    pub fn take(&mut self, polled: &Polled, commands: &[Value]) -> Result<()> {
        for frame in &polled.frames {
            self.note(frame, commands)?;
        }
        self.ticket = polled.ticket.clone().or(self.ticket.take());
        Ok(())
    }

    fn note(&mut self, frame: &Value, commands: &[Value]) -> Result<()> {
        if let Some(id) = frame.get("id") {
            let command = commands.iter().find(|command| command["id"] == *id).context("it was asked")?;
            let kind = command.as_object().and_then(|command| command.keys().find(|key| *key != "id"));
            let kind = kind.context("a command has a name")?;
            return match frame.get("ok") {
                Some(ok) => self.journals.note_answer(kind, &command[kind], ok),
                None => Ok(()),
            };
        }
        self.journals.note_push(frame)
    }

    /// A command with a number of its own.
    pub fn numbered(&mut self, kind: &str, body: Value) -> Value {
        self.next_id += 1;
        json!({ "id": self.next_id, kind: body })
    }

    /// Sends a command with a poll, which must succeed; its answer, and the pushes that came along.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn command(&mut self, kind: &str, body: Value) -> Result<(Value, Vec<Value>)> {
        let command = self.numbered(kind, body);
        let Polled { mut frames, .. } = self.poll(std::slice::from_ref(&command)).await?;
        let at = frames.iter().position(|frame| frame["id"] == command["id"]).context("it is answered")?;
        let mut answer = frames.remove(at);
        ensure!(answer.get("ok").is_some(), "{command} was refused: {answer}");
        Ok((answer["ok"].take(), frames))
    }

    /// What was taken so far, a journal for each channel.
    #[must_use]
    pub fn journals(&self) -> Vec<Journal> {
        self.journals.all()
    }

    /// Opens a stream that goes on with the ticket.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn stream(&self, commands: &[Value]) -> Result<Lines> {
        let request = self.request("stream", self.ticket.as_deref(), commands);
        let response = timeout(TIMEOUT, request.send()).await.context("no answer to a stream")??;
        ensure!(response.status() == 200, "a stream is refused: {} {}", response.status(), response.text().await?);
        Ok(Lines { response, rest: Vec::new(), ready: VecDeque::new() })
    }

    /// Takes from a stream until a ticket stands behind it: everything before.
    ///
    /// # Errors
    /// When the stream ends before.
    pub async fn take_from(&mut self, stream: &mut Lines, commands: &[Value]) -> Result<Vec<Value>> {
        let mut frames = Vec::new();
        loop {
            let line = stream.next().await?.context("the stream ended without a ticket")?;
            if let Some(ticket) = line["ticket"].as_str() {
                let polled = Polled { frames, ticket: Some(ticket.to_owned()), closed: None };
                self.take(&polled, commands)?;
                return Ok(polled.frames);
            }
            frames.push(line);
        }
    }
}

/// The lines of an answer.
///
/// # Errors
/// When it was refused, or holds something else.
pub fn lines(answer: Answer) -> Result<Vec<Value>> {
    ensure!(answer.status < 400 && answer.header("content-type") == Some(LINES), "{answer:?}");
    match answer.body {
        // One line is JSON by itself.
        Value::Object(_) => Ok(vec![answer.body]),
        Value::Null => Ok(Vec::new()),
        Value::String(text) => text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect(),
        other => bail!("no lines: {other}"),
    }
}

impl Polled {
    fn of(lines: Vec<Value>) -> Result<Self> {
        let mut polled = Self::default();
        for line in lines {
            ensure!(polled.ticket.is_none() && polled.closed.is_none(), "something stands behind the end: {line}");
            if let Some(ticket) = line["ticket"].as_str() {
                polled.ticket = Some(ticket.to_owned());
            } else if let Some(close) = line.get("close") {
                let number = close["status"].as_u64().context("a close has a number")?;
                polled.closed = Some((number, close["reason"].as_str().unwrap_or_default().to_owned()));
            } else {
                polled.frames.push(line);
            }
        }
        ensure!(polled.ticket.is_some() != polled.closed.is_some(), "a poll ends with a ticket or a close");
        Ok(polled)
    }
}

/// A stream's lines.
#[derive(Debug)]
pub struct Lines {
    response: Response,
    rest: Vec<u8>,
    ready: VecDeque<Value>,
}

impl Lines {
    /// The next line that says something; nothing when the stream has ended.
    ///
    /// # Errors
    /// When it breaks, or nothing comes in time.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let Some(part) = timeout(TIMEOUT, self.response.chunk()).await.context("nothing comes")?? else {
                ensure!(self.rest.is_empty(), "the stream ended inside a line");
                return Ok(None);
            };
            self.rest.extend_from_slice(&part);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.len() > 1 {
                    self.ready.push_back(serde_json::from_slice(&line)?);
                }
            }
        }
    }
}
