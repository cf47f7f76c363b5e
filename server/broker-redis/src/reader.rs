//! Reads of logs, for whoever asks and for the node's own channels.

use std::sync::Arc;

use fanfare_core::{ChannelKey, Clock};
use fanfare_engine::BrokerError;
use fanfare_engine::broker::{Deliver, Page, Read, Start};
use fanfare_engine::chance::Chance;

use redis::Value;

use crate::answer;
use crate::channels::{Channels, Load};
use crate::functions::Functions;
use crate::holdings::Holdings;
use crate::lane::{Lane, Silence};
use crate::names::PartitionKey;
use crate::pause::{Pause, Reach};

/// Messages read at once for a channel of this node.
const LOAD_MESSAGES: u32 = 512;
const LOAD_BYTES: u64 = 1024 * 1024;

pub(crate) struct Reader {
    pub(crate) channels: Channels,
    pub(crate) partitions: PartitionKey,
    pub(crate) functions: Arc<Functions>,
    pub(crate) holdings: Holdings,
    pub(crate) lane: Lane,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Chance,
    pub(crate) reach: Arc<Reach>,
}

impl Reader {
    /// What a call may draw on: an epoch for a channel without one.
    pub(crate) fn drawn(&self) -> u64 {
        self.chance.next()
    }

    /// Reads a page.
    pub(crate) fn read(
        &self,
        channel: &ChannelKey,
        read: Read,
    ) -> impl Future<Output = Result<Page, BrokerError>> + Send + use<> {
        let (start, number) = match read.start {
            Start::Top => ("top", 0),
            Start::After(seq) => ("after", seq),
            Start::Before(seq) => ("before", seq.unwrap_or(1 << 53)),
            Start::Last(count) => ("last", u64::from(count)),
            Start::Since(time_ms) => ("since", time_ms),
        };
        let log = self.partitions.names(channel).log();
        let mut call = self.functions.read(&log);
        call.arg(self.drawn()).arg(read.now_ms).arg(start).arg(number).arg(read.messages_max).arg(read.bytes_max);
        let (answered, holdings, app) = (self.lane.ask(call), self.holdings.clone(), channel.app());
        async move {
            let (page, report) = answer::page(answered.await)?;
            holdings.note(app, &log[0], report);
            Ok(page)
        }
    }

    /// How many messages of a channel are gone, as the answer to that says.
    pub(crate) fn removed<F: Future<Output = Result<Value, Silence>> + Send>(
        &self,
        channel: &ChannelKey,
        [log, ..]: [String; 3],
        answered: F,
    ) -> impl Future<Output = Result<u64, BrokerError>> + Send + use<F> {
        let (holdings, app) = (self.holdings.clone(), channel.app());
        async move {
            let (count, report) = answer::removed(answered.await)?;
            holdings.note(app, &log, report);
            Ok(count)
        }
    }

    /// Reads a page; where the log is another than before and has nothing that follows, the newest of it.
    async fn read_to_tell(&self, load: &Load, read: Read) -> Result<Page, BrokerError> {
        let page = self.read(&load.key, read).await?;
        let is_another = load.after.is_some_and(|after| after.lineage != page.lineage && !page.continues(after));
        if is_another && page.messages.is_empty() && page.top > 0 {
            return self.read(&load.key, Read { start: Start::Last(1), ..read }).await;
        }
        Ok(page)
    }

    /// Reads what a channel of this node needs until it is live, or needs nothing any more.
    pub(crate) async fn load(&self, first: Load, sink: &dyn Deliver) {
        let (mut next, mut pause) = (Some(first), Pause::new());
        while let Some(load) = next {
            let start = load.after.map_or(Start::Top, |position| Start::After(position.seq));
            let now_ms = self.clock.unix_ms();
            let read = Read { start, messages_max: LOAD_MESSAGES, bytes_max: LOAD_BYTES, now_ms };
            match self.read_to_tell(&load, read).await {
                Ok(page) => {
                    next = self.channels.loaded(&load, &page, sink);
                    sink.settle();
                    pause = Pause::new();
                }
                Err(_) => {
                    pause.wait(&self.reach).await;
                    // The link may have ended meanwhile, and whoever follows it reads.
                    next = self.channels.is_loading(&load).then_some(load);
                }
            }
        }
    }
}
