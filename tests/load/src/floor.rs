//! The floor: the least a server can do. One thread, epoll, and one ready-made frame written to each socket.
//!
//! It answers handshakes and commands with ready-made bytes, looks at fixed offsets for the channel's number and parses
//! nothing else. What is published in one turn of the loop is joined: each subscriber gets one write for all of it.
//! A socket that takes no more is owed the rest; as all frames are equal, the debt is a number.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::wire::{self, Ask, Head, LOOK_BYTES};

const LISTENER: Token = Token(0);
const FIRST_CLIENT: usize = 1;
const READ_BYTES: usize = 64 * 1024;
/// As large as what the product sends for the same message, so that both move the same bytes.
const MESSAGE_BYTES: usize = 128;
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n";
const OK_BODY: &str =
    r#"{"id":"msg_01JD0000000000000000000000","position":"k3Zxk3Zx.1000000","durability":"memory","duplicate":false}"#;

/// A client.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    /// Bytes of a frame or request that is not whole yet.
    begun: Vec<u8>,
    upgraded: bool,
    channel: Option<u32>,
    /// Bytes of frames that the socket would not take.
    owed: u64,
}

#[derive(Debug)]
struct Floor {
    poll: Poll,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    /// Who is subscribed, by the channel's number.
    channels: Vec<Vec<usize>>,
    /// How often was published to which channel in this turn.
    published: Vec<(u32, u64)>,
    frame: Ready,
    reply: Vec<u8>,
    http: Vec<u8>,
    buffer: Vec<u8>,
}

/// A frame, many times over, so that any number of them from any byte on is one slice.
#[derive(Debug)]
struct Ready {
    bytes: Vec<u8>,
    frame_bytes: u64,
}

/// Prints its address and runs until it is killed.
pub(crate) fn serve() -> Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    crate::report::line(&listener.local_addr()?.to_string());
    let mut floor = Floor::new(listener)?;
    let mut events = Events::with_capacity(1024);
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(at) => floor.client(at - FIRST_CLIENT, event),
            }
        }
        floor.deliver();
    }
}

impl Floor {
    fn new(mut listener: TcpListener) -> Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let message = format!(
            r#"{{"msg":{{"channel":"{}","seq":1000000,"id":"msg_01JD0000000000000000000000","publisher":"load","time":1700000000000,"data":"{}"}}}}"#,
            wire::channel(0),
            wire::data(0, MESSAGE_BYTES)
        );
        let reply = format!(r#"{{"id":1000003,"ok":{OK_BODY}}}"#);
        let http = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{OK_BODY}",
            OK_BODY.len()
        );
        Ok(Self {
            poll,
            listener,
            clients: Vec::new(),
            free: Vec::new(),
            channels: Vec::new(),
            published: Vec::new(),
            frame: Ready::new(&message),
            reply: [wire::text_header(reply.len()), reply.into_bytes()].concat(),
            http: http.into_bytes(),
            buffer: vec![0; READ_BYTES],
        })
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let at = self.free.pop().unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            let token = Token(at + FIRST_CLIENT);
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.clients[at] = Some(Client { stream, begun: Vec::new(), upgraded: false, channel: None, owed: 0 });
        }
    }

    fn client(&mut self, at: usize, event: &Event) {
        let pays = event.is_writable() && self.clients[at].as_ref().is_some_and(|client| client.owed > 0);
        if pays && !self.frame.write(self.clients[at].as_mut(), 0) {
            return self.close(at);
        }
        if event.is_readable() && !self.receive(at) {
            self.close(at);
        }
    }

    /// Reads what is there. False when the client has gone or may go.
    fn receive(&mut self, at: usize) -> bool {
        loop {
            let Some(client) = &mut self.clients[at] else { return true };
            let read = match client.stream.read(&mut self.buffer) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            };
            if !self.take(at, read) {
                return false;
            }
            // A short read emptied the socket: what comes later comes with an event.
            if read < READ_BYTES {
                return true;
            }
        }
    }

    /// Takes requests and frames out of what was read.
    fn take(&mut self, at: usize, read: usize) -> bool {
        let mut begun = std::mem::take(&mut self.clients[at].as_mut().expect("it was just read from").begun);
        let buffer = std::mem::take(&mut self.buffer);
        let whole = begun.is_empty();
        if !whole {
            begun.extend_from_slice(&buffer[..read]);
        }
        let bytes = if whole { &buffer[..read] } else { &begun[..] };
        let taken = self.take_from(at, bytes);
        let rest = taken.map(|taken| bytes[taken..].to_vec());
        self.buffer = buffer;
        match (rest, &mut self.clients[at]) {
            (Some(rest), Some(client)) => client.begun = rest,
            _ => return false,
        }
        true
    }

    /// How many bytes were whole requests or frames; nothing when the client must go.
    fn take_from(&mut self, at: usize, bytes: &[u8]) -> Option<usize> {
        let mut taken = 0;
        let mut answers = Vec::new();
        loop {
            let client = self.clients[at].as_mut()?;
            let rest = &bytes[taken..];
            if !client.upgraded {
                let Some(length) = request_bytes(rest) else { break };
                client.upgraded = rest[0] == b'G';
                answers.extend_from_slice(if client.upgraded { UPGRADED } else { &self.http });
                if !client.upgraded {
                    self.publish(0);
                }
                taken += length;
                continue;
            }
            let Some(head) = Head::read(rest).filter(|head| rest.len() >= head.begins + head.length) else { break };
            let payload = &rest[head.begins..][..head.length.min(LOOK_BYTES)];
            if head.opcode == 8 {
                return None;
            }
            match wire::look(head.mask?, payload)? {
                Ask::Connect => {}
                Ask::Subscribe(channel) => self.subscribe(at, channel),
                Ask::Publish(channel) => self.publish(channel),
            }
            answers.extend_from_slice(&self.reply);
            taken += head.begins + head.length;
        }
        let client = self.clients[at].as_mut()?;
        // Answers are few and small: a client that does not read them is broken.
        if !answers.is_empty() && client.stream.write(&answers).ok()? < answers.len() {
            return None;
        }
        Some(taken)
    }

    fn subscribe(&mut self, at: usize, channel: u32) {
        let index = channel as usize;
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, Vec::new);
        }
        self.channels[index].push(at);
        if let Some(client) = &mut self.clients[at] {
            client.channel = Some(channel);
        }
    }

    fn publish(&mut self, channel: u32) {
        match self.published.last_mut() {
            Some((last, count)) if *last == channel => *count += 1,
            _ => self.published.push((channel, 1)),
        }
    }

    /// Writes what this turn published.
    fn deliver(&mut self) {
        let published = std::mem::take(&mut self.published);
        for (channel, count) in &published {
            let mut gone = Vec::new();
            for &at in self.channels.get(*channel as usize).into_iter().flatten() {
                if !self.frame.write(self.clients[at].as_mut(), *count) {
                    gone.push(at);
                }
            }
            gone.into_iter().for_each(|at| self.close(at));
        }
        self.published = published;
        self.published.clear();
    }

    fn close(&mut self, at: usize) {
        let Some(client) = self.clients[at].take() else { return };
        if let Some(subscribers) = client.channel.and_then(|channel| self.channels.get_mut(channel as usize)) {
            subscribers.retain(|subscriber| *subscriber != at);
        }
        self.free.push(at);
    }
}

impl Ready {
    fn new(message: &str) -> Self {
        let frame = [wire::text_header(message.len()), message.as_bytes().to_vec()].concat();
        Self { frame_bytes: frame.len() as u64, bytes: frame.repeat(256) }
    }

    /// Writes more frames, after those that are owed. False when the client has gone.
    fn write(&self, client: Option<&mut Client>, frames: u64) -> bool {
        let Some(client) = client else { return true };
        if client.owed > 0 && frames > 0 {
            client.owed += frames * self.frame_bytes;
            return true;
        }
        client.owed += frames * self.frame_bytes;
        while client.owed > 0 {
            // Somewhere within the first frame, so that the debt ends at the end of one.
            let begins = (self.frame_bytes - client.owed % self.frame_bytes) % self.frame_bytes;
            let begins = usize::try_from(begins).expect("a frame is small");
            let length =
                usize::try_from(client.owed).map_or(self.bytes.len(), |owed| owed.min(self.bytes.len() - begins));
            match client.stream.write(&self.bytes[begins..begins + length]) {
                Ok(written) => client.owed -= written as u64,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// The length of the request at the front, if it is whole.
fn request_bytes(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let named = b"Content-Length: ";
    let body = bytes[..head].windows(named.len()).position(|window| window == named).map_or(0, |at| {
        let digits = bytes[at + named.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
    });
    (bytes.len() >= head + body).then_some(head + body)
}
