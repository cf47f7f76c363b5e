//! A member as it stands in Redis, and as it is told: `<CRC-32 of what follows, 8 hex digits><JSON>`.

use std::sync::Arc;

use fanfare_core::{Member, MemberId};
use fanfare_engine::presence::{Change, What};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

const CHECK_LEN: usize = 8;

#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    user: Option<Box<str>>,
    #[serde(default, deserialize_with = "said")]
    info: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "said")]
    data: Option<Box<RawValue>>,
}

/// What is there was said, `null` too.
fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}

/// What is told of a member beside what it is known by, and since when it is there.
pub(super) fn write(member: &Member) -> String {
    let Member { user, info, data, .. } = member;
    let written = Written { user: user.as_deref(), info: info.as_deref(), data: data.as_deref() };
    let json = serde_json::to_string(&written).expect("it is made of texts and of JSON");
    format!("{:08x}{json}", crc32fast::hash(json.as_bytes()))
}

/// A member, unless what is told of it was cut or altered.
pub(crate) fn read(field: &[u8], since_ms: u64, told: &[u8]) -> Option<Member> {
    let (check, json) = told.split_at_checked(CHECK_LEN)?;
    let check = u32::from_str_radix(std::str::from_utf8(check).ok()?, 16).ok()?;
    if crc32fast::hash(json) != check {
        return None;
    }
    let Read { user, info, data } = serde_json::from_slice(json).ok()?;
    Some(Member { id: id(field)?, user, info, data, since_ms })
}

pub(crate) fn id(field: &[u8]) -> Option<MemberId> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Stands for a member's user: those of two users differ.
pub(super) fn user(member: &Member) -> String {
    let Some(user) = &member.user else { return "-".to_owned() };
    Sha256::digest(&**user)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was pushed: `<version> <count> - <field>` or `<version> <count> + <since> <length of the field> <field><told>`.
/// Where a member cannot be read, the version alone: nothing, where not even that can be.
pub(super) fn pushed(bytes: &[u8]) -> Option<(u64, Option<Change>)> {
    let mut parts = bytes.splitn(4, |byte| *byte == b' ');
    let (version, count) = (number(parts.next()?)?, number(parts.next()?)?);
    let what = match (parts.next()?, parts.next()?) {
        (b"-", field) => id(field).map(What::Gone),
        (b"+", rest) => here(rest).map(|member| What::Here(Arc::new(member))),
        _ => None,
    };
    Some((version, what.map(|what| Change { version, count, what })))
}

fn here(bytes: &[u8]) -> Option<Member> {
    let mut parts = bytes.splitn(3, |byte| *byte == b' ');
    let (since_ms, length) = (number(parts.next()?)?, number(parts.next()?)?);
    let (field, told) = parts.next()?.split_at_checked(usize::try_from(length).ok()?)?;
    read(field, since_ms, told)
}

fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use fanfare_core::id::ConnectionId;

    use super::*;

    fn raw(json: &str) -> Option<Box<RawValue>> {
        Some(RawValue::from_string(json.to_owned()).expect("JSON"))
    }

    fn members() -> Vec<Member> {
        let member =
            |id, user: Option<&str>, info, data| Member { id, user: user.map(Into::into), info, data, since_ms: 7 };
        let connection = || MemberId::Connection(ConnectionId::new(1, 2));
        vec![
            member(connection(), None, None, None),
            member(connection(), Some("ann \n"), raw("{\"a\":1}"), raw("null")),
            member(MemberId::User("a b\n- + c".into()), Some("a b\n- + c"), None, raw("\"\\u0000 x\"")),
        ]
    }

    #[test]
    fn what_is_written_is_read_and_nothing_that_was_altered() {
        for member in members() {
            let (told, field) = (write(&member), member.id.to_string());
            assert_eq!(read(field.as_bytes(), 7, told.as_bytes()).as_ref(), Some(&member));
            for at in 0..told.len() {
                let mut altered = told.clone().into_bytes();
                altered[at] ^= 1;
                assert_eq!(read(field.as_bytes(), 7, &altered), None, "{at} of {told}");
            }
        }
    }

    #[test]
    fn what_is_pushed_is_heard() {
        for member in members() {
            let (told, field) = (write(&member), member.id.to_string());
            let (version, change) =
                pushed(format!("12 3 + 7 {} {field}{told}", field.len()).as_bytes()).expect("readable");
            let Change { count, what: What::Here(heard), .. } = change.expect("a change") else { panic!("here") };
            assert_eq!((version, count, &*heard), (12, 3, &member));
            let (_, change) = pushed(format!("13 2 - {field}").as_bytes()).expect("readable");
            assert!(matches!(change.expect("a change").what, What::Gone(gone) if gone == member.id));
        }
        assert!(matches!(pushed(b"13 2 + 7 5 con_1x"), Some((13, None))), "damaged, and its version is known");
        assert!(pushed(b"").is_none() && pushed(b"x y + z").is_none());
    }

    #[test]
    fn users_are_told_apart() {
        let with = |user: Option<&str>| Member { user: user.map(Into::into), ..members().remove(0) };
        let all: std::collections::BTreeSet<String> =
            [None, Some(""), Some("-"), Some("ann"), Some("bob")].into_iter().map(|name| user(&with(name))).collect();
        assert_eq!(all.len(), 5);
    }
}
