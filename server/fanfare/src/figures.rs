//! How kept figures get from the node into Postgres, without the data plane ever waiting for it.
//!
//! ```text
//!   Node ── read every few seconds ──▶ Buffer ── rows that changed ──▶ Postgres
//!   (counters that only grow)          10 s · 1 min · 1 h of each app
//! ```
//!
//! Each difference of two readings is added to three spans at once, so that the longer ones need no job that makes them
//! of the shorter, and nothing that comes late is left out of them. A row is told again whenever it changed and until
//! Postgres has said that it has it; the same row twice is one row. While Postgres is away the buffer grows up to its
//! bound; then short spans go first, the oldest before, because the longer ones hold the same figures.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fanfare_core::Clock as _;
use fanfare_core::id::{AppId, NodeId};
use fanfare_core::measures::Measures;
use fanfare_engine::{Node, SystemClock};
use fanfare_store::{Feed, KeptSpan, Span, Store};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::decisions::DecisionBuffer;

/// What the buffer holds at most, in bytes as well as they can be guessed.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Rows that one statement takes.
const ROWS_MAX: usize = 500;
/// Statements of one turn; the rest has its turn later.
const STATEMENTS_MAX: usize = 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How often old rows are let go, in turns of writing.
const TRIM_EVERY: u32 = 6;

/// What is known of the figures, for metrics.
#[derive(Debug, Default)]
pub(crate) struct FiguresStatus {
    written: AtomicU64,
    lost: AtomicU64,
    waiting: AtomicU64,
    decisions_written: AtomicU64,
    decisions_left_out: AtomicU64,
}

impl FiguresStatus {
    /// Rows that Postgres took, and hours of figures that were let go because it did not.
    pub(crate) fn written_and_lost(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }

    /// Rows that wait for Postgres.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Rows of decisions that Postgres took, and decisions that found no room.
    pub(crate) fn decisions(&self) -> (u64, u64) {
        (self.decisions_written.load(Ordering::Relaxed), self.decisions_left_out.load(Ordering::Relaxed))
    }
}

/// What the figures are made of.
pub(crate) struct FiguresTask {
    pub(crate) node: Arc<Node>,
    pub(crate) id: NodeId,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) store: watch::Receiver<Option<Store>>,
    pub(crate) status: Arc<FiguresStatus>,
    /// How often the node is read and what changed is written.
    pub(crate) every: Duration,
    pub(crate) stop: CancellationToken,
}

impl FiguresTask {
    /// Runs until it is told to stop, and a last time then.
    pub(crate) async fn run(self) {
        let (mut buffer, mut decisions) = (Buffer::default(), DecisionBuffer::default());
        let mut turns = interval(self.every);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn: u32 = 0;
        loop {
            let is_last = tokio::select! {
                biased;
                () = self.stop.cancelled() => true,
                _ = turns.tick() => false,
            };
            let now_s = self.clock.unix_ms() / 1_000;
            buffer.take_in(&self.node.measures(), now_s);
            let left_out = decisions.take_in(self.node.take_decisions(), now_s);
            self.status.decisions_left_out.fetch_add(left_out, Ordering::Relaxed);
            self.status.lost.fetch_add(buffer.shrink(BYTES_MAX), Ordering::Relaxed);
            let feed = self.store.borrow().as_ref().map(Store::feed);
            if let Some(feed) = feed {
                let trim = turn.is_multiple_of(TRIM_EVERY);
                self.write(&feed, &mut buffer, trim).await;
                self.write_decisions(&feed, &mut decisions, trim).await;
            }
            self.status.waiting.store(buffer.waiting() as u64, Ordering::Relaxed);
            turn = turn.wrapping_add(1);
            if is_last {
                return;
            }
        }
    }

    /// Tells what changed. What fails is told again at the next turn.
    async fn write(&self, feed: &Feed, buffer: &mut Buffer, trim: bool) {
        for _ in 0..STATEMENTS_MAX {
            let told = buffer.next(ROWS_MAX);
            if told.is_empty() {
                break;
            }
            let kept: Vec<KeptSpan<'_>> = told.iter().filter_map(|key| buffer.row(key)).collect();
            match timeout(ANSWER_WITHIN, feed.keep(self.id, &buffer.spans(), &kept)).await {
                Ok(Ok(_)) => {
                    self.status.written.fetch_add(kept.len() as u64, Ordering::Relaxed);
                    buffer.written(&told);
                }
                Ok(Err(error)) => {
                    let is_temporary = error.is_temporary();
                    if is_temporary {
                        debug!(%error, "figures wait for Postgres")
                    } else {
                        warn!(%error, "figures were not taken")
                    }
                    return;
                }
                Err(_) => return debug!("figures wait for Postgres, which does not answer"),
            }
        }
        if trim && let Ok(Err(error)) = timeout(ANSWER_WITHIN, feed.trim_statistics()).await {
            warn!(%error, "old figures were not let go");
        }
    }
}

impl FiguresTask {
    /// The same for what the rules of apps answered.
    async fn write_decisions(&self, feed: &Feed, buffer: &mut DecisionBuffer, trim: bool) {
        for _ in 0..STATEMENTS_MAX {
            let telling = buffer.next();
            if telling.is_empty() {
                break;
            }
            match timeout(ANSWER_WITHIN, telling.tell(feed, self.id)).await {
                Ok(Ok(())) => {
                    self.status.decisions_written.fetch_add(telling.rows(), Ordering::Relaxed);
                    buffer.written(&telling);
                }
                Ok(Err(error)) if error.is_temporary() => return debug!(%error, "decisions wait for Postgres"),
                Ok(Err(error)) => return warn!(%error, "decisions were not taken"),
                Err(_) => return debug!("decisions wait for Postgres, which does not answer"),
            }
        }
        if trim && let Ok(Err(error)) = timeout(ANSWER_WITHIN, feed.trim_decisions()).await {
            warn!(%error, "old decisions were not let go");
        }
    }
}

type Key = (Span, u64, AppId);

/// Figures that go on, or that Postgres has not got yet.
#[derive(Default)]
struct Buffer {
    before: HashMap<AppId, Measures>,
    rows: BTreeMap<Key, Row>,
    /// Spans in which something was measured, until Postgres knows.
    spans: BTreeMap<(Span, u64), ()>,
    /// The second of the last reading: figures never go back, though the clock may.
    last_s: u64,
    revision: u64,
}

struct Row {
    measures: Measures,
    /// Grows with every change, over all rows.
    revision: u64,
    /// The revision that Postgres has.
    written: u64,
}

impl Buffer {
    /// Adds what happened since the last reading to the spans that this second is in.
    fn take_in(&mut self, readings: &[(AppId, Measures)], now_s: u64) {
        self.last_s = self.last_s.max(now_s);
        self.revision += 1;
        for span in Span::ALL {
            self.spans.insert((span, span.start_of(self.last_s)), ());
        }
        let mut gone: HashMap<AppId, Measures> = std::mem::take(&mut self.before);
        for (app, reading) in readings {
            let since = gone.remove(app).map_or_else(|| reading.clone(), |before| reading.since(&before));
            self.before.insert(*app, reading.clone());
            if since.is_empty() {
                continue;
            }
            for span in Span::ALL {
                let row = self.rows.entry((span, span.start_of(self.last_s), *app)).or_insert_with(|| Row {
                    measures: Measures::default(),
                    revision: 0,
                    written: 0,
                });
                row.measures.append(&since);
                row.revision = self.revision;
            }
        }
        let last_s = self.last_s;
        self.rows.retain(|(span, start_s, _), row| span.start_of(last_s) == *start_s || row.revision > row.written);
    }

    /// Rows that Postgres has not got as they are now, the longest spans first: they hold the most.
    fn next(&self, max: usize) -> Vec<(Key, u64)> {
        let changed = self.rows.iter().rev().filter(|(_, row)| row.revision > row.written);
        changed.take(max).map(|(key, row)| (*key, row.revision)).collect()
    }

    fn row(&self, (key, revision): &(Key, u64)) -> Option<KeptSpan<'_>> {
        let (span, start_s, app) = *key;
        let measures = &self.rows.get(key)?.measures;
        Some(KeptSpan { app, span, start_s, revision: *revision, measures })
    }

    fn spans(&self) -> Vec<(Span, u64)> {
        self.spans.keys().copied().collect()
    }

    /// Postgres has these.
    fn written(&mut self, told: &[(Key, u64)]) {
        self.spans.clear();
        for (key, revision) in told {
            if let Some(row) = self.rows.get_mut(key) {
                row.written = row.written.max(*revision);
            }
        }
    }

    fn waiting(&self) -> usize {
        self.rows.values().filter(|row| row.revision > row.written).count()
    }

    /// Lets go what is over the bound, and answers how many rows went whose figures nothing else holds.
    fn shrink(&mut self, bytes_max: usize) -> u64 {
        // A day of minutes, should Postgres be away longer than that.
        while self.spans.len() > 2_000 {
            self.spans.pop_first();
        }
        let mut bytes: usize = self.rows.values().map(|row| row.measures.bytes()).sum();
        let (mut lost, last_s) = (0, self.last_s);
        // In the order of the keys the shortest spans come first, and of those the oldest. What goes on stays: begun
        // anew, it would take the place of what Postgres has of it.
        self.rows.retain(|(span, start_s, _), row| {
            let goes = bytes > bytes_max && span.start_of(last_s) != *start_s;
            if goes {
                bytes -= row.measures.bytes();
                lost += u64::from(*span == Span::Hour);
            }
            !goes
        });
        lost
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::measures::{Flow, Stage};

    use super::*;

    const APP: AppId = AppId::from_bytes([7; 16]);

    fn reading(messages_in: u64) -> (AppId, Measures) {
        let mut read = Measures { flow: Flow { messages_in, ..Flow::default() }, ..Measures::default() };
        read.latency[Stage::Append as usize].record(40, messages_in);
        (APP, read)
    }

    /// What rows of one length hold together.
    fn sum(rows: &BTreeMap<Key, Measures>, span: Span) -> (u64, u64) {
        let of_span = rows.iter().filter(|((length, ..), _)| *length == span);
        of_span.fold((0, 0), |(messages, spans), (_, it)| {
            (messages + it.flow.messages_in, spans + it.of(Stage::Append).count())
        })
    }

    /// A Postgres that takes each row by its rule.
    #[derive(Default)]
    struct Taken(BTreeMap<Key, (u64, Measures)>);

    impl Taken {
        fn take(&mut self, buffer: &Buffer, told: &[(Key, u64)]) {
            for key in told {
                let kept = buffer.row(key).expect("what is told is there");
                let row = self.0.entry(key.0).or_default();
                if row.0 < kept.revision {
                    *row = (kept.revision, kept.measures.clone());
                }
            }
        }

        fn rows(&self) -> BTreeMap<Key, Measures> {
            self.0.iter().map(|(key, (_, measures))| (*key, measures.clone())).collect()
        }
    }

    #[test]
    fn every_length_of_span_holds_the_same_whatever_is_told_how_often() {
        let (mut buffer, mut taken) = (Buffer::default(), Taken::default());
        for turn in 1..=1_000_u64 {
            buffer.take_in(&[reading(turn * turn)], 1_000_000 + turn * 7);
            let told = buffer.next(3);
            taken.take(&buffer, &told);
            // Every third answer is lost: the same is told again.
            if turn % 3 > 0 {
                buffer.written(&told);
            }
        }
        while let told = buffer.next(5)
            && !told.is_empty()
        {
            taken.take(&buffer, &told);
            buffer.written(&told);
        }
        for span in Span::ALL {
            assert_eq!(sum(&taken.rows(), span), (1_000_000, 1_000_000), "{span:?}");
        }
        assert_eq!(buffer.waiting(), 0);
        buffer.take_in(&[reading(1_000_000)], 2_000_000);
        assert!(buffer.rows.is_empty(), "what is over and written is let go");
    }

    #[test]
    fn over_the_bound_short_spans_go_first_and_nothing_is_lost_while_longer_ones_hold_it() {
        let mut buffer = Buffer::default();
        for turn in 1..=2_000_u64 {
            buffer.take_in(&[reading(turn)], 1_000_000 + turn * 10);
            assert_eq!(buffer.shrink(40_000), 0);
        }
        let rows = |span| buffer.rows.keys().filter(|(length, ..)| *length == span).count();
        assert!(rows(Span::TenSeconds) == 1 && rows(Span::Hour) == 7, "{} of minutes", rows(Span::Minute));
        let whole: BTreeMap<Key, Measures> =
            buffer.rows.iter().map(|(key, row)| (*key, row.measures.clone())).collect();
        assert_eq!(sum(&whole, Span::Hour), (2_000, 2_000));
        assert!(buffer.shrink(0) > 0 && buffer.rows.len() == 3);
    }

    #[test]
    fn a_clock_that_goes_back_takes_no_figure_with_it() {
        let mut buffer = Buffer::default();
        buffer.take_in(&[reading(5)], 10_000);
        let told = buffer.next(9);
        buffer.written(&told);
        buffer.take_in(&[reading(9)], 6_400);
        assert!(buffer.rows.keys().all(|(span, start_s, _)| *start_s == span.start_of(10_000)));
        assert!(buffer.rows.values().all(|row| row.measures.flow.messages_in == 9 && row.revision > row.written));
    }
}
