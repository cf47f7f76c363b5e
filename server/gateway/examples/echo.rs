//! The shipped WebSocket layer as an echo server, for conformance suites: `cargo run --example echo -- 9001`.
//!
//! Text and binary, messages to 16 MiB in any number of frames, any path, with permessage-deflate where it is offered. With a certificate and a key, both PEM, after
//! the port it speaks TLS.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use fanfare_gateway::HttpOptions;
use fanfare_gateway::transport::echo::Echo;
use fanfare_gateway::transport::{listener, tls};
use fanfare_protocol::websocket::Options;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = arguments.first().map_or(Ok(9_001), |port| port.parse())?;
    let tls = match &arguments[..] {
        [_, certificate, key] => Some(tls::acceptor(Path::new(certificate), Path::new(key))?),
        [] | [_] => None,
        _ => return Err("usage: echo [port [certificate.pem key.pem]]".into()),
    };
    let listener = listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let echo = Echo { bounds: Options { message_bytes_max: 16 * 1024 * 1024, fragments_max: None, deflate: true } };
    listener::listen(listener, echo, tls, HttpOptions::default(), CancellationToken::new()).await;
    Ok(())
}
