//! Many clients on one thread: connect, subscribe, then count frames.
//!
//! Clients are cheap on purpose, because they share the machine with what is measured: once subscribed, one reads frame
//! headers and skips payloads. A few are asked to look at when their messages were sent.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::clock;
use crate::target::Target;
use crate::wire::{self, Head};

const READ_BYTES: usize = 256 * 1024;
/// How many clients may be between connecting and subscribed.
const SETTING_UP_MAX: usize = 64;
const SETUP_TIMEOUT: Duration = Duration::from_secs(60);
const SAMPLES_MAX: usize = 1_000_000;

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Handshake,
    Hello,
    Subscribe,
    Ready,
}

/// One client.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    stage: Stage,
    /// What it subscribes to; a client without only publishes.
    channel: Option<u32>,
    /// Bytes of a frame that is not whole yet.
    begun: Vec<u8>,
    /// Payload bytes still to skip.
    skip: usize,
    /// Bytes the socket would not take.
    unsent: Vec<u8>,
    /// Whether it looks at when messages were sent.
    samples: bool,
    /// Whether it reads nothing for now.
    held: bool,
    /// What it has found of its messages' numbers, if it looks at them.
    judged: Option<Judged>,
}

/// What the numbers of a client's messages tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The last one; the first message may have any.
    pub(crate) last: u64,
    /// Left out without a word.
    pub(crate) missing: u64,
    /// Came again, or late.
    pub(crate) again: u64,
    /// Left out, as the server said.
    pub(crate) told: u64,
}

impl Judged {
    fn message(&mut self, seq: u64) {
        if self.last > 0 && seq <= self.last {
            self.again += 1;
            return;
        }
        self.missing += if self.last > 0 { seq - self.last - 1 } else { 0 };
        self.last = seq;
    }

    fn moved(&mut self, seq: u64) {
        self.told += seq.saturating_sub(self.last);
        self.last = self.last.max(seq);
    }
}

/// All clients of a measurement.
pub(crate) struct Fleet<'a> {
    target: &'a Target,
    poll: Poll,
    clients: Vec<Client>,
    setting_up: usize,
    buffer: Vec<u8>,
    /// Messages that came.
    pub(crate) delivered: u64,
    /// Answers to publishes that came.
    pub(crate) answered: u64,
    /// How long messages took, in microseconds.
    pub(crate) latencies_us: Vec<u64>,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(target: &'a Target) -> Result<Self> {
        Ok(Self {
            target,
            poll: Poll::new()?,
            clients: Vec::new(),
            setting_up: 0,
            buffer: vec![0; READ_BYTES],
            delivered: 0,
            answered: 0,
            latencies_us: Vec::new(),
        })
    }

    /// Adds clients, each connected and, if it has a channel, subscribed. Returns when all are.
    pub(crate) fn add(&mut self, channels: impl IntoIterator<Item = Option<u32>>) -> Result<()> {
        let deadline = clock::now() + SETUP_TIMEOUT;
        for channel in channels {
            while self.setting_up >= SETTING_UP_MAX {
                self.turn(Duration::from_millis(100))?;
                ensure!(clock::now() < deadline, "clients do not get connected in time");
            }
            let stream = std::net::TcpStream::connect(self.target.address).context("connect")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            stream.write_all(&self.target.handshake).context("send the handshake")?;
            let token = Token(self.clients.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.setting_up += 1;
            let (begun, unsent) = (Vec::new(), Vec::new());
            self.clients.push(Client {
                stream,
                stage: Stage::Handshake,
                channel,
                begun,
                skip: 0,
                unsent,
                samples: false,
                held: false,
                judged: None,
            });
        }
        while self.setting_up > 0 {
            self.turn(Duration::from_millis(100))?;
            ensure!(clock::now() < deadline, "clients do not get subscribed in time");
        }
        Ok(())
    }

    /// Lets the first clients look at when their messages were sent.
    pub(crate) fn sample(&mut self, clients: usize) {
        self.clients.iter_mut().take(clients).for_each(|client| client.samples = true);
    }

    /// Lets every client that subscribes look at the numbers of its messages.
    pub(crate) fn judge(&mut self) {
        let subscribed = self.clients.iter_mut().filter(|client| client.channel.is_some());
        subscribed.for_each(|client| client.judged = Some(Judged::default()));
    }

    /// What the numbers told them.
    pub(crate) fn judged(&self) -> impl Iterator<Item = Judged> + '_ {
        self.clients.iter().filter_map(|client| client.judged)
    }

    /// Has clients read nothing.
    pub(crate) fn hold(&mut self, clients: std::ops::Range<usize>) {
        self.clients[clients].iter_mut().for_each(|client| client.held = true);
    }

    /// Has all of them read again.
    pub(crate) fn thaw(&mut self) -> Result<()> {
        for at in 0..self.clients.len() {
            if std::mem::take(&mut self.clients[at].held) {
                // What came meanwhile is not announced again.
                self.receive(at)?;
            }
        }
        Ok(())
    }

    /// Closes every client.
    pub(crate) fn clear(&mut self) {
        self.clients.clear();
    }

    /// Has a client send frames, as many as the socket takes now; the rest follows by itself.
    pub(crate) fn send(&mut self, client: usize, frames: &[u8]) -> Result<()> {
        let client = &mut self.clients[client];
        client.unsent.extend_from_slice(frames);
        flush(client)
    }

    /// Handles what happens within a time, returns after the first things that did.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &events {
            let Some(client) = self.clients.get_mut(event.token().0) else { continue };
            if event.is_writable() && !client.unsent.is_empty() {
                flush(client)?;
            }
            if event.is_readable() {
                self.receive(event.token().0)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, at: usize) -> Result<()> {
        if self.clients[at].held {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let received = loop {
            match self.clients[at].stream.read(&mut buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(read) => {
                    self.take(at, &buffer[..read])?;
                    if read < READ_BYTES {
                        break Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        self.buffer = buffer;
        received
    }

    fn take(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let skipped = self.clients[at].skip.min(bytes.len());
        self.clients[at].skip -= skipped;
        let mut bytes = &bytes[skipped..];
        let mut begun = std::mem::take(&mut self.clients[at].begun);
        if !begun.is_empty() {
            begun.extend_from_slice(bytes);
            bytes = &begun;
        }
        while !bytes.is_empty() {
            let taken = match self.clients[at].stage {
                Stage::Handshake => self.upgraded(at, bytes)?,
                _ => self.frame(at, bytes)?,
            };
            let Some(taken) = taken else { break };
            let within = taken.min(bytes.len());
            self.clients[at].skip = taken - within;
            bytes = &bytes[within..];
        }
        self.clients[at].begun = bytes.to_vec();
        Ok(())
    }

    /// Takes the answer to the handshake, and connects.
    fn upgraded(&mut self, at: usize, bytes: &[u8]) -> Result<Option<usize>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        if !bytes.starts_with(b"HTTP/1.1 101") {
            bail!("the handshake was refused: {}", String::from_utf8_lossy(bytes));
        }
        self.clients[at].stage = Stage::Hello;
        self.send(at, &self.target.connect.clone())?;
        Ok(Some(end + 4))
    }

    /// Takes a frame; how many bytes it has, of which some may be yet to come. Nothing when its begin is not whole.
    fn frame(&mut self, at: usize, bytes: &[u8]) -> Result<Option<usize>> {
        let Some(head) = Head::read(bytes) else { return Ok(None) };
        let client = &mut self.clients[at];
        let looks = client.samples || client.judged.is_some();
        let counts_only = client.stage == Stage::Ready && client.channel.is_some() && !looks;
        // Who only counts needs no more than the first bytes, in which the kind of a frame shows.
        let wanted = if counts_only && head.opcode == 1 { head.length.min(6) } else { head.length };
        if bytes.len() < head.begins + wanted {
            return Ok(None);
        }
        let payload = &bytes[head.begins..bytes.len().min(head.begins + head.length)];
        match head.opcode {
            1 if payload.starts_with(b"{\"msg\"") => {
                self.delivered += 1;
                if let (Some(judged), Some(seq)) = (&mut client.judged, wire::seq(payload)) {
                    judged.message(seq);
                }
                if client.samples && self.latencies_us.len() < SAMPLES_MAX {
                    let now = u64::try_from(clock::now().as_micros())?;
                    self.latencies_us.extend(wire::sent_us(payload).map(|sent| now.saturating_sub(sent)));
                }
            }
            1 if payload.starts_with(b"{\"recovery\"") => {
                if let (Some(judged), Some(seq)) = (&mut client.judged, wire::seq(payload)) {
                    judged.moved(seq);
                }
            }
            1 => self.answer(at, payload)?,
            8 => bail!("the server closes: {}", String::from_utf8_lossy(payload.get(2..).unwrap_or_default())),
            _ => {}
        }
        Ok(Some(head.begins + head.length))
    }

    fn answer(&mut self, at: usize, payload: &[u8]) -> Result<()> {
        // An error may follow any id; what is no error begins its answer at a fixed place or comes unasked.
        ensure!(
            !payload.windows(8).any(|eight| eight == b"\"error\":"),
            "refused: {}",
            String::from_utf8_lossy(payload)
        );
        let client = &mut self.clients[at];
        match (client.stage, client.channel) {
            (Stage::Hello, Some(channel)) => {
                client.stage = Stage::Subscribe;
                self.send(at, &wire::subscribe(channel))?;
            }
            (Stage::Hello | Stage::Subscribe, _) => {
                client.stage = Stage::Ready;
                self.setting_up -= 1;
            }
            (Stage::Ready, _) if payload.starts_with(b"{\"id\":") => self.answered += 1,
            (Stage::Ready | Stage::Handshake, _) => {}
        }
        Ok(())
    }
}

fn flush(client: &mut Client) -> Result<()> {
    while !client.unsent.is_empty() {
        match client.stream.write(&client.unsent) {
            Ok(written) => drop(client.unsent.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
