//! Typed fields out of strict JSON, with every wrong place named by its pointer.
//!
//! Broken JSON ends reading at once ([`JsonError`]); what is valid JSON but wrong is noted in [`Faults`] and reading
//! goes on, so that a person sees all that is wrong in one answer, and a command's `id` is found behind the mistake.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use fanfare_core::{ChannelName, ErrorCode, FieldError, Problem};

use crate::json::{JsonError, Kind, Reader};

/// The most wrong places told in one answer; a hostile text could hold any number.
const FAULTS_MAX: usize = 16;
/// How much of a name of the client's own is repeated to it.
const NAME_SHOWN_MAX: usize = 64;

/// A place in a JSON text; prints as a JSON pointer (RFC 6901).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'p> {
    /// The whole.
    Root,
    /// A field of an object.
    Field(&'p Place<'p>, &'p str),
    /// An item of a list.
    Item(&'p Place<'p>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Item(parent, index) => write!(out, "{parent}/{index}"),
            Self::Field(parent, name) => {
                write!(out, "{parent}/")?;
                for character in name.chars().take(NAME_SHOWN_MAX) {
                    match character {
                        '~' => out.write_str("~0")?,
                        '/' => out.write_str("~1")?,
                        _ => write!(out, "{character}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<FieldError>,
    /// A code that says more than `invalid_request`, of the first fault.
    code: Option<ErrorCode>,
    count: usize,
}

impl Faults {
    /// Whether nothing was.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Notes a wrong place.
    pub(crate) fn add(&mut self, at: &Place<'_>, detail: impl Into<String>) {
        self.add_as(ErrorCode::InvalidRequest, at, detail);
    }

    /// Notes a wrong place for which there is a code of its own.
    pub(crate) fn add_as(&mut self, code: ErrorCode, at: &Place<'_>, detail: impl Into<String>) {
        self.count += 1;
        self.code.get_or_insert(code);
        if self.list.len() < FAULTS_MAX {
            self.list.push(FieldError { pointer: at.to_string(), detail: detail.into() });
        }
    }

    /// All of it as one answer. One fault gives its own code, several are an invalid request.
    pub(crate) fn into_problem(self) -> Box<Problem> {
        let code = self.code.filter(|_| self.count == 1).unwrap_or(ErrorCode::InvalidRequest);
        let detail = match self.list.first() {
            Some(first) if first.pointer.is_empty() => first.detail.clone(),
            Some(first) => format!("{}: {}", first.pointer, first.detail),
            None => code.title().to_owned(),
        };
        let more = match self.count {
            0 | 1 if detail.ends_with('?') => String::new(),
            0 | 1 => ".".to_owned(),
            count => format!(" ({} more in errors).", count - 1),
        };
        Box::new(Problem { errors: self.list, ..Problem::new(code, format!("{detail}{more}")) })
    }

    /// Reads an object of known fields; false when it is none. `read` is called at each value and must consume it.
    pub(crate) fn object<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        at: &Place<'_>,
        known: &[&str],
        mut read: impl FnMut(&mut Self, &mut Reader<'a>, &str, &Place<'_>) -> Result<(), JsonError>,
    ) -> Result<bool, JsonError> {
        if !self.is(reader, at, Kind::Object)? {
            return Ok(false);
        }
        reader.object(|reader, name| {
            let at = Place::Field(at, &name);
            if known.contains(&&*name) {
                return read(self, reader, &name, &at);
            }
            self.add(&at, format!("there is no such field; {}", advice(&name, known)));
            reader.skip().map(drop)
        })?;
        Ok(true)
    }

    /// Whether a value of this kind comes next; another is noted and skipped.
    pub(crate) fn is(&mut self, reader: &mut Reader<'_>, at: &Place<'_>, wanted: Kind) -> Result<bool, JsonError> {
        let found = reader.kind()?;
        if found != wanted {
            let subject = if matches!(at, Place::Root) { "the body " } else { "" };
            let hint = match (wanted, found) {
                (Kind::Object, _) | (_, Kind::Object | Kind::Array | Kind::Text | Kind::Number | Kind::Bool) => "",
                (_, Kind::Null) => "; leave the field out where there is none",
            };
            self.add(at, format!("{subject}must be {}, not {}{hint}", wanted.as_str(), found.as_str()));
            reader.skip()?;
        }
        Ok(found == wanted)
    }

    /// Reads a text of so many bytes.
    pub(crate) fn text<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        at: &Place<'_>,
        bytes: RangeInclusive<usize>,
    ) -> Result<Option<Cow<'a, str>>, JsonError> {
        if !self.is(reader, at, Kind::Text)? {
            return Ok(None);
        }
        let text = reader.text()?;
        if bytes.contains(&text.len()) {
            return Ok(Some(text));
        }
        if *bytes.end() == usize::MAX {
            self.add(at, "must not be empty");
        } else {
            self.add(at, format!("must have {} to {} bytes, not {}", bytes.start(), bytes.end(), text.len()));
        }
        Ok(None)
    }

    /// Reads a whole number within bounds.
    pub(crate) fn whole(
        &mut self,
        reader: &mut Reader<'_>,
        at: &Place<'_>,
        bounds: RangeInclusive<u64>,
    ) -> Result<Option<u64>, JsonError> {
        if !self.is(reader, at, Kind::Number)? {
            return Ok(None);
        }
        let number = reader.skip()?.parse().ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            self.add(at, format!("must be a whole number from {} to {}", bounds.start(), bounds.end()));
        }
        Ok(number)
    }

    /// Reads true or false.
    pub(crate) fn bool(&mut self, reader: &mut Reader<'_>, at: &Place<'_>) -> Result<Option<bool>, JsonError> {
        if !self.is(reader, at, Kind::Bool)? {
            return Ok(None);
        }
        Ok(Some(reader.skip()? == "true"))
    }

    /// Reads one of some words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        reader: &mut Reader<'_>,
        at: &Place<'_>,
        words: &[(&str, T)],
    ) -> Result<Option<T>, JsonError> {
        if !self.is(reader, at, Kind::Text)? {
            return Ok(None);
        }
        let text = reader.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.add(at, format!("must be {}", words.join(" or ")));
        }
        Ok(found)
    }

    /// Reads a channel's name with the parser given: one that takes Fanfare's own names or not.
    pub(crate) fn channel<E: fmt::Display>(
        &mut self,
        reader: &mut Reader<'_>,
        at: &Place<'_>,
        parse: impl FnOnce(&str) -> Result<ChannelName, E>,
    ) -> Result<Option<ChannelName>, JsonError> {
        if !self.is(reader, at, Kind::Text)? {
            return Ok(None);
        }
        match parse(&reader.text()?) {
            Ok(channel) => Ok(Some(channel)),
            Err(error) => {
                self.add_as(ErrorCode::InvalidChannel, at, error.to_string());
                Ok(None)
            }
        }
    }

    /// Notes a field that is required and was not there at all.
    pub(crate) fn require(&mut self, seen: bool, at: &Place<'_>, name: &str, advice: &str) {
        if !seen {
            self.add(&Place::Field(at, name), format!("is required{advice}"));
        }
    }
}

/// What to write instead of an unknown name.
pub(crate) fn advice(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (distance(name, known), known)).min().filter(|(distance, _)| *distance <= 2);
    match near {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None if known.is_empty() => "none is known here".to_owned(),
        None => format!("known are {}", known.join(", ")),
    }
}

/// How many characters must be changed, added, dropped or swapped with their neighbour; at most 3 is told.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len().abs_diff(right.len()) > 2 {
        return 3;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, byte) in left.iter().enumerate() {
        let mut this = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let mut cost = (last[column] + usize::from(byte != other)).min(last[column + 1] + 1).min(this[column] + 1);
            if row > 0 && column > 0 && left[row - 1] == *other && *byte == right[column - 1] {
                cost = cost.min(before[column - 1] + 1);
            }
            this.push(cost);
        }
        before = std::mem::replace(&mut last, this);
    }
    last[right.len()].min(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_prints_as_a_json_pointer() {
        let messages = Place::Field(&Place::Root, "messages");
        let item = Place::Item(&messages, 3);
        assert_eq!(Place::Root.to_string(), "");
        assert_eq!(Place::Field(&item, "a/b~c").to_string(), "/messages/3/a~1b~0c");
        assert_eq!(Place::Field(&Place::Root, &"x".repeat(1_000)).to_string().len(), 1 + NAME_SHOWN_MAX);
    }

    #[test]
    fn a_misspelt_name_gets_the_one_that_was_meant() {
        let known = ["position", "rewind", "channel"];
        for (name, meant) in
            [("positon", "position"), ("chanel", "channel"), ("rewnid", "rewind"), ("Rewind", "rewind")]
        {
            assert_eq!(advice(name, &known), format!("did you mean `{meant}`?"));
        }
        assert_eq!(advice("wings", &known), "known are position, rewind, channel");
        assert_eq!(advice("wings", &[]), "none is known here");
    }

    #[test]
    fn any_number_of_faults_is_counted_and_few_are_told() {
        let mut faults = Faults::default();
        for index in 0..1_000 {
            faults.add(&Place::Item(&Place::Root, index), "wrong");
        }
        let problem = faults.into_problem();
        assert_eq!((problem.errors.len(), problem.detail.as_str()), (FAULTS_MAX, "/0: wrong (999 more in errors)."));
    }
}
