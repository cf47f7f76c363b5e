//! What apps hold in Redis: each publish says what its channel is charged, and nodes settle that with the app's account.
//!
//! ```text
//!   publish ◀── left: the limit, less what is known of the account and what was charged since
//!      └──▶ ff_pub ─▶ report ─▶ waiting ──each 0.25 s, one call for an app──▶ ff_hold ─▶ known
//! ```
//!
//! The account is in another slot than the channels, so it is told afterwards: of a limit this node takes no more than it
//! knows to be left, and what several nodes take within a moment may together be a little more. A report is whole, and the
//! last of a channel counts, so one that is lost is made good by the next: at least twice a minute while it is published to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_core::id::AppId;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::answer::{self, Report};
use crate::functions::Functions;
use crate::lane::Lane;
use crate::names::PartitionKey;

/// How often accounts are settled.
const SETTLE_EVERY: Duration = Duration::from_millis(250);
/// How often an account is asked for of which a quarter or less is left: others may have made room.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How soon an account is asked for again that has refused.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// For how long an account is known that nobody uses.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// Channels that one call tells of.
const TOLD_MAX: usize = 1_000;
/// Channels of an app that wait to be told of. Until there is room its channels grow no more.
const WAITING_MAX: usize = 65_536;

/// What apps hold, as this node knows it. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Holdings(Arc<Inner>);

struct Inner {
    accounts: Mutex<HashMap<AppId, Account>>,
    partitions: PartitionKey,
    functions: Arc<Functions>,
    lane: Lane,
    /// An account is wanted now.
    wanted: Notify,
    tasks: TaskTracker,
}

struct Account {
    /// As Redis said last.
    known: Held,
    /// What is being told, and what waits to be.
    since: Held,
    waiting: HashMap<Box<str>, Charge>,
    is_asked: bool,
    /// A quarter or less is left.
    is_near: bool,
    told: Option<Instant>,
    used: Instant,
}

/// Bytes and channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    bytes: i64,
    channels: i64,
}

/// What an account is to be told of a channel.
struct Charge {
    bytes: u64,
    till_ms: u64,
    at_us: u64,
    /// What that is more than the account knows.
    more: Held,
}

impl Held {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.channels += other.channels;
    }

    fn take(&mut self, other: Self) {
        self.bytes -= other.bytes;
        self.channels -= other.channels;
    }
}

impl Account {
    fn new() -> Self {
        Self {
            known: Held::default(),
            since: Held::default(),
            waiting: HashMap::new(),
            is_asked: false,
            is_near: false,
            told: None,
            used: Instant::now(),
        }
    }

    /// What is left of limits.
    fn left(&mut self, bytes_max: u64, channels_max: u64) -> (u64, u64) {
        self.used = Instant::now();
        if self.waiting.len() >= WAITING_MAX {
            return (0, 0);
        }
        let left = |max: u64, known: i64, since: i64| max.saturating_sub(u64::try_from(known + since).unwrap_or(0));
        let bytes = left(bytes_max, self.known.bytes, self.since.bytes);
        let channels = left(channels_max, self.known.channels, self.since.channels);
        self.is_near = bytes <= bytes_max / 4 || channels <= channels_max / 4;
        (bytes, channels)
    }

    /// Has something of a channel wait to be told: of two words the later one, and what both are more.
    fn wait(&mut self, channel: Box<str>, charge: Charge) {
        match self.waiting.get_mut(&channel) {
            Some(waiting) => {
                let mut more = waiting.more;
                more.add(charge.more);
                if waiting.at_us < charge.at_us {
                    *waiting = charge;
                }
                waiting.more = more;
            }
            None => {
                self.waiting.insert(channel, charge);
            }
        }
    }

    fn is_due(&self) -> bool {
        let is_old = |age: Duration| self.told.is_none_or(|told| told.elapsed() >= age);
        !self.is_asked && (!self.waiting.is_empty() || self.told.is_none() || self.is_near && is_old(ASK_EVERY))
    }

    /// What is told now.
    fn begin(&mut self) -> Vec<(Box<str>, Charge)> {
        self.is_asked = true;
        if self.waiting.len() <= TOLD_MAX {
            return self.waiting.drain().collect();
        }
        let some: Vec<Box<str>> = self.waiting.keys().take(TOLD_MAX).cloned().collect();
        some.into_iter().filter_map(|channel| self.waiting.remove_entry(&channel)).collect()
    }

    /// What became of it.
    fn end(&mut self, told: Vec<(Box<str>, Charge)>, known: Option<(u64, u64)>) {
        self.is_asked = false;
        match known {
            Some((bytes, channels)) => {
                let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX / 2);
                self.known = Held { bytes: whole(bytes), channels: whole(channels) };
                self.told = Some(Instant::now());
                for (_, charge) in told {
                    self.since.take(charge.more);
                }
            }
            None => told.into_iter().for_each(|(channel, charge)| self.wait(channel, charge)),
        }
    }
}

impl Holdings {
    pub(crate) fn new(partitions: PartitionKey, functions: Arc<Functions>, lane: Lane, tasks: TaskTracker) -> Self {
        Self(Arc::new(Inner { accounts: Mutex::default(), partitions, functions, lane, wanted: Notify::new(), tasks }))
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<AppId, Account>> {
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes and channels an app has left, as far as is known.
    pub(crate) fn left(&self, app: AppId, bytes_max: u64, channels_max: u64) -> (u64, u64) {
        let mut accounts = self.accounts();
        let account = accounts.entry(app).or_insert_with(|| {
            self.0.wanted.notify_one();
            Account::new()
        });
        account.left(bytes_max, channels_max)
    }

    /// Takes what an answer reports of a channel, by the name of what is known of it.
    pub(crate) fn note(&self, app: AppId, channel: &str, report: Option<Report>) {
        let Some(Report { before, now, is_new, till_ms, at_us }) = report else { return };
        let more = Held { bytes: now.cast_signed() - before.cast_signed(), channels: i64::from(is_new) };
        let mut accounts = self.accounts();
        let account = accounts.entry(app).or_insert_with(Account::new);
        account.since.add(more);
        account.wait(channel.into(), Charge { bytes: now, till_ms, at_us, more });
    }

    /// A limit has refused: what is known is asked for again, unless it just was.
    pub(crate) fn refused(&self, app: AppId) {
        if let Some(account) = self.accounts().get_mut(&app)
            && account.told.is_some_and(|told| told.elapsed() >= ASK_AGAIN)
        {
            account.told = None;
            self.0.wanted.notify_one();
        }
    }

    /// Settles accounts until it is dropped.
    pub(crate) async fn settle_for_ever(self) {
        let mut again = interval(SETTLE_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = again.tick() => {}
                () = self.0.wanted.notified() => {}
            }
            let due: Vec<_> = {
                let mut accounts = self.accounts();
                accounts.retain(|_, account| {
                    account.is_asked || !account.waiting.is_empty() || account.used.elapsed() < KNOWN_FOR
                });
                let due = accounts.iter_mut().filter(|(_, account)| account.is_due());
                due.map(|(app, account)| (*app, account.begin())).collect()
            };
            for (app, told) in due {
                self.settle(app, told);
            }
        }
    }

    fn settle(&self, app: AppId, told: Vec<(Box<str>, Charge)>) {
        let mut call = self.0.functions.hold(&self.0.partitions.account(app));
        for (channel, Charge { bytes, till_ms, at_us, .. }) in &told {
            call.arg(&**channel).arg(*bytes).arg(*till_ms).arg(*at_us);
        }
        let (answered, holdings) = (self.0.lane.ask(call), self.clone());
        self.0.tasks.spawn(async move {
            let known = answer::held(answered.await);
            if let Err(error) = &known {
                debug!(%error, "what an app holds was not settled");
            }
            if let Some(account) = holdings.accounts().get_mut(&app) {
                account.end(told, known.ok());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(bytes: u64, more: i64, at_us: u64) -> Charge {
        Charge { bytes, till_ms: 9, at_us, more: Held { bytes: more, channels: 1 } }
    }

    fn noted(account: &mut Account, channel: &str, charge: Charge) {
        account.since.add(charge.more);
        account.wait(channel.into(), charge);
    }

    #[test]
    fn what_was_charged_counts_until_the_account_knows_it() {
        let mut account = Account::new();
        assert!(account.is_due(), "nothing is known of it yet");
        noted(&mut account, "a", charge(100, 100, 1));
        assert_eq!(account.left(1_000, 10), (900, 9));
        let told = account.begin();
        noted(&mut account, "b", charge(50, 50, 2));
        assert_eq!((account.left(1_000, 10), account.is_due()), ((850, 8), false));
        account.end(told, Some((400, 5)));
        assert_eq!(account.left(1_000, 10), (550, 4), "others have some, and what came since counts beside it");
        // What could not be told is told with what came since, the later word of each.
        let told = account.begin();
        noted(&mut account, "b", charge(70, 20, 4));
        noted(&mut account, "c", charge(1, 1, 5));
        account.end(told, None);
        assert_eq!(account.left(1_000, 10), (400 + 129, 2));
        let told = account.begin();
        let b = told.iter().find(|(channel, _)| &**channel == "b").expect("it waits");
        assert_eq!((b.1.bytes, b.1.more), (70, Held { bytes: 70, channels: 2 }));
        account.end(told, Some((471, 7)));
        assert_eq!((account.left(1_000, 10), account.since), ((529, 3), Held::default()));
        assert!(!account.is_due() && account.waiting.is_empty());
    }

    #[test]
    fn an_account_is_asked_for_where_little_is_left_and_told_in_parts_that_are_bounded() {
        let mut account = Account::new();
        account.end(Vec::new(), Some((740, 0)));
        account.left(1_000, 10);
        account.told = Instant::now().checked_sub(ASK_EVERY);
        assert!(!account.is_due(), "there is enough");
        account.end(Vec::new(), Some((750, 0)));
        account.left(1_000, 10);
        assert!(!account.is_due(), "it is just known");
        account.told = Instant::now().checked_sub(ASK_EVERY);
        assert!(account.is_due());
        for channel in 0..WAITING_MAX {
            noted(&mut account, &channel.to_string(), charge(0, 0, 1));
        }
        assert_eq!(account.left(1 << 40, 1 << 40), (0, 0));
        assert_eq!((account.begin().len(), account.waiting.len()), (TOLD_MAX, WAITING_MAX - TOLD_MAX));
    }
}
