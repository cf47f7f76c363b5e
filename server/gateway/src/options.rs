//! What an operator can set, with defaults that work unasked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The gateway's options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where it listens; not read from a file, the binary has one place for all listeners.
    #[serde(skip)]
    pub addr: SocketAddr,
    /// PEM file of the certificate chain. With `tls_key` it turns `https` and `wss` on, and plain HTTP off.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    pub tls_key: Option<PathBuf>,
    /// The control plane's public URL, where every error code has its page; not read from a file, the binary knows it.
    #[serde(skip)]
    pub docs_url: String,
    /// The largest body of a request, in bytes. Batches answer to the app's limit `batch_bytes` instead.
    pub body_bytes_max: usize,
    /// How long a body may take to arrive, in milliseconds.
    pub body_timeout_ms: u64,
    /// How many parts one message of a WebSocket may come in.
    pub fragments_max: u32,
    /// How long a poll waits for something to say, in milliseconds. Below what proxies on the way bear.
    pub poll_wait_ms: u64,
    /// Whether WebSockets may agree on permessage-deflate. Off, every message goes and comes as it is.
    pub compression: bool,
    /// Bounds of HTTP itself.
    pub http: HttpOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8_000),
            tls_certificate: None,
            tls_key: None,
            docs_url: "http://localhost:8001".to_owned(),
            body_bytes_max: 1024 * 1024,
            body_timeout_ms: 10_000,
            fragments_max: 64,
            poll_wait_ms: 25_000,
            compression: true,
            http: HttpOptions::default(),
        }
    }
}

/// Bounds of HTTP: what a client may cost before anything of it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpOptions {
    /// Connections that are not WebSockets (yet). One more is let go unheard.
    pub connections_max: usize,
    /// How many headers a request may have.
    pub headers_max: usize,
    /// How many bytes a request's line and headers may have.
    pub header_bytes_max: usize,
    /// How long the first request's headers may take to arrive, in milliseconds.
    pub header_timeout_ms: u64,
    /// How long a connection may wait for its next request, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long the TLS handshake may take, in milliseconds.
    pub tls_timeout_ms: u64,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
            headers_max: 64,
            header_bytes_max: 8 * 1024,
            header_timeout_ms: 5_000,
            idle_timeout_ms: 75_000,
            tls_timeout_ms: 5_000,
        }
    }
}
