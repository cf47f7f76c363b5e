//! The puppet's presence: ann is there from the start, the client itself is connection 1, and versions count from 7.

use std::sync::Arc;

use fanfare_core::id::ConnectionId;
use fanfare_core::{Member, MemberId, Refusal};

use super::*;

pub(super) struct Present {
    members: Vec<Arc<Member>>,
    version: u64,
    watched: bool,
    crowded: bool,
    /// The channel's settings have subscribers told of joins and of how many there are.
    noticed: bool,
}

fn member(id: MemberId, user: Option<&str>, data: Option<&str>) -> Arc<Member> {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("the transcript has JSON here");
    Arc::new(Member {
        id,
        user: user.map(Into::into),
        info: (user == Some("ann")).then(|| raw(r#"{"name":"Ann"}"#)),
        data: data.map(raw),
        since_ms: TIME,
    })
}

fn client(number: u64) -> MemberId {
    MemberId::Connection(ConnectionId::new(number, number.into()))
}

impl Default for Present {
    fn default() -> Self {
        let members = vec![member(client(2), Some("ann"), Some(r#"{"mood":"up"}"#))];
        Self { members, version: 7, watched: false, crowded: false, noticed: false }
    }
}

impl Present {
    fn page(&self, channel: &ChannelName, get: &PresenceGet) -> PresencePage {
        let after = |member: &&Arc<Member>| get.after.as_ref().is_none_or(|after| member.id > *after);
        let mut members: Vec<_> = self.members.iter().filter(after).cloned().collect();
        let more = members.len() > get.limit as usize;
        members.truncate(get.limit as usize);
        let next = members.last().filter(|_| more).map(|last| last.id.clone());
        let (channel, version) = (channel.clone(), self.version);
        let (count, members) = match self.crowded {
            true => (20_001, None),
            false => (self.members.len() as u64, Some(members)),
        };
        PresencePage { channel, version, count, members, next }
    }
}

impl Puppet {
    pub(super) fn watch(&mut self, channel: &ChannelName) {
        self.present.watched = true;
        let page = self.present.page(channel, &PresenceGet { after: None, limit: 1_000 });
        self.out.push_back(push_presence(&page));
    }

    pub(super) fn presence(&mut self, id: u64, Presence { channel, action }: Presence) {
        let own = self.present.members.iter().any(|member| member.id == client(1));
        let data = match action {
            PresenceAction::Get(get) => {
                let page = self.present.page(&channel, &get);
                return self.out.push_back(reply(id, &Reply::Presence(page)));
            }
            PresenceAction::Leave | PresenceAction::Update(_) if !own => {
                let problem =
                    Problem::new(ErrorCode::NotPresent, format!("This connection is not present on {channel}."));
                return self.out.push_back(error(Some(id), &problem));
            }
            PresenceAction::Leave => None,
            PresenceAction::Enter(data) => Some(data),
            PresenceAction::Update(data) => Some(Some(data)),
        };
        self.out.push_back(reply(id, &Reply::PresenceDone));
        let own = data.map(|data| member(client(1), None, data.as_deref().map(RawValue::get)));
        self.change(&channel, &client(1), own);
    }

    /// Puts a member in the place of the one that is there, and tells.
    fn change(&mut self, channel: &ChannelName, id: &MemberId, new: Option<Arc<Member>>) {
        let present = &mut self.present;
        let before = present.members.len();
        present.members.retain(|member| member.id != *id);
        let was_there = present.members.len() < before;
        let mut diff = PresenceDiff { from: present.version, version: present.version + 1, ..PresenceDiff::default() };
        match new {
            Some(member) => {
                let list = if was_there { &mut diff.updated } else { &mut diff.entered };
                list.push(Arc::clone(&member));
                present.members.push(member);
            }
            None => diff.left.push(id.clone()),
        }
        present.members.sort_by(|left, right| left.id.cmp(&right.id));
        present.version += 1;
        diff.count = present.members.len() as u64;
        if present.watched {
            self.out.push_back(push_presence_diff(channel, &diff));
        }
        if present.noticed {
            if !diff.entered.is_empty() || !diff.left.is_empty() {
                self.out.push_back(push_join_leave(channel, &diff));
            }
            self.tell_occupancy(channel);
        }
    }

    fn tell_occupancy(&mut self, channel: &ChannelName) {
        let (members, version) = (self.present.members.len() as u64, self.present.version);
        self.out.push_back(push_occupancy(channel, Occupancy { subscribers: 2, members, version }));
    }

    pub(super) fn happens_in_presence(&mut self, event: &str) {
        let channel = ChannelName::parse("room:9").expect("valid");
        let robot = MemberId::User("robot".into());
        match event {
            "the backend enters robot into room:9" => {
                let member = member(robot.clone(), Some("robot"), Some("{}"));
                self.change(&channel, &robot, Some(member));
            }
            "the backend takes robot out of room:9" => self.change(&channel, &robot, None),
            "ann's connection is lost, and ten seconds go by" => self.change(&channel, &client(2), None),
            "the settings of room:9 have joins and occupancy told" => {
                self.present.noticed = true;
                self.tell_occupancy(&channel);
            }
            "room:9 becomes crowded" => {
                self.present.crowded = true;
                self.present.version = 20_008;
                if self.present.noticed {
                    self.out.push_back(push_join_leave_missed(&channel, 20_008, 20_001));
                }
                if self.present.watched {
                    self.watch(&channel);
                }
            }
            "a rule of the ACL denies presence on room:9" => {
                for (operation, ended) in [
                    (Operation::Presence, PresenceEnded::Membership),
                    (Operation::PresenceRead, PresenceEnded::Updates),
                ] {
                    let refusal = Refusal::Denied { rule: RuleId::new(1, 1), operation };
                    self.out.push_back(push_presence_ended(&channel, ended, &Problem::from(refusal)));
                }
            }
            _ => panic!("nobody taught the puppet that {event}"),
        }
    }
}
