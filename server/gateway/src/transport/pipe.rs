//! A connection whose client is at the other end of an HTTP answer: what is said to it is lines of that answer's body.
//!
//! ```text
//!   the request's commands ─▶ PipeReader ─▶ connection ─▶ PipeSink ─▶ lines ─▶ the answer's body
//! ```
//!
//! A stream's lines are taken while they come ([`Body`]); a poll's when the connection has ended, which it does as soon
//! as something was said ([`Pipe::finish`] when nothing was for too long).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use fanfare_engine::{Inbound, Reader, ReceiveError, Sink};
use fanfare_protocol::native;
use futures_util::Stream;

/// Bytes that a stream's client may leave untaken here, before more wait in its outbox.
const STREAM_BYTES: usize = 64 * 1024;
/// Bytes of a poll's answer, before what comes next waits in the outbox and is the last that it takes along.
const POLL_BYTES: usize = 256 * 1024;
/// The most bytes that a stream hands over at once.
const PART_BYTES: usize = 64 * 1024;

/// One connection's way out.
#[derive(Debug, Clone)]
pub(crate) struct Pipe(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    lines: VecDeque<Bytes>,
    bytes: usize,
    capacity: usize,
    /// It is a poll's: whatever is said is a reason to answer.
    polled: bool,
    /// The client wants its answer.
    finish: bool,
    /// Nobody takes anything any more.
    abandoned: bool,
    /// Nothing more is said.
    ended: bool,
    connection: Option<Waker>,
    body: Option<Waker>,
}

impl Pipe {
    /// For a stream, whose lines are taken while they come.
    pub(crate) fn streamed() -> Self {
        Self::new(STREAM_BYTES, false)
    }

    /// For a poll, whose lines are taken at its end.
    pub(crate) fn polled() -> Self {
        Self::new(POLL_BYTES, true)
    }

    fn new(capacity: usize, polled: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            lines: VecDeque::new(),
            bytes: 0,
            capacity,
            polled,
            finish: false,
            abandoned: false,
            ended: false,
            connection: None,
            body: None,
        })))
    }

    /// The connection's read side, which says these commands.
    pub(crate) fn reader(&self, commands: String) -> PipeReader {
        PipeReader { pipe: self.clone(), commands: Some(commands).filter(|commands| !commands.is_empty()) }
    }

    /// The connection's write side.
    pub(crate) fn sink(&self) -> Box<dyn Sink> {
        Box::new(PipeSink(self.clone()))
    }

    /// Has the connection end with what there is.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        state.finish = true;
        state.wake_connection();
    }

    /// Everything that was said and not taken.
    pub(crate) fn take(&self) -> Bytes {
        self.state().part(usize::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, line: Bytes) {
        if !line.is_empty() {
            self.bytes += line.len();
            self.lines.push_back(line);
        }
    }

    /// The next lines, about so many bytes of them.
    fn part(&mut self, bytes_max: usize) -> Bytes {
        let mut part = BytesMut::with_capacity(self.bytes.min(bytes_max));
        while part.len() < bytes_max
            && let Some(line) = self.lines.pop_front()
        {
            self.bytes -= line.len();
            part.extend_from_slice(&line);
        }
        part.freeze()
    }

    fn wake_connection(&mut self) {
        if let Some(waker) = self.connection.take() {
            waker.wake();
        }
    }

    fn wake_body(&mut self) {
        if let Some(waker) = self.body.take() {
            waker.wake();
        }
    }
}

/// The read side.
#[derive(Debug)]
pub(crate) struct PipeReader {
    pipe: Pipe,
    commands: Option<String>,
}

impl Reader for PipeReader {
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        each: &mut dyn FnMut(Inbound<'_>),
    ) -> Poll<Result<(), ReceiveError>> {
        let commands = self.commands.take();
        let mut state = self.pipe.state();
        if state.abandoned {
            return Poll::Ready(Err(ReceiveError::Ended));
        }
        // Whoever asks for something has its answer at once.
        let pause = state.polled && (std::mem::take(&mut state.finish) || commands.is_some());
        if commands.is_none() && !pause {
            state.connection = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        if let Some(commands) = &commands {
            each(Inbound::Text(commands));
        }
        if pause {
            each(Inbound::Pause);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.pipe.state();
        if state.abandoned {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.bytes < state.capacity {
            return Poll::Ready(Ok(()));
        }
        state.connection = Some(context.waker().clone());
        Poll::Pending
    }

    fn is_one_way(&self) -> bool {
        true
    }

    /// A blank line. A poll ends before anybody could think it dead.
    fn ping_frame(&self) -> Bytes {
        if self.pipe.state().polled { Bytes::new() } else { Bytes::from_static(b"\n") }
    }

    fn pong_frame(&self, _payload: &[u8]) -> Bytes {
        Bytes::new()
    }

    fn close_frame(&self, status: u16, reason: &str) -> Bytes {
        native::push_close(status, reason).line()
    }
}

/// The write side.
struct PipeSink(Pipe);

impl Sink for PipeSink {
    fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.abandoned {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.bytes >= state.capacity {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut written = 0;
        for line in bytes {
            written += line.len();
            state.push(Bytes::copy_from_slice(line));
        }
        if state.polled && written > 0 {
            state.finish = true;
            state.wake_connection();
        }
        state.wake_body();
        Ok(written)
    }

    fn settle(&mut self, rest: Vec<Bytes>) {
        let mut state = self.0.state();
        rest.into_iter().for_each(|line| state.push(line));
        state.wake_body();
    }

    fn finish(&mut self) {
        let mut state = self.0.state();
        state.ended = true;
        state.wake_body();
    }
}

impl Drop for PipeSink {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A stream's lines while they come. Whoever drops it is gone.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Pipe);

impl Stream for Body {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state();
        if state.lines.is_empty() {
            if state.ended {
                return Poll::Ready(None);
            }
            state.body = Some(context.waker().clone());
            return Poll::Pending;
        }
        let part = state.part(PART_BYTES);
        if state.bytes < state.capacity {
            state.wake_connection();
        }
        Poll::Ready(Some(Ok(part)))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.abandoned = true;
        state.wake_connection();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sink: &mut dyn Sink, text: &str) -> io::Result<usize> {
        sink.try_write(&[IoSlice::new(text.as_bytes())])
    }

    fn receive(reader: &mut PipeReader) -> Vec<String> {
        let (mut heard, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
        let received = reader.poll_receive(&mut context, &mut |inbound| heard.push(format!("{inbound:?}")));
        if let Poll::Ready(Err(_)) = received {
            heard.push("ended".to_owned());
        }
        heard
    }

    #[test]
    fn a_poll_is_answered_when_asked_when_told_and_when_its_time_is_over() {
        let asked = Pipe::polled();
        assert_eq!(receive(&mut asked.reader("{}".to_owned())), ["Text(\"{}\")", "Pause"]);
        let told = Pipe::polled();
        let (mut reader, mut sink) = (told.reader(String::new()), told.sink());
        assert_eq!(receive(&mut reader), [""; 0]);
        assert!(write(&mut *sink, "").is_ok() && receive(&mut reader).is_empty(), "nothing was said");
        assert!(write(&mut *sink, "a\n").is_ok());
        assert_eq!(receive(&mut reader), ["Pause"]);
        assert_eq!(receive(&mut reader), [""; 0], "once");
        let late = Pipe::polled();
        let mut reader = late.reader(String::new());
        late.finish();
        assert_eq!(receive(&mut reader), ["Pause"]);
    }

    #[test]
    fn a_poll_that_is_full_takes_the_rest_along_when_it_ends() {
        let pipe = Pipe::polled();
        let mut sink = pipe.sink();
        assert!(write(&mut *sink, &"x".repeat(POLL_BYTES)).is_ok());
        assert_eq!(write(&mut *sink, "y").expect_err("full").kind(), io::ErrorKind::WouldBlock);
        sink.settle(vec![Bytes::from_static(b"y\n"), Bytes::from_static(b"z\n")]);
        assert!(pipe.take().ends_with(b"xy\nz\n"));
    }

    #[test]
    fn whoever_drops_a_stream_is_gone_and_an_end_comes_after_what_was_said() {
        let pipe = Pipe::streamed();
        let (mut reader, mut sink) = (pipe.reader(String::new()), pipe.sink());
        let mut body = Box::pin(Body(pipe));
        let mut context = Context::from_waker(Waker::noop());
        assert!(body.as_mut().poll_next(&mut context).is_pending());
        assert!(write(&mut *sink, "a\n").is_ok());
        sink.finish();
        let part = |polled: Poll<Option<io::Result<Bytes>>>| match polled {
            Poll::Ready(part) => part.map(|part| part.expect("no errors here")),
            Poll::Pending => panic!("it waits"),
        };
        assert_eq!(part(body.as_mut().poll_next(&mut context)), Some(Bytes::from_static(b"a\n")));
        assert_eq!(part(body.as_mut().poll_next(&mut context)), None);
        drop(body);
        assert_eq!(receive(&mut reader), ["ended"]);
        assert!(write(&mut *sink, "b\n").is_err());
    }
}
