//! What a client was told, channel by channel, for the ledger to judge.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::ledger::{Journal, Payload, Position, Reason, Seen};

/// A client's journals.
#[derive(Debug, Clone)]
pub(crate) struct Journals {
    name: String,
    by_channel: HashMap<String, Journal>,
}

impl Journals {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), by_channel: HashMap::new() }
    }

    /// All of them as they are now.
    pub(crate) fn all(&self) -> Vec<Journal> {
        self.by_channel.values().cloned().collect()
    }

    /// Goes on with one that was begun elsewhere.
    pub(crate) fn continue_with(&mut self, journal: Journal) {
        self.by_channel.insert(journal.channel.clone(), journal);
    }

    /// The link ended.
    pub(crate) fn end(&mut self) {
        self.by_channel.values_mut().for_each(|journal| journal.seen.push(Seen::Ended));
    }

    fn of(&mut self, channel: &str) -> &mut Vec<Seen> {
        let journal = self.by_channel.entry(channel.to_owned());
        &mut journal.or_insert_with(|| Journal::new(self.name.clone(), channel)).seen
    }

    /// A command with this body was carried out.
    pub(crate) fn note_answer(&mut self, kind: &str, body: &Value, ok: &Value) -> Result<()> {
        let Some(channel) = body["channel"].as_str() else { return Ok(()) };
        let asked = body["position"].as_str().and_then(Position::parse);
        let seen = match (kind, asked) {
            ("unsubscribe", _) => Seen::Ended,
            ("subscribe", asked) => {
                let lineage = ok["lineage"].as_str().context("an acknowledgement has a lineage")?.to_owned();
                let to = Position { lineage, seq: ok["seq"].as_u64().context("an acknowledgement has a seq")? };
                match (asked, ok["recovered"].as_bool()) {
                    (Some(from), Some(true)) => {
                        let same = Position { lineage: to.lineage.clone(), ..from.clone() };
                        if same != from {
                            // The log goes on under another lineage, and what is missing stands in that.
                            self.of(channel).push(Seen::Continued { from, to: same.clone() });
                        }
                        Seen::Recovered { from: same, to }
                    }
                    (Some(from), Some(false)) => Seen::NotRecovered { from, to, reason: reason(ok)? },
                    _ => Seen::Subscribed(to),
                }
            }
            _ => return Ok(()),
        };
        self.of(channel).push(seen);
        Ok(())
    }

    /// A push came.
    pub(crate) fn note_push(&mut self, push: &Value) -> Result<()> {
        let channel = |push: &Value| push["channel"].as_str().context("a push has a channel").map(str::to_owned);
        // What is sent to a user is of no channel, and nothing a journal could judge.
        if let Some(message) = push.get("msg").filter(|message| message["channel"] != "$user") {
            let seen = Seen::Message {
                seq: message["seq"].as_u64().context("a message has a seq")?,
                id: message["id"].as_str().context("a message has an id")?.to_owned(),
                payload: Payload::of(message["data"].to_string().as_bytes()),
            };
            let channel = channel(message)?;
            self.of(&channel).push(seen);
        } else if let Some(recovery) = push.get("recovery") {
            if recovery["recovered"] == true {
                // It goes on under another lineage: from here on its numbers count in that.
                let lineage = recovery["lineage"].as_str().context("a recovery has a lineage")?.to_owned();
                let seq = recovery["seq"].as_u64().context("a recovery has a seq")?;
                let channel = channel(recovery)?;
                let from = self.by_channel.get(&channel).and_then(Journal::position).context("it was subscribed")?;
                self.of(&channel).push(Seen::Continued { from, to: Position { lineage, seq } });
                return Ok(());
            }
            let position =
                |name: &str| recovery[name].as_str().and_then(Position::parse).context("a recovery has positions");
            let seen = Seen::NotRecovered { from: position("from")?, to: position("to")?, reason: reason(recovery)? };
            let channel = channel(recovery)?;
            self.of(&channel).push(seen);
        } else if let Some(subscribed) = push.get("subscribed") {
            self.note_answer("subscribe", &serde_json::json!({ "channel": channel(subscribed)? }), subscribed)?;
        } else if let Some(unsubscribed) = push.get("unsubscribed") {
            let channel = channel(unsubscribed)?;
            self.of(&channel).push(Seen::Ended);
        }
        Ok(())
    }
}

fn reason(of: &Value) -> Result<Reason> {
    of["reason"].as_str().and_then(Reason::parse).with_context(|| format!("no known reason in {of}"))
}
