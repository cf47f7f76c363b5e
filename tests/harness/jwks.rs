//! A server of an issuer's keys over real TLS, which behaves as it is told and counts who comes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_rustls::TlsAcceptor;

/// How the sink answers.
#[derive(Debug, Clone)]
pub enum Mode {
    /// With a document.
    Document(Value),
    /// With a redirect to there.
    Redirect(String),
    /// With a status and nothing more.
    Status(u16),
    /// One byte of a document of a known length now and then, for ever.
    Drip,
    /// A gigabyte that says so beforehand.
    Huge,
    /// Bytes for as long as they are taken, without a length.
    Endless,
    /// Not at all: the link is cut.
    Down,
}

/// The server. It ends when this is dropped.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    port: u16,
    certificate: PathBuf,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    mode: Mutex<Mode>,
    connects: AtomicU64,
    sent: AtomicU64,
}

impl Sink {
    /// Starts it on a free port of localhost, with a certificate of its own.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(mode: Mode) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let certificate = std::env::temp_dir().join(format!("fanfare-jwks-{}-{port}.pem", std::process::id()));
        std::fs::write(&certificate, made.cert.pem())?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shared = Arc::new(Shared { mode: Mutex::new(mode), connects: AtomicU64::new(0), sent: AtomicU64::new(0) });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { shared, port, certificate, _serving: serving })
    }

    /// Where its keys are.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}/keys", self.port)
    }

    /// The file that makes a client trust it.
    #[must_use]
    pub fn certificate(&self) -> &str {
        self.certificate.to_str().expect("we chose the name")
    }

    /// From now on it answers so.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.shared.connects.load(Ordering::Relaxed)
    }

    /// How many bytes of bodies it got rid of.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.certificate);
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut answering = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connects.fetch_add(1, Ordering::Relaxed);
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        // How an exchange ends is for the client to tell.
        answering.spawn(async move { drop(answer(stream, acceptor, &shared).await) });
        while answering.try_join_next().is_some() {}
    }
}

async fn answer(stream: TcpStream, acceptor: TlsAcceptor, shared: &Shared) -> Result<()> {
    let mode = shared.mode.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if matches!(mode, Mode::Down) {
        return Ok(());
    }
    let mut stream = acceptor.accept(stream).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.context("a request comes")?);
    }
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}\r\n");
    match mode {
        Mode::Document(document) => {
            let body = document.to_string();
            stream.write_all(head("200 OK", &format!("Content-Length: {}\r\n", body.len())).as_bytes()).await?;
            stream.write_all(body.as_bytes()).await?;
        }
        Mode::Redirect(to) => {
            let more = format!("Location: {to}\r\nContent-Length: 0\r\n");
            stream.write_all(head("302 Found", &more).as_bytes()).await?;
        }
        Mode::Status(status) => {
            stream.write_all(head(&format!("{status} Told"), "Content-Length: 0\r\n").as_bytes()).await?;
        }
        Mode::Drip => {
            stream.write_all(head("200 OK", "Content-Length: 1000\r\n").as_bytes()).await?;
            let mut now_and_then = interval(Duration::from_millis(50));
            loop {
                now_and_then.tick().await;
                stream.write_all(b" ").await?;
                stream.flush().await?;
            }
        }
        Mode::Huge => pour(&mut stream, &head("200 OK", "Content-Length: 1073741824\r\n"), shared).await?,
        Mode::Endless => pour(&mut stream, &head("200 OK", "Connection: close\r\n"), shared).await?,
        Mode::Down => {}
    }
    stream.shutdown().await?;
    Ok(())
}

async fn pour(stream: &mut (impl tokio::io::AsyncWrite + Unpin), head: &str, shared: &Shared) -> Result<()> {
    stream.write_all(head.as_bytes()).await?;
    let piece = vec![b' '; 16 * 1024];
    loop {
        stream.write_all(&piece).await?;
        shared.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}
