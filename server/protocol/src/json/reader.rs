//! The strict reader.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{DEPTH_MAX, Fault, JsonError};

/// What sort of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    Text,
    /// A number.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

impl Kind {
    /// With its article, for sentences.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::Null => "null",
        }
    }
}

/// Walks one JSON text from its start to its end and checks all of it on the way.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    depth_max: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of the text.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self::with_depth(text, DEPTH_MAX)
    }

    /// A reader with another bound on levels.
    #[must_use]
    pub const fn with_depth(text: &'a str, depth_max: usize) -> Self {
        Self { text, at: 0, depth: 0, depth_max }
    }

    /// What sort of value comes next; it is not consumed.
    ///
    /// # Errors
    /// When none does.
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        self.blank();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.fault_or_end(Fault::Expected("a value"))),
        }
    }

    /// Consumes the next value, whatever it is, and returns its text as it stands.
    ///
    /// # Errors
    /// When it is not acceptable.
    pub fn skip(&mut self) -> Result<&'a str, JsonError> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::Object => self.object(|reader, _| reader.skip().map(drop))?,
            Kind::Array => self.array(|reader, _| reader.skip().map(drop))?,
            Kind::Text => self.pieces(|_| ())?,
            Kind::Number => self.number()?,
            Kind::Bool | Kind::Null => self.word()?,
        }
        Ok(&self.text[start..self.at])
    }

    /// Consumes an object. `field` is called at each value with the field's name and must consume the value.
    ///
    /// # Errors
    /// When it is not acceptable, or `field` fails.
    pub fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.open(b'{', "an object")?;
        let mut names = Names::new();
        let mut first = true;
        while self.next_item(b'}', first, ", or } after a field's value")? {
            first = false;
            if self.byte() != Some(b'"') {
                return Err(self.fault_or_end(Fault::Expected("a field's name in quotation marks")));
            }
            let start = self.at;
            let name = self.text()?;
            if !names.insert(name.clone()) {
                return Err(JsonError { at: start, fault: Fault::Duplicate(name.chars().take(64).collect()) });
            }
            self.blank();
            if self.byte() != Some(b':') {
                return Err(self.fault_or_end(Fault::Expected(": after a field's name")));
            }
            self.at += 1;
            field(self, name)?;
        }
        Ok(())
    }

    /// Consumes an array. `item` is called at each value with its index and must consume the value.
    ///
    /// # Errors
    /// When it is not acceptable, or `item` fails.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self, usize) -> Result<(), JsonError>) -> Result<(), JsonError> {
        self.open(b'[', "a list")?;
        let mut index = 0;
        while self.next_item(b']', index == 0, ", or ] after an item")? {
            item(self, index)?;
            index += 1;
        }
        Ok(())
    }

    /// Consumes a text and returns what it says, borrowed unless it holds escapes.
    ///
    /// # Errors
    /// When it is not acceptable, or no text.
    pub fn text(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.blank();
        let mut said = Cow::Borrowed("");
        self.pieces(|piece| match piece {
            Piece::Plain(plain) if said.is_empty() => said = Cow::Borrowed(plain),
            Piece::Plain(plain) => said.to_mut().push_str(plain),
            Piece::Escaped(character) => said.to_mut().push(character),
        })?;
        Ok(said)
    }

    /// Checks that only blanks are left.
    ///
    /// # Errors
    /// When something else is.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.blank();
        if self.at == self.text.len() { Ok(()) } else { Err(self.fault(Fault::Expected("the end"))) }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    const fn fault(&self, fault: Fault) -> JsonError {
        JsonError { at: self.at, fault }
    }

    fn fault_or_end(&self, fault: Fault) -> JsonError {
        self.fault(if self.at >= self.text.len() { Fault::End } else { fault })
    }

    fn open(&mut self, bracket: u8, what: &'static str) -> Result<(), JsonError> {
        self.blank();
        if self.byte() != Some(bracket) {
            return Err(self.fault_or_end(Fault::Expected(what)));
        }
        if self.depth == self.depth_max {
            return Err(self.fault(Fault::Depth(self.depth_max)));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Goes to the next item of what was opened; false when it was closed instead.
    fn next_item(&mut self, close: u8, first: bool, expected: &'static str) -> Result<bool, JsonError> {
        self.blank();
        match self.byte() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                self.blank();
                Ok(true)
            }
            _ => Err(self.fault_or_end(Fault::Expected(expected))),
        }
    }

    /// Consumes a text and hands out what it says piece by piece.
    fn pieces(&mut self, mut each: impl FnMut(Piece<'a>)) -> Result<(), JsonError> {
        if self.byte() != Some(b'"') {
            return Err(self.fault_or_end(Fault::Expected("a text")));
        }
        self.at += 1;
        loop {
            let start = self.at;
            let rest = &self.text.as_bytes()[start..];
            let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)) else {
                self.at = self.text.len();
                return Err(self.fault(Fault::End));
            };
            self.at += plain;
            if plain > 0 {
                each(Piece::Plain(&self.text[start..self.at]));
            }
            match rest[plain] {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => each(Piece::Escaped(self.escape()?)),
                _ => return Err(self.fault(Fault::Control)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 1;
        let Some(byte) = self.byte() else { return Err(self.fault(Fault::End)) };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(start),
            _ => return Err(JsonError { at: start, fault: Fault::Escape }),
        })
    }

    /// The character of `\uXXXX`, or of a surrogate pair of them.
    fn unicode(&mut self, start: usize) -> Result<char, JsonError> {
        let half = JsonError { at: start, fault: Fault::Surrogate };
        let high = self.hex(start)?;
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high).ok_or(half);
        }
        if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            return Err(half);
        }
        self.at += 2;
        let low = self.hex(start)?;
        if !(0xDC00..0xE000).contains(&low) {
            return Err(half);
        }
        char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)).ok_or(half)
    }

    fn hex(&mut self, start: usize) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let value = digits.and_then(|digits| {
            digits.iter().try_fold(0, |value, digit| char::from(*digit).to_digit(16).map(|digit| value << 4 | digit))
        });
        self.at += 4;
        value.ok_or(JsonError { at: start, fault: Fault::Escape })
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let wrong = JsonError { at: start, fault: Fault::Number };
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.digits() {
            0 => return Err(wrong),
            1 => {}
            _ if self.text[start..].trim_start_matches('-').starts_with('0') => return Err(wrong),
            _ => {}
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(wrong);
            }
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(wrong);
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self) -> Result<(), JsonError> {
        let rest = &self.text[self.at..];
        let Some(word) = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word)) else {
            return Err(self.fault(Fault::Expected("a value")));
        };
        self.at += word.len();
        Ok(())
    }
}

enum Piece<'a> {
    Plain(&'a str),
    Escaped(char),
}

/// How many names of an object are compared one by one. Most objects have fewer, and cost no allocation.
const NAMES_FEW: usize = 8;

/// The names of the fields seen in one object.
struct Names<'a> {
    few: [&'a str; NAMES_FEW],
    count: usize,
    /// Everything, once there are many or one was written with escapes. Randomly keyed.
    many: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> Names<'a> {
    const fn new() -> Self {
        Self { few: [""; NAMES_FEW], count: 0, many: None }
    }

    /// Whether the name is new.
    fn insert(&mut self, name: Cow<'a, str>) -> bool {
        if let Some(many) = &mut self.many {
            return many.insert(name);
        }
        let few = &self.few[..self.count];
        match name {
            Cow::Borrowed(name) if self.count < NAMES_FEW => {
                let new = !few.contains(&name);
                self.few[self.count] = name;
                self.count += 1;
                new
            }
            name => self.many.insert(few.iter().map(|name| Cow::Borrowed(*name)).collect()).insert(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check;
    use super::*;

    #[test]
    fn what_is_json_is_taken() {
        for good in [
            "0",
            "-0",
            "1e400",
            "-1.50E-7",
            "123456789012345678901234567890",
            "true",
            "null",
            r#""""#,
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            r#"{"a":{"b":[{"a":1},{"a":2}]}}"#,
            r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#,
            "\"é😀\u{7f}\"",
        ] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_goes_wrong() {
        let table: [(&[u8], usize, Fault); 27] = [
            (b"", 0, Fault::End),
            (b"  ", 2, Fault::End),
            (b"tru", 0, Fault::Expected("a value")),
            (b"nul", 0, Fault::Expected("a value")),
            (b"'a'", 0, Fault::Expected("a value")),
            (b"01", 0, Fault::Number),
            (b"-", 0, Fault::Number),
            (b"-01", 0, Fault::Number),
            (b"1.", 0, Fault::Number),
            (b"1e+", 0, Fault::Number),
            (b".5", 0, Fault::Expected("a value")),
            (b"1 2", 2, Fault::Expected("the end")),
            (b"NaN", 0, Fault::Expected("a value")),
            (b"[1,]", 3, Fault::Expected("a value")),
            (b"[1 2]", 3, Fault::Expected(", or ] after an item")),
            (b"[1", 2, Fault::End),
            (b"{\"a\"}", 4, Fault::Expected(": after a field's name")),
            (b"{a:1}", 1, Fault::Expected("a field's name in quotation marks")),
            (b"{\"a\":1,}", 7, Fault::Expected("a field's name in quotation marks")),
            (b"{\"a\":1 \"b\":2}", 7, Fault::Expected(", or } after a field's value")),
            (b"\"a", 2, Fault::End),
            (b"\"a\nb\"", 2, Fault::Control),
            (b"\"\\x\"", 1, Fault::Escape),
            (b"\"\\u12G4\"", 1, Fault::Escape),
            (b"\"\\ud83d\"", 1, Fault::Surrogate),
            (b"\"\\ude00\"", 1, Fault::Surrogate),
            (b"\"\xFF\"", 1, Fault::Utf8),
        ];
        for (text, at, fault) in table {
            assert_eq!(check(text), Err(JsonError { at, fault }), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_field_twice_is_refused_however_it_is_spelt_and_however_many_there_are() {
        let twice = |text: &str| matches!(check(text.as_bytes()), Err(JsonError { fault: Fault::Duplicate(_), .. }));
        assert!(twice(r#"{"a":1,"a":2}"#) && twice(r#"{"a":1,"\u0061":2}"#) && twice(r#"[{"x":{"b":1,"c":2,"b":1}}]"#));
        for count in 1..40 {
            let many: Vec<String> = (0..count).map(|n| format!("\"f{n}\":0")).collect();
            assert_eq!(check(format!("{{{}}}", many.join(",")).as_bytes()), Ok(()), "{count}");
            for again in 0..count {
                assert!(twice(&format!("{{{},\"f{again}\":1}}", many.join(","))), "{count} {again}");
            }
        }
    }

    #[test]
    fn thirty_two_levels_are_taken_and_no_more() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(32).as_bytes()), Ok(()));
        assert_eq!(check(nested(33).as_bytes()), Err(JsonError { at: 32, fault: Fault::Depth(32) }));
        assert!(check("[".repeat(1_000_000).as_bytes()).is_err());
        assert!(check("{\"a\":".repeat(1_000_000).as_bytes()).is_err());
    }

    /// JSON texts of some depth, from what serde writes.
    fn value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..12)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn everything_that_serde_writes_is_taken(value in value(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            prop_assert_eq!(check(text.expect("a value prints").as_bytes()), Ok(()));
        }

        #[test]
        fn nothing_is_taken_that_serde_refuses(value in value(), at: prop::sample::Index, byte in any::<u8>()) {
            let mut text = serde_json::to_vec(&value).expect("a value prints");
            let at = at.index(text.len());
            text[at] = byte;
            if check(&text).is_ok() {
                prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok(), "{:?}", text);
            }
        }

        #[test]
        fn a_text_says_what_serde_reads(said: String, escape_all: bool) {
            let written = if escape_all {
                format!("\"{}\"", said.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>())
            } else {
                serde_json::to_string(&said).expect("a text prints")
            };
            prop_assert_eq!(Reader::new(&written).text().expect("valid"), said);
        }

        #[test]
        fn random_bytes_do_not_panic(bytes: Vec<u8>) {
            let _ = check(&bytes);
        }
    }
}
