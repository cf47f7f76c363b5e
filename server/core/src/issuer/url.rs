//! The URL of a JWKS, of a form that no two readers can understand differently.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest, in bytes.
const BYTES_MAX: usize = 500;
const HOST_BYTES_MAX: usize = 253;

/// `https://host[:port]/path`: an absolute URL without user, fragment, dots that climb, or a host in a disguise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JwksUrl {
    text: Box<str>,
    host: Host,
    port: u16,
}

/// A host in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, in lower case.
    Name(Box<str>),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(out),
            Self::Address(IpAddr::V6(address)) => write!(out, "[{address}]"),
        }
    }
}

/// Why a text is no such URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksUrlError {
    /// Too long, or characters that URLs do not have.
    #[error("must be a URL of at most 500 printable ASCII characters, without spaces, backslashes and quotes")]
    Characters,
    /// Another scheme.
    #[error("must start with https://")]
    Scheme,
    /// A user, password or fragment.
    #[error("must not have a user, a password or a fragment")]
    Parts,
    /// A host that is no name and no address in its usual form.
    #[error("must have a host: a domain name, or an IP address in its usual form")]
    Host,
    /// Not a port.
    #[error("has a port that is none")]
    Port,
}

impl JwksUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, JwksUrlError> {
        let printable = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
        if text.len() > BYTES_MAX || !text.bytes().all(printable) {
            return Err(JwksUrlError::Characters);
        }
        let rest = text.strip_prefix("https://").ok_or(JwksUrlError::Scheme)?;
        let authority = rest.find(['/', '?', '#']).map_or(rest, |at| &rest[..at]);
        if authority.contains('@') || text.contains('#') {
            return Err(JwksUrlError::Parts);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(JwksUrlError::Host)?;
                let address: Ipv6Addr = address.parse().map_err(|_| JwksUrlError::Host)?;
                (Host::Address(IpAddr::V6(address)), port)
            }
            None => {
                let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
                (named(host)?, port)
            }
        };
        let port = match port {
            "" => 443,
            _ => port_of(port.strip_prefix(':').ok_or(JwksUrlError::Host)?)?,
        };
        Ok(Self { text: text.into(), host, port })
    }

    /// The whole.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// A name, or an IPv4 address written as four decimal numbers. A last label that is a number in another form is what
/// browsers and libraries read as an address (`2130706433`, `0x7f.1`, `127.1`), each in its own way: refused.
fn named(host: &str) -> Result<Host, JwksUrlError> {
    let host = host.to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > HOST_BYTES_MAX || !host.split('.').all(label) {
        return Err(JwksUrlError::Host);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|letter: char| letter.is_ascii_digit()) {
        let address: Ipv4Addr = host.parse().map_err(|_| JwksUrlError::Host)?;
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    Ok(Host::Name(host.into()))
}

fn port_of(text: &str) -> Result<u16, JwksUrlError> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(JwksUrlError::Port)
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Serialize for JwksUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for JwksUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&std::borrow::Cow::<'de, str>::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_in_one_way_only() {
        let url = JwksUrl::parse("https://Example.auth0.com/.well-known/jwks.json?x=1").expect("valid");
        assert_eq!((url.host().to_string().as_str(), url.port()), ("example.auth0.com", 443));
        let url = JwksUrl::parse("https://[2001:db8::1]:8443/").expect("valid");
        assert_eq!((url.host().to_string().as_str(), url.port()), ("[2001:db8::1]", 8443));
        let url = JwksUrl::parse("https://192.0.2.7").expect("valid");
        assert_eq!(url.host(), &Host::Address(IpAddr::from([192, 0, 2, 7])));
        use JwksUrlError as E;
        for (text, error) in [
            ("http://example.com/", E::Scheme),
            ("HTTPS://example.com/", E::Scheme),
            ("//example.com/", E::Scheme),
            ("file:///etc/passwd", E::Scheme),
            ("https://user@example.com/", E::Parts),
            ("https://example.com:x@evil.example/", E::Parts),
            ("https://example.com#@evil.example/", E::Parts),
            ("https://example.com/#x", E::Parts),
            ("https://example.com\\@evil.example/", E::Characters),
            ("https://example.com/ x", E::Characters),
            ("https://example.com/\r\nX: y", E::Characters),
            ("https://exämple.com/", E::Characters),
            ("https://", E::Host),
            ("https:///path", E::Host),
            ("https://example..com/", E::Host),
            ("https://example.com./", E::Host),
            ("https://2130706433/", E::Host),
            ("https://0x7f000001/", E::Host),
            ("https://0x7f.1/", E::Host),
            ("https://127.1/", E::Host),
            ("https://0177.0.0.1/", E::Host),
            ("https://127.0.0.1.5/", E::Host),
            ("https://%31%32%37.0.0.1/", E::Host),
            ("https://[::1/", E::Host),
            ("https://[::1%25eth0]/", E::Host),
            ("https://[::1]x:443/", E::Host),
            ("https://example.com:/", E::Port),
            ("https://example.com:0/", E::Port),
            ("https://example.com:65536/", E::Port),
            ("https://example.com:+443/", E::Port),
        ] {
            assert_eq!(JwksUrl::parse(text), Err(error), "{text}");
        }
    }
}
