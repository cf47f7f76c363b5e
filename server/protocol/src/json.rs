//! JSON, read strictly and written leanly.
//!
//! One reader judges every JSON that comes from outside, so that no two parts of the house can disagree about what a
//! text says: RFC 8259 to the letter, and beyond it no field twice in one object, no more than 32 levels, and no half
//! surrogate pairs, which some parsers refuse and others replace. [`Reader`] walks a text once and hands out pieces of
//! it, so that a payload is checked without becoming a tree. Numbers may be of any size: only who needs one reads it.

mod member;
mod reader;
mod write;

use fanfare_core::{ErrorCode, Problem};

pub(crate) use member::{member_hint, write_member};
pub use reader::{Kind, Reader};
pub use write::write_message;
pub(crate) use write::{Form, message_hint, number, text, write_body};

/// The most levels of arrays and objects.
pub const DEPTH_MAX: usize = 32;

/// What is wrong with a text that should be JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are not UTF-8.
    #[error("the bytes are not UTF-8")]
    Utf8,
    /// The text ends inside a value.
    #[error("the text ends too early")]
    End,
    /// Something else was due here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A number that breaks JSON's grammar.
    #[error("this is no number of JSON: no leading zeros or plus signs, digits on both sides of the point")]
    Number,
    /// A byte below 0x20 inside a text.
    #[error("control characters in a text are written as escapes such as \\n")]
    Control,
    /// A backslash and something that JSON does not know.
    #[error("there is no such escape")]
    Escape,
    /// `\ud800` to `\udfff` without its other half.
    #[error("this escape is half of a surrogate pair")]
    Surrogate,
    /// More levels than allowed.
    #[error("nested deeper than {0} levels")]
    Depth(usize),
    /// A field twice in one object.
    #[error("the field {0:?} stands twice in one object")]
    Duplicate(String),
}

/// Why a text is not acceptable JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (byte {at})")]
pub struct JsonError {
    /// Offset of the byte at which reading stopped.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        Self::new(ErrorCode::InvalidJson, format!("This is not valid JSON: {error}."))
    }
}

impl From<JsonError> for Box<Problem> {
    fn from(error: JsonError) -> Self {
        Self::new(error.into())
    }
}

/// Checks that the bytes are exactly one acceptable JSON value.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(bytes: &[u8]) -> Result<(), JsonError> {
    let mut reader = Reader::new(as_text(bytes)?);
    reader.skip()?;
    reader.end()
}

/// The bytes as text.
///
/// # Errors
/// When they are not UTF-8.
pub fn as_text(bytes: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(bytes).map_err(|error| JsonError { at: error.valid_up_to(), fault: Fault::Utf8 })
}
