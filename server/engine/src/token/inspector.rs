//! The dashboard's tokens: with one, a member of the tenant looks at the app, or does the one thing it was made for.
//!
//! They have a type of their own in the header, so that nothing that takes a channel token takes one of these, and the
//! other way round. Only the platform's key of the app can sign them: whatever a tenant signs with its own keys stays a
//! client's. They name the app in `aud`, say when they were signed, and live for minutes; one that lets something be
//! done, for half of one. There is no list of them: who loses their role loses the next one.
//!
//! ```text
//! header  {"alg":"HS256","typ":"ff-inspector+jwt","kid":"key_…"}
//! claims  {"sub":"usr_…","aud":"app_…","iat":1700000000,"exp":1700000300}
//!         {…,"exp":1700000030,"act":{"disconnect_user":"ann"}}
//! ```

use fanfare_core::id::{KeyId, UserId};
use fanfare_core::permission::{ClientSubject, Marks};
use fanfare_core::{Act, App, Ceiling, Inspector, Key, KeyKind, Signer};

use super::claims::{claim, decode, fields, seconds, text};
use super::header::{self, Form, SignedBy};
use super::{Parts, TokenError, key_verifies, not_revoked_subject};

/// How long a token lives that lets look, and one that lets something be done, in seconds.
const LOOK_LIFETIME_MAX_S: u64 = 300;
const ACT_LIFETIME_MAX_S: u64 = 30;
/// How far the clocks of the platform's own machines may differ, in seconds.
const SKEW_S: u64 = 10;

/// The platform's key of an app. There is no other way to one.
struct PlatformKey<'a>(&'a Key);

impl<'a> PlatformKey<'a> {
    fn of(app: &'a App, id: KeyId) -> Result<Self, TokenError> {
        let key = app.key(id).ok_or(TokenError::KeyUnknown(id))?;
        match key.kind {
            KeyKind::Platform => Ok(Self(key)),
            KeyKind::Tenant => Err(TokenError::NotThePlatforms(id)),
        }
    }
}

/// Verifies a token if it is one of these; `None` for a token of another type, whatever that is worth.
pub(crate) fn verify(app: &App, token: &str, now_ms: u64) -> Option<Result<Inspector, TokenError>> {
    let parts = Parts::split(token).ok()?;
    match header::read(parts.header) {
        Ok((Form::Inspector, SignedBy::Key(id))) => Some(verified(app, &parts, id, now_ms)),
        Ok((Form::Inspector, SignedBy::Issuer { .. })) => Some(Err(TokenError::KeyId)),
        Ok((Form::Channel, _)) | Err(_) => None,
    }
}

fn verified(app: &App, parts: &Parts<'_>, id: KeyId, now_ms: u64) -> Result<Inspector, TokenError> {
    let PlatformKey(key) = PlatformKey::of(app, id)?;
    key_verifies(key, parts, now_ms)?;
    let claims = Claims::read(parts.claims)?;
    if claims.app != app.id.to_string() {
        return Err(TokenError::Audience);
    }
    claims.check_time(now_ms / 1_000)?;
    not_revoked_subject(app, &claims.as_client(key))?;
    Ok(Inspector { key: id, member: claims.member, act: claims.act })
}

/// What a token says. Every claim is known, and all but `act` are required.
#[derive(Debug)]
struct Claims {
    member: UserId,
    app: String,
    issued_s: u64,
    expires_s: u64,
    act: Option<Act>,
}

impl Claims {
    fn read(encoded: &str) -> Result<Self, TokenError> {
        let json = decode(encoded, "claims")?;
        let (mut member, mut app, mut issued_s, mut expires_s, mut act) = (None, None, None, None, None);
        for (name, value) in fields(&json, "claims")? {
            match &*name {
                "sub" => member = text(value).and_then(|id| id.parse().ok()),
                "aud" => app = text(value).map(Into::into),
                "iat" => issued_s = Some(seconds("iat", value)?),
                "exp" => expires_s = Some(seconds("exp", value)?),
                "act" => {
                    let wrong = || claim("act", "is nothing that the dashboard does");
                    let read: Act = serde_json::from_str(value).map_err(|_| wrong())?;
                    act = Some(read).filter(Act::is_sound).ok_or_else(wrong).map(Some)?;
                }
                other => return Err(claim(other.chars().take(64).collect::<String>(), "is not known")),
            }
        }
        let missing = |name: &str| claim(name, "is required");
        Ok(Self {
            member: member.ok_or_else(|| missing("sub"))?,
            app: app.ok_or_else(|| missing("aud"))?,
            issued_s: issued_s.ok_or_else(|| missing("iat"))?,
            expires_s: expires_s.ok_or_else(|| missing("exp"))?,
            act,
        })
    }

    fn check_time(&self, now_s: u64) -> Result<(), TokenError> {
        if now_s >= self.expires_s.saturating_add(SKEW_S) {
            return Err(TokenError::Expired { seconds: now_s - self.expires_s });
        }
        if self.issued_s > now_s.saturating_add(SKEW_S) {
            return Err(TokenError::Early { claim: "iat", seconds: self.issued_s - now_s });
        }
        let max = if self.act.is_some() { ACT_LIFETIME_MAX_S } else { LOOK_LIFETIME_MAX_S };
        let seconds = self.expires_s.saturating_sub(self.issued_s);
        if seconds > max { Err(TokenError::Lifetime { seconds }) } else { Ok(()) }
    }

    /// As revocations see it.
    fn as_client(&self, key: &Key) -> ClientSubject {
        ClientSubject {
            sub: Some(self.member.to_string().into()),
            ceiling: Some(Ceiling { signer: Signer::Key(key.id), capabilities: key.capabilities.clone() }),
            marks: Marks { issued_ms: Some(self.issued_s.saturating_mul(1_000)), ..Marks::default() },
            ..ClientSubject::default()
        }
    }
}
