//! Event streams whose reader is too slow: what their `id`s say of where it is holds, whatever waits by the channel's
//! policy.

use ::harness::TIMEOUT;
use ::harness::owner::Owner;
use ::harness::publisher::messages;
use ::harness::server::Server;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::slow_policies::policy;
use super::stalling::narrow_link;
use super::text;

pub(crate) const CHANNEL: &str = "live:1";
const MESSAGES: u64 = 200;
const BYTES: usize = 48 * 1024;

/// One event stream, read by hand so that nothing reads ahead.
pub(crate) struct Stream {
    link: TcpStream,
    read: Vec<u8>,
    /// The last `id`, and the number up to which everything had come or was accounted for before it.
    id: Option<(String, u64)>,
    at: u64,
    dropped: u64,
}

impl Stream {
    pub(crate) async fn open(owner: &Owner, from: Option<&(String, u64)>) -> Result<Self> {
        let url = owner.app_url();
        let mut link = narrow_link(&url).await?;
        let (host, path) = ::harness::raw::place(&url)?;
        let token = owner.token_for("slow", &["live:*"])?;
        let mut head =
            format!("GET {path}/sse?channels={CHANNEL} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n");
        if let Some((id, _)) = from {
            head.push_str(&format!("Last-Event-ID: {id}\r\n"));
        }
        head.push_str("\r\n");
        link.write_all(head.as_bytes()).await?;
        let at = from.map_or(0, |(_, at)| *at);
        let mut stream = Self { link, read: Vec::new(), id: None, at, dropped: 0 };
        let answer = stream.block().await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(stream)
    }

    /// Whether it has said where it is.
    pub(crate) const fn is_placed(&self) -> bool {
        self.id.is_some()
    }

    /// The number up to which everything has come.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Bytes up to the next empty line.
    async fn block(&mut self) -> Result<String> {
        loop {
            for end in ["\r\n\r\n", "\n\n"] {
                if let Some(at) = self.read.windows(end.len()).position(|part| part == end.as_bytes()) {
                    let block = self.read.drain(..at + end.len()).collect();
                    return Ok(String::from_utf8(block)?);
                }
            }
            let mut part = [0; 4_096];
            let count = timeout(TIMEOUT, self.link.read(&mut part)).await.context("nothing comes")??;
            ensure!(count > 0, "the stream ended at {}", self.at);
            self.read.extend_from_slice(&part[..count]);
        }
    }

    /// Takes one event in. Every number comes once, in order, or is told to be missing.
    pub(crate) async fn event(&mut self, conflates: bool) -> Result<()> {
        let block = self.block().await?;
        for line in block.lines() {
            if let Some(id) = line.strip_prefix("id: ").or_else(|| line.strip_prefix("id:")) {
                self.id = Some((id.to_owned(), self.at));
            }
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let push: Value = serde_json::from_str(data)?;
            if let Some(gap) = push.get("gap") {
                ensure!(number(&gap["from"])? == self.at, "{gap} at {}", self.at);
                self.at = number(&gap["to"])?;
                self.dropped += gap["dropped"].as_u64().context("a number")?;
            } else if let Some(message) = push.get("msg") {
                let next = message["seq"].as_u64().context("a number")?;
                let follows = if conflates { next > self.at } else { next == self.at + 1 };
                ensure!(follows, "{next} came after {}", self.at);
                self.at = next;
            } else if push.get("recovery").is_some() || push.get("error").is_some() {
                bail!("nothing may be lost here: {push}");
            }
        }
        Ok(())
    }
}

fn number(position: &Value) -> Result<u64> {
    Ok(text(position)?.rsplit_once('.').context("a position reads <lineage>.<seq>")?.1.parse()?)
}

#[tokio::test]
async fn a_stream_that_is_cut_while_messages_wait_continues_behind_what_came() -> Result<()> {
    let server = Server::start().await?;
    for slow in ["recover", "drop_oldest", "conflate"] {
        let owner = server.sign_up().await?;
        policy(&owner, slow).await?;
        let conflates = slow == "conflate";
        let mut stream = Stream::open(&owner, None).await?;
        let publisher = owner.publisher();
        for number in 1..=MESSAGES {
            let (data, key) = (format!("{number}:{}", "x".repeat(BYTES)), format!("key-{}", number % 3));
            publisher.post(&messages(CHANNEL), &json!({ "data": data, "key": key })).await?.ok()?;
        }
        // It reads a little of what is on its way, and is cut while the rest waits.
        while stream.at < 5 || stream.id.as_ref().is_none_or(|(_, at)| *at < 5) {
            stream.event(conflates).await?;
        }
        ensure!(stream.at < MESSAGES / 2, "{slow}: nothing waits at {}", stream.at);
        let id = stream.id.take().context("an id came")?;
        drop(stream);
        let mut again = Stream::open(&owner, Some(&id)).await?;
        while again.at < MESSAGES {
            again.event(conflates).await?;
        }
        ensure!(again.dropped == 0, "{slow}: history has everything");
    }
    Ok(())
}

#[tokio::test]
async fn a_slow_stream_of_a_channel_that_drops_is_told_how_many_and_reaches_the_newest() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    policy(&owner, "drop_oldest").await?;
    let mut stream = Stream::open(&owner, None).await?;
    let publisher = owner.publisher();
    for number in 1..=2 * MESSAGES {
        let data = format!("{number}:{}", "x".repeat(BYTES));
        publisher.post(&messages(CHANNEL), &json!({ "data": data })).await?.ok()?;
    }
    while stream.at < 2 * MESSAGES {
        stream.event(false).await?;
    }
    ensure!(stream.dropped > 0, "nothing was let go");
    // What it says of where it is, is the end of all that.
    publisher.publish(CHANNEL, "newest").await?;
    while stream.id.as_ref().is_none_or(|(_, at)| *at <= 2 * MESSAGES) {
        stream.event(false).await?;
    }
    let id = stream.id.take().context("an id came")?;
    drop(stream);
    let mut again = Stream::open(&owner, Some(&id)).await?;
    publisher.publish(CHANNEL, "after").await?;
    while again.at < 2 * MESSAGES + 2 {
        again.event(false).await?;
    }
    Ok(())
}
