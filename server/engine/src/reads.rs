//! Reads of one page that many ask for at once: the broker is asked once for all of them.
//!
//! When a node or a link was lost, every subscriber of a channel comes back and asks for what followed the same
//! message. Who asks while such a read is under way does *not* share it: it may have looked before the asker began to
//! hold what is pushed, and what was published in between would then be in neither. All who ask meanwhile share the next
//! one, which begins when the one under way has ended. So a storm costs a channel two reads, one after the other,
//! however many ask.
//!
//! ```text
//!   ask ──▶ read ───────────▶ answer
//!        ask ask ask ┄┄┄┄┄┄┄┄▶ read ───────────▶ one answer for all three
//! ```
//!
//! A broker that answers at once is not waited for, and has nothing to share: in memory a page is a bounded copy of
//! pointers under the channel's lock, which costs less than meeting others would.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_core::ChannelKey;
use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};

use crate::broker::{Broker, BrokerError, Page, Pending, Read, Start};

type Answer = Result<Page, BrokerError>;
type Flight = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The reads under way, by what they read.
#[derive(Default)]
pub(crate) struct Reads {
    under_way: Mutex<HashMap<Wanted, UnderWay>>,
    /// How many stand in the map, so that nobody takes its lock for nothing.
    count: AtomicUsize,
    asked: AtomicU64,
    made: AtomicU64,
}

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    channel: ChannelKey,
    start: Start,
    messages_max: u32,
    bytes_max: u64,
}

struct UnderWay {
    number: u64,
    /// Whether it may have looked already.
    begun: bool,
    answer: WeakShared<Flight>,
}

/// Takes a read off the list when it has ended, or when nobody waits for it any more.
struct Landing {
    reads: Arc<Reads>,
    wanted: Wanted,
    number: u64,
}

impl Reads {
    /// A page as it is now or later, read for this caller and whoever asks for the same at this moment.
    pub(crate) fn read(
        self: &Arc<Self>,
        broker: &Arc<dyn Broker>,
        channel: &ChannelKey,
        read: Read,
    ) -> Pending<Answer> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.count.load(Ordering::Acquire) > 0
            && let Some(shared) = self.join(broker, channel, read)
        {
            return Pending::Later(Box::pin(shared));
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        // Not under our lock: a broker that is local does all of its work here.
        match broker.read(channel, read) {
            Pending::Ready(page) => Pending::Ready(page),
            Pending::Later(page) => {
                let (mut under_way, wanted) = (self.under_way(), Wanted::of(channel, read));
                if under_way.get(&wanted).is_some_and(|other| other.answer.upgrade().is_some()) {
                    // Somebody was faster between the look and here: both read, which is rare and harms nobody.
                    return Pending::Later(page);
                }
                Pending::Later(Box::pin(self.enter(&mut under_way, wanted, true, |_landing| page)))
            }
        }
    }

    /// How many pages were asked for, and how many of them were read.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.asked.load(Ordering::Relaxed), self.made.load(Ordering::Relaxed))
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Wanted, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shares the read that has not begun, or makes the one that follows it.
    fn join(self: &Arc<Self>, broker: &Arc<dyn Broker>, channel: &ChannelKey, read: Read) -> Option<Shared<Flight>> {
        let wanted = Wanted::of(channel, read);
        let mut under_way = self.under_way();
        let UnderWay { begun, answer, .. } = under_way.get(&wanted)?;
        let (begun, before) = (*begun, answer.upgrade()?);
        if !begun {
            return Some(before);
        }
        let (broker, channel, reads) = (Arc::clone(broker), channel.clone(), Arc::clone(self));
        Some(self.enter(&mut under_way, wanted, false, |landing| {
            Box::pin(async move {
                // What it found is for others; and where it failed, this one may not.
                let _its_own = before.await;
                reads.begin(&landing);
                broker.read(&channel, read).wait().await
            })
        }))
    }

    /// Puts a read on the list.
    fn enter(
        self: &Arc<Self>,
        under_way: &mut HashMap<Wanted, UnderWay>,
        wanted: Wanted,
        begun: bool,
        flight: impl FnOnce((Wanted, u64)) -> Flight,
    ) -> Shared<Flight> {
        let number = under_way.get(&wanted).map_or(0, |before| before.number + 1);
        let landing = Landing { reads: Arc::clone(self), wanted: wanted.clone(), number };
        let flight = flight((wanted.clone(), number));
        let whole: Flight = Box::pin(async move {
            let _landing = landing;
            flight.await
        });
        let shared = whole.shared();
        if let Some(answer) = shared.downgrade() {
            under_way.insert(wanted, UnderWay { number, begun, answer });
            self.count.store(under_way.len(), Ordering::Release);
        }
        shared
    }

    /// From here on a read may have looked: who asks now must wait for another.
    fn begin(&self, (wanted, number): &(Wanted, u64)) {
        self.made.fetch_add(1, Ordering::Relaxed);
        if let Some(read) = self.under_way().get_mut(wanted).filter(|read| read.number == *number) {
            read.begun = true;
        }
    }
}

impl Wanted {
    fn of(channel: &ChannelKey, read: Read) -> Self {
        // The moment is not compared: pages of one moment are what is shared.
        let Read { start, messages_max, bytes_max, now_ms: _ } = read;
        Self { channel: channel.clone(), start, messages_max, bytes_max }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut under_way = self.reads.under_way();
        if under_way.get(&self.wanted).is_some_and(|read| read.number == self.number) {
            under_way.remove(&self.wanted);
        }
        self.reads.count.store(under_way.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Append, Appended, Remove};
    use fanfare_core::id::AppId;
    use fanfare_core::{ChannelName, Lineage};
    use tokio::sync::Semaphore;

    /// Looks at once when it is asked, and answers when it is let.
    struct Slow {
        top: AtomicU64,
        reads: AtomicU64,
        gate: Arc<Semaphore>,
        fails: AtomicU64,
    }

    impl Broker for Slow {
        fn publish(&self, _: &ChannelKey, _: Append) -> Pending<Result<Appended, BrokerError>> {
            Pending::Ready(Err(BrokerError::Unavailable))
        }

        fn read(&self, _: &ChannelKey, _: Read) -> Pending<Answer> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let failed = self.fails.load(Ordering::Relaxed) > 0;
            let top = self.top.load(Ordering::Relaxed);
            let page = Page {
                lineage: Lineage { epoch: 1, term: 1, nonce: 1 },
                top,
                first: 1,
                messages: Vec::new(),
                earlier: Vec::new(),
            };
            let gate = Arc::clone(&self.gate);
            Pending::Later(Box::pin(async move {
                gate.acquire().await.map_err(|_| BrokerError::Unavailable)?.forget();
                if failed { Err(BrokerError::Unavailable) } else { Ok(page) }
            }))
        }

        fn remove(&self, _: &ChannelKey, _: Remove) -> Pending<Result<u64, BrokerError>> {
            Pending::Ready(Err(BrokerError::Unavailable))
        }

        fn attach(&self, _: &ChannelKey) -> Pending<Result<(), BrokerError>> {
            Pending::Ready(Ok(()))
        }

        fn detach(&self, _: &ChannelKey, _: &dyn Fn() -> bool) {}

        fn sweep(&self, _: u64) {}
    }

    struct Bench {
        slow: Arc<Slow>,
        broker: Arc<dyn Broker>,
        reads: Arc<Reads>,
    }

    impl Bench {
        fn new() -> Self {
            let gate = Arc::new(Semaphore::new(0));
            let slow = Arc::new(Slow { top: 5.into(), reads: 0.into(), gate, fails: 0.into() });
            Self { broker: Arc::clone(&slow) as Arc<dyn Broker>, slow, reads: Arc::default() }
        }

        fn ask(&self, channel: &str, after: u64) -> Flight {
            let key = ChannelKey::from_broker(AppId::new(1, 1), ChannelName::parse(channel).expect("valid"));
            let read = Read { start: Start::After(after), messages_max: 9, bytes_max: 9, now_ms: after };
            Box::pin(self.reads.read(&self.broker, &key, read).wait())
        }

        fn reads(&self) -> u64 {
            self.slow.reads.load(Ordering::Relaxed)
        }
    }

    fn top(answer: Option<Answer>) -> u64 {
        answer.expect("answered").expect("read").top
    }

    #[tokio::test]
    async fn a_thousand_that_ask_at_once_cost_two_reads() {
        let bench = Bench::new();
        let mut asked: Vec<Flight> = (0..1_000).map(|_| bench.ask("a", 3)).collect();
        for one in &mut asked {
            assert!(one.as_mut().now_or_never().is_none());
        }
        bench.slow.gate.add_permits(2);
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|page| page.top == 5)));
        assert_eq!((bench.reads(), bench.reads.counts()), (2, (1_000, 2)));
        assert!(bench.reads.under_way().is_empty(), "nothing is left on the list");
    }

    /// The race that sharing a read under way would bring in: its page was taken before the asker began to hold pushes.
    #[tokio::test]
    async fn who_asks_late_sees_what_was_published_before_it_asked() {
        let bench = Bench::new();
        let mut early = bench.ask("a", 3);
        assert!(early.as_mut().now_or_never().is_none());
        bench.slow.top.store(6, Ordering::Relaxed);
        let (mut late, mut later) = (bench.ask("a", 3), bench.ask("a", 3));
        assert!(late.as_mut().now_or_never().is_none() && later.as_mut().now_or_never().is_none());
        bench.slow.gate.add_permits(2);
        assert_eq!(top(early.now_or_never()), 5, "it asked before");
        assert_eq!(top(late.as_mut().now_or_never()), 6);
        // Once the second read has begun, it is too early for whoever asks then.
        bench.slow.top.store(7, Ordering::Relaxed);
        assert_eq!(top(later.now_or_never()), 6);
        bench.slow.gate.add_permits(1);
        assert_eq!(top(bench.ask("a", 3).now_or_never()), 7);
        assert_eq!(bench.reads(), 3);
    }

    #[tokio::test]
    async fn other_pages_and_channels_are_read_for_themselves() {
        let bench = Bench::new();
        bench.slow.gate.add_permits(3);
        let asked = [bench.ask("a", 3), bench.ask("a", 4), bench.ask("b", 3)];
        futures_util::future::join_all(asked).await;
        assert_eq!(bench.reads(), 3);
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_any_more_is_forgotten() {
        let bench = Bench::new();
        let (mut first, mut second) = (bench.ask("a", 3), bench.ask("a", 3));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(first);
        // It goes on for the one that follows, and its failure is not that one's.
        bench.slow.gate.add_permits(2);
        assert_eq!(top(second.now_or_never()), 5);
        let mut third = bench.ask("a", 3);
        assert!(third.as_mut().now_or_never().is_none());
        drop(third);
        assert!(bench.reads.under_way().is_empty());
        assert_eq!(bench.reads.count.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_those_who_shared_it_and_to_nobody_after() {
        let bench = Bench::new();
        bench.slow.fails.store(1, Ordering::Relaxed);
        let mut first = bench.ask("a", 3);
        assert!(first.as_mut().now_or_never().is_none());
        bench.slow.fails.store(0, Ordering::Relaxed);
        let second = bench.ask("a", 3);
        bench.slow.gate.add_permits(2);
        assert_eq!(first.now_or_never().expect("answered"), Err(BrokerError::Unavailable));
        assert_eq!(top(second.now_or_never()), 5);
    }
}
