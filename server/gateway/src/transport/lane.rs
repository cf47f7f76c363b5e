//! The direct lane: requests so plain that they are answered without the HTTP library, routing and layers.
//!
//! A backend that publishes sends one request after the other on one connection, each with the same few headers. What a
//! general server does around each of them costs several times what a publish costs. Here such a request is found in
//! the bytes as they came, answered into one buffer, and written by one call of the kernel.
//!
//! ```text
//! bytes ─▶ direct? ─yes─▶ Endpoint::respond_directly ─▶ bytes
//!             └─no─▶ hyper, for the rest of the connection, from the first byte not answered
//! ```
//!
//! Nothing is refused here: whatever is not plain to the last byte, wrong or only unusual, goes to hyper unread, and
//! hyper's rules are the only ones (RFC 9112 §6.3: what decides where a body ends is read by one reader alone).

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use httparse::Status;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::WaitForCancellationFuture;

use super::Stream;
use super::listener::{Endpoint, Shared};
use super::rewound::Rewound;

/// How much is read at a time, and what is kept between requests. A longer request has a buffer of its own size for as
/// long as it takes.
const BUFFER_BYTES: usize = 4 * 1024;
/// The longest body that is answered directly. It is held before the key is looked at, so it is no longer than what hyper
/// holds of somebody unknown.
const BODY_BYTES_MAX: usize = 8 * 1024;
/// The most headers of a plain request.
const HEADERS_MAX: usize = 16;
/// How long all of a body is waited for, however it drips, before hyper waits for it, which knows what to say when it does
/// not come.
const BODY_WAIT: Duration = Duration::from_secs(1);

/// A POST of JSON that can be answered directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direct<'b> {
    /// The path: nothing in it is encoded, and it has no query.
    pub path: &'b str,
    /// The credential, as it was sent.
    pub authorization: &'b str,
    /// The body.
    pub body: &'b [u8],
}

/// A connection that is hyper's from now on.
pub(super) struct Handed<S> {
    pub(super) stream: Rewound<S>,
    /// Whether a request was answered on it.
    pub(super) asked: bool,
}

/// Answers direct requests until one comes that is not. Nothing when the connection has ended. The first request has until
/// then to begin.
pub(super) async fn run<E: Endpoint, S: Stream>(
    shared: &Shared<E>,
    mut stream: S,
    first: Instant,
) -> Option<Handed<S>> {
    let idle = Duration::from_millis(shared.http.idle_timeout_ms);
    let bounds =
        Bounds { head: shared.http.header_bytes_max, body: shared.endpoint.direct_bytes_max().min(BODY_BYTES_MAX) };
    let mut memory = E::Memory::default();
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    let (stopped, timer) = (pin!(shared.shutdown.cancelled()), pin!(sleep_until(first)));
    let mut wait = Wait { stopped, timer, until: first };
    let mut asked = false;
    // Until when the body of the request that is being read may take.
    let mut body_until = None;
    loop {
        if buffer.is_empty() && !wait.fill(&mut stream, &mut buffer, true).await.is_more() {
            return None;
        }
        let length = match look(&buffer, bounds) {
            Look::Direct(request, length) if shared.endpoint.is_direct(&request) => {
                let stops = shared.shutdown.is_cancelled();
                let closes = shared.endpoint.respond_directly(&mut memory, &request, stops, &mut out).await;
                asked = true;
                let written = timeout(idle, write(&mut stream, &out)).await;
                if closes || !matches!(written, Ok(Ok(()))) {
                    // What the kernel holds of the answer is sent; an error means that the client has gone already.
                    let _ended = stream.shutdown().await;
                    return None;
                }
                length
            }
            Look::Short(length) if length > buffer.len() => {
                wait.set_until(*body_until.get_or_insert_with(|| Instant::now() + BODY_WAIT));
                match wait.fill(&mut stream, &mut buffer, false).await {
                    Filled::More => continue,
                    Filled::End => return None,
                    Filled::Late | Filled::Stop => break,
                }
            }
            Look::Direct(..) | Look::Short(_) | Look::Other => break,
        };
        forget(&mut buffer, length);
        let answered = out.len();
        forget(&mut out, answered);
        body_until = None;
        wait.set_until(Instant::now() + idle);
    }
    Some(Handed { stream: Rewound::new(Bytes::from(buffer), stream), asked })
}

async fn write<S: Stream>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Drops what was dealt with, and memory that only a large request needed.
fn forget(buffer: &mut Vec<u8>, length: usize) {
    buffer.drain(..length);
    if buffer.is_empty() && buffer.capacity() > BUFFER_BYTES {
        *buffer = Vec::new();
    }
}

/// What a request may have, in bytes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    head: usize,
    body: usize,
}

/// What the bytes of a connection begin with.
#[derive(Debug, PartialEq, Eq)]
enum Look<'b> {
    /// A request for the lane, and how long it is.
    Direct(Direct<'b>, usize),
    /// It would be one, if so many bytes were there.
    Short(usize),
    /// Something for hyper.
    Other,
}

/// Reads a request. Whatever could be read in two ways, or asks for anything but an answer, is another's.
fn look(bytes: &[u8], bounds: Bounds) -> Look<'_> {
    // What opens a socket or reads is told apart by its first letters.
    if !bytes.starts_with(b"POST /") {
        return Look::Other;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(Status::Complete(head)) = request.parse(bytes) else { return Look::Other };
    let plain = |path: &&str| !path.contains(['?', '%', '#']);
    let Some(path) = request.path.filter(plain).filter(|_| request.version == Some(1) && head <= bounds.head) else {
        return Look::Other;
    };
    let Some(Heads { length, authorization }) = Heads::read(request.headers) else { return Look::Other };
    if length > bounds.body {
        return Look::Other;
    }
    match bytes.get(head..head + length) {
        Some(body) => Look::Direct(Direct { path, authorization, body }, head + length),
        None => Look::Short(head + length),
    }
}

/// What the headers of a direct request say.
struct Heads<'b> {
    length: usize,
    authorization: &'b str,
}

impl<'b> Heads<'b> {
    fn read(headers: &[httparse::Header<'b>]) -> Option<Self> {
        let (mut host, mut length, mut authorization, mut media) = (None, None, None, None);
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let place = if is("host") {
                &mut host
            } else if is("content-length") {
                &mut length
            } else if is("authorization") {
                &mut authorization
            } else if is("content-type") {
                &mut media
            } else if is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive")
                || ELSEWHERE.iter().any(|name| is(name))
            {
                return None;
            } else {
                continue;
            };
            // What comes twice is hyper's to judge.
            if place.replace(header.value).is_some() {
                return None;
            }
        }
        host?;
        let media = media?.split(|byte| *byte == b';').next()?.trim_ascii();
        let length = length.filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        Some(Self {
            length: std::str::from_utf8(length).ok()?.parse().ok()?,
            authorization: std::str::from_utf8(authorization?).ok()?,
        })
        .filter(|_| media.eq_ignore_ascii_case(b"application/json"))
    }
}

/// Headers that mean more than a direct answer gives: another end of the body, an answer before it, another protocol, or
/// a browser's page that asks across origins.
const ELSEWHERE: [&str; 5] = ["transfer-encoding", "expect", "upgrade", "origin", "trailer"];

/// How a wait for bytes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    More,
    /// The client has ended, or the link is gone.
    End,
    /// Nothing came in time.
    Late,
    /// The server stops.
    Stop,
}

impl Filled {
    fn is_more(self) -> bool {
        self == Self::More
    }
}

/// A wait for bytes. Timer and token are asked for once a connection, not once a request: the timer is only ever put off
/// when it has run out.
struct Wait<'w, 't> {
    stopped: Pin<&'w mut WaitForCancellationFuture<'t>>,
    timer: Pin<&'w mut Sleep>,
    until: Instant,
}

impl Wait<'_, '_> {
    fn set_until(&mut self, until: Instant) {
        self.until = until;
        if until < self.timer.deadline() {
            self.timer.as_mut().reset(until);
        }
    }

    /// Reads what is there once something is; a server that stops is only looked for where that matters.
    async fn fill<S: Stream>(&mut self, stream: &mut S, buffer: &mut Vec<u8>, stops: bool) -> Filled {
        if buffer.capacity() - buffer.len() < BUFFER_BYTES / 4 {
            buffer.reserve(BUFFER_BYTES);
        }
        let mut reading = pin!(stream.read_buf(buffer));
        std::future::poll_fn(|context| {
            match reading.as_mut().poll(context) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Filled::End),
                Poll::Ready(Ok(_)) => return Poll::Ready(Filled::More),
                Poll::Pending => {}
            }
            if stops && self.stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(Filled::Stop);
            }
            self.poll_late(context).map(|()| Filled::Late)
        })
        .await
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= self.until {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.until);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { head: 1_000, body: 100 };
    const LINES: &str = "Host: h\r\nAuthorization: Basic abc\r\nContent-Type: application/json\r\n";

    fn request(path: &str, lines: &str, body: &str) -> String {
        format!("POST {path} HTTP/1.1\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_plain_request_is_read_whole_and_what_follows_is_left() {
        let first = request("/v1/a", LINES, "{}");
        let both = format!("{first}GET / HTTP/1.1\r\n");
        let meant = Direct { path: "/v1/a", authorization: "Basic abc", body: b"{}" };
        assert_eq!(look(both.as_bytes(), BOUNDS), Look::Direct(meant, first.len()));
    }

    #[test]
    fn names_and_media_are_read_in_any_case_and_what_means_nothing_here_is_passed_over() {
        let lines = "hOST: h\r\nauthorization: x y\r\nCONTENT-TYPE: Application/JSON; charset=utf-8\r\n\
                     Connection: Keep-Alive\r\nUser-Agent: a\r\nAccept: */*\r\n";
        assert!(matches!(look(request("/", lines, "1").as_bytes(), BOUNDS), Look::Direct(..)));
    }

    #[test]
    fn a_body_that_is_not_there_yet_is_waited_for_by_its_length() {
        let whole = request("/v1/a", LINES, "{\"data\":1}");
        let head = whole.find("\r\n\r\n").expect("has an end") + 4;
        for there in head..whole.len() {
            assert_eq!(look(&whole.as_bytes()[..there], BOUNDS), Look::Short(whole.len()), "{there}");
        }
    }

    #[test]
    fn whatever_is_not_plain_to_the_last_byte_is_another_reader_s() {
        let good = request("/", LINES, "{}");
        let with = |line: &str| request("/", &format!("{LINES}{line}\r\n"), "{}");
        let cases = [
            good.replacen("POST", "PUT", 1),
            good.replacen("HTTP/1.1", "HTTP/1.0", 1),
            good.replacen("Content-Length: 2", "Content-Length: +2", 1),
            good.replacen("Content-Length: 2", "Content-Length: 2, 2", 1),
            good.replacen("Content-Length: 2", "Content-Length: 101", 1),
            good.replacen("Content-Length: 2", "Content-Length: 99999999999999999999999", 1),
            good.replacen("Content-Length: 2\r\n", "", 1),
            good.replacen("Host: h\r\n", "", 1),
            good.replacen("Authorization: Basic abc\r\n", "", 1),
            good.replacen("application/json", "text/plain", 1),
            good.replacen("Host: h", "Host : h", 1),
            request("/a%20b", LINES, "{}"),
            request("/a?b=c", LINES, "{}"),
            with("Content-Length: 2"),
            with("Host: h"),
            with("Authorization: Basic abd"),
            with("Content-Type: application/json"),
            with("Transfer-Encoding: chunked"),
            with("Expect: 100-continue"),
            with("Upgrade: websocket"),
            with("Connection: close"),
            with("Connection: keep-alive, upgrade"),
            with("Origin: https://a.example"),
            with(&format!("X: {}", "a".repeat(1_000))),
            with(&"X: a\r\n".repeat(HEADERS_MAX)).replacen("\r\n\r\n", "\r\n", 1),
            good[..30].to_owned(),
            "P".to_owned(),
        ];
        for case in cases {
            assert_eq!(look(case.as_bytes(), BOUNDS), Look::Other, "{case}");
        }
    }
}
