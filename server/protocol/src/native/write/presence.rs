//! Who is present, on the wire.

use std::sync::Arc;

use fanfare_core::{ChannelName, Member, MemberId, Problem};

use super::{Fields, REPLY_BYTES};
use crate::frame::Frame;
use crate::json::{member_hint, write_member};

/// Members of a channel at one moment.
#[derive(Debug, Clone)]
pub struct PresencePage {
    /// The channel.
    pub channel: ChannelName,
    /// Grows by one with each change.
    pub version: u64,
    /// How many members there are.
    pub count: u64,
    /// Some of them, in the order of their ids; none are listed of a crowded channel.
    pub members: Option<Vec<Arc<Member>>>,
    /// Where the next page starts; none after the last.
    pub next: Option<MemberId>,
}

/// What changed after one version up to another. Each member stands in at most one of the lists.
#[derive(Debug, Clone, Default)]
pub struct PresenceDiff {
    /// The version before.
    pub from: u64,
    /// The version now.
    pub version: u64,
    /// How many members there are now.
    pub count: u64,
    /// Who was not there before.
    pub entered: Vec<Arc<Member>>,
    /// Who was, and says something else.
    pub updated: Vec<Arc<Member>>,
    /// Who is there no more.
    pub left: Vec<MemberId>,
}

/// What the server has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceEnded {
    /// The connection is no member any more.
    Membership,
    /// The connection is not told of changes any more.
    Updates,
}

impl PresenceEnded {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Membership => "membership",
            Self::Updates => "updates",
        }
    }
}

/// Who is present: the first that a subscription with presence is told, and again when it cannot be told changes.
#[must_use]
pub fn push_presence(page: &PresencePage) -> Frame {
    Frame::text(REPLY_BYTES + page.hint(), |out| {
        out.extend_from_slice(b"{\"presence\":{");
        Fields::new(out).presence(page);
        out.extend_from_slice(b"}}");
    })
}

/// What changed, the same for everybody who is told.
#[must_use]
pub fn push_presence_diff(channel: &ChannelName, diff: &PresenceDiff) -> Frame {
    let members = diff.entered.iter().chain(&diff.updated);
    let hint: usize = members.map(|member| member_hint(member)).sum::<usize>() + 48 * diff.left.len();
    Frame::text(REPLY_BYTES + hint, |out| {
        out.extend_from_slice(b"{\"presence\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.number("from", diff.from);
        fields.number("version", diff.version);
        fields.number("count", diff.count);
        fields.members("entered", &diff.entered);
        fields.members("updated", &diff.updated);
        fields.member_ids("left", &diff.left);
        out.extend_from_slice(b"}}");
    })
}

/// Who joined a channel's presence and who left, for subscribers that did not ask for presence.
#[must_use]
pub fn push_join_leave(channel: &ChannelName, diff: &PresenceDiff) -> Frame {
    let hint: usize = diff.entered.iter().map(|member| member_hint(member)).sum::<usize>() + 48 * diff.left.len();
    Frame::text(REPLY_BYTES + hint, |out| {
        out.extend_from_slice(b"{\"join_leave\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.number("from", diff.from);
        fields.number("version", diff.version);
        fields.number("count", diff.count);
        fields.members("joined", &diff.entered);
        fields.member_ids("left", &diff.left);
        out.extend_from_slice(b"}}");
    })
}

/// Tells that members joined or left up to this version, and not who: they are too many, or could not be told.
#[must_use]
pub fn push_join_leave_missed(channel: &ChannelName, version: u64, count: u64) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"join_leave\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.number("version", version);
        fields.number("count", count);
        out.extend_from_slice(b"}}");
    })
}

/// How many are on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Its subscriptions.
    pub subscribers: u64,
    /// Its members.
    pub members: u64,
    /// The version of its presence that has so many.
    pub version: u64,
}

/// Tells how many are on a channel.
#[must_use]
pub fn push_occupancy(channel: &ChannelName, occupancy: Occupancy) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"occupancy\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.number("subscribers", occupancy.subscribers);
        fields.number("members", occupancy.members);
        fields.number("version", occupancy.version);
        out.extend_from_slice(b"}}");
    })
}

/// Tells that the server has ended a membership, or the pushes of presence, and why.
#[must_use]
pub fn push_presence_ended(channel: &ChannelName, ended: PresenceEnded, problem: &Problem) -> Frame {
    Frame::text(REPLY_BYTES, |out| {
        out.extend_from_slice(b"{\"presence_ended\":{");
        let mut fields = Fields::new(out);
        fields.text("channel", channel.as_str());
        fields.text("what", ended.as_str());
        fields.problem("error", problem);
        out.extend_from_slice(b"}}");
    })
}

impl PresencePage {
    /// About how many bytes it takes.
    pub(super) fn hint(&self) -> usize {
        self.members.iter().flatten().map(|member| member_hint(member)).sum()
    }
}

impl Fields<'_> {
    pub(super) fn presence(&mut self, page: &PresencePage) {
        self.text("channel", page.channel.as_str());
        self.number("version", page.version);
        self.number("count", page.count);
        if let Some(members) = &page.members {
            self.members("members", members);
        }
        if let Some(next) = &page.next {
            self.text("next", &next.to_string());
        }
    }

    fn members(&mut self, name: &str, members: &[Arc<Member>]) {
        self.name(name);
        self.out.push(b'[');
        for (index, member) in members.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write_member(self.out, member);
        }
        self.out.push(b']');
    }

    fn member_ids(&mut self, name: &str, ids: &[MemberId]) {
        self.name(name);
        self.out.push(b'[');
        for (index, member) in ids.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.out.push(b'{');
            Fields::new(self.out).member_id(member);
            self.out.push(b'}');
        }
        self.out.push(b']');
    }

    fn member_id(&mut self, id: &MemberId) {
        match id {
            MemberId::Connection(connection) => self.text("connection", &connection.to_string()),
            MemberId::User(user) => self.text("user", user),
        }
    }
}
