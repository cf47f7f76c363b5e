//! TLS to Redis and to its sentinels.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{Client, ClientTlsConfig, ConnectionInfo, ErrorKind, RedisError, RedisResult, TlsCertificates};

use crate::probe::StartError;

/// How a certificate begins in PEM (RFC 7468, section 5).
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// PEM files for TLS to Redis: read for each connection, so that they may be replaced while nodes run.
#[derive(Debug, Clone, Default)]
pub struct RedisTls {
    /// Who may have signed Redis's certificate. Without it: the public authorities.
    pub ca: Option<PathBuf>,
    /// The node's own certificate, where Redis asks for one (`tls-auth-clients`), and those that signed it.
    pub certificate: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
}

impl RedisTls {
    /// Whether the files fit together, and to a URL with TLS or without.
    ///
    /// # Errors
    /// Says which is missing, or that none is of use.
    pub(crate) fn check(&self, is_tls: bool) -> Result<(), StartError> {
        let missing = match (&self.certificate, &self.key) {
            (Some(_), None) => Some("redis_tls_key"),
            (None, Some(_)) => Some("redis_tls_certificate"),
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(StartError::Tls(format!("a certificate and its key go together, and there is no {missing}")));
        }
        if !is_tls && (self.ca.is_some() || self.certificate.is_some()) {
            return Err(StartError::Tls(
                "redis_tls_… is set and the URL is one without TLS: begin it with rediss".into(),
            ));
        }
        Ok(())
    }

    /// What connects there.
    ///
    /// # Errors
    /// When a file cannot be read or is none of its kind.
    pub(crate) async fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        let root_cert = read(self.ca.as_deref()).await?;
        if let (Some(path), Some(bytes)) = (&self.ca, &root_cert)
            && !bytes.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE)
        {
            return Err(wrong(format!("{} holds no certificate", path.display())));
        }
        let own = (read(self.certificate.as_deref()).await?, read(self.key.as_deref()).await?);
        let client_tls = match own {
            (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
            _ => None,
        };
        if root_cert.is_none() && client_tls.is_none() {
            return Client::open(info);
        }
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
            .map_err(|error| wrong(error.to_string()))
    }
}

async fn read(path: Option<&Path>) -> RedisResult<Option<Vec<u8>>> {
    let Some(path) = path else { return Ok(None) };
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => Err(wrong(format!("{}: {error}", path.display()))),
    }
}

fn wrong(why: String) -> RedisError {
    (ErrorKind::InvalidClientConfig, "TLS to Redis", why).into()
}

/// Whether it is TLS that failed, and not the way there: trying again does not help.
pub(crate) fn is_wrong(error: &RedisError) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let io = io.and_then(|source| source.downcast_ref::<io::Error>());
    error.kind() == ErrorKind::InvalidClientConfig || io.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}
