//! Accepts connections, speaks HTTP/1.1 on them, and hands a connection over once a request was answered with 101.
//!
//! ```text
//! accept ─▶ (TLS) ─▶ HTTP ─▶ Endpoint::respond ─▶ … ─▶ 101 ─▶ Endpoint::converse
//! ```
//!
//! The HTTP part lives in a box of its own that is dropped at the hand-over, hyper's buffers with it: an open WebSocket
//! is its engine task and nothing else. Bytes that came right behind the request go along.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use fanfare_engine::Sink;
use fanfare_protocol::websocket;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Stream;
use super::websocket::WebSocketReader;
use crate::options::HttpOptions;

/// How many accepted connections the kernel may hold for us.
const BACKLOG: i32 = 4_096;
/// How long accepting rests when the process has no descriptors or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served.
pub trait Endpoint: Send + Sync + 'static {
    /// What a request for a socket was found to be, handed from [`Endpoint::respond`] to [`Endpoint::converse`].
    type Accepted: Send + 'static;

    /// Answers a request. Whoever answers 101 puts what was accepted into the slot.
    fn respond(
        &self,
        request: Request<Body>,
        slot: &Arc<Slot<Self::Accepted>>,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// What a client may send on this socket.
    fn bounds(&self, accepted: &Self::Accepted) -> websocket::Options;

    /// The life of an open socket.
    fn converse<L: super::Link>(
        &self,
        accepted: Self::Accepted,
        reader: WebSocketReader<L>,
        sink: Box<dyn Sink>,
    ) -> impl Future<Output = ()> + Send;
}

/// Where an accepted socket waits until its 101 was sent.
#[derive(Debug)]
pub struct Slot<A> {
    asked: AtomicBool,
    accepted: Mutex<Option<A>>,
}

impl<A> Default for Slot<A> {
    fn default() -> Self {
        Self { asked: AtomicBool::new(false), accepted: Mutex::new(None) }
    }
}

impl<A> Slot<A> {
    /// Leaves what was accepted for the hand-over.
    pub fn put(&self, accepted: A) {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
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

struct Shared<E> {
    endpoint: E,
    tls: Option<TlsAcceptor>,
    http: HttpOptions,
    builder: http1::Builder,
    /// One permit for each connection that is not a WebSocket (yet).
    opening: Semaphore,
    shutdown: CancellationToken,
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
    let shared = Arc::new(Shared { endpoint, tls, http, builder, opening, shutdown });
    let tasks = TaskTracker::new();
    loop {
        tokio::select! {
            biased;
            // First, or a flood of connections could keep a server from stopping.
            () = shared.shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    tasks.spawn(connection(Arc::clone(&shared), socket));
                }
                Err(error) => rest_after(&error).await,
            },
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections just now");
    #[expect(clippy::disallowed_methods, reason = "a back-off: nothing tells when descriptors are free again")]
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn connection<E: Endpoint>(shared: Arc<Shared<E>>, socket: TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::trace!(%error, "the link was gone before its start");
        return;
    }
    match &shared.tls {
        None => converse(&shared, Box::pin(open_plain(&shared, socket)).await).await,
        Some(acceptor) => converse(&shared, Box::pin(open_tls(&shared, acceptor, socket)).await).await,
    }
}

/// A socket that was asked for and is open.
struct Opened<A, S: Stream> {
    accepted: A,
    reader: WebSocketReader<S::Link>,
    sink: Box<dyn Sink>,
}

async fn converse<E: Endpoint, S: Stream>(shared: &Shared<E>, opened: Option<Opened<E::Accepted, S>>) {
    if let Some(Opened { accepted, reader, sink }) = opened {
        shared.endpoint.converse(accepted, reader, sink).await;
    }
}

async fn open_plain<E: Endpoint>(shared: &Shared<E>, socket: TcpStream) -> Option<Opened<E::Accepted, TcpStream>> {
    // Without a permit the node has as many half-open clients as it can afford: this one is let go unheard.
    let _permit = shared.opening.try_acquire().ok()?;
    open(shared, socket).await
}

async fn open_tls<E: Endpoint>(
    shared: &Shared<E>,
    acceptor: &TlsAcceptor,
    socket: TcpStream,
) -> Option<Opened<E::Accepted, TlsStream<TcpStream>>> {
    let _permit = shared.opening.try_acquire().ok()?;
    let limit = Duration::from_millis(shared.http.tls_timeout_ms);
    let stream = timeout(limit, acceptor.accept(socket)).await.ok()?.ok()?;
    open(shared, stream).await
}

async fn open<E: Endpoint, S: Stream>(shared: &Shared<E>, stream: S) -> Option<Opened<E::Accepted, S>> {
    let (accepted, stream, mut early) = speak_http(shared, stream).await?;
    let (link, sink) = stream.into_link(&mut early).ok()?;
    let reader = WebSocketReader::new(link, early, shared.endpoint.bounds(&accepted));
    Some(Opened { accepted, reader, sink })
}

/// Speaks HTTP until the connection ends, or becomes a socket.
async fn speak_http<E: Endpoint, S: Stream>(shared: &Shared<E>, stream: S) -> Option<(E::Accepted, S, Vec<u8>)> {
    let slot = Arc::new(Slot::default());
    let service = service_fn(|request: Request<Incoming>| {
        slot.asked.store(true, Ordering::Relaxed);
        let slot = Arc::clone(&slot);
        async move { Ok::<_, Infallible>(shared.endpoint.respond(request.map(Body::new), &slot).await) }
    });
    let mut connection = shared.builder.serve_connection(TokioIo::new(stream), service);
    let first_request = Duration::from_millis(shared.http.header_timeout_ms);
    let mut first_request = pin!(timeout(first_request, std::future::pending::<()>()));
    let (mut waiting, mut stopping) = (true, false);
    loop {
        tokio::select! {
            biased;
            // First, so that whatever is ready is answered before anything ends it.
            ended = &mut connection => {
                ended.ok()?;
                break;
            }
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
    Some((accepted, parts.io.into_inner(), parts.read_buf.to_vec()))
}
