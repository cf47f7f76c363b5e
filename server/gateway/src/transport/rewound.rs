//! A stream of which the beginning was read already, and is read again.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream, and what was read of it before.
pub(super) struct Rewound<S> {
    before: Bytes,
    stream: S,
}

impl<S> Rewound<S> {
    pub(super) const fn new(before: Bytes, stream: S) -> Self {
        Self { before, stream }
    }

    /// What was not read again, and the stream.
    pub(super) fn into_parts(self) -> (Bytes, S) {
        (self.before, self.stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.before.len().min(buffer.remaining());
        buffer.put_slice(&self.before[..length]);
        self.before.advance(length);
        if self.before.is_empty() {
            // An empty view would keep what it was cut from.
            self.before = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn what_was_read_is_read_again_and_then_the_rest() {
        let mut stream = Rewound::new(Bytes::from_static(b"read before, "), &b"and after"[..]);
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.expect("is there");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.expect("ends");
        assert_eq!((&first, &*rest), (b"read", " before, and after"));
    }

    #[tokio::test]
    async fn what_was_not_read_again_is_given_back() {
        let mut stream = Rewound::new(Bytes::from_static(b"ab"), &b""[..]);
        assert_eq!(stream.read_u8().await.expect("is there"), b'a');
        assert_eq!(stream.into_parts().0, "b");
    }
}
