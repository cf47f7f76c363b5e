//! Plain TCP: both halves of one non-blocking socket.
//!
//! The write half is written to from any thread and never waits; the read half belongs to the connection's task, which
//! also waits for writability when the write half was refused.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use fanfare_engine::Sink;
use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{Link, Scratch, Stream};

/// The read side.
#[derive(Debug)]
pub struct TcpLink(OwnedReadHalf);

/// The write side. Dropping it ends the stream.
#[derive(Debug)]
pub struct TcpSink(OwnedWriteHalf);

impl Stream for TcpStream {
    type Link = TcpLink;

    fn into_link(self, _early: &mut Vec<u8>) -> io::Result<(TcpLink, Box<dyn Sink>)> {
        let (read, write) = self.into_split();
        Ok((TcpLink(read), Box::new(TcpSink(write))))
    }
}

impl Link for TcpLink {
    fn poll_read<'s>(&mut self, context: &mut Context<'_>, scratch: &'s mut Scratch) -> Poll<io::Result<&'s mut [u8]>> {
        let length = ready!(poll_fill(&mut self.0, context, &mut scratch.wire))?;
        Poll::Ready(Ok(&mut scratch.wire[..length]))
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_ref().poll_write_ready(context)
    }
}

/// Reads once. Unlike readiness and `try_read`, this needs no second, refused read to learn that the socket is empty.
pub(super) fn poll_fill(
    socket: &mut OwnedReadHalf,
    context: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(socket).poll_read(context, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// Ends the write side after what the kernel holds was sent. An error means that the link is gone, which is an end too.
pub(super) fn end_writing(socket: &TcpStream) {
    if let Err(error) = SockRef::from(socket).shutdown(Shutdown::Write) {
        tracing::trace!(%error, "the link was gone before its end");
    }
}

impl Sink for TcpSink {
    fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match bytes {
            [one] => self.0.try_write(one),
            many => self.0.try_write_vectored(many),
        }
    }

    fn finish(&mut self) {
        end_writing(self.0.as_ref());
    }
}
