//! Resume tickets: a client that comes back shows one instead of its token, to any node, and is who it was.
//!
//! A ticket is what a token said, checked once and sealed by the platform, so that what only servers may see of it stays
//! unseen. It gives never more than the token did: its life is the token's, who signed must still be trusted, and the
//! signer's ceiling and the app's ACL are looked up when the ticket is shown, not when it was made. Transports without
//! a connection keep their subscriptions and positions in it.
//!
//! ```text
//! 1 byte: which key │ 24 bytes: nonce │ XChaCha20-Poly1305 over JSON, bound to the app      (as base64url)
//! ```

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use fanfare_core::channel::NameError;
use fanfare_core::id::{AppId, ConnectionId, IssuerId, KeyId};
use fanfare_core::permission::{ClientSubject, Marks};
use fanfare_core::secret::SecretBytes;
use fanfare_core::{Capabilities, Ceiling, ChannelName, Limits, Lineage, Position, Seq, Signer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chance::Chance;
use crate::session::EXPIRY_GRACE_MS;
use crate::token::VerifiedToken;

/// The longest ticket, in bytes of its text.
pub const TICKET_BYTES_MAX: usize = 16 * 1024;
/// The most that a ticket says, in bytes before it is sealed.
pub(crate) const PLAIN_BYTES_MAX: usize = TICKET_BYTES_MAX / 4 * 3 - 1 - NONCE_LEN - TAG_LEN;
/// How long a ticket of a client without a token holds: as long as anybody could come anew, but not for ever.
pub const ANONYMOUS_MS: u64 = 2 * 3_600_000;

const KEY_LEN: usize = 32;
/// A key and, before it, its number.
const NUMBERED_LEN: usize = 1 + KEY_LEN;
const KEYS_MAX: usize = 8;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// The keys that seal tickets, made once and the same on every node. The first seals, the others only open: a new key
/// is first added at the end, and moved to the front once every node has it.
#[derive(Debug, Clone)]
pub struct TicketKeys(SecretBytes);

/// What a ticket says.
#[derive(Debug, Clone, Serialize, Deserialize)]
// A field that this version does not know may be one that takes something away: such a ticket is refused.
#[serde(deny_unknown_fields)]
pub struct ResumeTicket<'a> {
    /// The connection that goes on.
    #[serde(rename = "c")]
    pub connection: ConnectionId,
    /// How often it has gone on, counted so that a later one is always greater: about Unix milliseconds.
    #[serde(rename = "g")]
    pub generation: u64,
    /// When the ticket was made, Unix milliseconds.
    #[serde(rename = "i")]
    pub issued_ms: u64,
    /// What the client's token said; `None` for an anonymous client.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenSaid<'a>>,
    /// Its subscriptions, where no connection holds them.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// Those of them that are told of presence, and for each a number that stands for the page it was told last.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<(Box<str>, u64)>,
    /// Those of them whose channel's settings have subscribers counted, and for each a number that stands for what it was
    /// told last.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<(Box<str>, u64)>,
    /// Those of them that have a token of their own.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<(Box<str>, TokenSaid<'a>)>,
    /// When the client is to be told that its token expires; `None` once it was.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub tell_ms: Option<u64>,
}

/// What a token said. What is added to a token is added here: destructuring in [`TokenSaid::of`] breaks otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSaid<'a> {
    #[serde(rename = "e")]
    expires_ms: u64,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    issuer: Option<IssuerId>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    sub: Option<Cow<'a, str>>,
    #[serde(rename = "r", default, skip_serializing_if = "<[Box<str>]>::is_empty")]
    roles: Cow<'a, [Box<str>]>,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    capabilities: Option<Cow<'a, Capabilities>>,
    #[serde(rename = "l", default, skip_serializing_if = "<[(Box<str>, Box<str>)]>::is_empty")]
    claims: Cow<'a, [(Box<str>, Box<str>)]>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    info: Option<Cow<'a, RawValue>>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    meta: Option<Cow<'a, str>>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    limits: Option<Cow<'a, Limits>>,
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    issued_ms: Option<u64>,
    #[serde(rename = "b", default, skip_serializing_if = "<[Box<str>]>::is_empty")]
    labels: Cow<'a, [Box<str>]>,
}

/// Where a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Place {
    /// On which channel.
    pub channel: ChannelName,
    /// After which message.
    pub position: Position,
}

/// Channel, epoch, term, nonce, number.
type Written = (Box<str>, u64, u64, u32, Seq);

/// Why a ticket does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It is not the text of one.
    #[error("this is no resume ticket: send it exactly as hello or the last answer gave it out")]
    Form,
    /// It was altered, belongs to another app, or was sealed with a key that is gone.
    #[error("this ticket was not given out for this app, or was altered")]
    Foreign,
    /// Another version of Fanfare wrote it.
    #[error("this ticket is of another version")]
    Version,
    /// The token behind it has expired, or an anonymous client's time is over.
    #[error("the ticket expired {seconds} s ago")]
    Expired {
        /// How long ago.
        seconds: u64,
    },
    /// The token behind it, or who signed it, is not good any more.
    #[error("the token behind the ticket, or what signed it, was revoked or has expired")]
    Revoked,
    /// Too much would have to stand in it.
    #[error("the ticket would be longer than 16384 bytes")]
    TooLong,
}

impl TicketKeys {
    /// The keys as they are kept: for each a number and 32 bytes, at most eight. `None` when they are not that.
    #[must_use]
    pub fn new(ring: SecretBytes) -> Option<Self> {
        let length = ring.expose().len();
        let fits = length.is_multiple_of(NUMBERED_LEN) && (1..=KEYS_MAX).contains(&(length / NUMBERED_LEN));
        fits.then_some(Self(ring))
    }

    /// One key, made now: tickets hold on this node, until it ends.
    #[must_use]
    pub fn fresh(chance: &Chance) -> Self {
        let mut ring = vec![0; NUMBERED_LEN];
        ring[1..].copy_from_slice(&chance.next::<[u8; KEY_LEN]>());
        Self(SecretBytes::new(ring))
    }

    /// The bytes, for a node's sealed snapshot.
    #[must_use]
    pub const fn secret(&self) -> &SecretBytes {
        &self.0
    }

    fn keys(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.expose().chunks_exact(NUMBERED_LEN).map(|one| (one[0], &one[1..]))
    }

    /// The ticket's text.
    ///
    /// # Errors
    /// When too much stands in it.
    pub fn seal(&self, app: AppId, ticket: &ResumeTicket<'_>, chance: &Chance) -> Result<String, TicketError> {
        let plain = serde_json::to_vec(ticket).map_err(|_| TicketError::Version)?;
        self.seal_plain(app, &plain, chance)
    }

    /// The text of a ticket that was written out before.
    ///
    /// # Errors
    /// When too much stands in it.
    pub(crate) fn seal_plain(&self, app: AppId, plain: &[u8], chance: &Chance) -> Result<String, TicketError> {
        if plain.len() > PLAIN_BYTES_MAX {
            return Err(TicketError::TooLong);
        }
        let (number, key) = self.keys().next().expect("a ring has a key");
        let nonce: [u8; NONCE_LEN] = chance.next();
        let payload = Payload { msg: plain, aad: &bound_to(app, number) };
        let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload).expect("tickets are below the cipher's bound");
        Ok(URL_SAFE_NO_PAD.encode([&[number], &nonce[..], &sealed].concat()))
    }

    /// What a text says that is a ticket of this app. Whether it still holds is another question.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(&self, app: AppId, text: &str) -> Result<ResumeTicket<'static>, TicketError> {
        // Before anything else, so that a long text costs nothing.
        if text.len() > TICKET_BYTES_MAX {
            return Err(TicketError::Form);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TicketError::Form)?;
        let (&[number], rest) = bytes.split_first_chunk::<1>().ok_or(TicketError::Form)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(TicketError::Form)?;
        let (_, key) = self.keys().find(|(known, _)| *known == number).ok_or(TicketError::Foreign)?;
        let payload = Payload { msg: sealed, aad: &bound_to(app, number) };
        let plain = cipher(key).decrypt(&XNonce::from(*nonce), payload).map_err(|_| TicketError::Foreign)?;
        serde_json::from_slice(&plain).map_err(|_| TicketError::Version)
    }
}

fn cipher(key: &[u8]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new_from_slice(key).expect("a key of a ring has 32 bytes")
}

/// What a sealed ticket belongs to.
fn bound_to(app: AppId, number: u8) -> [u8; 24] {
    let mut bound = *b"ticket\0\0................";
    bound[7] = number;
    bound[8..].copy_from_slice(&app.to_bytes());
    bound
}

impl<'a> ResumeTicket<'a> {
    /// The ticket of a connection whose client has shown this token, or none.
    #[must_use]
    pub fn of(connection: ConnectionId, generation: u64, issued_ms: u64, token: Option<&'a VerifiedToken>) -> Self {
        Self::about(connection, generation, issued_ms, token.map(TokenSaid::of))
    }

    /// The ticket of a connection whose token said this.
    pub(crate) fn about(
        connection: ConnectionId,
        generation: u64,
        issued_ms: u64,
        token: Option<TokenSaid<'a>>,
    ) -> Self {
        let (places, watched, counted, held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { connection, generation, issued_ms, token, places, watched, counted, held, tell_ms: None }
    }

    /// The user, where there is one.
    #[must_use]
    pub fn sub(&self) -> Option<&str> {
        self.token.as_ref().and_then(|token| token.sub.as_deref())
    }

    /// When it ends, Unix milliseconds.
    #[must_use]
    pub fn ends_ms(&self) -> u64 {
        self.token.as_ref().map_or(self.issued_ms.saturating_add(ANONYMOUS_MS), |token| token.expires_ms)
    }

    /// Whether it says who comes, beside a new token that says what they may. A token that is late by less than the
    /// grace of a live connection still goes on with it.
    ///
    /// # Errors
    /// When its time is over.
    pub fn identifies(&self, now_ms: u64) -> Result<(), TicketError> {
        self.ended(now_ms, EXPIRY_GRACE_MS)
    }

    /// What the token behind it said; `None` for an anonymous client. Its signer's ceiling is left empty, which gives
    /// nothing: [`Session::start_again`](crate::session::Session::start_again) looks it up.
    ///
    /// # Errors
    /// When its time is over.
    pub(crate) fn holds(&self, now_ms: u64) -> Result<Option<VerifiedToken>, TicketError> {
        self.ended(now_ms, 0)?;
        self.token.as_ref().map(TokenSaid::token).transpose()
    }

    /// What the token behind it said, for a client that goes on from one request to the next. As on a live connection, one
    /// that has expired is borne for a while, in which the client can bring another.
    ///
    /// # Errors
    /// When that is over too.
    pub(crate) fn carries(&self, now_ms: u64) -> Result<Option<VerifiedToken>, TicketError> {
        self.ended(now_ms, EXPIRY_GRACE_MS)?;
        self.token.as_ref().map(TokenSaid::token).transpose()
    }

    fn ended(&self, now_ms: u64, grace_ms: u64) -> Result<(), TicketError> {
        let ends_ms = self.ends_ms().saturating_add(grace_ms);
        if now_ms >= ends_ms { Err(TicketError::Expired { seconds: (now_ms - ends_ms) / 1_000 }) } else { Ok(()) }
    }
}

impl<'a> TokenSaid<'a> {
    pub(crate) fn of(token: &'a VerifiedToken) -> Self {
        let VerifiedToken { subject, expires_ms, signer, info } = token;
        Self::by(*signer, subject, *expires_ms, info.as_deref())
    }

    /// What a token of this signer said.
    pub(crate) fn by(signer: Signer, subject: &'a ClientSubject, expires_ms: u64, info: Option<&'a RawValue>) -> Self {
        // The ceiling is the signer's, and looked up again.
        let ClientSubject { sub, roles, capabilities, ceiling: _, claims, marks, limits, meta } = subject;
        let Marks { id, issued_ms, labels } = marks;
        let (key, issuer) = match signer {
            Signer::Key(key) => (Some(key), None),
            Signer::Issuer(issuer) => (None, Some(issuer)),
        };
        Self {
            expires_ms,
            key,
            issuer,
            sub: sub.as_deref().map(Cow::Borrowed),
            roles: Cow::Borrowed(roles),
            capabilities: capabilities.as_ref().map(Cow::Borrowed),
            claims: Cow::Borrowed(claims),
            info: info.map(Cow::Borrowed),
            meta: meta.as_deref().map(Cow::Borrowed),
            limits: limits.as_deref().map(Cow::Borrowed),
            id: id.as_deref().map(Cow::Borrowed),
            issued_ms: *issued_ms,
            labels: Cow::Borrowed(labels),
        }
    }

    pub(crate) fn token(&self) -> Result<VerifiedToken, TicketError> {
        let signer = self.key.map(Signer::Key).or(self.issuer.map(Signer::Issuer)).ok_or(TicketError::Version)?;
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(Box::from);
        let marks =
            Marks { id: text(&self.id), issued_ms: self.issued_ms, labels: self.labels.iter().cloned().collect() };
        let subject = ClientSubject {
            sub: text(&self.sub),
            roles: self.roles.to_vec(),
            capabilities: self.capabilities.as_deref().cloned(),
            ceiling: Some(Ceiling { signer, capabilities: Capabilities::default() }),
            claims: self.claims.to_vec(),
            marks,
            limits: self.limits.as_deref().cloned().map(Box::new),
            meta: text(&self.meta),
        };
        let info = self.info.as_deref().map(ToOwned::to_owned);
        Ok(VerifiedToken { subject, expires_ms: self.expires_ms, signer, info })
    }
}

impl TryFrom<Written> for Place {
    type Error = NameError;

    fn try_from((channel, epoch, term, nonce, seq): Written) -> Result<Self, NameError> {
        let position = Position { lineage: Lineage { epoch, term, nonce }, seq };
        Ok(Self { channel: ChannelName::parse_any(&channel)?, position })
    }
}

impl From<Place> for Written {
    fn from(Place { channel, position: Position { lineage, seq } }: Place) -> Self {
        (channel.as_str().into(), lineage.epoch, lineage.term, lineage.nonce, seq)
    }
}
