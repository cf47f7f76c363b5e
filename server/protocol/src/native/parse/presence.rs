//! The presence command: one shape, and for each action the fields that it has.

use fanfare_core::{ChannelName, MemberId};
use serde_json::value::RawValue;

use crate::draft::Seen;
use crate::fields::{Faults, Place};
use crate::json::{JsonError, Kind, Reader};
use crate::member::read_small;
use crate::native::command::{CommandKind, Presence, PresenceAction, PresenceGet};

/// The most members of one page.
pub const PRESENCE_LIMIT_MAX: u32 = 1_000;

/// How many members a page has unasked.
const PRESENCE_LIMIT: u32 = 100;
/// Longer than any cursor that Fanfare gives out.
const CURSOR_BYTES_MAX: usize = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Enter,
    Update,
    Leave,
    Get,
}

/// What was read of a command so far. `action` may come last, and says which of the others may be there.
#[derive(Default)]
struct Parts {
    channel: Seen<ChannelName>,
    action: Seen<Action>,
    data: Seen<Box<RawValue>>,
    after: Seen<MemberId>,
    limit: Seen<u32>,
}

pub(super) fn read(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
) -> Result<Option<CommandKind>, JsonError> {
    let words = [("enter", Action::Enter), ("update", Action::Update), ("leave", Action::Leave), ("get", Action::Get)];
    let known = ["channel", "action", "data", "after", "limit"];
    let mut parts = Parts::default();
    let is_object = faults.object(reader, at, &known, |faults, reader, name, at| {
        match name {
            "channel" => parts.channel.set(faults.channel(reader, at, ChannelName::parse)?),
            "action" => parts.action.set(faults.word(reader, at, &words)?),
            "data" => parts.data.set(read_small(faults, reader, at)?),
            "after" => parts.after.set(read_after(faults, reader, at)?),
            _ => {
                let number = faults.whole(reader, at, 1..=u64::from(PRESENCE_LIMIT_MAX))?;
                parts.limit.set(number.and_then(|number| u32::try_from(number).ok()));
            }
        }
        Ok(())
    })?;
    if !is_object {
        return Ok(None);
    }
    super::require_channel(faults, &parts.channel, at);
    faults.require(parts.action.seen, at, "action", ": \"enter\", \"update\", \"leave\" or \"get\"");
    let channel = parts.channel.value.take();
    let action = parts.action.value.and_then(|action| parts.finish(faults, at, action));
    Ok(channel.zip(action).map(|(channel, action)| CommandKind::Presence(Presence { channel, action })))
}

impl Parts {
    /// The action with its fields; each that belongs to another is noted.
    fn finish(self, faults: &mut Faults, at: &Place<'_>, action: Action) -> Option<PresenceAction> {
        let says = matches!(action, Action::Enter | Action::Update);
        let reads = action == Action::Get;
        for (name, seen, fits, whose) in [
            ("data", self.data.seen, says, "enter and update"),
            ("after", self.after.seen, reads, "get"),
            ("limit", self.limit.seen, reads, "get"),
        ] {
            if seen && !fits {
                faults.add(&Place::Field(at, name), format!("belongs to {whose}"));
            }
        }
        match action {
            Action::Enter => Some(PresenceAction::Enter(self.data.value)),
            Action::Update => {
                faults.require(self.data.seen, at, "data", "; send null where there is none");
                self.data.value.map(PresenceAction::Update)
            }
            Action::Leave => Some(PresenceAction::Leave),
            Action::Get => {
                let limit = self.limit.value.unwrap_or(PRESENCE_LIMIT);
                Some(PresenceAction::Get(PresenceGet { after: self.after.value, limit }))
            }
        }
    }
}

fn read_after(faults: &mut Faults, reader: &mut Reader<'_>, at: &Place<'_>) -> Result<Option<MemberId>, JsonError> {
    if !faults.is(reader, at, Kind::Text)? {
        return Ok(None);
    }
    let text = reader.text()?;
    let after = Some(&*text).filter(|text| text.len() <= CURSOR_BYTES_MAX).and_then(|text| text.parse().ok());
    if after.is_none() {
        faults.add(at, "must be the next of the page before");
    }
    Ok(after)
}
