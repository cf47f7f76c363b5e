//! One process of clients: connects them, then writes down what each sees until it is closed.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::{self, Head};
use crate::{clock, report};

const SETTING_UP_MAX: usize = 64;
const SETUP_TIMEOUT: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 64 * 1024;
/// Answers a goodbye: the server need not wait for the end of the link.
const GOODBYE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x10, 0x68];

/// What a process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) address: SocketAddr,
    pub(super) source: Ipv4Addr,
    pub(super) connections: u32,
    pub(super) channels: u32,
    pub(super) path: String,
    pub(super) token: String,
}

/// What one connection saw; times are milliseconds after the signal.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) channel: u32,
    /// Where its subscription began.
    pub(super) fence: u64,
    /// The last message.
    pub(super) last: u64,
    /// Messages that did not follow the one before.
    pub(super) gaps: u64,
    pub(super) told_ms: Option<u64>,
    pub(super) closed_ms: u64,
    /// The close frame's number; 0 when the link ended without one.
    pub(super) code: u16,
}

struct Client {
    stream: Option<TcpStream>,
    upgraded: bool,
    subscribed: bool,
    begun: Vec<u8>,
    seen: Seen,
}

struct Group {
    plan: Plan,
    poll: Poll,
    clients: Vec<Client>,
    setting_up: usize,
    open: usize,
    /// When the signal was sent, in milliseconds of our clock; `u64::MAX` before.
    went_ms: Arc<AtomicU64>,
}

/// Connects, says so, and prints what was seen when the last has been closed.
pub(crate) fn run() -> Result<()> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let plan: Plan = serde_json::from_str(&line).context("no plan on stdin")?;
    let went_ms = Arc::new(AtomicU64::new(u64::MAX));
    let mut group =
        Group { plan, poll: Poll::new()?, clients: Vec::new(), setting_up: 0, open: 0, went_ms: Arc::clone(&went_ms) };
    group.connect()?;
    std::thread::spawn(move || {
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).is_ok() {
            went_ms.store(now_ms(), Ordering::Relaxed);
        }
    });
    report::line("ready");
    while group.open > 0 {
        group.turn()?;
    }
    let seen: Vec<&Seen> = group.clients.iter().map(|client| &client.seen).collect();
    report::line(&serde_json::to_string(&seen)?);
    Ok(())
}

impl Group {
    fn connect(&mut self) -> Result<()> {
        let deadline = clock::now() + SETUP_TIMEOUT;
        let handshake = wire::handshake(&format!("/{}/socket", self.plan.path));
        for number in 0..self.plan.connections {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.bind(&SocketAddr::from((self.plan.source, 0)).into())?;
            socket.connect(&self.plan.address.into()).context("connect")?;
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(socket.into());
            stream.write_all(&handshake)?;
            self.poll.registry().register(&mut stream, Token(self.clients.len()), Interest::READABLE)?;
            let seen = Seen { channel: number % self.plan.channels, ..Seen::default() };
            self.clients.push(Client {
                stream: Some(stream),
                upgraded: false,
                subscribed: false,
                begun: Vec::new(),
                seen,
            });
            self.setting_up += 1;
            self.open += 1;
            while self.setting_up >= SETTING_UP_MAX {
                self.turn()?;
                ensure!(clock::now() < deadline, "clients do not get connected in time");
            }
        }
        while self.setting_up > 0 {
            self.turn()?;
            ensure!(clock::now() < deadline, "clients do not get subscribed in time");
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1_024);
        match self.poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &events {
            self.receive(event.token().0)?;
        }
        Ok(())
    }

    fn receive(&mut self, at: usize) -> Result<()> {
        let mut buffer = [0; READ_BYTES];
        loop {
            let Some(stream) = &mut self.clients[at].stream else { return Ok(()) };
            match stream.read(&mut buffer) {
                Ok(0) => return self.closed(at, 0),
                Ok(read) => {
                    self.clients[at].begun.extend_from_slice(&buffer[..read]);
                    self.take(at)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return self.closed(at, 0),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes every whole part of what has come.
    fn take(&mut self, at: usize) -> Result<()> {
        let bytes = std::mem::take(&mut self.clients[at].begun);
        let mut rest = &bytes[..];
        if !self.clients[at].upgraded {
            let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
                self.clients[at].begun = bytes;
                return Ok(());
            };
            ensure!(rest.starts_with(b"HTTP/1.1 101"), "refused: {}", String::from_utf8_lossy(rest));
            rest = &rest[end + 4..];
            self.clients[at].upgraded = true;
            let frames = [wire::connect(&self.plan.token), wire::subscribe(self.clients[at].seen.channel)].concat();
            self.write(at, &frames)?;
        }
        while let Some(head) = Head::read(rest)
            && let Some(payload) = rest.get(head.begins..head.begins + head.length)
        {
            match head.opcode {
                1 => self.text(at, payload)?,
                8 => return self.closed(at, u16::from_be_bytes([payload[0], payload[1]])),
                _ => {}
            }
            rest = &rest[head.begins + head.length..];
        }
        self.clients[at].begun = rest.to_vec();
        Ok(())
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let stream = self.clients[at].stream.as_mut().context("it is open")?;
        Ok(stream.write_all(bytes)?)
    }

    fn text(&mut self, at: usize, payload: &[u8]) -> Result<()> {
        let told_ms = self.elapsed_ms();
        let client = &mut self.clients[at];
        let seen = &mut client.seen;
        if payload.starts_with(b"{\"msg\"") {
            let seq = seq(payload)?;
            seen.gaps += u64::from(seq != seen.last.max(seen.fence) + 1);
            seen.last = seq;
        } else if payload.starts_with(b"{\"reconnect\"") {
            seen.told_ms.get_or_insert(told_ms);
        } else if payload.starts_with(b"{\"id\":1000002,\"ok\"") && !client.subscribed {
            seen.fence = seq(payload)?;
            client.subscribed = true;
            self.setting_up -= 1;
        } else if !payload.starts_with(b"{\"id\":1000001,\"ok\"") {
            bail!("unexpected: {}", String::from_utf8_lossy(payload));
        }
        Ok(())
    }

    fn closed(&mut self, at: usize, code: u16) -> Result<()> {
        ensure!(self.clients[at].subscribed, "closed with {code} before it was subscribed");
        let closed_ms = self.elapsed_ms();
        let client = &mut self.clients[at];
        if let Some(mut stream) = client.stream.take() {
            // The server may have ended the link already, which is as good.
            let _ = stream.write_all(&GOODBYE);
            (client.seen.closed_ms, client.seen.code) = (closed_ms, code);
            self.open -= 1;
        }
        Ok(())
    }

    fn elapsed_ms(&self) -> u64 {
        now_ms().saturating_sub(self.went_ms.load(Ordering::Relaxed))
    }
}

fn now_ms() -> u64 {
    u64::try_from(clock::now().as_millis()).unwrap_or(u64::MAX)
}

fn seq(payload: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(payload)?;
    let digits = text.split_once("\"seq\":").context("a seq")?.1;
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    Ok(digits[..end].parse()?)
}
