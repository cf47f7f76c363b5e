//! The request that asks for a socket (RFC 6455 §4.2), judged from its method, version and headers.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use fanfare_core::{ErrorCode, Problem};
use sha1::{Digest, Sha1};

use super::extension::{self, Deflate};

/// What the server adds to a client's key (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// What a token is offered behind, as if it were a subprotocol: browsers can send nothing else with a handshake.
const TOKEN_PREFIX: &str = "fanfare.token.";

/// A handshake that may be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The value of `Sec-WebSocket-Protocol`; absent when the client offered none.
    pub subprotocol: Option<&'static str>,
    /// The token that came with the handshake. Not verified, never to be logged.
    pub token: Option<&'a str>,
    /// The page that asks, when a browser does.
    pub origin: Option<&'a str>,
    /// permessage-deflate, where it was offered and may be agreed.
    pub deflate: Option<Deflate>,
}

impl Accepted<'_> {
    /// The headers of the answer with status 101.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", &*self.accept)]
            .into_iter()
            .chain(self.subprotocol.map(|name| ("sec-websocket-protocol", name)))
            .map(|(name, value)| (name, Cow::Borrowed(value)))
            .chain(self.deflate.map(|deflate| ("sec-websocket-extensions", Cow::Owned(deflate.to_string()))))
    }
}

/// Why a handshake is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Sockets are asked for by GET.
    #[error("a WebSocket is asked for by GET")]
    Method,
    /// Only HTTP/1.1 can upgrade.
    #[error("a WebSocket is asked for in HTTP/1.1")]
    HttpVersion,
    /// The request does not ask for a socket.
    #[error("this URL speaks WebSocket; send Connection: Upgrade and Upgrade: websocket")]
    NoUpgrade,
    /// A header is missing.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A header that may stand only once stands more often.
    #[error("the header {0} stands more than once")]
    Repeated(&'static str),
    /// Another version of the protocol.
    #[error("only version 13 of the WebSocket protocol is spoken here")]
    Version,
    /// The key is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
    /// A list of subprotocols that is none.
    #[error("Sec-WebSocket-Protocol must list different names, parted by commas")]
    ProtocolList,
    /// A list of extensions that is none.
    #[error("Sec-WebSocket-Extensions must list extensions, parted by commas, with parameters behind semicolons")]
    ExtensionList,
    /// Nothing that both sides speak.
    #[error("none of the offered subprotocols is spoken here; offer {}, or none", .0.join(" or "))]
    NoCommonProtocol(Vec<&'static str>),
    /// The origin is not readable.
    #[error("the header Origin is not text")]
    Origin,
}

impl HandshakeError {
    /// The HTTP status of the refusal.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Method => 405,
            Self::HttpVersion => 505,
            Self::NoUpgrade | Self::Version => 426,
            Self::Missing(_)
            | Self::Repeated(_)
            | Self::Key
            | Self::ProtocolList
            | Self::ExtensionList
            | Self::NoCommonProtocol(_)
            | Self::Origin => 400,
        }
    }

    /// The headers that the refusal must carry.
    #[must_use]
    pub const fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("allow", "GET")],
            Self::NoUpgrade => &[("upgrade", "websocket"), ("connection", "Upgrade")],
            Self::Version => &[("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13")],
            _ => &[],
        }
    }

    /// The refusal as told outside. Its HTTP status is [`HandshakeError::status`].
    #[must_use]
    pub fn problem(&self) -> Problem {
        let code = match self {
            Self::Method => ErrorCode::MethodNotAllowed,
            Self::Version | Self::NoCommonProtocol(_) => ErrorCode::UnsupportedProtocol,
            _ => ErrorCode::InvalidRequest,
        };
        Problem::new(code, format!("The WebSocket handshake is refused: {self}."))
    }
}

/// What a server speaks beyond the bare protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spoken<'s> {
    /// Subprotocols, the preferred first; where there are none, offers are ignored.
    pub subprotocols: &'s [&'static str],
    /// Whether permessage-deflate may be agreed.
    pub deflate: bool,
}

/// Judges a request.
///
/// # Errors
/// The first rule that it breaks.
pub fn accept<'a, H>(
    method: &str,
    http_version: &str,
    headers: H,
    spoken: Spoken<'_>,
) -> Result<Accepted<'a>, HandshakeError>
where
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    if method != "GET" {
        return Err(HandshakeError::Method);
    }
    if http_version != "HTTP/1.1" {
        return Err(HandshakeError::HttpVersion);
    }
    if !lists(headers.clone(), "connection", "upgrade") || !lists(headers.clone(), "upgrade", "websocket") {
        return Err(HandshakeError::NoUpgrade);
    }
    single(headers.clone(), "Host")?.ok_or(HandshakeError::Missing("Host"))?;
    let version = single(headers.clone(), "Sec-WebSocket-Version")?;
    if version.ok_or(HandshakeError::Missing("Sec-WebSocket-Version"))?.trim_ascii() != b"13" {
        return Err(HandshakeError::Version);
    }
    let key = single(headers.clone(), "Sec-WebSocket-Key")?.ok_or(HandshakeError::Missing("Sec-WebSocket-Key"))?;
    let accept = accept_key(key.trim_ascii())?;
    let origin = single(headers.clone(), "Origin")?;
    let origin = origin.map(std::str::from_utf8).transpose().map_err(|_| HandshakeError::Origin)?;
    let (subprotocol, token) = choose(headers.clone(), spoken.subprotocols)?;
    let deflate = extension::choose(values(headers, "Sec-WebSocket-Extensions"));
    let deflate = deflate.map_err(|extension::Malformed| HandshakeError::ExtensionList)?.filter(|_| spoken.deflate);
    Ok(Accepted { accept, subprotocol, token, origin, deflate })
}

/// The value of `Sec-WebSocket-Accept` for a client's key (RFC 6455 §4.2.2).
///
/// # Errors
/// When the key is not 16 bytes in base64.
pub fn accept_key(key: &[u8]) -> Result<String, HandshakeError> {
    // The example of §4.1 has bits beyond its sixteenth byte, so those are not looked at.
    let lenient = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let decoded = GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(key);
    if decoded.is_ok_and(|bytes| bytes.len() == 16) {
        Ok(STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()))
    } else {
        Err(HandshakeError::Key)
    }
}

fn values<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, wanted: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
}

fn single<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    name: &'static str,
) -> Result<Option<&'a [u8]>, HandshakeError> {
    let mut values = values(headers, name);
    let first = values.next();
    if values.next().is_some() { Err(HandshakeError::Repeated(name)) } else { Ok(first) }
}

/// Whether a comma-separated header holds a word, in any case.
fn lists<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, name: &str, word: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// The subprotocol to speak, and the token that was offered beside it.
fn choose<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    supported: &[&'static str],
) -> Result<(Option<&'static str>, Option<&'a str>), HandshakeError> {
    let mut offered: Vec<&'a str> = Vec::new();
    for item in values(headers, "Sec-WebSocket-Protocol").flat_map(|value| value.split(|byte| *byte == b',')) {
        let item = item.trim_ascii();
        let item = std::str::from_utf8(item).ok().filter(|_| !item.is_empty() && item.iter().copied().all(is_token));
        let item = item.filter(|item| !offered.contains(item)).ok_or(HandshakeError::ProtocolList)?;
        offered.push(item);
    }
    if offered.is_empty() || supported.is_empty() {
        return Ok((None, None));
    }
    let mut tokens = offered.iter().filter_map(|item| item.strip_prefix(TOKEN_PREFIX));
    let token = tokens.next();
    if tokens.next().is_some() {
        return Err(HandshakeError::ProtocolList);
    }
    match supported.iter().find(|name| offered.contains(name)) {
        Some(name) => Ok((Some(name), token)),
        None => Err(HandshakeError::NoCommonProtocol(supported.to_vec())),
    }
}

/// Whether a byte may stand in a name (RFC 9110 §5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers = Vec<(&'static str, &'static [u8])>;

    fn request() -> Headers {
        vec![
            ("host", b"localhost:8000"),
            ("upgrade", b"websocket"),
            ("connection", b"Upgrade"),
            ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", b"13"),
        ]
    }

    fn judge(headers: &Headers) -> Result<Accepted<'static>, HandshakeError> {
        accept("GET", "HTTP/1.1", headers.iter().copied(), Spoken { subprotocols: &["fanfare.v1.json"], deflate: true })
    }

    /// The request with one header set, added or, without a value, left out.
    fn with(name: &'static str, value: Option<&'static [u8]>) -> Headers {
        let mut headers = request();
        headers.retain(|(known, _)| *known != name);
        headers.extend(value.map(|value| (name, value)));
        headers
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let accepted = judge(&request()).expect("valid");
        assert_eq!(accepted.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((accepted.subprotocol, accepted.token, accepted.origin), (None, None, None));
        let headers: Vec<_> = accepted.headers().collect();
        assert_eq!(headers.last(), Some(&("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into())));
        // §4.1's example of a key, with bits beyond its sixteenth byte.
        assert!(judge(&with("sec-websocket-key", Some(b"AQIDBAUGBwgJCgsMDQ4PEC=="))).is_ok());
    }

    #[test]
    fn words_are_compared_in_any_case_and_found_in_lists() {
        for (name, value) in [
            ("connection", &b"keep-alive, UPGRADE"[..]),
            ("upgrade", b"h2c , WebSocket"),
            ("sec-websocket-version", b" 13 "),
        ] {
            assert!(judge(&with(name, Some(value))).is_ok(), "{name}");
        }
        let shouted: Headers =
            request().into_iter().map(|(name, value)| (name.to_uppercase().leak() as &str, value)).collect();
        assert!(judge(&shouted).is_ok());
        let mut apart = with("connection", Some(b"keep-alive"));
        apart.push(("connection", b"upgrade"));
        assert!(judge(&apart).is_ok());
    }

    #[test]
    fn each_rule_has_its_refusal() {
        let table: [(&'static str, Option<&'static [u8]>, HandshakeError, u16); 14] = [
            ("upgrade", None, HandshakeError::NoUpgrade, 426),
            ("upgrade", Some(b"h2c"), HandshakeError::NoUpgrade, 426),
            ("connection", None, HandshakeError::NoUpgrade, 426),
            ("connection", Some(b"close"), HandshakeError::NoUpgrade, 426),
            ("connection", Some(b"upgraded"), HandshakeError::NoUpgrade, 426),
            ("host", None, HandshakeError::Missing("Host"), 400),
            ("sec-websocket-version", None, HandshakeError::Missing("Sec-WebSocket-Version"), 400),
            ("sec-websocket-version", Some(b"8"), HandshakeError::Version, 426),
            ("sec-websocket-key", None, HandshakeError::Missing("Sec-WebSocket-Key"), 400),
            ("sec-websocket-key", Some(b""), HandshakeError::Key, 400),
            ("sec-websocket-key", Some(b"dGhlIHNhbXBsZSBub25jZQ"), HandshakeError::Key, 400),
            ("sec-websocket-key", Some(b"dGhlIHNhbXBsZSBub25jZSE="), HandshakeError::Key, 400),
            ("sec-websocket-key", Some(b"!!!!!!!!!!!!!!!!!!!!!!=="), HandshakeError::Key, 400),
            ("origin", Some(b"\xFF"), HandshakeError::Origin, 400),
        ];
        for (name, value, error, status) in table {
            assert_eq!(judge(&with(name, value)), Err(error.clone()), "{name}");
            assert_eq!(error.status(), status);
        }
        for name in ["host", "sec-websocket-version", "sec-websocket-key"] {
            let mut twice = request();
            let value = twice.iter().find(|(known, _)| *known == name).expect("is there").1;
            twice.push((name, value));
            assert!(matches!(judge(&twice), Err(HandshakeError::Repeated(_))), "{name}");
        }
        let headers = request();
        assert_eq!(accept("POST", "HTTP/1.1", headers.iter().copied(), Spoken::default()), Err(HandshakeError::Method));
        assert_eq!(
            accept("GET", "HTTP/1.0", headers.iter().copied(), Spoken::default()),
            Err(HandshakeError::HttpVersion)
        );
    }

    #[test]
    fn a_refused_version_is_told_which_one_is_spoken() {
        assert!(HandshakeError::Version.headers().contains(&("sec-websocket-version", "13")));
        assert_eq!(HandshakeError::Version.problem().code, ErrorCode::UnsupportedProtocol);
    }

    #[test]
    fn the_subprotocol_is_chosen_among_those_offered_and_a_token_may_ride_along() {
        let offer = |value| {
            judge(&with("sec-websocket-protocol", Some(value))).map(|accepted| (accepted.subprotocol, accepted.token))
        };
        let ours = Some("fanfare.v1.json");
        assert_eq!(offer(b"fanfare.v1.json"), Ok((ours, None)));
        assert_eq!(offer(b"chat, fanfare.v1.json"), Ok((ours, None)));
        assert_eq!(offer(b"fanfare.v1.json,fanfare.token.eyJh.e30.c2ln"), Ok((ours, Some("eyJh.e30.c2ln"))));
        for none in [&b"chat"[..], b"fanfare.v1.cbor", b"FANFARE.V1.JSON", b"fanfare.token.eyJh.e30.c2ln"] {
            assert!(matches!(offer(none), Err(HandshakeError::NoCommonProtocol(_))));
        }
        for broken in [
            &b""[..],
            b"fanfare.v1.json,",
            b"a b",
            b"fanfare.v1.json,fanfare.v1.json",
            b"fanfare.v1.json,fanfare.token.a,fanfare.token.b",
        ] {
            assert_eq!(offer(broken), Err(HandshakeError::ProtocolList), "{broken:?}");
        }
        let mut apart = with("sec-websocket-protocol", Some(b"fanfare.token.x"));
        apart.push(("sec-websocket-protocol", b"fanfare.v1.json"));
        assert_eq!(judge(&apart).map(|accepted| accepted.token), Ok(Some("x")));
        let offers = with("sec-websocket-protocol", Some(b"chat"));
        assert_eq!(
            accept("GET", "HTTP/1.1", offers.iter().copied(), Spoken::default()).map(|accepted| accepted.subprotocol),
            Ok(None)
        );
    }
}
