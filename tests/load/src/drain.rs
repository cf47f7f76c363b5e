//! `load drain`: what becomes of many connections when their node is told to stop.
//!
//! ```text
//! this process: server, one REST publisher, SIGTERM, judge        clients: several processes, each from an address of
//!        │  plan, then "go" at the signal                                  its own in 127.0.0.0/8
//!        └──────────────────────────────────────▶ stdin … "ready", then what each connection saw ──▶ stdout
//! ```
//!
//! Judged: everybody is asked to reconnect before it is closed, with 4200, and in waves; what was acknowledged before a
//! client was asked has reached it, without a gap; and all of it in the time that was configured.

mod clients;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fanfare_load::platform::{Options as Launch, Platform};
use serde::Serialize;

use crate::{clock, report, target, wire};

pub(crate) use clients::run as run_clients;
use clients::{Plan, Seen};

const PUBLISH_EVERY: Duration = Duration::from_millis(5);
const WARM_UP: Duration = Duration::from_secs(3);
/// What a stop does besides draining: listeners, feed, Postgres.
const REST_OF_STOP: Duration = Duration::from_secs(20);
const DATA_BYTES: usize = 128;

/// What to drain.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The server's binary.
    #[arg(long)]
    fanfare: PathBuf,
    /// How many connections.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    connections: u32,
    /// How many processes they are in.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    processes: u32,
    /// How many channels they are subscribed to.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    channels: u32,
    /// How long the server may drain.
    #[arg(long, default_value_t = 30_000)]
    drain_ms: u64,
    /// Over what time it asks connections to go.
    #[arg(long, default_value_t = 10_000)]
    window_ms: u64,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What came out.
#[derive(Debug, Default, Serialize)]
struct Figures {
    connections: u32,
    processes: u32,
    /// From the signal until readiness said no.
    not_ready_ms: u64,
    /// From the signal until the last connection was closed, and until the process had ended.
    last_closed_ms: u64,
    ended_ms: u64,
    /// Closes in the second that had most of them.
    most_in_a_second: usize,
    /// Closed with 4200 after having been asked to reconnect.
    moved: usize,
    /// Anything else.
    not_moved: usize,
    /// Publishes acknowledged, and those that were refused or not answered.
    acked: usize,
    unanswered: usize,
    /// Numbers that were left out or came twice or late, and acknowledged messages that did not come.
    gaps: u64,
    missing: u64,
}

/// A publish that was acknowledged.
struct Acked {
    channel: u32,
    seq: u64,
    at: Duration,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let variables = [
        ("FANFARE_STOP__DRAIN_MS", options.drain_ms),
        ("FANFARE_STOP__RECONNECT_WINDOW_MS", options.window_ms),
        ("FANFARE_NODE__CONNECTS_PER_S", 1_000_000),
        ("FANFARE_NODE__CONNECTS_BURST", 1_000_000),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_string())).into();
    let mut platform = Platform::start(&Launch { variables, ..Launch::new(&options.fanfare, "drain") })?;
    let place = target::Place::of(&platform)?;
    let mut groups =
        (0..options.processes).map(|number| Group::start(options, &place, number)).collect::<Result<Vec<_>>>()?;
    for group in &mut groups {
        group.ready()?;
    }
    report::line(&format!("{} connections in {} processes are subscribed", options.connections, options.processes));
    let (stop, stopped) = sync_channel(1);
    let (address, channels) = (place.address, options.channels);
    let publisher = std::thread::spawn(move || publish(address, &place, channels, &stopped));
    wait(WARM_UP);
    platform.signal("TERM")?;
    let begun = clock::now();
    for group in &mut groups {
        group.go()?;
    }
    let not_ready = until_not_ready(&platform)?;
    let status = platform.wait(Duration::from_millis(options.drain_ms) + REST_OF_STOP)?;
    let ended = clock::now().saturating_sub(begun);
    ensure!(status.success(), "the server ended with {status}");
    // The publisher may have ended by itself, when nobody answered any more.
    let _ = stop.try_send(());
    let (acked, unanswered) = publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    let seen = groups.into_iter().map(Group::seen).collect::<Result<Vec<_>>>()?.concat();
    let mut figures = judge(&seen, &acked, begun);
    figures.connections = options.connections;
    figures.processes = options.processes;
    figures.not_ready_ms = ms(not_ready);
    figures.ended_ms = ms(ended);
    figures.unanswered = unanswered;
    finish(&figures, options.json.as_deref())
}

fn finish(figures: &Figures, json: Option<&Path>) -> Result<()> {
    let text = serde_json::to_string_pretty(figures)?;
    report::line(&text);
    if let Some(path) = json {
        std::fs::write(path, text + "\n")?;
    }
    ensure!(figures.not_moved == 0, "{} connections did not end as they should", figures.not_moved);
    ensure!(figures.gaps == 0 && figures.missing == 0, "something acknowledged was lost");
    Ok(())
}

fn judge(seen: &[Seen], acked: &[Acked], begun: Duration) -> Figures {
    let mut figures = Figures { acked: acked.len(), ..Figures::default() };
    let mut closes: Vec<u64> = Vec::new();
    for one in seen {
        let asked = one.told_ms.filter(|told| *told <= one.closed_ms);
        if one.code == 4200 && asked.is_some() {
            figures.moved += 1;
        } else {
            figures.not_moved += 1;
        }
        closes.push(one.closed_ms);
        figures.gaps += one.gaps;
        let until = begun + Duration::from_millis(asked.unwrap_or(0));
        let due = acked.iter().filter(|acked| acked.channel == one.channel && acked.at < until).map(|acked| acked.seq);
        figures.missing += due.max().unwrap_or(0).saturating_sub(one.last.max(one.fence));
    }
    closes.sort_unstable();
    figures.last_closed_ms = closes.last().copied().unwrap_or(0);
    let in_a_second = |(at, from): (usize, &u64)| closes[at..].partition_point(|close| *close < from + 1_000);
    figures.most_in_a_second = closes.iter().enumerate().map(in_a_second).max().unwrap_or(0);
    figures
}

/// A process of clients.
struct Group {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Group {
    fn start(options: &Options, place: &target::Place, number: u32) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(std::env::current_exe()?).arg("drain-clients");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start setpriv")?;
        let mut stdin = process.stdin.take().context("stdin is piped")?;
        let stdout = BufReader::new(process.stdout.take().context("stdout is piped")?);
        let share = |number: u32| u64::from(options.connections) * u64::from(number) / u64::from(options.processes);
        let [_, high, low, _] = (number + 2).to_be_bytes();
        let plan = Plan {
            address: place.address,
            // 127.0.2.1, 127.0.3.1 …
            source: Ipv4Addr::new(127, high, low, 1),
            connections: u32::try_from(share(number + 1) - share(number))?,
            channels: options.channels,
            path: place.path.clone(),
            token: place.token.clone(),
        };
        writeln!(stdin, "{}", serde_json::to_string(&plan)?)?;
        Ok(Self { process, stdin, stdout })
    }

    fn ready(&mut self) -> Result<()> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(line.trim() == "ready", "a process of clients did not connect: {line}");
        Ok(())
    }

    fn go(&mut self) -> Result<()> {
        Ok(writeln!(self.stdin, "go")?)
    }

    fn seen(mut self) -> Result<Vec<Seen>> {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text)?;
        self.process.wait()?;
        serde_json::from_str(&text).context("a process of clients did not say what it saw")
    }
}

/// Publishes over one keep-alive connection until told, or until nobody answers.
fn publish(
    address: SocketAddr,
    place: &target::Place,
    channels: u32,
    stopped: &Receiver<()>,
) -> Result<(Vec<Acked>, usize)> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut acked, mut number) = (Vec::new(), 0);
    while stopped.recv_timeout(PUBLISH_EVERY) == Err(RecvTimeoutError::Timeout) {
        let channel = number % channels;
        number += 1;
        let path = format!("/{}/channels/{}/messages", place.path, wire::channel(channel));
        let request = wire::rest_publish(&path, &place.authorization, &wire::data(0, DATA_BYTES));
        let answer = stream.get_mut().write_all(&request).map_err(Into::into).and_then(|()| answer(&mut stream));
        match answer {
            Ok(Some(seq)) => acked.push(Acked { channel, seq, at: clock::now() }),
            Ok(None) | Err(_) => return Ok((acked, 1)),
        }
    }
    Ok((acked, 0))
}

/// The number that a publish got; `None` when it was refused.
fn answer(stream: &mut BufReader<TcpStream>) -> Result<Option<u64>> {
    let (mut status, mut length) = (String::new(), 0);
    stream.read_line(&mut status)?;
    ensure!(!status.is_empty(), "the connection ended");
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body: serde_json::Value = serde_json::from_slice(&body)?;
    let seq = body["position"].as_str().and_then(|position| position.rsplit_once('.')?.1.parse().ok());
    Ok(seq.filter(|_| status.starts_with("HTTP/1.1 2")))
}

/// How long after the signal readiness says no.
fn until_not_ready(platform: &Platform) -> Result<Duration> {
    let begun = clock::now();
    let address = platform.private_url.trim_start_matches("http://").replace("localhost", "127.0.0.1");
    loop {
        let mut stream = TcpStream::connect(&address)?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 503") {
            return Ok(clock::now().saturating_sub(begun));
        }
        ensure!(clock::now().saturating_sub(begun) < Duration::from_secs(5), "it stays ready: {answer}");
    }
}

fn wait(time: Duration) {
    // Nobody sends: it is the time that is waited for.
    let (_sender, nobody): (SyncSender<()>, Receiver<()>) = sync_channel(1);
    let _ = nobody.recv_timeout(time);
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
