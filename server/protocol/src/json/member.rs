//! Members of a channel's presence as JSON.

use fanfare_core::{Member, MemberId};

use super::write::{number, text};

/// Appends a member.
pub(crate) fn write_member(out: &mut Vec<u8>, member: &Member) {
    out.push(b'{');
    if let MemberId::Connection(connection) = &member.id {
        out.extend_from_slice(b"\"connection\":\"");
        out.extend_from_slice(connection.to_string().as_bytes());
        out.extend_from_slice(b"\",");
    }
    if let Some(user) = &member.user {
        out.extend_from_slice(b"\"user\":");
        text(out, user);
        out.push(b',');
    }
    for (name, json) in [("info", &member.info), ("data", &member.data)] {
        if let Some(json) = json {
            out.extend_from_slice(format!("\"{name}\":{},", json.get()).as_bytes());
        }
    }
    out.extend_from_slice(b"\"since\":");
    number(out, member.since_ms);
    out.push(b'}');
}

/// About how many bytes a member takes, not less where nothing has to be escaped.
pub(crate) fn member_hint(member: &Member) -> usize {
    const NAMES_AND_NUMBERS: usize = 128;
    NAMES_AND_NUMBERS + member.weight()
}
