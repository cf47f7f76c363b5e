//! History: pages both ways; a trimmed past is said, never skipped in silence.

use std::sync::Arc;

use fanfare_core::{ChannelKey, ChannelName, ErrorCode, Message, Operation, Position, Problem, Seq};

use super::Node;
use super::messages::no_such_message;
use crate::broker::{BrokerError, Page, Pending, Read, Start};
use crate::caller::Caller;
use crate::error::NodeError;

/// The most messages of one page.
pub(super) const MESSAGES_MAX: u32 = 1_000;
/// About how many bytes one page holds at most.
pub(super) const BYTES_MAX: u64 = 1024 * 1024;

/// Which way history is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From newer to older.
    Backward,
    /// From older to newer.
    Forward,
}

/// Where reading starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryFrom {
    /// A position, as the client says it; itself left out.
    Position(String),
    /// The message with this id; itself left out.
    Id(Box<str>),
    /// A moment, Unix milliseconds: what was published from then on, or, backward, until then.
    TimeMs(u64),
}

/// Where reading ends, itself included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryUntil {
    /// A position, as the client says it.
    Position(String),
    /// A moment, Unix milliseconds.
    TimeMs(u64),
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Where to start; `None` reads from the end in that direction.
    pub from: Option<HistoryFrom>,
    /// Where to end; `None` reads on to the other end.
    pub until: Option<HistoryUntil>,
    /// Which way.
    pub direction: Direction,
    /// At most so many messages, 1 to 1,000.
    pub limit: u32,
}

/// Where to start and to end, as the log knows it.
struct Bounds {
    start: Start,
    /// Where `start` lies, when the query said a place and not a time.
    from: Option<Position>,
    until: Option<Bound>,
}

/// The last message that counts.
enum Bound {
    Position(Position),
    TimeMs(u64),
}

/// A page of history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// The lineage as told outside.
    pub lineage: String,
    /// In the order asked for.
    pub messages: Vec<Arc<Message>>,
    /// Whether something that would have come is no longer kept.
    pub truncated: bool,
    /// Where the next page starts; `None` after the last.
    pub next: Option<String>,
}

impl Node {
    /// Reads what was published before.
    ///
    /// # Errors
    /// When a layer refuses, the position is not of this channel, or the broker cannot be reached.
    pub async fn history(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        query: HistoryQuery,
    ) -> Result<HistoryPage, NodeError> {
        let outcome = async {
            let app = caller.entry.app();
            let key = caller.entry.decide(&app, caller.asking(), Operation::History, channel)?.channel_key();
            let bounds = self.bounds(&key, &query).await?;
            let page = self.read_history(&key, bounds.start, query.limit).await?;
            let of_another_log = bounds.from.is_some_and(|from| from.lineage != page.lineage);
            if let Some(Bound::Position(until)) = &bounds.until
                && until.lineage != page.lineage
            {
                let detail = "`until` is a position of a log that is gone; leave it out, or say a time.";
                return Err(NodeError::Invalid(Box::new(Problem::new(ErrorCode::InvalidPosition, detail))));
            }
            let page = match of_another_log {
                // The position's log is gone: start from the end, and say so.
                true => self.read_history(&key, from_the_end(query.direction), query.limit).await?,
                false => page,
            };
            let bounds = if of_another_log { Bounds { from: None, start: Start::Top, ..bounds } } else { bounds };
            let mut answer = self.history_page(&key, query.direction, &bounds, page);
            answer.truncated |= of_another_log;
            Ok(answer)
        };
        let outcome = outcome.await;
        self.counted(&caller.entry, outcome)
    }

    /// Reads a page of a channel's log, together with whoever asks for the same at this moment.
    pub(crate) fn read(&self, key: &ChannelKey, read: Read) -> Pending<Result<Page, BrokerError>> {
        self.reads.read(&self.broker, key, read)
    }

    /// How many pages were asked for, and for how many of them the broker was.
    #[must_use]
    pub fn pages(&self) -> (u64, u64) {
        self.reads.counts()
    }

    /// Makes of what a client says what the log knows.
    async fn bounds(&self, key: &ChannelKey, query: &HistoryQuery) -> Result<Bounds, NodeError> {
        let until = match &query.until {
            None => None,
            Some(HistoryUntil::Position(text)) => Some(Bound::Position(self.open_position(key, text)?)),
            Some(HistoryUntil::TimeMs(time_ms)) => Some(Bound::TimeMs(*time_ms)),
        };
        let from = match &query.from {
            None => return Ok(Bounds { start: from_the_end(query.direction), from: None, until }),
            Some(HistoryFrom::Position(text)) => self.open_position(key, text)?,
            Some(HistoryFrom::Id(id)) => self.find_message(key, id).await?.ok_or_else(no_such_message)?.position,
            Some(HistoryFrom::TimeMs(time_ms)) => {
                let start = match query.direction {
                    Direction::Forward => Start::Since(*time_ms),
                    // The first message after the moment is where going back begins.
                    Direction::Backward => {
                        let after = self.read_history(key, Start::Since(time_ms.saturating_add(1)), 1).await?;
                        Start::Before(after.messages.first().map(|message| message.position.seq))
                    }
                };
                return Ok(Bounds { start, from: None, until });
            }
        };
        let start = match query.direction {
            Direction::Backward => Start::Before(Some(from.seq)),
            Direction::Forward => Start::After(from.seq),
        };
        Ok(Bounds { start, from: Some(from), until })
    }

    async fn read_history(&self, key: &ChannelKey, start: Start, limit: u32) -> Result<Page, NodeError> {
        let messages_max = limit.clamp(1, MESSAGES_MAX);
        let read = Read { start, messages_max, bytes_max: BYTES_MAX, now_ms: self.clock.unix_ms() };
        Ok(self.read(key, read).wait().await?)
    }

    fn history_page(&self, key: &ChannelKey, direction: Direction, bounds: &Bounds, page: Page) -> HistoryPage {
        let Page { lineage, top, first, mut messages, earlier: _ } = page;
        let read = messages.len();
        if let Some(until) = &bounds.until {
            let beyond = messages.iter().position(|message| until.is_passed_by(message, direction));
            messages.truncate(beyond.unwrap_or(read));
        }
        let ended = messages.len() < read;
        let last = messages.last().map(|message| message.position);
        let (more, truncated) = match direction {
            Direction::Backward => {
                let more = last.is_some_and(|last| last.seq > first);
                // The end was reached, and it is not the beginning of the channel.
                let asked_below = bounds.from.is_none_or(|from| from.seq > 1);
                (more, !more && !ended && first > 1 && asked_below)
            }
            Direction::Forward => {
                let more = last.is_some_and(|last| last.seq < top);
                (more, bounds.misses_the_past(first, messages.first().map(|message| message.position.seq)))
            }
        };
        HistoryPage {
            lineage: self.lineage(key, lineage),
            next: last.filter(|_| more && !ended).map(|last| self.tell(key, last)),
            truncated,
            messages,
        }
    }
}

const fn from_the_end(direction: Direction) -> Start {
    match direction {
        Direction::Backward => Start::Before(None),
        Direction::Forward => Start::After(0),
    }
}

impl Bounds {
    /// Whether something that is no longer kept may have stood before the first message of a page that goes forward.
    fn misses_the_past(&self, first_kept: Seq, first_read: Option<Seq>) -> bool {
        match self.start {
            // What is kept from before the moment shows that nothing after it is gone.
            Start::Since(_) => first_kept > 1 && first_read == Some(first_kept),
            _ => self.from.map_or(0, |from| from.seq).saturating_add(1) < first_kept,
        }
    }
}

impl Bound {
    /// Whether a message lies beyond it.
    fn is_passed_by(&self, message: &Message, direction: Direction) -> bool {
        match (self, direction) {
            (Self::Position(until), Direction::Forward) => message.position.seq > until.seq,
            (Self::Position(until), Direction::Backward) => message.position.seq < until.seq,
            (Self::TimeMs(until_ms), Direction::Forward) => message.time_ms > *until_ms,
            (Self::TimeMs(until_ms), Direction::Backward) => message.time_ms < *until_ms,
        }
    }
}
