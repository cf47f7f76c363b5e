//! Certificates of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Who signs certificates that nobody else trusts. Its files go when this is dropped.
#[derive(Debug)]
pub struct Authority {
    root: PathBuf,
    issuer: Box<Issuer<'static, KeyPair>>,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn new() -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("fanfare-authority-{}-{number}", std::process::id()));
        fs::create_dir_all(&root)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        fs::write(root.join("ca.pem"), params.self_signed(&key)?.pem())?;
        Ok(Self { root, issuer: Box::new(Issuer::new(params, key)) })
    }

    /// What makes others trust it.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca.pem")
    }

    /// A certificate for 127.0.0.1, in files of this name.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn issue(&self, name: &str) -> Result<Certificate> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let signed = params.signed_by(&key, &self.issuer)?;
        let files = Certificate {
            certificate: self.root.join(format!("{name}.pem")),
            key: self.root.join(format!("{name}.key")),
        };
        fs::write(&files.certificate, signed.pem())?;
        fs::write(&files.key, key.serialize_pem())?;
        Ok(files)
    }

    /// What has a Redis listen with TLS on this port, and on no other.
    ///
    /// # Errors
    /// When its certificate cannot be written.
    pub fn redis(&self, port: u16) -> Result<Vec<String>> {
        let Certificate { certificate, key } = self.issue(&format!("redis-{port}"))?;
        let text = |path: &Path| path.display().to_string();
        let arguments = ["--port", "0", "--tls-port", &port.to_string(), "--tls-replication", "yes"];
        let files = ["--tls-cert-file", &text(&certificate), "--tls-key-file", &text(&key)];
        let asks = ["--tls-ca-cert-file", &text(&self.ca()), "--tls-auth-clients", "no"];
        Ok(arguments.iter().chain(&files).chain(&asks).map(|word| (*word).to_owned()).collect())
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
