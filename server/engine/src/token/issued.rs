//! Tokens that an issuer has signed.
//!
//! Which issuer it is follows from the name of the key, looked up among the app's own issuers, and from the signature.
//! The claims have no say in it: they are read when the signature holds, and must then say what is set on the issuer.

use fanfare_core::id::IssuerId;
use fanfare_core::public_key::KeyMaterial;
use fanfare_core::{App, Ceiling, Issuer, KeySource, PublicKey, Signer, TokenAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use sha2::{Digest as _, Sha256};

use super::{Parts, Skew, TokenError, VerifiedToken, claims, not_revoked};
use crate::issuers::{Digest, Found, IssuerState};

/// How many keys of one name, of several issuers of one app, are tried.
const CANDIDATES_MAX: usize = 4;

/// A key that may have signed.
#[derive(Debug)]
pub(super) struct Candidate {
    issuer: IssuerId,
    key: PublicKey,
}

/// A signature that is still to be verified.
#[derive(Debug)]
pub(crate) struct Costly {
    token: Box<str>,
    candidates: Vec<(Candidate, Digest)>,
}

/// What came of that.
#[derive(Debug)]
pub(crate) struct Worked {
    token: Box<str>,
    /// Whose key it was, if it was one.
    signed: Result<(IssuerId, Digest), IssuerId>,
}

/// The keys of the app's own issuers that fit what the header says.
pub(super) fn candidates(
    app: &App,
    state: &IssuerState,
    (algorithm, kid): (TokenAlgorithm, Option<&str>),
    now_ms: u64,
) -> Result<Vec<Candidate>, TokenError> {
    let (mut found, mut disabled, mut not_ready) = (Vec::new(), None, false);
    for issuer in &app.issuers {
        let key = match &issuer.source {
            KeySource::Key(key) if key.algorithm() == algorithm && is_called(key, issuer.id, kid) => key.clone(),
            KeySource::Jwks { url, algorithms } if algorithms.contains(&algorithm) => {
                // Of several keys, one without a name is none.
                let Some(kid) = kid else { continue };
                match state.find(issuer.id, url, (kid, algorithm), now_ms) {
                    Found::Key(key) => key,
                    Found::Unknown => continue,
                    Found::NotReady => {
                        not_ready |= issuer.enabled;
                        continue;
                    }
                }
            }
            KeySource::Key(_) | KeySource::Jwks { .. } => continue,
        };
        match issuer.enabled {
            true if found.len() < CANDIDATES_MAX => found.push(Candidate { issuer: issuer.id, key }),
            true => {}
            false => disabled = Some(issuer.id),
        }
    }
    match (found.is_empty(), disabled) {
        (false, _) => Ok(found),
        (true, Some(issuer)) => Err(TokenError::IssuerDisabled(issuer)),
        (true, None) if not_ready => Err(TokenError::IssuerNotReady),
        (true, None) => Err(TokenError::IssuerKeyUnknown { algorithm, kid: kid.map(Into::into) }),
    }
}

/// A key without a name of its own goes by the issuer's id, or by none.
fn is_called(key: &PublicKey, issuer: IssuerId, kid: Option<&str>) -> bool {
    match (&key.kid, kid) {
        (Some(name), kid) => kid == Some(name),
        (None, Some(kid)) => kid == issuer.to_string(),
        (None, None) => true,
    }
}

/// Goes on at once with a token whose signature has held before.
pub(super) fn begin(
    app: &App,
    state: &IssuerState,
    (token, parts): (&str, &Parts<'_>),
    candidates: Vec<Candidate>,
    now_ms: u64,
) -> Result<Result<VerifiedToken, Costly>, TokenError> {
    let candidates: Vec<_> = candidates.into_iter().map(|candidate| (digest(&candidate, token), candidate)).collect();
    if let Some((_, known)) = candidates.iter().find(|(digest, _)| state.is_verified(digest)) {
        return finish(app, known.issuer, parts, now_ms).map(Ok);
    }
    let candidates = candidates.into_iter().map(|(digest, candidate)| (candidate, digest)).collect();
    Ok(Err(Costly { token: token.into(), candidates }))
}

/// What stands for "this token, signed with this key of this issuer". With the key in it, a key that is replaced takes
/// everything that was remembered of it along.
fn digest(candidate: &Candidate, token: &str) -> Digest {
    let mut hash = Sha256::new();
    hash.update(candidate.issuer.to_bytes());
    hash.update(candidate.key.algorithm().as_str());
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    match &candidate.key.material {
        KeyMaterial::P256(point) => part(point.as_slice()),
        KeyMaterial::Ed25519(point) => part(point.as_slice()),
        KeyMaterial::Rsa { n, e } => {
            part(n);
            part(e);
        }
    }
    part(token.as_bytes());
    hash.finalize().into()
}

impl Costly {
    /// Verifies. This is what takes long.
    pub(crate) fn run(self) -> Worked {
        let Self { token, candidates } = self;
        let first = candidates.first().map(|(candidate, _)| candidate.issuer).expect("there is a candidate");
        let signed = Parts::split(&token).ok().and_then(|parts| {
            let signer = candidates.iter().find(|(candidate, _)| has_signed(&candidate.key, &parts));
            signer.map(|(candidate, digest)| (candidate.issuer, *digest))
        });
        Worked { token, signed: signed.ok_or(first) }
    }
}

fn has_signed(key: &PublicKey, parts: &Parts<'_>) -> bool {
    let (key, algorithm) = match &key.material {
        KeyMaterial::P256(point) => (DecodingKey::from_ec_der(point.as_slice()), Algorithm::ES256),
        KeyMaterial::Ed25519(point) => (DecodingKey::from_ed_der(point.as_slice()), Algorithm::EdDSA),
        KeyMaterial::Rsa { n, e } => (DecodingKey::from_rsa_raw_components(n, e), Algorithm::RS256),
    };
    // A key that is none, a point off its curve, is an error here, and has signed nothing.
    matches!(jsonwebtoken::crypto::verify(parts.signature, parts.signed.as_bytes(), &key, algorithm), Ok(true))
}

/// Goes on with a token whose signature was verified, against the app as it is by now.
pub(crate) fn conclude(
    app: &App,
    state: &IssuerState,
    Worked { token, signed }: Worked,
    now_ms: u64,
) -> Result<VerifiedToken, TokenError> {
    let (issuer, digest) = signed.map_err(TokenError::IssuerSignature)?;
    state.remember(digest);
    finish(app, issuer, &Parts::split(&token)?, now_ms)
}

fn finish(app: &App, id: IssuerId, parts: &Parts<'_>, now_ms: u64) -> Result<VerifiedToken, TokenError> {
    let issuer: &Issuer = app.issuer(id).filter(|issuer| issuer.enabled).ok_or(TokenError::IssuerDisabled(id))?;
    let claims = claims::read_issued(parts.claims, issuer)?;
    claims.check_time(now_ms, Skew::default())?;
    if issuer.aud.is_none() {
        claims.check_audience(app.id)?;
    }
    not_revoked(app, claims.into_verified(Ceiling { signer: Signer::Issuer(id), capabilities: issuer.ceiling.clone() }))
}
