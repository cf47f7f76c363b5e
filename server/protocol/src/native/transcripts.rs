//! Runs the transcripts, and the exchanges of `PROTOCOL.md`, against the parser and the writers.
//!
//! What answers is a puppet with one remembered log for every channel, 1 to 12 at first: it decides nothing that the
//! protocol says, it only fills the replies.

mod presence;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use fanfare_core::id::{ConnectionId, RuleId};
use fanfare_core::limits::{Limit, LimitValue, Limits};
use fanfare_core::{ChannelName, Data, Draft, ErrorCode, Lineage, Message, Operation, Position, Problem, Refusal};
use serde_json::value::RawValue;

use super::*;
use crate::frame::Frame;
use crate::json;

const TIME: u64 = 1_700_000_000_000;

struct Puppet {
    log: Vec<Arc<Message>>,
    present: presence::Present,
    trimmed: bool,
    subscribed: HashSet<ChannelName>,
    out: VecDeque<Frame>,
}

fn message(seq: u64, id: Option<&str>, publisher: Option<&str>, draft: Draft) -> Arc<Message> {
    Arc::new(Message {
        id: id.map_or_else(|| format!("msg_{seq}"), str::to_owned).into(),
        position: Position { lineage: Lineage { epoch: 1, term: 1, nonce: 1 }, seq },
        time_ms: TIME + seq,
        publisher: publisher.map(Into::into),
        origin: None,
        draft: Arc::new(draft),
    })
}

fn json_draft(text: &str) -> Draft {
    Draft::new(Data::Json(RawValue::from_string(text.to_owned()).expect("the transcript has JSON here")))
}

fn seq_of(position: &str) -> u64 {
    position.split_once('.').and_then(|(_, seq)| seq.parse().ok()).expect("the transcript has a position here")
}

impl Puppet {
    fn new() -> Self {
        let log = (1..=12).map(|seq| message(seq, None, None, json_draft(&seq.to_string()))).collect();
        let present = presence::Present::default();
        Self { log, present, trimmed: false, subscribed: HashSet::new(), out: VecDeque::new() }
    }

    fn top(&self) -> u64 {
        self.log.len() as u64
    }

    fn on_frame(&mut self, text: &str) {
        for parsed in parse(text) {
            match parsed {
                Ok(command) => self.on_command(command),
                Err(wrong) => self.out.push_back(error(wrong.id, &wrong.problem)),
            }
        }
    }

    fn on_command(&mut self, Command { id, kind }: Command) {
        let answer = match kind {
            CommandKind::Connect(connect) => match &connect.resume {
                Some(ticket) if ticket.expose() == "old" && connect.token.is_none() => {
                    let problem = Problem::new(ErrorCode::ResumeInvalid, "The ticket expired 7 s ago.");
                    return self.out.push_back(error(Some(id), &problem));
                }
                ticket => Reply::Connected(Box::new(hello(
                    connect.token.is_some() || ticket.is_some(),
                    ticket.as_ref().map(|ticket| ticket.expose() != "old"),
                ))),
            },
            CommandKind::Refresh(refresh) => Reply::Refreshed {
                expires_ms: TIME + 7_200_000,
                resume: refresh.channel.is_none().then(|| "AH1k…".to_owned()),
            },
            CommandKind::Subscribe(subscribe) => return self.subscribe(id, subscribe),
            CommandKind::Unsubscribe { channel } => {
                self.subscribed.remove(&channel);
                Reply::Unsubscribed
            }
            CommandKind::Publish(publish) => return self.publish(id, *publish),
            CommandKind::Presence(asked) => return self.presence(id, asked),
            CommandKind::History(asked) => Reply::History(self.history(asked)),
            CommandKind::Ping => Reply::Pong { time: TIME },
        };
        self.out.push_back(reply(id, &answer));
    }

    fn subscribe(&mut self, id: u64, Subscribe { channel, start, presence, token }: Subscribe) {
        let (top, mut recovery) = (self.top(), None);
        let expires_ms = token.map(|_| TIME + 3_600_000);
        let seq = match start {
            Start::Now => top,
            Start::Rewind(Rewind::Messages(count)) => top.saturating_sub(count.into()),
            Start::Rewind(Rewind::Ms(_)) => top - 1,
            Start::After(from) if self.trimmed => {
                let to = format!("k3Zx.{top}");
                recovery = Some(Recovery::Lost(Gap { reason: GapReason::Truncated, from, to }));
                top
            }
            Start::After(from) => {
                recovery = Some(Recovery::Recovered);
                seq_of(&from)
            }
        };
        let ok = SubscribedOk { channel: channel.clone(), lineage: "k3Zx".into(), seq, recovery, expires_ms };
        self.out.push_back(reply(id, &Reply::Subscribed(ok)));
        self.out.extend(self.log.iter().skip(seq as usize).map(|message| push_message(&channel, message)));
        if presence {
            self.watch(&channel);
        }
        self.subscribed.insert(channel);
    }

    fn publish(&mut self, id: u64, Publish { channel, draft }: Publish) {
        let known = self.log.iter().find(|message| draft.id.as_ref() == Some(&message.id)).cloned();
        let duplicate = known.is_some();
        let message = known.unwrap_or_else(|| message(self.top() + 1, draft.id.as_deref(), None, draft.clone()));
        let position = format!("k3Zx.{}", message.position.seq);
        let ok = PublishedOk { id: message.id.clone(), position, durability: "memory", duplicate };
        self.out.push_back(reply(id, &Reply::Published(ok)));
        if !duplicate {
            self.append(&channel, message);
        }
    }

    fn append(&mut self, channel: &ChannelName, message: Arc<Message>) {
        if self.subscribed.contains(channel) {
            self.out.push_back(push_message(channel, &message));
        }
        self.log.push(message);
    }

    fn history(&self, History { channel, from, direction, limit }: History) -> HistoryOk {
        let from = from.as_deref().map(seq_of);
        let wanted = |message: &&Arc<Message>| match (direction, from) {
            (_, None) => true,
            (Direction::Backward, Some(from)) => message.position.seq < from,
            (Direction::Forward, Some(from)) => message.position.seq > from,
        };
        let mut messages: Vec<_> = self.log.iter().filter(wanted).cloned().collect();
        if direction == Direction::Backward {
            messages.reverse();
        }
        let more = messages.len() > limit as usize;
        messages.truncate(limit as usize);
        let next = messages.last().filter(|_| more).map(|last| format!("k3Zx.{}", last.position.seq));
        HistoryOk { channel, lineage: "k3Zx".into(), messages, truncated: self.trimmed, next }
    }

    fn happens(&mut self, event: &str) {
        let channel = ChannelName::parse("room:9").expect("valid");
        match event {
            "ann publishes \"hi\" to room:9" => {
                let message = message(self.top() + 1, None, Some("ann"), json_draft("\"hi\""));
                self.append(&channel, message);
            }
            "the history of room:9 is trimmed" => self.trimmed = true,
            "the log of room:9 is lost" => {
                let gap = Gap { reason: GapReason::EpochChanged, from: "k3Zx.12".into(), to: "p9Qa.0".into() };
                self.out.push_back(push_recovery(&channel, &gap, "p9Qa", 0));
            }
            "the log of room:9 goes on under another lineage, with nothing missing" => {
                self.out.push_back(push_continued(&channel, "q7Bd", 12));
            }
            "room:9 lets 45 messages go that wait for a slow client" => {
                self.out.push_back(push_gap(&channel, "k3Zx.12", "k3Zx.57", 45));
            }
            "ann has 400 of 500 subscriptions" => {
                self.out.push_back(push_limit_near(Limit::Subscriptions, 400, 500));
            }
            "a rule of the ACL denies room:9" => {
                let refusal = Refusal::Denied { rule: RuleId::new(1, 1), operation: Operation::Subscribe };
                self.out.push_back(push_unsubscribed(&channel, &Problem::from(refusal)));
            }
            "the token of room:9 has expired, and 30 s have passed" => {
                let detail = "The token of this subscription has expired; subscribe again with a new one.";
                self.out.push_back(push_unsubscribed(&channel, &Problem::new(ErrorCode::TokenExpired, detail)));
            }
            "the backend disconnects the client" => self.out.push_back(push_disconnected("You signed in elsewhere.")),
            "the token has less than a minute" => self.out.push_back(push_token_expiring(TIME + 3_600_000)),
            "the node is full" => {
                let detail = "More connections come than this node takes at once.";
                let problem = Problem::new(ErrorCode::Overloaded, detail).retry_after_ms(1_730);
                self.out.push_back(error(None, &problem));
            }
            "the node is drained" => self.out.push_back(push_reconnect(300)),
            "the message 11 of room:9 is deleted" => {
                let deleted = Arc::new(self.log[10].deleted());
                self.log[10] = deleted;
            }
            "the backend subscribes the client to room:9" => {
                let seq = self.top();
                self.subscribed.insert(channel.clone());
                let ok = SubscribedOk { channel, lineage: "k3Zx".into(), seq, recovery: None, expires_ms: None };
                self.out.push_back(push_subscribed(&ok));
            }
            "the backend sends \"hi\" to ann" => {
                self.out.push_back(push_user_message(&message(1, None, None, json_draft("\"hi\""))));
            }
            "too much is published" => {
                let problem = Problem::new(ErrorCode::RateLimited, "More than 50 a second of publish_connection.");
                self.out.push_back(error(Some(5), &problem.limit(Limit::PublishConnection).retry_after_ms(20)));
            }
            _ => self.happens_in_presence(event),
        }
    }
}

fn hello(identified: bool, resumed: Option<bool>) -> Hello {
    let mut limits = Limits::default();
    limits.set(Limit::MessageBytes, LimitValue::count(65_536));
    limits.set(Limit::Subscriptions, LimitValue::count(500));
    limits.set(Limit::PublishConnection, LimitValue::rate(50, 100));
    limits.set(Limit::PublishChannel, LimitValue::rate(100, 300));
    Hello {
        connection: ConnectionId::new(1, 1),
        user: identified.then(|| "ann".into()),
        heartbeat_ms: 25_000,
        expires_ms: identified.then_some(TIME + 3_600_000),
        resumed,
        resume: Some("AHx7…".to_owned()),
        limits,
    }
}

/// Runs one exchange and says where it differs.
fn run(name: &str, transcript: &str) {
    let mut puppet = Puppet::new();
    let mut lines = transcript.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let at = format!("{name}, line {}", index + 1);
        let (mark, rest) = line.split_at(line.len().min(2));
        if mark != "< " && !mark.is_empty() && mark != "# " {
            assert!(puppet.out.is_empty(), "{at}: the server said more before: {:?}", puppet.out[0].payload());
        }
        match mark {
            "> " | ">" => {
                let mut frame = rest.to_owned();
                while let Some((_, more)) = lines.next_if(|(_, line)| line.starts_with(">>")) {
                    frame.push('\n');
                    frame.push_str(more.trim_start_matches(">>").trim_start_matches(' '));
                }
                puppet.on_frame(&frame);
            }
            "< " => {
                let said = puppet.out.pop_front().unwrap_or_else(|| panic!("{at}: the server says nothing")).payload();
                assert_eq!(String::from_utf8_lossy(&said), rest, "{at}");
                assert_eq!(json::check(&said), Ok(()), "{at}");
            }
            "* " => puppet.happens(rest),
            "# " | "#" | "" => {}
            _ => panic!("{at}: begins with none of > >> < * #"),
        }
    }
    assert!(puppet.out.is_empty(), "{name}: the server says more at the end: {:?}", puppet.out[0].payload());
}

/// Every exchange there is: the transcripts, and those of `PROTOCOL.md`.
pub(super) fn exchanges() -> Vec<(String, String)> {
    let files = [
        ("connect.txt", include_str!("transcripts/connect.txt")),
        ("subscribe.txt", include_str!("transcripts/subscribe.txt")),
        ("publish.txt", include_str!("transcripts/publish.txt")),
        ("presence.txt", include_str!("transcripts/presence.txt")),
        ("history.txt", include_str!("transcripts/history.txt")),
        ("errors.txt", include_str!("transcripts/errors.txt")),
    ];
    let parts = include_str!("PROTOCOL.md").split("```transcript\n").skip(1).enumerate();
    let parts = parts.map(|(index, part)| {
        let exchange = part.split("```").next().expect("split gives one part at least");
        (format!("PROTOCOL.md, exchange {}", index + 1), exchange.to_owned())
    });
    files.map(|(name, text)| (name.to_owned(), text.to_owned())).into_iter().chain(parts).collect()
}

#[test]
fn every_exchange_of_the_transcripts_and_the_specification_holds() {
    let exchanges = exchanges();
    assert!(exchanges.len() > 16);
    exchanges.iter().for_each(|(name, exchange)| run(name, exchange));
}

#[test]
fn the_specification_lists_every_code() {
    let rows: String =
        ErrorCode::ALL.iter().map(|code| format!("| {} | `{code}` | {} |\n", code.close(), code.title())).collect();
    let table = format!("| number | code | |\n| --- | --- | --- |\n{rows}");
    let (_, rest) =
        include_str!("PROTOCOL.md").split_once("held by a test -->\n").expect("the table's begin is marked");
    let (written, _) = rest.split_once("<!-- /codes -->").expect("the table's end is marked");
    assert_eq!(written, table, "put this table into PROTOCOL.md:\n{table}");
}
