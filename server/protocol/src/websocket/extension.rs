//! Extensions: which of a client's offers is taken (RFC 6455 §9, RFC 7692 §5 and §7.1).
//!
//! One is spoken here, permessage-deflate, and always without context takeover on either side: a message compressed by
//! itself is the same bytes for everybody who gets it, and a connection between messages owns no window.

use std::fmt;

/// The name of the only extension spoken here.
const NAME: &str = "permessage-deflate";
/// The windows RFC 7692 knows, as powers of two.
const WINDOW_BITS: std::ops::RangeInclusive<u8> = 8..=WINDOW_BITS_MAX;
/// The largest window of DEFLATE, and what holds when none is named.
pub(crate) const WINDOW_BITS_MAX: u8 = 15;

/// permessage-deflate as it was agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// How far back, as a power of two, what is sent to this client may refer.
    window_bits: u8,
    /// Whether the client named that window, and is answered with it.
    named: bool,
}

impl Deflate {
    /// How far back, as a power of two, what is sent to this client may refer.
    #[must_use]
    pub const fn window_bits(self) -> u8 {
        self.window_bits
    }
}

/// The value of `Sec-WebSocket-Extensions` that answers the offer.
impl fmt::Display for Deflate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{NAME}; server_no_context_takeover; client_no_context_takeover")?;
        if self.named {
            write!(out, "; server_max_window_bits={}", self.window_bits)?;
        }
        Ok(())
    }
}

/// A header that is no list of extensions; the handshake fails (RFC 6455 §9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The first offer that can be taken, in the client's order. Offers of other extensions, and of this one with
/// parameters that are unknown, repeated or out of bounds, are declined by being left out (RFC 7692 §7.1).
pub(crate) fn choose<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Option<Deflate>, Malformed> {
    let mut chosen = None;
    for value in values {
        let mut list = List { rest: value.trim_ascii() };
        while let Some(offer) = list.next_offer()? {
            chosen = chosen.or(offer);
        }
    }
    Ok(chosen)
}

/// One header's value, read from the left.
struct List<'a> {
    rest: &'a [u8],
}

/// A parameter: its name, and its value where it has one.
type Parameter<'a> = (&'a [u8], Option<&'a [u8]>);

impl<'a> List<'a> {
    /// Reads one offer to its end. `Some(None)` is one that is declined.
    fn next_offer(&mut self) -> Result<Option<Option<Deflate>>, Malformed> {
        // Empty elements of a list count for nothing (RFC 9110 §5.6.1.2).
        while self.take(b',') {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.word()?;
        let mut terms = name.eq_ignore_ascii_case(NAME.as_bytes()).then(Terms::default);
        while self.take(b';') {
            let parameter = self.parameter()?;
            terms = terms.and_then(|terms| terms.with(parameter));
        }
        if !self.rest.is_empty() && !self.take(b',') {
            return Err(Malformed);
        }
        Ok(Some(terms.map(Terms::agreed)))
    }

    fn parameter(&mut self) -> Result<Parameter<'a>, Malformed> {
        let name = self.word()?;
        if !self.take(b'=') {
            return Ok((name, None));
        }
        if !self.take_exactly(b'"') {
            return Ok((name, Some(self.word()?)));
        }
        // What is quoted must be a word all the same (RFC 6455 §9.1).
        let value = self.word()?;
        if self.take(b'"') { Ok((name, Some(value))) } else { Err(Malformed) }
    }

    fn word(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.rest.iter().position(|byte| !super::handshake::is_token(*byte)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        if word.is_empty() { Err(Malformed) } else { Ok(word) }
    }

    fn take_exactly(&mut self, byte: u8) -> bool {
        let taken = self.rest.first() == Some(&byte);
        if taken {
            self.rest = &self.rest[1..];
        }
        taken
    }

    /// Takes a separator and the blanks around it.
    fn take(&mut self, byte: u8) -> bool {
        let trimmed = self.rest.trim_ascii_start();
        let Some((first, rest)) = trimmed.split_first().filter(|(first, _)| **first == byte) else { return false };
        debug_assert_eq!(*first, byte, "filtered above");
        self.rest = rest.trim_ascii_start();
        true
    }
}

/// What one offer has said so far.
#[derive(Debug, Clone, Copy, Default)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// The client can bound its own window. Nothing is asked of it: what it sends is inflated into the message itself.
    client_max_window_bits: bool,
}

impl Terms {
    /// Takes one more parameter; nothing when the offer cannot be accepted with it.
    fn with(mut self, (name, value): Parameter<'_>) -> Option<Self> {
        let flag = |known: &mut bool| value.is_none() && !std::mem::replace(known, true);
        let good = match name {
            b"server_no_context_takeover" => flag(&mut self.server_no_context_takeover),
            b"client_no_context_takeover" => flag(&mut self.client_no_context_takeover),
            b"server_max_window_bits" => {
                let bits = value.and_then(window_bits);
                bits.is_some() && std::mem::replace(&mut self.server_max_window_bits, bits).is_none()
            }
            b"client_max_window_bits" => {
                let good = value.is_none_or(|value| window_bits(value).is_some());
                good && !std::mem::replace(&mut self.client_max_window_bits, true)
            }
            _ => false,
        };
        good.then_some(self)
    }

    fn agreed(self) -> Deflate {
        Deflate {
            window_bits: self.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX),
            named: self.server_max_window_bits.is_some(),
        }
    }
}

/// A decimal number from 8 to 15, without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    let digits = value.iter().all(u8::is_ascii_digit) && !value.starts_with(b"0");
    let bits = std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()?;
    WINDOW_BITS.contains(&bits).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn answer(values: &[&str]) -> Result<Option<String>, Malformed> {
        Ok(choose(values.iter().map(|value| value.as_bytes()))?.map(|deflate| deflate.to_string()))
    }

    #[test]
    fn offers_that_can_be_kept_are_taken_and_answered() {
        let plain = || Ok(Some(PLAIN.to_owned()));
        let bits = |bits: u8| Ok(Some(format!("{PLAIN}; server_max_window_bits={bits}")));
        for (offer, expected) in [
            // As browsers, ws and the Python and Java libraries ask.
            ("permessage-deflate", plain()),
            ("permessage-deflate; client_max_window_bits", plain()),
            ("permessage-deflate; client_max_window_bits=15", plain()),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", plain()),
            ("permessage-deflate;client_max_window_bits;server_no_context_takeover", plain()),
            ("Permessage-Deflate", plain()),
            ("permessage-deflate ; client_max_window_bits = 10", plain()),
            ("permessage-deflate; client_max_window_bits=\"8\"", plain()),
            ("permessage-deflate; server_max_window_bits=8", bits(8)),
            ("permessage-deflate; server_max_window_bits=10; client_max_window_bits", bits(10)),
            ("permessage-deflate; server_max_window_bits=\"12\"", bits(12)),
            ("permessage-deflate; server_max_window_bits=15", bits(15)),
            // The first that can be kept.
            ("permessage-deflate; server_max_window_bits=9, permessage-deflate", bits(9)),
            ("permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=11", bits(11)),
            ("permessage-deflate; unheard_of, permessage-deflate", plain()),
            ("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", plain()),
            ("permessage-bzip2; level=9, permessage-deflate", plain()),
            (" , permessage-deflate,, ", plain()),
            ("", Ok(None)),
            (", ,", Ok(None)),
            ("permessage-bzip2", Ok(None)),
            ("permessage-deflate-2", Ok(None)),
        ] {
            assert_eq!(answer(&[offer]), expected, "{offer}");
        }
        assert_eq!(answer(&["a; b=c", "permessage-deflate; server_max_window_bits=9", "permessage-deflate"]), bits(9));
        assert_eq!(answer(&[]), Ok(None));
    }

    #[test]
    fn offers_with_parameters_that_are_wrong_are_declined() {
        for parameters in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=0",
            "server_max_window_bits=08",
            "server_max_window_bits=+9",
            "server_max_window_bits=9.0",
            "server_max_window_bits=9e0",
            "server_max_window_bits=nine",
            "server_max_window_bits=256",
            "server_max_window_bits=99999999999999999999",
            "server_max_window_bits=9; server_max_window_bits=9",
            "server_max_window_bits=9; server_max_window_bits=10",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=010",
            "client_max_window_bits; client_max_window_bits",
            "client_max_window_bits; client_max_window_bits=10",
            "server_no_context_takeover=1",
            "server_no_context_takeover=true",
            "client_no_context_takeover=\"\u{66}\"",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "Server_No_Context_Takeover",
            "unheard_of",
            "unheard_of=1",
            "client_no_context_takeover; unheard_of; server_no_context_takeover",
        ] {
            let offer = format!("permessage-deflate; {parameters}");
            assert_eq!(answer(&[&offer]), Ok(None), "{offer}");
            assert_eq!(answer(&[&format!("{offer}, permessage-deflate")]), Ok(Some(PLAIN.to_owned())), "{offer}");
        }
    }

    #[test]
    fn what_is_no_list_of_extensions_is_refused() {
        for value in [
            "permessage-deflate;",
            "permessage-deflate; ;",
            ";",
            "=",
            "permessage-deflate; =9",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=\"9",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; server_max_window_bits=\"1 0\"",
            "permessage-deflate; server_max_window_bits=9 10",
            "permessage-deflate server_max_window_bits",
            "\"permessage-deflate\"",
            "permessage-deflate; a(b)",
            "perme\u{e4}ssage",
            "permessage-deflate, @",
            "@, permessage-deflate",
        ] {
            assert_eq!(answer(&[value]), Err(Malformed), "{value}");
            assert_eq!(answer(&["permessage-deflate", value]), Err(Malformed), "{value}");
        }
    }
}
