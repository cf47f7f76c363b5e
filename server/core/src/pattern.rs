//! Patterns over channel names, and the one matcher that everything uses.
//!
//! A pattern is segments parted by `:`. A segment is literal text, `*` for exactly one segment, `{claim}` for the
//! value of a claim of whoever asks, or, last only, `**` for one or more segments. There are no regular expressions
//! and no backtracking: matching walks both sides once.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::channel::{ChannelName, NameError, check, is_name_byte};

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// What names may not hold either.
    #[error("{}", told(.0))]
    Name(#[from] NameError),
    /// `*` beside other characters, or `**` before the end.
    #[error("segment {segment} is wrong: * stands alone in a segment, ** alone in the last one")]
    Wildcard {
        /// Counted from 1.
        segment: usize,
    },
    /// Braces that do not hold exactly one claim's name.
    #[error(
        "segment {segment} is wrong: a placeholder is a whole segment such as {{sub}}, its name made of letters, digits, _ . and -"
    )]
    Placeholder {
        /// Counted from 1.
        segment: usize,
    },
}

/// A name's error in a pattern's words: wildcards and placeholders are allowed here.
fn told(error: &NameError) -> String {
    match error {
        NameError::Character { at } => format!(
            "the character at byte {at} is not allowed; use printable ASCII without space and without [ ] ? % \\ \" < >"
        ),
        NameError::Empty => "the pattern is empty; use a name, or ** for every channel".into(),
        NameError::TooLong { bytes } => format!("the pattern has {bytes} bytes; at most 200 are allowed"),
        NameError::EmptySegment { .. } | NameError::Reserved => error.to_string(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(Box<str>),
    Claim(Box<str>),
    One,
    Rest,
}

impl Segment {
    /// Smaller is more specific.
    const fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Claim(_) => 1,
            Self::One => 2,
            Self::Rest => 3,
        }
    }
}

/// Looks up the value of a claim for `{claim}` segments.
pub trait Claims {
    /// The claim's text; `None` where it is absent or not a text.
    fn claim(&self, name: &str) -> Option<&str>;
}

/// Nobody: placeholders never match.
#[derive(Debug, Clone, Copy)]
pub struct NoClaims;

impl Claims for NoClaims {
    fn claim(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// A valid pattern.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    segments: Box<[Segment]>,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Says which byte or segment is wrong.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        check(text, |byte| is_name_byte(byte) || matches!(byte, b'*' | b'{' | b'}'))?;
        let count = text.split(':').count();
        let segments = text
            .split(':')
            .enumerate()
            .map(|(index, part)| parse_segment(part, index + 1, index + 1 == count))
            .collect::<Result<_, _>>()?;
        Ok(Self { segments })
    }

    /// Whether the pattern covers the channel for somebody with these claims.
    ///
    /// Wildcards and placeholders in the first segment never cover Fanfare's own names (`$…`); only a literal does.
    #[must_use]
    pub fn matches(&self, channel: &ChannelName, claims: &impl Claims) -> bool {
        let mut parts = channel.segments();
        if channel.is_reserved() && !matches!(self.segments.first(), Some(Segment::Literal(_))) {
            return false;
        }
        for segment in &self.segments {
            let Some(part) = parts.next() else { return false };
            let matched = match segment {
                Segment::Literal(text) => **text == *part,
                // A value with a colon or a character that names may not hold can equal no segment.
                Segment::Claim(name) => claims.claim(name).is_some_and(|value| value == part),
                Segment::One => true,
                Segment::Rest => return true,
            };
            if !matched {
                return false;
            }
        }
        parts.next().is_none()
    }

    /// Orders patterns from most to least specific: the first differing segment decides, literal before placeholder
    /// before `*` before `**`; then the longer pattern; then the text, so that the order is total.
    #[must_use]
    pub fn cmp_specificity(&self, other: &Self) -> Ordering {
        self.segments
            .iter()
            .zip(&other.segments)
            .map(|(left, right)| left.rank().cmp(&right.rank()))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| other.segments.len().cmp(&self.segments.len()))
            .then_with(|| self.to_string().cmp(&other.to_string()))
    }

    /// Whether it is `**`: every channel but Fanfare's own.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        matches!(*self.segments, [Segment::Rest])
    }

    /// The claims that it names.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Claim(name) => Some(&**name),
            Segment::Literal(_) | Segment::One | Segment::Rest => None,
        })
    }

    /// Whether a `{claim}` stands in it.
    #[must_use]
    pub fn has_placeholder(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Claim(_)))
    }
}

fn parse_segment(part: &str, segment: usize, last: bool) -> Result<Segment, PatternError> {
    match part {
        "*" => Ok(Segment::One),
        "**" if last => Ok(Segment::Rest),
        _ if part.contains('*') => Err(PatternError::Wildcard { segment }),
        _ if part.contains(['{', '}']) => part
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .filter(|name| {
                !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
            })
            .map(|name| Segment::Claim(name.into()))
            .ok_or(PatternError::Placeholder { segment }),
        _ => Ok(Segment::Literal(part.into())),
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                out.write_str(":")?;
            }
            match segment {
                Segment::Literal(text) => out.write_str(text)?,
                Segment::Claim(name) => write!(out, "{{{name}}}")?,
                Segment::One => out.write_str("*")?,
                Segment::Rest => out.write_str("**")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), out)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Sub(&'static str);
    impl Claims for Sub {
        fn claim(&self, name: &str) -> Option<&str> {
            (name == "sub").then_some(self.0)
        }
    }

    fn matches(pattern: &str, name: &str, sub: &'static str) -> bool {
        let pattern = Pattern::parse(pattern).expect(pattern);
        pattern.matches(&ChannelName::parse_any(name).expect(name), &Sub(sub))
    }

    #[test]
    fn patterns_cover_what_they_say() {
        let yes = [
            ("a", "a"),
            ("*", "a"),
            ("**", "a"),
            ("**", "a:b:c"),
            ("a:*", "a:b"),
            ("a:**", "a:b:c"),
            ("a:*:c", "a:b:c"),
            ("user:{sub}", "user:ann"),
            ("{sub}:**", "ann:x"),
            ("$stats:*", "$stats:x"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern, name, "ann"), "{pattern} {name}");
        }
        let no = [
            ("a", "b"),
            ("*", "a:b"),
            ("a:**", "a"),
            ("a:*", "a"),
            ("a:*", "a:b:c"),
            ("user:{sub}", "user:bob"),
            ("user:{other}", "user:ann"),
            ("**", "$stats:x"),
            ("*:x", "$stats:x"),
        ];
        for (pattern, name) in no {
            assert!(!matches(pattern, name, "ann"), "{pattern} {name}");
        }
    }

    #[test]
    fn a_claim_cannot_reach_over_a_segment() {
        assert!(!matches("user:{sub}", "user:a:b", "a:b"));
        assert!(!matches("user:{sub}", "user:a", "*"));
        assert!(!matches("user:{sub}", "user:a", ""));
    }

    #[test]
    fn wrong_patterns_name_the_segment() {
        let bad = [
            ("a*", PatternError::Wildcard { segment: 1 }),
            ("a:**:b", PatternError::Wildcard { segment: 2 }),
            ("a:***", PatternError::Wildcard { segment: 2 }),
            ("a:{}", PatternError::Placeholder { segment: 2 }),
            ("x{sub}", PatternError::Placeholder { segment: 1 }),
            ("{su b}", PatternError::Name(NameError::Character { at: 3 })),
            ("a::b", PatternError::Name(NameError::EmptySegment { at: 2 })),
        ];
        for (text, why) in bad {
            assert_eq!(Pattern::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn the_most_specific_comes_first() {
        let mut patterns: Vec<Pattern> = ["**", "a:**", "a:*", "a:b", "*:b", "a:{sub}", "a:*:c"]
            .map(|text| Pattern::parse(text).expect(text))
            .into();
        patterns.sort_by(Pattern::cmp_specificity);
        let texts: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["a:b", "a:{sub}", "a:*:c", "a:*", "a:**", "*:b", "**"]);
    }

    /// The specification as slow recursion over segments.
    fn reference(pattern: &[&str], name: &[&str], sub: &str) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (["**"], rest) => !rest.is_empty(),
            ([first, pattern @ ..], [part, name @ ..]) => {
                let here = match *first {
                    "*" => true,
                    "{sub}" => sub == *part,
                    "{none}" => false,
                    literal => literal == *part,
                };
                here && reference(pattern, name, sub)
            }
            _ => false,
        }
    }

    /// Pairs of a pattern and a name; `FANFARE_TEST_PAIRS=100000000`, in a release build, is the long form.
    const PAIRS: u64 = 200_000;

    /// Reproducible chance, quick enough for the long form (Marsaglia's xorshift64).
    struct Dice(u64);
    impl Dice {
        fn below(&mut self, sides: u64) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % sides).expect("dice are small")
        }

        fn segments<'a>(&mut self, from: &[&'a str]) -> Vec<&'a str> {
            (0..1 + self.below(5)).map(|_| from[self.below(from.len() as u64)]).collect()
        }
    }

    #[test]
    fn the_matcher_agrees_with_the_slow_reference_on_very_many_pairs() {
        let pairs = std::env::var("FANFARE_TEST_PAIRS").map_or(PAIRS, |pairs| pairs.parse().expect("a number"));
        let (mut dice, mut covered) = (Dice(0x9E37_79B9_7F4A_7C15), 0_u64);
        let subs = ["a", "ab", "b:a", "*", "**", "", "$a", "{sub}"];
        for _ in 0..pairs.div_ceil(8) {
            let mut parts = dice.segments(&["a", "b", "ab", "A", ".", "$a", "*", "*", "{sub}", "{sub}", "{none}"]);
            if dice.below(2) == 0 {
                parts.push("**");
            }
            let sub = subs[dice.below(8)];
            let pattern = Pattern::parse(&parts.join(":")).expect("made of good parts");
            for _ in 0..8 {
                let name = dice.segments(&["a", "b", "ab", "A", ".", "$a"]);
                let reserved = name[0].starts_with('$') && matches!(parts[0], "*" | "**" | "{sub}" | "{none}");
                let expected = !reserved && reference(&parts, &name, sub);
                let channel = ChannelName::parse_any(&name.join(":")).expect("made of good parts");
                assert_eq!(pattern.matches(&channel, &Sub(sub)), expected, "{parts:?} {name:?} {sub:?}");
                covered += u64::from(expected);
            }
        }
        assert!(covered > pairs / 100, "too few of the pairs match to tell anything: {covered}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_matcher_agrees_with_the_slow_reference(
            head in proptest::collection::vec(prop_oneof!["[ab]{1,2}", Just("*".to_owned()), Just("{sub}".to_owned())], 0..4),
            rest in any::<bool>(),
            name in proptest::collection::vec("[ab]{1,2}", 1..5),
        ) {
            let mut parts = head;
            if rest || parts.is_empty() { parts.push("**".to_owned()); }
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let name: Vec<&str> = name.iter().map(String::as_str).collect();
            prop_assert_eq!(matches(&parts.join(":"), &name.join(":"), "ab"), reference(&parts, &name, "ab"));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
