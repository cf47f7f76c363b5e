//! History: pages both ways; a trimmed past is said, never skipped in silence.

use std::sync::Arc;

use fanfare_core::permission::decide;
use fanfare_core::{ChannelKey, ChannelName, Message, Operation, Position};

use super::Node;
use crate::broker::{BrokerError, Page, Pending, Read, Start};
use crate::caller::Caller;
use crate::error::NodeError;

/// The most messages of one page.
const MESSAGES_MAX: u32 = 1_000;
/// About how many bytes one page holds at most.
const BYTES_MAX: u64 = 1024 * 1024;

/// Which way history is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From newer to older.
    Backward,
    /// From older to newer.
    Forward,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The position, as the client says it, from which to read, itself left out; `None` reads from the end in that
    /// direction.
    pub from: Option<String>,
    /// Which way.
    pub direction: Direction,
    /// At most so many messages, 1 to 1,000.
    pub limit: u32,
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
            let key = decide(&app, &caller.subject, Operation::History, channel)?.channel_key();
            let from = query.from.as_deref().map(|text| self.open_position(&key, text)).transpose()?;
            let page = self.read_history(&key, &query, from).wait().await?;
            let of_another_log = from.is_some_and(|from| from.lineage != page.lineage);
            let page = match of_another_log {
                // The position's log is gone: start from the end, and say so.
                true => self.read_history(&key, &query, None).wait().await?,
                false => page,
            };
            let mut answer = self.history_page(&key, query.direction, from.filter(|_| !of_another_log), page);
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

    fn read_history(
        &self,
        key: &ChannelKey,
        query: &HistoryQuery,
        from: Option<Position>,
    ) -> Pending<Result<Page, NodeError>> {
        let seq = from.map(|from| from.seq);
        let start = match query.direction {
            Direction::Backward => Start::Before(seq),
            Direction::Forward => Start::After(seq.unwrap_or(0)),
        };
        let messages_max = query.limit.clamp(1, MESSAGES_MAX);
        let read = Read { start, messages_max, bytes_max: BYTES_MAX, now_ms: self.clock.unix_ms() };
        self.read(key, read).map(|page| page.map_err(NodeError::from))
    }

    fn history_page(&self, key: &ChannelKey, direction: Direction, from: Option<Position>, page: Page) -> HistoryPage {
        let last = page.messages.last().map(|message| message.position);
        let (more, truncated) = match direction {
            Direction::Backward => {
                let more = last.is_some_and(|last| last.seq > page.first);
                // The end was reached, and it is not the beginning of the channel.
                let asked_below = from.is_none_or(|from| from.seq > 1);
                (more, !more && page.first > 1 && asked_below)
            }
            Direction::Forward => (
                last.is_some_and(|last| last.seq < page.top),
                from.map_or(0, |from| from.seq).saturating_add(1) < page.first,
            ),
        };
        HistoryPage {
            lineage: self.lineage(key, page.lineage),
            next: last.filter(|_| more).map(|last| self.tell(key, last)),
            truncated,
            messages: page.messages,
        }
    }
}
