//! The claims of a token whose signature holds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_core::channel::is_name_byte;
use fanfare_core::id::AppId;
use fanfare_core::issuer::{ClaimMap, ClaimPath};
use fanfare_core::limits::Unit;
use fanfare_core::permission::{ClientSubject, Marks};
use fanfare_core::{Capabilities, Ceiling, Issuer, Limit, LimitValue, Limits};
use fanfare_protocol::json::{Fault, JsonError, Reader};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Claims, DEPTH_MAX, LIFETIME_MAX_S, Skew, TokenError, VerifiedToken};

/// The longest `sub` and the longest role, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// The most roles.
const ROLES_MAX: usize = 64;
/// The longest `info`, and the longest `meta`, in bytes.
const INFO_BYTES_MAX: usize = 1024;
/// The longest `jti`, in bytes.
const ID_BYTES_MAX: usize = 128;
/// The most labels, and the longest.
const LABELS_MAX: usize = 16;
const LABEL_BYTES_MAX: usize = 64;
/// How many other claims are kept for placeholders of patterns.
const OTHERS_MAX: usize = 32;
/// The longest claim that could equal a segment of a channel's name.
const OTHER_BYTES_MAX: usize = 200;
/// The fields of `ff`.
const FF_FIELDS: &str = "cap, roles, info, meta, limits and labels";

/// Claims of the right types and sizes.
#[derive(Debug, Default)]
pub(super) struct Read {
    expires_s: u64,
    not_before_s: Option<u64>,
    issued_s: Option<u64>,
    audience: Option<Vec<Box<str>>>,
    issuer: Option<Box<str>>,
    sub: Option<Box<str>>,
    roles: Vec<Box<str>>,
    capabilities: Option<Capabilities>,
    info: Option<Box<RawValue>>,
    meta: Option<Box<str>>,
    limits: Option<Box<Limits>>,
    id: Option<Box<str>>,
    labels: Box<[Box<str>]>,
    others: Vec<(Box<str>, Box<str>)>,
}

/// Reads the claims of a token that a key has signed.
pub(super) fn read(encoded: &str) -> Result<Read, TokenError> {
    read_fields(&decode(encoded, "claims")?)
}

/// Reads the claims of a token that an issuer has signed: `iss`, `aud` and the required claims must be what is set on it,
/// and its map says where the user and its rights lie.
pub(super) fn read_issued(encoded: &str, issuer: &Issuer) -> Result<Read, TokenError> {
    let json = decode(encoded, "claims")?;
    let mut read = read_fields(&json)?;
    let id = issuer.id;
    if read.issuer.as_deref() != Some(&*issuer.iss) {
        return Err(claim("iss", format!("is not the one that is set on the issuer {id}")));
    }
    if let Some(aud) = &issuer.aud
        && !read.audience.as_ref().is_some_and(|audience| audience.contains(aud))
    {
        return Err(claim("aud", format!("does not hold the one that is set on the issuer {id}")));
    }
    for (path, wanted) in &issuer.claims.required {
        let value = lookup(&json, path)?.and_then(text);
        if value.as_deref() != Some(&**wanted) {
            return Err(claim(path.to_string(), format!("is not the text that the issuer {id} requires")));
        }
    }
    read.apply(&json, &issuer.claims)?;
    Ok(read)
}

fn read_fields(json: &str) -> Result<Read, TokenError> {
    let mut read = Read::default();
    let mut expires = None;
    for (name, value) in fields(json, "claims")? {
        match &*name {
            "exp" => expires = Some(seconds("exp", value)?),
            "nbf" => read.not_before_s = Some(seconds("nbf", value)?),
            "iat" => read.issued_s = Some(seconds("iat", value)?),
            "aud" => read.audience = Some(texts("aud", value)?),
            "iss" => read.issuer = text(value).map(Into::into),
            "sub" => read.sub = Some(named("sub", value, NAME_BYTES_MAX)?),
            "jti" => read.id = Some(named("jti", value, ID_BYTES_MAX)?),
            "ff" => read.read_ff(value)?,
            other => read.keep(other, value),
        }
    }
    read.expires_s =
        expires.ok_or_else(|| claim("exp", "is required: when the token expires, in seconds since 1970"))?;
    Ok(read)
}

impl Read {
    /// Checks the times against the clock.
    pub(super) fn check_time(&self, now_ms: u64, Skew(skew): Skew) -> Result<(), TokenError> {
        let now = now_ms / 1000;
        if now >= self.expires_s.saturating_add(skew) {
            return Err(TokenError::Expired { seconds: now - self.expires_s });
        }
        // A token from the future is refused for `iat` too, or `exp` less `iat` would bound nothing.
        for (claim, from) in [("nbf", self.not_before_s), ("iat", self.issued_s)] {
            if let Some(from) = from
                && from > now.saturating_add(skew)
            {
                return Err(TokenError::Early { claim, seconds: from - now });
            }
        }
        let seconds = self.expires_s.saturating_sub(self.issued_s.unwrap_or(now));
        if seconds > LIFETIME_MAX_S { Err(TokenError::Lifetime { seconds }) } else { Ok(()) }
    }

    /// Checks that the token is not for others only.
    pub(super) fn check_audience(&self, app: AppId) -> Result<(), TokenError> {
        match &self.audience {
            Some(audience) if !audience.iter().any(|name| **name == *app.to_string()) => Err(TokenError::Audience),
            _ => Ok(()),
        }
    }

    /// What they say, under the ceiling of who signed.
    pub(super) fn into_verified(self, ceiling: Ceiling) -> VerifiedToken {
        let issued_ms = self.issued_s.map(|issued| issued.saturating_mul(1000));
        VerifiedToken {
            signer: ceiling.signer,
            subject: ClientSubject {
                sub: self.sub,
                roles: self.roles,
                capabilities: self.capabilities,
                ceiling: Some(ceiling),
                claims: self.others,
                marks: Marks { id: self.id, issued_ms, labels: self.labels },
                limits: self.limits,
                meta: self.meta,
            },
            expires_ms: self.expires_s.saturating_mul(1000),
            info: self.info,
        }
    }

    fn read_ff(&mut self, value: &str) -> Result<(), TokenError> {
        if !value.starts_with('{') {
            return Err(claim("ff", format!("must be an object of {FF_FIELDS}")));
        }
        for (name, value) in fields(value, "claims")? {
            match &*name {
                "cap" => self.capabilities = Some(read_cap("ff.cap", value)?),
                "roles" => self.roles = texts_within("ff.roles", value, ROLES_MAX, NAME_BYTES_MAX)?,
                "info" => self.info = Some(raw(object("ff.info", value)?)),
                "meta" => self.meta = Some(object("ff.meta", value)?.into()),
                "limits" => self.limits = Some(Box::new(read_limits(value)?)),
                "labels" => self.labels = texts_within("ff.labels", value, LABELS_MAX, LABEL_BYTES_MAX)?.into(),
                other => {
                    let other: String = other.chars().take(64).collect();
                    return Err(claim(format!("ff.{other}"), format!("is not known; ff has {FF_FIELDS}")));
                }
            }
        }
        Ok(())
    }

    /// Takes from where an issuer's map says. Where it says nothing, what stands in Fanfare's own places counts.
    fn apply(&mut self, json: &str, map: &ClaimMap) -> Result<(), TokenError> {
        if let Some(path) = &map.sub {
            let value = lookup(json, path)?;
            self.sub = value.map(|value| named(&path.to_string(), value, NAME_BYTES_MAX)).transpose()?;
        }
        if !map.roles.is_empty() {
            self.roles.clear();
        }
        for path in &map.roles {
            if let Some(value) = lookup(json, path)? {
                self.roles.extend(read_roles(&path.to_string(), value)?);
            }
        }
        if self.roles.len() > ROLES_MAX {
            return Err(claim("roles", format!("are more than {ROLES_MAX}")));
        }
        if let Some(path) = &map.cap {
            self.capabilities = lookup(json, path)?.map(|value| read_cap(&path.to_string(), value)).transpose()?;
        }
        if let Some(path) = &map.info {
            let value = lookup(json, path)?;
            self.info = value.map(|value| object(&path.to_string(), value)).transpose()?.map(raw);
        }
        Ok(())
    }

    /// Keeps a claim that a `{claim}` of a pattern could match: a text that can be a segment of a channel's name.
    fn keep(&mut self, name: &str, value: &str) {
        let value = text(value).filter(|value| {
            (1..=OTHER_BYTES_MAX).contains(&value.len()) && value.bytes().all(|byte| is_name_byte(byte) && byte != b':')
        });
        if let Some(value) = value
            && self.others.len() < OTHERS_MAX
        {
            self.others.push((name.into(), value.into()));
        }
    }
}

fn read_cap(name: &str, value: &str) -> Result<Capabilities, TokenError> {
    let cap: Capabilities = serde_json::from_str(value).map_err(|error| {
        let error = error.to_string();
        // The line and column would be those of the claim's own text, which nobody has before them.
        claim(name, format!("is wrong: {}", error.split(" at line ").next().unwrap_or_default()))
    })?;
    match cap.operations().iter().find(|operation| !operation.is_client()) {
        Some(operation) => Err(claim(name, format!("has {operation}, which only keys may have"))),
        None => Ok(cap),
    }
}

/// A list of texts, or one text whose words are parted by spaces, as OAuth's scopes are.
fn read_roles(name: &str, value: &str) -> Result<Vec<Box<str>>, TokenError> {
    match text(value) {
        None => texts_within(name, value, ROLES_MAX, NAME_BYTES_MAX),
        Some(words) => {
            let words: Vec<Box<str>> = words.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect();
            let fits = words.len() <= ROLES_MAX && words.iter().all(|word| word.len() <= NAME_BYTES_MAX);
            if fits {
                Ok(words)
            } else {
                Err(claim(name, format!("must have at most {ROLES_MAX} words of at most {NAME_BYTES_MAX} bytes")))
            }
        }
    }
}

/// What lies at a place; `None` where nothing does, or `null`.
fn lookup<'a>(json: &'a str, path: &ClaimPath) -> Result<Option<&'a str>, TokenError> {
    let mut value = json;
    for name in path.names() {
        if !value.starts_with('{') {
            return Ok(None);
        }
        match fields(value, "claims")?.into_iter().find(|(field, _)| *field == **name) {
            Some((_, found)) => value = found,
            None => return Ok(None),
        }
    }
    Ok((value != "null").then_some(value))
}

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("the strict reader has read it")
}

/// A limit as a token says it: a number, or for a rate how many a second and how many at once.
#[derive(Deserialize)]
#[serde(untagged)]
enum OwnLimit {
    Number(u64),
    Rate(LimitValue),
}

fn read_limits(value: &str) -> Result<Limits, TokenError> {
    let wrong = || {
        let names: Vec<&str> =
            Limit::ALL.iter().filter(|limit| limit.is_lowered_by_tokens()).map(|limit| limit.as_str()).collect();
        let names = names.join(", ");
        claim(
            "ff.limits",
            format!("must be an object of {names}: each a whole number, or {{\"max\":…,\"burst\":…}} for a rate"),
        )
    };
    let own: BTreeMap<Limit, OwnLimit> = serde_json::from_str(value).map_err(|_| wrong())?;
    let mut limits = Limits::default();
    for (limit, value) in own {
        let value = match (limit.unit(), value) {
            (Unit::PerSecond, OwnLimit::Number(max)) => LimitValue::rate(max, max),
            (Unit::PerSecond, OwnLimit::Rate(LimitValue { max, burst: 0 })) => LimitValue::rate(max, max),
            (Unit::PerSecond, OwnLimit::Rate(value)) => value,
            (Unit::Count | Unit::Bytes | Unit::Milliseconds, OwnLimit::Number(max)) => LimitValue::count(max),
            (Unit::Count | Unit::Bytes | Unit::Milliseconds, OwnLimit::Rate(_)) => return Err(wrong()),
        };
        if !limit.is_lowered_by_tokens() {
            return Err(wrong());
        }
        limits.set(limit, value);
    }
    Ok(limits)
}

/// The text of an object of at most [`INFO_BYTES_MAX`].
fn object(name: &str, value: &str) -> Result<String, TokenError> {
    if value.starts_with('{') && value.len() <= INFO_BYTES_MAX {
        Ok(value.to_owned())
    } else {
        Err(claim(name, format!("must be an object of at most {INFO_BYTES_MAX} bytes")))
    }
}

fn texts_within(name: &str, value: &str, max: usize, bytes_max: usize) -> Result<Vec<Box<str>>, TokenError> {
    let wrong = || claim(name, format!("must be a list of at most {max} texts of 1 to {bytes_max} bytes"));
    let texts: Vec<Box<str>> = serde_json::from_str(value).map_err(|_| wrong())?;
    let fits = texts.len() <= max && texts.iter().all(|text| (1..=bytes_max).contains(&text.len()));
    if fits { Ok(texts) } else { Err(wrong()) }
}

/// A time: strictly a JSON integer. A text, a fraction or an exponent is refused rather than guessed at.
pub(super) fn seconds(name: &'static str, value: &str) -> Result<u64, TokenError> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or_else(|| {
        claim(name, "must be a whole number of seconds since 1970: no text, no fraction, no exponent, not negative")
    })
}

fn named(name: &str, value: &str, bytes_max: usize) -> Result<Box<str>, TokenError> {
    let text = text(value).filter(|text| (1..=bytes_max).contains(&text.len()));
    text.map(Box::from).ok_or_else(|| claim(name, format!("must be a text of 1 to {bytes_max} bytes")))
}

fn texts(name: &'static str, value: &str) -> Result<Vec<Box<str>>, TokenError> {
    match text(value) {
        Some(text) => Ok(vec![text.into()]),
        None => serde_json::from_str(value).map_err(|_| claim(name, "must be a text or a list of texts")),
    }
}

pub(super) fn claim(claim: impl Into<String>, fault: impl Into<String>) -> TokenError {
    TokenError::Claim { claim: claim.into(), fault: fault.into() }
}

/// A part of a token as text.
pub(super) fn decode(encoded: &str, part: &'static str) -> Result<String, TokenError> {
    let not_text = |at| TokenError::Json { part, error: JsonError { at, fault: Fault::Utf8 } };
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Form)?;
    String::from_utf8(bytes).map_err(|error| not_text(error.utf8_error().valid_up_to()))
}

/// The fields of an object, their values as they stand.
pub(super) fn fields<'a>(json: &'a str, part: &'static str) -> Result<Vec<(Cow<'a, str>, &'a str)>, TokenError> {
    let mut fields = Vec::new();
    let mut reader = Reader::with_depth(json, DEPTH_MAX);
    reader
        .object(|reader, name| {
            fields.push((name, reader.skip()?));
            Ok(())
        })
        .and_then(|()| reader.end())
        .map_err(|error| TokenError::Json { part, error })?;
    Ok(fields)
}

/// What a value says, if it is a text.
pub(super) fn text(value: &str) -> Option<Cow<'_, str>> {
    Reader::new(value).text().ok()
}

/// Claims as they are written.
#[derive(Debug, Serialize)]
pub(super) struct Outgoing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    iat: u64,
    exp: u64,
    ff: OutgoingFf<'a>,
}

#[derive(Debug, Serialize)]
struct OutgoingFf<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cap: Option<&'a Capabilities>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a serde_json::Map<String, serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a serde_json::Map<String, serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<&'a serde_json::Map<String, serde_json::Value>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    labels: &'a [String],
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(claims: &'a Claims) -> Self {
        let issued = claims.issued_ms / 1000;
        let Claims { sub, id, cap, roles, info, meta, limits, labels, issued_ms: _, ttl_s } = claims;
        let ff = OutgoingFf {
            cap: cap.as_ref(),
            roles,
            info: info.as_ref(),
            meta: meta.as_ref(),
            limits: limits.as_ref(),
            labels,
        };
        Self { sub: sub.as_deref(), jti: id.as_deref(), iat: issued, exp: issued.saturating_add(*ttl_s), ff }
    }
}
