//! Publishing over REST on connections that stay, to one subscriber.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::{Figure, Meter, drain};
use crate::clock;
use crate::fleet::Fleet;
use crate::target::Target;

const CONNECTIONS: usize = 8;

/// A publisher that sends the next request when the last was answered.
struct Publisher {
    stream: TcpStream,
    answer: Vec<u8>,
}

pub(super) fn run(target: &Target, time: Duration) -> Result<Figure> {
    let mut fleet = Fleet::new(target)?;
    fleet.add([Some(0)])?;
    let mut poll = Poll::new()?;
    let mut publishers = Vec::new();
    for number in 0..CONNECTIONS {
        let stream = std::net::TcpStream::connect(target.address).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        publishers.push(Publisher { stream, answer: Vec::new() });
    }
    let meter = Meter::start(target)?;
    let deadline = clock::now() + time;
    for publisher in &mut publishers {
        publisher.stream.write_all(&target.rest_publish)?;
    }
    let (mut done, mut under_way) = (0, publishers.len());
    let mut events = Events::with_capacity(CONNECTIONS);
    while under_way > 0 {
        poll.poll(&mut events, Some(Duration::from_millis(5)))?;
        for event in &events {
            let publisher = &mut publishers[event.token().0];
            if !publisher.answered()? {
                continue;
            }
            done += 1;
            if clock::now() < deadline {
                publisher.stream.write_all(&target.rest_publish)?;
            } else {
                under_way -= 1;
            }
        }
        fleet.turn(Duration::ZERO)?;
        if clock::now() > deadline + Duration::from_secs(5) {
            bail!("{under_way} publishes are never answered");
        }
    }
    let missing = drain(&mut fleet, done)?;
    meter.figure(done, missing)
}

impl Publisher {
    /// Reads on, and tells whether the answer is whole.
    fn answered(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("the server closed a publisher's connection"),
            Ok(read) => self.answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Some(head) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
        let text = std::str::from_utf8(&self.answer[..head]).context("a response head is text")?;
        if !text.starts_with("HTTP/1.1 2") {
            bail!("a publish was refused: {}", String::from_utf8_lossy(&self.answer));
        }
        let named = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let body = named.context("the response has no length")??;
        let whole = self.answer.len() >= head + 4 + body;
        if whole {
            self.answer.clear();
        }
        Ok(whole)
    }
}
