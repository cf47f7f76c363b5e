//! Text frames to commands.

mod presence;

use fanfare_core::{ChannelName, ErrorCode, Problem};

use super::command::{
    Command, CommandError, CommandKind, Connect, Direction, History, Refresh, Rewind, Start, Subscribe, Token,
};
use crate::draft::{Seen, read_with_channel};
use crate::fields::{Faults, Place, advice};
use crate::json::{JsonError, Kind, Reader};

pub use presence::PRESENCE_LIMIT_MAX;

/// The most commands in one text frame.
pub const COMMANDS_MAX: usize = 64;
/// The largest id: what JavaScript counts without gaps.
pub const ID_MAX: u64 = (1 << 53) - 1;
/// The most messages that a subscription may rewind.
pub const REWIND_MESSAGES_MAX: u32 = 1_000;
/// How far back a subscription may rewind, in milliseconds: 30 days.
pub const REWIND_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// The most messages of one page of history.
pub const HISTORY_LIMIT_MAX: u32 = 1_000;

/// How many messages a page of history has unasked.
const HISTORY_LIMIT: u32 = 100;
/// Longer than any position that Fanfare gives out.
const POSITION_BYTES_MAX: usize = 128;

/// Takes a text frame apart: one command a line. A wrong command is an error in its place, the others are not
/// affected; a frame with too many commands, or none, is one error.
pub fn parse(text: &str) -> impl Iterator<Item = Result<Command, CommandError>> {
    let count = lines(text).take(COMMANDS_MAX + 1).count();
    let refused = match count {
        0 => Some(Problem::new(ErrorCode::InvalidJson, "The frame is empty; send one command a line.")),
        1..=COMMANDS_MAX => None,
        _ => Some(Problem::new(
            ErrorCode::InvalidRequest,
            format!("The frame has more than {COMMANDS_MAX} commands; none of them was carried out."),
        )),
    };
    let commands = if refused.is_none() { lines(text) } else { lines("") };
    refused
        .map(|problem| Err(CommandError { id: None, problem: Box::new(problem) }))
        .into_iter()
        .chain(commands.map(parse_line))
}

/// The lines that hold something.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').filter(|line| !line.bytes().all(|byte| byte.is_ascii_whitespace()))
}

fn parse_line(line: &str) -> Result<Command, CommandError> {
    let mut parts = Parts::default();
    let mut reader = Reader::new(line);
    let read = parts.read(&mut reader).and_then(|()| reader.end());
    let id = parts.id;
    let fail = |problem| Err(CommandError { id, problem });
    match (read, id, parts.kind) {
        (Err(error), ..) => fail(error.into()),
        (Ok(()), Some(id), Some(kind)) if parts.faults.is_empty() => Ok(Command { id, kind }),
        (Ok(()), ..) => fail(parts.faults.into_problem()),
    }
}

/// What was read of a command so far.
#[derive(Default)]
struct Parts {
    id: Option<u64>,
    /// The name of the command, known or not.
    named: Option<String>,
    kind: Option<CommandKind>,
    faults: Faults,
}

impl Parts {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        if reader.kind()? != Kind::Object {
            self.faults.add(&Place::Root, "a command is an object such as {\"id\":1,\"ping\":{}}");
            return reader.skip().map(drop);
        }
        let mut id_seen = false;
        reader.object(|reader, name| {
            let at = Place::Field(&Place::Root, &name);
            if name == "id" {
                id_seen = true;
                self.id = self.faults.whole(reader, &at, 1..=ID_MAX)?;
                return Ok(());
            }
            match &self.named {
                None => self.named = Some(name.chars().take(64).collect()),
                Some(first) => {
                    self.faults
                        .add(&at, format!("a command object holds its id and one command; {first} is there already"));
                    return reader.skip().map(drop);
                }
            }
            self.kind = read_kind(&mut self.faults, reader, &name, &at)?;
            Ok(())
        })?;
        self.faults.require(id_seen, &Place::Root, "id", ", a whole number that the answer repeats");
        if self.named.is_none() {
            let commands = CommandKind::NAMES.join(", ");
            self.faults.add_as(
                ErrorCode::UnknownCommand,
                &Place::Root,
                format!("there is no command; it is one of {commands}"),
            );
        }
        Ok(())
    }
}

fn read_kind(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    name: &str,
    at: &Place<'_>,
) -> Result<Option<CommandKind>, JsonError> {
    Ok(match name {
        "connect" => read_connect(faults, reader, at)?,
        "refresh" => read_refresh(faults, reader, at)?,
        "subscribe" => read_subscribe(faults, reader, at)?,
        "unsubscribe" => read_unsubscribe(faults, reader, at)?,
        "publish" => read_with_channel(faults, reader, at)?.map(|publish| CommandKind::Publish(Box::new(publish))),
        "presence" => presence::read(faults, reader, at)?,
        "history" => read_history(faults, reader, at)?,
        "ping" => {
            faults.object(reader, at, &[], |_, reader, _, _| reader.skip().map(drop))?.then_some(CommandKind::Ping)
        }
        _ => {
            let advice = advice(name, &CommandKind::NAMES);
            faults.add_as(ErrorCode::UnknownCommand, at, format!("there is no such command; {advice}"));
            reader.skip()?;
            None
        }
    })
}

fn read_connect(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
) -> Result<Option<CommandKind>, JsonError> {
    let (mut token, mut resume) = (None, None);
    faults.object(reader, at, &["token", "resume"], |faults, reader, name, at| {
        let place = if name == "token" { &mut token } else { &mut resume };
        *place = read_token(faults, reader, at)?;
        Ok(())
    })?;
    Ok(Some(CommandKind::Connect(Connect { token, resume })))
}

fn read_refresh(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
) -> Result<Option<CommandKind>, JsonError> {
    let (mut token, mut channel) = (Seen::default(), None);
    let is_object = faults.object(reader, at, &["token", "channel"], |faults, reader, name, at| {
        match name {
            "token" => token.set(read_token(faults, reader, at)?),
            _ => channel = faults.channel(reader, at, ChannelName::parse_any)?,
        }
        Ok(())
    })?;
    faults.require(token.seen || !is_object, at, "token", ", a new token for the same user");
    Ok(token.value.map(|token| CommandKind::Refresh(Refresh { token, channel })))
}

/// How long a token or ticket may be is for its verification to say; the frame's bound holds here.
fn read_token(faults: &mut Faults, reader: &mut Reader<'_>, at: &Place<'_>) -> Result<Option<Token>, JsonError> {
    Ok(faults.text(reader, at, 1..=usize::MAX)?.map(|token| Token::new(token.into_owned())))
}

fn read_subscribe(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
) -> Result<Option<CommandKind>, JsonError> {
    let (mut channel, mut position, mut rewind) = (Seen::default(), Seen::default(), Seen::default());
    let (mut token, mut presence) = (None, false);
    let known = ["channel", "position", "rewind", "presence", "token"];
    let is_object = faults.object(reader, at, &known, |faults, reader, name, at| {
        match name {
            "channel" => channel.set(faults.channel(reader, at, ChannelName::parse_any)?),
            "position" => position.set(read_position(faults, reader, at)?),
            "presence" => presence = faults.bool(reader, at)?.unwrap_or(presence),
            "token" => token = read_token(faults, reader, at)?,
            _ => rewind.set(read_rewind(faults, reader, at)?),
        }
        Ok(())
    })?;
    if !is_object {
        return Ok(None);
    }
    require_channel(faults, &channel, at);
    if position.seen && rewind.seen {
        faults.add(&Place::Field(at, "rewind"), "excludes position: a subscription starts at one place");
    }
    let start = match (position.value, rewind.value) {
        (Some(position), _) => Start::After(position),
        (None, Some(rewind)) => Start::Rewind(rewind),
        (None, None) => Start::Now,
    };
    Ok(channel.value.map(|channel| CommandKind::Subscribe(Subscribe { channel, start, presence, token })))
}

fn read_rewind(faults: &mut Faults, reader: &mut Reader<'_>, at: &Place<'_>) -> Result<Option<Rewind>, JsonError> {
    let (mut messages, mut ms) = (Seen::default(), Seen::default());
    let is_object = faults.object(reader, at, &["messages", "ms"], |faults, reader, name, at| {
        match name {
            "messages" => messages.set(faults.whole(reader, at, 1..=u64::from(REWIND_MESSAGES_MAX))?),
            _ => ms.set(faults.whole(reader, at, 1..=REWIND_MS_MAX)?),
        }
        Ok(())
    })?;
    if is_object && messages.seen == ms.seen {
        faults.add(at, "must have either messages or ms");
    }
    let messages = messages.value.and_then(|messages| u32::try_from(messages).ok());
    Ok(messages.map(Rewind::Messages).or_else(|| ms.value.map(Rewind::Ms)))
}

fn read_unsubscribe(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
) -> Result<Option<CommandKind>, JsonError> {
    let mut channel = Seen::default();
    let is_object = faults.object(reader, at, &["channel"], |faults, reader, _, at| {
        channel.set(faults.channel(reader, at, ChannelName::parse_any)?);
        Ok(())
    })?;
    if is_object {
        require_channel(faults, &channel, at);
    }
    Ok(channel.value.map(|channel| CommandKind::Unsubscribe { channel }))
}

fn read_history(
    faults: &mut Faults,
    reader: &mut Reader<'_>,
    at: &Place<'_>,
) -> Result<Option<CommandKind>, JsonError> {
    let mut channel = Seen::default();
    let (mut from, mut direction, mut limit) = (None, Direction::Backward, HISTORY_LIMIT);
    let known = ["channel", "from", "direction", "limit"];
    let words = [("backward", Direction::Backward), ("forward", Direction::Forward)];
    let is_object = faults.object(reader, at, &known, |faults, reader, name, at| {
        match name {
            "channel" => channel.set(faults.channel(reader, at, ChannelName::parse_any)?),
            "from" => from = read_position(faults, reader, at)?,
            "direction" => direction = faults.word(reader, at, &words)?.unwrap_or(direction),
            _ => {
                let number = faults.whole(reader, at, 1..=u64::from(HISTORY_LIMIT_MAX))?;
                limit = number.and_then(|number| u32::try_from(number).ok()).unwrap_or(limit);
            }
        }
        Ok(())
    })?;
    if is_object {
        require_channel(faults, &channel, at);
    }
    Ok(channel.value.map(|channel| CommandKind::History(History { channel, from, direction, limit })))
}

fn require_channel(faults: &mut Faults, channel: &Seen<ChannelName>, at: &Place<'_>) {
    faults.require(channel.seen, at, "channel", ", such as \"room:9\"");
}

/// A position is opaque here: whoever holds the key to its tag judges it.
fn read_position(faults: &mut Faults, reader: &mut Reader<'_>, at: &Place<'_>) -> Result<Option<String>, JsonError> {
    Ok(faults.text(reader, at, 1..=POSITION_BYTES_MAX)?.map(std::borrow::Cow::into_owned))
}

#[cfg(test)]
mod tests {
    use fanfare_core::Data;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_holds_sixty_four_commands_and_no_more() {
        let frame = |count: usize| vec![r#"{"id":1,"ping":{}}"#; count].join("\n\n");
        assert_eq!(parse(&frame(64)).filter(Result::is_ok).count(), 64);
        let refused: Vec<_> = parse(&frame(65)).collect();
        assert_eq!(refused.len(), 1);
        assert!(refused[0].is_err());
        assert_eq!(parse(&"\n".repeat(1_000_000)).count(), 1);
    }

    #[test]
    fn a_hostile_command_gets_a_small_answer() {
        let fields: String = (0..100_000).map(|n| format!("\"wing{n}\":1,")).collect();
        let name = "x".repeat(1_000_000);
        let hostile = [
            format!(r#"{{"id":1,"publish":{{{fields}"data":1}}}}"#),
            format!(r#"{{"id":1,"{name}":{{}}}}"#),
            format!(r#"{{"id":1,"connect":{{"{name}":1}}}}"#),
        ];
        for frame in hostile {
            let refused = parse(&frame).next().expect("a line").expect_err("wrong");
            assert!(super::super::error(refused.id, &refused.problem).payload().len() < 8_192);
        }
    }

    #[test]
    fn a_token_does_not_print() {
        for text in [
            r#"{"id":1,"connect":{"token":"abc"}}"#,
            r#"{"id":1,"refresh":{"token":"abc","channel":"room:9"}}"#,
            r#"{"id":1,"subscribe":{"channel":"room:9","token":"abc"}}"#,
        ] {
            let command = parse(text).next().expect("a line").expect("valid");
            assert!(!format!("{command:?}").contains("abc"));
        }
    }

    const EXAMPLES: [&str; 14] = [
        r#"{"id":9,"refresh":{"token":"a","channel":"room:9"}}"#,
        r#"{"id":10,"subscribe":{"channel":"room:9","token":"a"}}"#,
        r#"{"id":1,"connect":{"token":"a"}}"#,
        r#"{"id":2,"refresh":{"token":"a"}}"#,
        r#"{"id":3,"subscribe":{"channel":"room:9","position":"k3Zx.1"}}"#,
        r#"{"id":4,"subscribe":{"channel":"room:9","rewind":{"messages":1}}}"#,
        r#"{"id":5,"unsubscribe":{"channel":"room:9"}}"#,
        r#"{"id":6,"publish":{"channel":"room:9","data":{"a":[1,"é"]},"headers":{"a":"b"},"encoding":"base64"}}"#,
        r#"{"id":7,"history":{"channel":"room:9","limit":9}}"#,
        r#"{"id":8,"ping":{}}"#,
        r#"{"id":9,"presence":{"channel":"room:9","action":"enter","data":{"mood":"up"}}}"#,
        r#"{"id":10,"presence":{"channel":"room:9","action":"leave"}}"#,
        r#"{"id":11,"presence":{"channel":"room:9","action":"get","after":"user:ann","limit":9}}"#,
        r#"{"id":12,"subscribe":{"channel":"room:9","presence":true}}"#,
    ];

    proptest! {
        #[test]
        fn mutated_commands_do_not_panic(
            which in 0..EXAMPLES.len(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..3_u8), 1..6),
        ) {
            let mut text: Vec<char> = EXAMPLES[which].chars().collect();
            for (at, character, edit) in edits {
                let at = at.index(text.len().max(1)).min(text.len());
                match edit {
                    0 => text.insert(at, character),
                    1 if at < text.len() => text[at] = character,
                    _ if at < text.len() => drop(text.remove(at)),
                    _ => {}
                }
            }
            let text: String = text.into_iter().collect();
            for parsed in parse(&text) {
                match parsed {
                    Ok(command) => prop_assert!((1..=ID_MAX).contains(&command.id)),
                    Err(refused) => prop_assert!(!refused.problem.detail.is_empty()),
                }
            }
        }

        #[test]
        fn random_text_does_not_panic(text: String) {
            prop_assert!(parse(&text).count() >= 1);
        }

        #[test]
        fn a_payload_is_kept_byte_for_byte(payload: String, blanks in "[ \t]{0,3}") {
            let json = serde_json::to_string(&payload).expect("a text prints");
            let line = format!(r#"{{"id":1,"publish":{{"data":{blanks}{json}{blanks},"channel":"a"}}}}"#);
            let command = parse(&line).next().expect("a line").expect("valid");
            let CommandKind::Publish(publish) = command.kind else { panic!("publish stays publish") };
            match publish.draft.data {
                Data::Json(kept) => prop_assert_eq!(kept.get(), json),
                Data::Bytes(_) | Data::Deleted => panic!("no encoding was said"),
            }
        }
    }
}
