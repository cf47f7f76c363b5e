//! Bytes by hand: requests, handshakes and frames that no well-behaved client sends.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::TIMEOUT;

/// The first byte of a whole text frame.
pub const TEXT: u8 = 0x81;
/// The first byte of a whole binary frame.
pub const BINARY: u8 = 0x82;
/// The first byte of a close frame.
pub const CLOSE: u8 = 0x88;
/// The first byte of a ping.
pub const PING: u8 = 0x89;
/// The first byte of a pong.
pub const PONG: u8 = 0x8A;

const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection to the gateway, after the head of its first answer.
#[derive(Debug)]
pub struct Raw {
    /// The answer's status.
    pub status: u16,
    /// The answer's line and headers.
    pub head: String,
    stream: BufReader<TcpStream>,
}

impl Raw {
    /// Sends bytes to the host of a URL and reads the head of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(url: &str, bytes: &[u8]) -> Result<Self> {
        let (host, _) = place(url)?;
        let mut stream = BufReader::new(timeout(TIMEOUT, TcpStream::connect(host)).await??);
        stream.write_all(bytes).await?;
        let mut raw = Self { status: 0, head: String::new(), stream };
        raw.answer().await?;
        Ok(raw)
    }

    /// Reads the head of the next answer; the last one's body must have been read.
    ///
    /// # Errors
    /// When none comes.
    pub async fn answer(&mut self) -> Result<()> {
        self.head = timeout(TIMEOUT, head(&mut self.stream)).await.context("no answer")??;
        let status = self.head.split(' ').nth(1).and_then(|status| status.parse().ok());
        self.status = status.with_context(|| format!("no status in {:?}", self.head))?;
        Ok(())
    }

    /// Whether the server ends the connection now, with nothing more on it.
    ///
    /// # Errors
    /// When it stays open.
    pub async fn ended(&mut self) -> Result<bool> {
        let mut rest = Vec::new();
        timeout(TIMEOUT, self.stream.read_to_end(&mut rest)).await.context("the connection stays open")??;
        Ok(rest.is_empty())
    }

    /// Asks for an app's socket, with these headers over the necessary ones.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn handshake(app_url: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let (host, path) = place(app_url)?;
        let mut request = format!(
            "GET {path}/socket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        Self::send(app_url, request.as_bytes()).await
    }

    /// An app's socket, opened and nothing more.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn open(app_url: &str) -> Result<Self> {
        let raw = Self::handshake(app_url, &[]).await?;
        ensure!(raw.status == 101, "refused: {}", raw.head);
        Ok(raw)
    }

    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The rest of an answer whose length is said.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn body(&mut self) -> Result<String> {
        let length = self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        timeout(TIMEOUT, self.stream.read_exact(&mut body)).await??;
        Ok(String::from_utf8(body)?)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the link is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(TIMEOUT, self.stream.write_all(bytes)).await?.context("send")
    }

    /// Sends a masked text frame.
    ///
    /// # Errors
    /// When the link is gone.
    pub async fn text(&mut self, text: &str) -> Result<()> {
        self.write(&frame(TEXT, text.as_bytes())).await
    }

    /// The next frame: its first byte and payload.
    ///
    /// # Errors
    /// When none comes in time, or the server masks, which servers must not.
    pub async fn frame(&mut self) -> Result<(u8, Vec<u8>)> {
        timeout(TIMEOUT, self.read_frame()).await.context("no frame comes")?
    }

    /// Waits for the server's close frame, past all others: its number and reason; and then for the end of the link.
    ///
    /// # Errors
    /// When it does not close in time, or goes on after the close frame.
    pub async fn closed(&mut self) -> Result<(u16, String)> {
        let (number, reason) = loop {
            match self.frame().await? {
                (CLOSE, payload) if payload.len() >= 2 => {
                    let reason = String::from_utf8(payload[2..].to_vec())?;
                    break (u16::from_be_bytes([payload[0], payload[1]]), reason);
                }
                (CLOSE, _) => bail!("closed without a number"),
                _ => {}
            }
        };
        // The answer lets the server end at once; it may have ended already.
        let _ = self.stream.write_all(&frame(CLOSE, &number.to_be_bytes())).await;
        let mut rest = Vec::new();
        // A reset is an end too: something of ours may have been unread.
        let _ = timeout(TIMEOUT, self.stream.read_to_end(&mut rest)).await.context("the link stays open")?;
        ensure!(rest.is_empty(), "bytes after the close frame: {rest:?}");
        Ok((number, reason))
    }

    async fn read_frame(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start).await.context("the link ended")?;
        ensure!(start[1] & 0x80 == 0, "a server does not mask");
        let length = match start[1] {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut payload).await?;
        Ok((start[0], payload))
    }
}

/// A masked frame, its length in the shortest form.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).expect("it is below 126")),
        length @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).expect("it fits").to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Host with port, and path, of an `http` URL.
///
/// # Errors
/// When it is another URL.
pub fn place(url: &str) -> Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").with_context(|| format!("not plain HTTP: {url}"))?;
    Ok(rest.find('/').map_or((rest, ""), |at| rest.split_at(at)))
}

async fn head(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.context("the link ended before the headers did")?);
        ensure!(head.len() < HEAD_BYTES_MAX, "the headers do not end");
    }
    Ok(String::from_utf8(head)?)
}
