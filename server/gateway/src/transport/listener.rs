//! Accepts connections, speaks HTTP/1.1 on them, and hands a connection over once a request was answered with 101.
//!
//! ```text
//! accept ─▶ (TLS) ─▶ lane ─▶ HTTP ─▶ Endpoint::respond ─▶ … ─▶ 101 ─▶ Endpoint::converse
//! ```
//!
//! The lane (`lane.rs`) answers plain requests by itself until another comes.
//!
//! The HTTP part is a task that ends at the hand-over, and hyper's buffers with it: an open WebSocket is a task of its own
//! that holds nothing of HTTP. Bytes that came right behind the request go along.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use fanfare_engine::Sink;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Stream;
use super::descriptors::Descriptors;
use super::lane::{self, Direct, Handed};
use crate::options::HttpOptions;

/// How many accepted connections the kernel may hold for us.
const BACKLOG: i32 = 4_096;
/// How long accepting rests when the process has no descriptors or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The answer to a client that is turned away before its request was read.
const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What is served.
pub trait Endpoint: Send + Sync + 'static {
    /// What a request for a socket was found to be, handed from [`Endpoint::respond`] to [`Endpoint::converse`].
    type Accepted: Send + 'static;

    /// What is kept of a connection from one direct request to the next.
    type Memory: Default + Send;

    /// The longest body of a direct request, in bytes; 0 where nothing is answered directly.
    fn direct_bytes_max(&self) -> usize;

    /// Whether this request is one that [`Endpoint::respond_directly`] answers just as [`Endpoint::respond`] would.
    fn is_direct(&self, request: &Direct<'_>) -> bool;

    /// Answers a direct request: the whole answer, head and body, goes to the end of `out`, and says whether the connection
    /// closes behind it. So does what is returned; `closes` is whether it does in any case.
    fn respond_directly(
        &self,
        memory: &mut Self::Memory,
        request: &Direct<'_>,
        closes: bool,
        out: &mut Vec<u8>,
    ) -> impl Future<Output = bool> + Send;

    /// Answers a request. Whoever answers 101 puts what was accepted into the slot.
    fn respond(
        &self,
        request: Request<Body>,
        slot: &Arc<Slot<Self::Accepted>>,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// The life of an open connection, which becomes a task of its own. `early` came right behind the request.
    fn converse<L: super::Link>(
        &self,
        accepted: Self::Accepted,
        link: L,
        early: Vec<u8>,
        sink: Box<dyn Sink>,
    ) -> impl Future<Output = ()> + Send + use<Self, L>;
}

/// Where an accepted socket waits until its 101 was sent.
#[derive(Debug)]
pub struct Slot<A> {
    asked: AtomicBool,
    accepted: Mutex<Option<A>>,
    /// The connection is not HTTP's any more, though its request was not answered.
    seized: Notify,
}

impl<A> Default for Slot<A> {
    fn default() -> Self {
        Self { asked: AtomicBool::new(false), accepted: Mutex::new(None), seized: Notify::new() }
    }
}

impl<A> Slot<A> {
    /// Leaves what was accepted for the hand-over.
    pub fn put(&self, accepted: A) {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
    }

    /// Takes the connection from HTTP without an answer, if something was accepted and `whether` says so.
    pub fn seize(&self, whether: impl FnOnce(&mut A) -> bool) -> bool {
        let seized = self.accepted.lock().unwrap_or_else(PoisonError::into_inner).as_mut().is_some_and(whether);
        if seized {
            self.seized.notify_one();
        }
        seized
    }

    fn take(&self) -> Option<A> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Binds a listener as a server needs it: with a deep backlog, and at once after a restart.
///
/// # Errors
/// When the address cannot be had.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

pub(super) struct Shared<E> {
    pub(super) endpoint: E,
    tls: Option<TlsAcceptor>,
    pub(super) http: HttpOptions,
    builder: http1::Builder,
    /// One permit for each connection that is not a WebSocket (yet).
    opening: Semaphore,
    tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// Serves until told to stop, then until the last connection has ended. Open WebSockets are not ended here: their
/// endpoint does that.
pub async fn listen<E: Endpoint>(
    listener: TcpListener,
    endpoint: E,
    tls: Option<TlsAcceptor>,
    http: HttpOptions,
    shutdown: CancellationToken,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(http.idle_timeout_ms))
        .max_headers(http.headers_max)
        .max_header_size(http.header_bytes_max)
        .max_buf_size(http.header_bytes_max.max(8_192));
    let opening = Semaphore::new(http.connections_max);
    let tasks = TaskTracker::new();
    let shared = Arc::new(Shared { endpoint, tls, http, builder, opening, tasks: tasks.clone(), shutdown });
    let mut descriptors = Descriptors::new();
    loop {
        tokio::select! {
            biased;
            // First, or a flood of connections could keep a server from stopping.
            () = shared.shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) if descriptors.admits(socket.as_raw_fd()) => {
                    tasks.spawn(connection(Arc::clone(&shared), socket));
                }
                Ok((socket, _)) => turn_away(socket, shared.tls.is_some()).await,
                Err(error) => rest_after(&error).await,
            },
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Lets a connection go for which there is no descriptor to spare, and rests: more of them would only be let go too.
async fn turn_away(socket: TcpStream, is_tls: bool) {
    tracing::warn!("no file descriptor is left for another connection; raise the limit on open files");
    if !is_tls {
        // As far as the kernel takes it at once: nobody waits for a client that is turned away.
        let _ = socket.try_write(TURNED_AWAY);
    }
    drop(socket);
    rest().await;
}

async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections just now");
    rest().await;
}

async fn rest() {
    #[expect(clippy::disallowed_methods, reason = "a back-off: nothing tells when descriptors are free again")]
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn connection<E: Endpoint>(shared: Arc<Shared<E>>, socket: TcpStream) {
    // Without a permit the node has as many half-open clients as it can afford: this one is let go unheard.
    let Ok(_permit) = shared.opening.try_acquire() else { return };
    if let Err(error) = socket.set_nodelay(true) {
        tracing::trace!(%error, "the link was gone before its start");
        return;
    }
    let Some(acceptor) = &shared.tls else { return serve(&shared, socket).await };
    let limit = Duration::from_millis(shared.http.tls_timeout_ms);
    match timeout(limit, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => serve(&shared, stream).await,
        Ok(Err(error)) => tracing::trace!(%error, "no TLS with this client"),
        Err(_) => tracing::trace!("the TLS handshake took too long"),
    }
}

async fn serve<E: Endpoint, S: Stream>(shared: &Shared<E>, stream: S) {
    let first = Instant::now() + Duration::from_millis(shared.http.header_timeout_ms);
    let Some(handed) = lane::run(shared, stream, first).await else { return };
    let Some((accepted, stream, mut early)) = speak_http(shared, handed, first).await else { return };
    match stream.into_link(&mut early) {
        Ok((link, sink)) => {
            shared.tasks.spawn(shared.endpoint.converse(accepted, link, early, sink));
        }
        Err(error) => tracing::trace!(%error, "the link broke its rules right behind the request"),
    }
}

/// Speaks HTTP until the connection ends, or becomes a socket.
async fn speak_http<E: Endpoint, S: Stream>(
    shared: &Shared<E>,
    Handed { stream, asked }: Handed<S>,
    first: Instant,
) -> Option<(E::Accepted, S, Vec<u8>)> {
    let slot = Arc::new(Slot { asked: AtomicBool::new(asked), ..Slot::default() });
    let service = service_fn(|request: Request<Incoming>| {
        slot.asked.store(true, Ordering::Relaxed);
        let slot = Arc::clone(&slot);
        async move { Ok::<_, Infallible>(shared.endpoint.respond(request.map(Body::new), &slot).await) }
    });
    let mut connection = shared.builder.serve_connection(TokioIo::new(stream), service);
    let mut first_request = pin!(timeout_at(first, std::future::pending::<()>()));
    let (mut waiting, mut stopping) = (true, false);
    loop {
        tokio::select! {
            biased;
            // First, so that whatever is ready is answered before anything ends it.
            ended = &mut connection => {
                ended.ok()?;
                break;
            }
            () = slot.seized.notified() => break,
            _ = &mut first_request, if waiting => {
                waiting = false;
                if !slot.asked.load(Ordering::Relaxed) {
                    return None;
                }
            }
            () = shared.shutdown.cancelled(), if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
    let accepted = slot.take()?;
    let parts = connection.into_parts();
    let (unread, stream) = parts.io.into_inner().into_parts();
    Some((accepted, stream, [&parts.read_buf[..], &unread[..]].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Gateway;
    use crate::transport::tcp::TcpLink;

    fn task_bytes<F: Future>(
        _: impl FnOnce(&'static Gateway, <Gateway as Endpoint>::Accepted, TcpLink, Vec<u8>, Box<dyn Sink>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// `figures.md` counts what an idle connection weighs; its task is the part that grows unseen.
    #[test]
    fn the_task_of_an_open_socket_is_lean() {
        let bytes = task_bytes(Gateway::converse);
        assert!(bytes <= 400, "{bytes} bytes");
    }
}
