//! Hashing of passwords: argon2id over an HMAC with the server's pepper, off the reactor, and bounded.
//!
//! One hash takes 46 MiB and a processor for a while. As many run at once as there are processors and 16 more wait;
//! whoever comes then is told to come back, so that a flood of sign-ins costs neither memory nor the other planes.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use fanfare_core::secret::SecretBytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::chance;
use crate::error::ControlError;

/// How many may wait beside those that run.
const QUEUE_MAX: usize = 16;
/// KiB of memory, passes, lanes: OWASP ASVS 5.0, appendix C.
const MEMORY_KIB: u32 = 47_104;

/// Hashes and checks passwords.
pub(crate) struct Hasher {
    pepper: SecretBytes,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// A hash that no password has: whoever is unknown is compared with it, so that an answer takes as long.
    nobody: Arc<str>,
}

/// What comparing a password with a hash said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is another password.
    Wrong,
    /// It is this password.
    Right,
    /// It is this password, hashed with parameters that are no longer ours: hash it anew.
    RightButOutdated,
}

impl Hasher {
    /// At most `at_once` hashes run at the same time; 0 takes as many as there are processors.
    pub(crate) fn new(pepper: SecretBytes, at_once: usize) -> Self {
        let at_once = match at_once {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        };
        let random = |bytes: [u8; 32]| STANDARD_NO_PAD.encode(bytes);
        let (salt, hash) = (random(chance::bytes()), random(chance::bytes()));
        Self {
            pepper,
            running: Arc::new(Semaphore::new(at_once)),
            waiting: Arc::new(Semaphore::new(at_once + QUEUE_MAX)),
            nobody: format!("$argon2id$v=19$m={MEMORY_KIB},t=1,p=1${salt}${hash}").into(),
        }
    }

    /// The hash of a new password, as a PHC string.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, ControlError> {
        let peppered = self.peppered(password);
        self.run(move || {
            let hash = ours().hash_password_with_salt(&peppered, &chance::bytes::<16>());
            hash.map(|hash| hash.to_string()).map_err(|_| ControlError::Defect("argon2 refused our own parameters"))
        })
        .await?
    }

    /// Whether the password has this hash. Without a hash it takes as long and is wrong.
    pub(crate) async fn verify(&self, password: &str, hash: Option<&str>) -> Result<Verdict, ControlError> {
        let peppered = self.peppered(password);
        let stored: Arc<str> = hash.map_or_else(|| Arc::clone(&self.nobody), Arc::from);
        let verdict = self.run(move || verdict(&peppered, &stored)).await?;
        Ok(if hash.is_none() { Verdict::Wrong } else { verdict })
    }

    fn peppered(&self, password: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.pepper.expose()).expect("HMAC takes keys of any length");
        mac.update(password.as_bytes());
        mac.finalize().into_bytes().into()
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ControlError> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| ControlError::HashingBusy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.expect("the semaphore is never closed");
        // The permits go along: a client that goes away frees no place for a hash that still runs.
        let hashed = tokio::task::spawn_blocking(move || {
            let _places = (waiting, running);
            work()
        });
        hashed.await.map_err(|_| ControlError::Defect("a hash panicked"))
    }
}

fn ours() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, 1, 1, None).expect("the parameters are inside argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn verdict(peppered: &[u8], stored: &str) -> Verdict {
    let Ok(hash) = PasswordHash::new(stored) else {
        return Verdict::Wrong;
    };
    if ours().verify_password(peppered, &hash).is_err() {
        return Verdict::Wrong;
    }
    let current = format!("$argon2id$v=19$m={MEMORY_KIB},t=1,p=1$");
    if stored.starts_with(&current) { Verdict::Right } else { Verdict::RightButOutdated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(pepper: u8) -> Hasher {
        Hasher::new(SecretBytes::new(vec![pepper; 32]), 1)
    }

    #[tokio::test]
    async fn a_password_of_any_characters_is_recognised_and_no_other() {
        let hasher = hasher(1);
        let long = "é".repeat(128);
        for password in ["correct horse battery", "nul\0inside it is fine", "🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀", &long]
        {
            let hash = hasher.hash(password).await.expect("hashes");
            assert!(hash.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{hash}");
            assert_eq!(hasher.verify(password, Some(&hash)).await.expect("verifies"), Verdict::Right);
            let cut: String = password.chars().take(password.chars().count() - 1).collect();
            assert_eq!(hasher.verify(&cut, Some(&hash)).await.expect("verifies"), Verdict::Wrong);
        }
    }

    #[tokio::test]
    async fn a_hash_is_worth_nothing_without_the_pepper() {
        let hash = hasher(1).hash("correct horse battery").await.expect("hashes");
        assert_eq!(hasher(2).verify("correct horse battery", Some(&hash)).await.expect("verifies"), Verdict::Wrong);
    }

    #[tokio::test]
    async fn nobody_has_the_hash_of_the_unknown() {
        let hasher = hasher(1);
        assert!(PasswordHash::new(&hasher.nobody).is_ok());
        assert_eq!(hasher.verify("correct horse battery", None).await.expect("verifies"), Verdict::Wrong);
        assert_eq!(hasher.verify("", Some("no hash")).await.expect("verifies"), Verdict::Wrong);
    }

    #[tokio::test]
    async fn older_parameters_still_verify_and_are_told() {
        let hasher = hasher(1);
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).expect("valid"));
        let hash = old.hash_password_with_salt(&hasher.peppered("a password"), &[7; 16]).expect("hashes").to_string();
        assert_eq!(hasher.verify("a password", Some(&hash)).await.expect("verifies"), Verdict::RightButOutdated);
    }

    #[tokio::test]
    async fn a_flood_is_turned_away_instead_of_queued() {
        let hasher = hasher(1);
        let (hold, held) = std::sync::mpsc::sync_channel::<()>(0);
        let held = Arc::new(std::sync::Mutex::new(held));
        let block = || {
            let held = Arc::clone(&held);
            move || held.lock().expect("no holder panics").recv().is_ok()
        };
        let mut all: Vec<_> = (0..=QUEUE_MAX).map(|_| Box::pin(hasher.run(block()))).collect();
        assert_eq!(poll_each_once(&mut all).await, 0, "all wait or run");
        assert!(matches!(hasher.run(|| ()).await, Err(ControlError::HashingBusy)));
        drop(hold);
    }

    /// Polls each once, so that it takes its place; returns how many were done at once.
    async fn poll_each_once<F: Future + Unpin>(all: &mut [F]) -> usize {
        let mut done = 0;
        std::future::poll_fn(|context| {
            let polled = all.iter_mut().map(|one| std::pin::Pin::new(one).poll(context));
            done = polled.filter(std::task::Poll::is_ready).count();
            std::task::Poll::Ready(())
        })
        .await;
        done
    }
}
