//! A socket that is refused: told over the socket itself.
//!
//! A browser shows a page nothing of an answer to its handshake but that there was none good. So a request that is a
//! proper handshake is answered with 101 even when a limit, an origin or the node's state refuses it; the error comes as
//! the first frame, and the close frame after it has its number. Such a socket reads nothing but its end, and few may
//! linger: beyond `LINGERING_MAX` the answer is the plain HTTP one.

use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use fanfare_core::Problem;
use fanfare_engine::{Inbound, Reader, ReceiveError, Sink};
use fanfare_protocol::native;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How many may wait for their clients to go.
const LINGERING_MAX: usize = 1_024;
/// How long one waits.
const LINGER: Duration = Duration::from_secs(2);

/// The places of refused sockets.
#[derive(Debug, Clone)]
pub(crate) struct Lingering(Arc<Semaphore>);

impl Default for Lingering {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LINGERING_MAX)))
    }
}

/// A refusal that has a place.
#[derive(Debug)]
pub(crate) struct Refusal {
    problem: Box<Problem>,
    _place: OwnedSemaphorePermit,
}

impl Lingering {
    /// A place for a refusal; the problem back when there is none.
    pub(crate) fn take(&self, problem: Box<Problem>) -> Result<Refusal, Box<Problem>> {
        match Arc::clone(&self.0).try_acquire_owned() {
            Ok(place) => Ok(Refusal { problem, _place: place }),
            Err(_) => Err(problem),
        }
    }
}

impl Refusal {
    /// Tells it and ends the link.
    pub(crate) async fn tell<R: Reader>(self, mut reader: R, mut sink: Box<dyn Sink>) {
        let code = self.problem.code;
        let frames =
            [native::error(None, &self.problem).websocket().clone(), reader.close_frame(code.close(), code.as_str())];
        let whole: usize = frames.iter().map(bytes::Bytes::len).sum();
        // A socket that has just been opened takes so little at once.
        let written = sink.try_write(&frames.each_ref().map(|frame| IoSlice::new(frame)));
        sink.finish();
        if !matches!(written, Ok(written) if written == whole) {
            return;
        }
        // Ended here, what the client has sent already would turn the end into a reset, and it would miss the reason.
        let mut gone = false;
        let ended = poll_fn(|context| {
            loop {
                let received = reader.poll_receive(context, &mut |inbound| gone |= inbound == Inbound::Close);
                match ready!(received) {
                    Err(ReceiveError::Io(_) | ReceiveError::Ended) => return Poll::Ready(()),
                    Ok(()) | Err(ReceiveError::Protocol { .. }) if gone => return Poll::Ready(()),
                    Ok(()) | Err(ReceiveError::Protocol { .. }) => {}
                }
            }
        });
        let _late = timeout(LINGER, ended).await;
    }
}
