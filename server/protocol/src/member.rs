//! The JSON shape of a member as a backend enters it.
//!
//! ```json
//! {"info":{"name":"Robot"},"data":{"mood":"up"},"ttl_s":60}
//! ```
//!
//! Everything is optional. What is said is kept exactly as written.

use fanfare_core::Problem;
use fanfare_core::presence::DATA_BYTES_MAX;
use serde_json::value::RawValue;

use crate::fields::{Faults, Place};
use crate::json::{self, JsonError, Reader};

/// The longest stay, in seconds: 30 days.
pub const TTL_S_MAX: u64 = 30 * 24 * 3_600;

/// What is said of a member.
#[derive(Debug, Default)]
pub struct MemberDraft {
    /// What others may see of the user.
    pub info: Option<Box<RawValue>>,
    /// What the user says.
    pub data: Option<Box<RawValue>>,
    /// How long the user stays, in seconds.
    pub ttl_s: Option<u64>,
}

/// Reads the body of a REST request that enters a member.
///
/// # Errors
/// Everything that is wrong, with pointers such as `/data`.
pub fn parse(body: &[u8]) -> Result<MemberDraft, Box<Problem>> {
    let (mut faults, mut draft) = (Faults::default(), MemberDraft::default());
    let mut reader = Reader::new(json::as_text(body)?);
    faults.object(&mut reader, &Place::Root, &["info", "data", "ttl_s"], |faults, reader, name, at| {
        match name {
            "info" => {
                draft.info = read_small(faults, reader, at)?;
                if draft.info.as_ref().is_some_and(|info| !info.get().starts_with('{')) {
                    faults.add(at, "must be an object");
                }
            }
            "data" => draft.data = read_small(faults, reader, at)?,
            _ => draft.ttl_s = faults.whole(reader, at, 1..=TTL_S_MAX)?,
        }
        Ok(())
    })?;
    reader.end()?;
    if faults.is_empty() { Ok(draft) } else { Err(faults.into_problem()) }
}

/// Reads any JSON of few bytes.
pub(crate) fn read_small(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
) -> Result<Option<Box<RawValue>>, JsonError> {
    let text = reader.skip()?;
    if text.len() > DATA_BYTES_MAX {
        faults.add(at, format!("must have at most {DATA_BYTES_MAX} bytes, not {}", text.len()));
        return Ok(None);
    }
    Ok(Some(RawValue::from_string(text.to_owned()).expect("our reader is the stricter one")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_kept_as_it_was_written() {
        let draft = parse(br#"{"info":{ "n":1.50 },"data":"x","ttl_s":60}"#).expect("valid");
        let text = |json: Option<Box<RawValue>>| json.map(|json| json.get().to_owned());
        assert_eq!(text(draft.info).as_deref(), Some(r#"{ "n":1.50 }"#));
        assert_eq!((text(draft.data).as_deref(), draft.ttl_s), (Some("\"x\""), Some(60)));
        assert!(parse(b"{}").is_ok());
    }

    #[test]
    fn each_bound_is_named_by_its_pointer() {
        let long = "x".repeat(1_023);
        for (body, pointer) in [
            ("[]".to_owned(), ""),
            (r#"{"info":"ann"}"#.to_owned(), "/info"),
            (format!(r#"{{"data":"{long}"}}"#), "/data"),
            (r#"{"ttl_s":0}"#.to_owned(), "/ttl_s"),
            (r#"{"ttl_s":2592001}"#.to_owned(), "/ttl_s"),
            (r#"{"dat":1}"#.to_owned(), "/dat"),
        ] {
            let problem = parse(body.as_bytes()).expect_err(&body);
            assert_eq!(problem.errors.first().map(|error| error.pointer.as_str()), Some(pointer), "{body}");
        }
    }
}
