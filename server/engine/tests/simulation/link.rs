//! A client's link: what the client sends, what it takes, and what it has received.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use fanfare_engine::{Inbound, Reader, ReceiveError, Sink};
use serde_json::Value;

/// Both ends of one link.
#[derive(Clone, Default)]
pub(crate) struct Link(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    inbound: VecDeque<String>,
    ended: bool,
    written: Vec<u8>,
    /// How many calls wrote something.
    writes: u32,
    /// How many bytes the client still takes; `None` takes all.
    room: Option<usize>,
    read_waker: Option<Waker>,
    write_waker: Option<Waker>,
}

/// What a client got.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    Text(Value),
    Ping,
    Close(u16, String),
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics under this lock")
    }

    /// The client sends a frame.
    pub(crate) fn send(&self, text: impl Into<String>) {
        let mut state = self.state();
        state.inbound.push_back(text.into());
        if let Some(waker) = state.read_waker.take() {
            waker.wake();
        }
    }

    /// The client vanishes.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        if let Some(waker) = state.read_waker.take() {
            waker.wake();
        }
    }

    /// The client takes so many bytes from now on; `None` takes all.
    pub(crate) fn room(&self, room: Option<usize>) {
        let mut state = self.state();
        state.room = room;
        if room != Some(0)
            && let Some(waker) = state.write_waker.take()
        {
            waker.wake();
        }
    }

    /// How many writes there were since this was asked last.
    pub(crate) fn writes(&self) -> u32 {
        std::mem::take(&mut self.state().writes)
    }

    /// Takes the whole frames that have arrived.
    pub(crate) fn take(&self) -> Vec<Got> {
        let mut state = self.state();
        let mut got = Vec::new();
        while let Some((frame, length)) = whole_frame(&state.written) {
            state.written.drain(..length);
            got.push(frame);
        }
        got
    }
}

/// Reads one unmasked frame (RFC 6455 §5.2) from the front.
fn whole_frame(bytes: &[u8]) -> Option<(Got, usize)> {
    let (opcode, short) = (*bytes.first()? & 0x0F, *bytes.get(1)?);
    let (header, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(header..header + length)?;
    let got = match opcode {
        1 => Got::Text(serde_json::from_slice(payload).expect("the server sends JSON")),
        9 => Got::Ping,
        8 => Got::Close(
            u16::from_be_bytes([payload[0], payload[1]]),
            String::from_utf8_lossy(&payload[2..]).into_owned(),
        ),
        other => panic!("unexpected opcode {other}"),
    };
    Some((got, header + length))
}

impl Reader for Link {
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        each: &mut dyn FnMut(Inbound<'_>),
    ) -> Poll<Result<(), ReceiveError>> {
        let next = {
            let mut state = self.state();
            let next = state.inbound.pop_front();
            if next.is_none() {
                if state.ended {
                    return Poll::Ready(Err(ReceiveError::Ended));
                }
                state.read_waker = Some(context.waker().clone());
            }
            next
        };
        match next.as_deref() {
            None => Poll::Pending,
            Some("pong") => {
                each(Inbound::Pong);
                Poll::Ready(Ok(()))
            }
            Some(text) => {
                each(Inbound::Text(text));
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.room == Some(0) {
            state.write_waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn ping_frame(&self) -> Bytes {
        Bytes::from_static(&[0x89, 0])
    }

    fn pong_frame(&self, _payload: &[u8]) -> Bytes {
        Bytes::from_static(&[0x8A, 0])
    }

    fn close_frame(&self, status: u16, reason: &str) -> Bytes {
        let length = u8::try_from(reason.len() + 2).expect("reasons are short");
        [&[0x88, length], &status.to_be_bytes()[..], reason.as_bytes()].concat().into()
    }
}

impl Sink for Link {
    fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        let room = state.room.unwrap_or(usize::MAX);
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for slice in bytes {
            let part = slice.len().min(room - taken);
            state.written.extend_from_slice(&slice[..part]);
            taken += part;
        }
        state.room = state.room.map(|room| room - taken);
        state.writes += 1;
        Ok(taken)
    }

    fn finish(&mut self) {}
}
