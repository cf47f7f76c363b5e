//! What a node remembers of an app's issuers: keys fetched from their URLs, and tokens whose signature held.
//!
//! Both belong to one app and are kept beside it: there is no place where the key of one app could be found for another,
//! whatever a token calls it. Who fetches is not the engine's matter; it only says which URLs there are and which of
//! them was asked for a key that is not known.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use fanfare_core::id::{AppId, IssuerId};
use fanfare_core::issuer::JwksUrl;
use fanfare_core::{App, PublicKey, TokenAlgorithm};

/// How long fetched keys are used while fetching fails.
pub const STALE_MAX_MS: u64 = 24 * 3_600_000;
/// Signatures remembered per app; then the older half is forgotten.
const VERIFIED_MAX: usize = 16_384;

/// What identifies a verified token: a SHA-256 over issuer, key and token.
pub(crate) type Digest = [u8; 32];

/// Issuers of one app, as far as they are more than their records.
#[derive(Debug, Default)]
pub(crate) struct IssuerState {
    fetched: Mutex<HashMap<IssuerId, Fetched>>,
    verified: Mutex<Verified>,
}

/// Keys that were fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchedKeys {
    /// From where.
    pub url: JwksUrl,
    /// When, Unix milliseconds.
    pub fetched_ms: u64,
    /// The keys, each with its `kid`.
    pub keys: Arc<[PublicKey]>,
}

#[derive(Debug, Default)]
struct Fetched {
    keys: Option<FetchedKeys>,
    /// A key was asked for that is not among them.
    wanted: bool,
}

/// An issuer whose keys have to be fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct JwksIssuer {
    /// Its app.
    pub app: AppId,
    /// Its id.
    pub issuer: IssuerId,
    /// Where its keys are.
    pub url: JwksUrl,
    /// Whether a key was asked for, since this was last told, that is not known.
    pub wanted: bool,
}

/// A key that was looked for by its name.
pub(crate) enum Found {
    /// Here it is.
    Key(PublicKey),
    /// The issuer has keys, none of this name.
    Unknown,
    /// Nothing has been fetched yet, or too long ago.
    NotReady,
}

impl IssuerState {
    /// The key with this `kid` at the issuer's URL. Asking for one that is not there makes the keys be fetched again.
    pub(crate) fn find(
        &self,
        issuer: IssuerId,
        url: &JwksUrl,
        (kid, algorithm): (&str, TokenAlgorithm),
        now_ms: u64,
    ) -> Found {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = fetched.entry(issuer).or_default();
        let usable = |keys: &&FetchedKeys| keys.url == *url && now_ms.saturating_sub(keys.fetched_ms) < STALE_MAX_MS;
        let Some(keys) = entry.keys.as_ref().filter(usable) else {
            entry.wanted = true;
            return Found::NotReady;
        };
        match keys.keys.iter().find(|key| key.kid.as_deref() == Some(kid) && key.algorithm() == algorithm) {
            Some(key) => Found::Key(key.clone()),
            None => {
                entry.wanted = true;
                Found::Unknown
            }
        }
    }

    /// Takes fetched keys in.
    pub(crate) fn set(&self, issuer: IssuerId, keys: FetchedKeys) {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.entry(issuer).or_default().keys = Some(keys);
    }

    /// The keys of every issuer that the app still has.
    pub(crate) fn keys(&self, app: &App) -> Vec<(IssuerId, FetchedKeys)> {
        if app.issuers.is_empty() {
            return Vec::new();
        }
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |id: &IssuerId| app.issuer(*id).is_some();
        fetched.iter().filter(|(id, _)| has(id)).filter_map(|(id, entry)| Some((*id, entry.keys.clone()?))).collect()
    }

    /// The app's issuers with a URL. Takes note that was made of wanted keys, and forgets issuers that are gone.
    pub(crate) fn to_fetch(&self, app: &App) -> Vec<JwksIssuer> {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.retain(|id, _| app.issuer(*id).is_some());
        let issuers = app.issuers.iter().filter(|issuer| issuer.enabled);
        let mut wanted = |id| fetched.get_mut(&id).is_some_and(|entry| std::mem::take(&mut entry.wanted));
        issuers
            .filter_map(|issuer| {
                let (url, _) = issuer.jwks()?;
                Some(JwksIssuer { app: app.id, issuer: issuer.id, url: url.clone(), wanted: wanted(issuer.id) })
            })
            .collect()
    }

    /// Whether the signature behind this digest held before.
    pub(crate) fn is_verified(&self, digest: &Digest) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    /// The signature behind this digest holds.
    pub(crate) fn remember(&self, digest: Digest) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
    }
}

/// Digests that were used lately, in two halves: when the young one is full the old one goes. What is found in the old
/// one moves to the young one, so that what is in use stays.
#[derive(Debug, Default)]
struct Verified {
    young: HashSet<Digest>,
    old: HashSet<Digest>,
}

impl Verified {
    fn contains(&mut self, digest: &Digest) -> bool {
        if self.young.contains(digest) {
            return true;
        }
        let is_old = self.old.remove(digest);
        if is_old {
            self.insert(*digest);
        }
        is_old
    }

    fn insert(&mut self, digest: Digest) {
        if self.young.len() >= VERIFIED_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let digest = |n: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            digest
        };
        let state = IssuerState::default();
        state.remember(digest(0));
        for n in 1..10 * VERIFIED_MAX {
            state.remember(digest(n));
            assert!(!n.is_multiple_of(1_000) || state.is_verified(&digest(0)), "{n}");
        }
        let verified = state.verified.lock().expect("nobody panicked");
        assert!(verified.young.len() + verified.old.len() <= VERIFIED_MAX);
        drop(verified);
        assert!(!state.is_verified(&digest(1)));
    }
}
