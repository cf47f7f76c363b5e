//! TLS by rustls on the same fast path: whoever delivers encrypts and writes, without waiting.
//!
//! Both halves share the session behind a std lock that is held for one decryption or one encryption and one
//! non-blocking write; nothing is called back while it is held.
//!
//! What the sink takes counts as written. Ciphertext the socket would not take stays in the session, at most one
//! [`CIPHERTEXT_BYTES_MAX`], and the sink takes nothing more until it has gone. Nobody may ever write again, so the read
//! side, which has a task, is woken to send it when the socket is writable.

use std::io::{self, IoSlice, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use fanfare_engine::Sink;
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tcp::{end_writing, poll_fill};
use super::{Link, Scratch, Stream};

/// The most that is encrypted ahead of the socket.
const CIPHERTEXT_BYTES_MAX: usize = 64 * 1024;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM of that kind.
    #[error("{path}: {source}")]
    Pem {
        /// Which file.
        path: String,
        /// What is wrong.
        source: rustls_pki_types::pem::Error,
    },
    /// Key and certificate do not fit, or are of a kind that is not supported.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// Reads certificate chain and key, both PEM, and makes what accepts TLS 1.2 and 1.3 with them.
///
/// # Errors
/// When a file or the pair cannot be used.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let pem = |path: &Path, source| TlsError::Pem { path: path.display().to_string(), source };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| pem(certificate, source))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|source| pem(key, source))?;
    acceptor_of(chain, key)
}

/// Makes what accepts TLS with a certificate chain and its key.
///
/// # Errors
/// When they do not fit, or are of a kind that is not supported.
pub fn acceptor_of(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Clients that come back resume without a signature, on any node's restart too little to matter.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
struct Session {
    tls: ServerConnection,
    /// The read side's task, to be woken when ciphertext stays behind.
    reader: Option<Waker>,
    /// The goodbye was said; the write side ends once everything has gone.
    ending: bool,
}

/// The read side.
#[derive(Debug)]
pub struct TlsLink {
    socket: OwnedReadHalf,
    session: Arc<Mutex<Session>>,
    /// The other side said goodbye, or is gone.
    ended: bool,
}

/// The write side. Dropping it does not end the stream: the read side may still have ciphertext to send.
#[derive(Debug)]
pub struct TlsSink {
    /// `None` only while being dropped.
    socket: Option<OwnedWriteHalf>,
    session: Arc<Mutex<Session>>,
}

impl Stream for TlsStream<TcpStream> {
    type Link = TlsLink;

    fn into_link(self, early: &mut Vec<u8>) -> io::Result<(TlsLink, Box<dyn Sink>)> {
        let (socket, mut tls) = self.into_inner();
        tls.set_buffer_limit(Some(CIPHERTEXT_BYTES_MAX));
        // HTTP stops reading at its own end: what was decrypted beyond it waits in rustls, and no socket event tells.
        let state = tls.process_new_packets().map_err(invalid)?;
        take_plaintext(&mut tls, state.plaintext_bytes_to_read(), early)?;
        let session = Arc::new(Mutex::new(Session { tls, reader: None, ending: false }));
        let (read, write) = socket.into_split();
        let sink = TlsSink { socket: Some(write), session: Arc::clone(&session) };
        Ok((TlsLink { socket: read, session, ended: state.peer_has_closed() }, Box::new(sink)))
    }
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn take_plaintext(tls: &mut ServerConnection, length: usize, to: &mut Vec<u8>) -> io::Result<()> {
    let start = to.len();
    to.resize(start + length, 0);
    tls.reader().read_exact(&mut to[start..])
}

impl Session {
    /// Sends ciphertext as far as the socket takes it; whether all has gone.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut NonBlocking(socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if self.ending {
            end_writing(socket);
        }
        Ok(true)
    }

    /// Decrypts whole records and keeps a part of one for later; whether more can come.
    fn decrypt(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> io::Result<bool> {
        while !wire.is_empty() {
            if self.tls.read_tls(&mut wire)? == 0 {
                return Ok(false);
            }
            let state = self.tls.process_new_packets().map_err(invalid)?;
            take_plaintext(&mut self.tls, state.plaintext_bytes_to_read(), plain)?;
            if state.peer_has_closed() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl TlsLink {
    /// Sends what stayed behind. Pending leaves the task to be woken by the socket; in any case by a sink that leaves
    /// something behind later.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.socket.as_ref();
        let mut session = lock(&self.session);
        while session.tls.wants_write() {
            if socket.poll_write_ready(context)?.is_pending() {
                return Poll::Pending;
            }
            session.flush(socket)?;
        }
        if !session.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
            session.reader = Some(context.waker().clone());
        }
        Poll::Ready(Ok(()))
    }
}

impl Link for TlsLink {
    fn poll_read<'s>(&mut self, context: &mut Context<'_>, scratch: &'s mut Scratch) -> Poll<io::Result<&'s mut [u8]>> {
        // Reading goes on while ciphertext waits: two sides that both only write would wait for each other.
        if let Poll::Ready(Err(error)) = self.poll_flush(context) {
            return Poll::Ready(Err(error));
        }
        scratch.plain.clear();
        while !self.ended {
            let length = ready!(poll_fill(&mut self.socket, context, &mut scratch.wire))?;
            let mut session = lock(&self.session);
            self.ended = length == 0 || !session.decrypt(&scratch.wire[..length], &mut scratch.plain)?;
            // Answers of TLS itself, such as to a change of keys.
            let flushed = session.flush(self.socket.as_ref())?;
            drop(session);
            if !scratch.plain.is_empty() {
                break;
            }
            if !flushed && let Poll::Ready(Err(error)) = self.poll_flush(context) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(&mut scratch.plain))
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(context))?;
        self.socket.as_ref().poll_write_ready(context)
    }
}

impl Drop for TlsSink {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.forget();
        }
    }
}

impl TlsSink {
    fn socket(&self) -> &TcpStream {
        self.socket.as_ref().expect("it is there until the drop").as_ref()
    }

    /// Sends what there is; what stays behind becomes the read side's to send.
    fn send(&self, mut session: MutexGuard<'_, Session>) -> io::Result<()> {
        if !session.flush(self.socket())?
            && let Some(reader) = session.reader.take()
        {
            drop(session);
            reader.wake();
        }
        Ok(())
    }
}

impl Sink for TlsSink {
    fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = lock(&self.session);
        if !session.flush(self.socket())? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = session.tls.writer().write_vectored(bytes)?;
        self.send(session)?;
        Ok(taken)
    }

    fn finish(&mut self) {
        let mut session = lock(&self.session);
        if session.ending {
            return;
        }
        session.tls.send_close_notify();
        session.ending = true;
        if let Err(error) = self.send(session) {
            tracing::trace!(%error, "the link was gone before its end");
        }
    }
}

/// The socket as rustls wants it: writes what goes without waiting.
struct NonBlocking<'a>(&'a TcpStream);

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
