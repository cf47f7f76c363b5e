//! One WebSocket to the gateway, by a client that is not ours below the frames.

use std::time::Duration;

use anyhow::{Context as _, Error, anyhow};
use fanfare_core::{ErrorCode, Problem};
use futures_util::{SinkExt as _, StreamExt as _};
use rustls_platform_verifier::ConfigVerifierExt as _;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::problem;

const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Why there is no frame.
pub(super) enum LinkError {
    /// The server said so, with a code.
    Refused(Box<Problem>),
    /// The network, or a server that is not there.
    Lost(Error),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl From<LinkError> for Error {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Refused(refusal) => problem::error(&refusal),
            LinkError::Lost(error) => error,
        }
    }
}

/// An open WebSocket.
pub(super) struct Link(WebSocketStream<Box<dyn Stream>>);

impl Link {
    /// Opens the socket of the app with this URL.
    pub(super) async fn open(app_url: &str) -> Result<Self, LinkError> {
        timeout(OPEN_WITHIN, Self::open_unbounded(app_url))
            .await
            .unwrap_or_else(|_| Err(LinkError::Lost(anyhow!("the server does not answer"))))
    }

    async fn open_unbounded(app_url: &str) -> Result<Self, LinkError> {
        // `http` becomes `ws`, `https` becomes `wss`.
        let url = format!("{}/socket", app_url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().context("the URL is not valid").map_err(LinkError::Lost)?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("fanfare.v1.json"));
        let uri = request.uri();
        let is_tls = uri.scheme_str() == Some("wss");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = dial(&host, port, is_tls).await.map_err(LinkError::Lost)?;
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err(match serde_json::from_slice(body) {
                    Ok(problem) => LinkError::Refused(Box::new(problem)),
                    Err(_) => LinkError::Lost(anyhow!("the server answered {}", response.status())),
                })
            }
            Err(error) => Err(LinkError::Lost(error.into())),
        }
    }

    /// Sends one command.
    pub(super) async fn send(&mut self, command: &Value) -> Result<(), Error> {
        // A link that broke says so when it is read.
        match self.0.send(Message::text(command.to_string())).await {
            Err(error @ (tungstenite::Error::Capacity(_) | tungstenite::Error::Utf8(_))) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The next frame of text.
    pub(super) async fn next(&mut self) -> Result<String, LinkError> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    let number = u16::from(frame.code);
                    let code = ErrorCode::ALL.iter().find(|code| code.close() == number);
                    return Err(match code {
                        Some(code) => LinkError::Refused(Box::new(Problem::of(*code))),
                        None => LinkError::Lost(anyhow!("closed with {number}")),
                    });
                }
                Some(Ok(Message::Close(None))) | None => return Err(LinkError::Lost(anyhow!("closed"))),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(LinkError::Lost(error.into())),
            }
        }
    }
}

async fn dial(host: &str, port: u16, is_tls: bool) -> Result<Box<dyn Stream>, Error> {
    let tcp = TcpStream::connect((host, port)).await.with_context(|| format!("{host}:{port}"))?;
    tcp.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    if !is_tls {
        return Ok(Box::new(tcp));
    }
    let config = rustls::ClientConfig::with_platform_verifier().context("the machine's certificates cannot be used")?;
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).context("the URL's host is no name")?;
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    Ok(Box::new(connector.connect(name, tcp).await.context("no TLS connection")?))
}
