//! A connection's commands: what each does, and how a subscription catches up. How one begins is in `opening.rs`.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::problem::Problem;
use fanfare_core::{ChannelKey, ChannelName, ErrorCode, Operation, Position};
use fanfare_protocol::Frame;
use fanfare_protocol::native::{
    self, Command, CommandError, CommandKind, Direction, Gap, GapReason, History, HistoryOk, PublishedOk, Reply,
};
use futures_util::FutureExt;

use super::events::About;
use super::opening::Opening;
use super::{Connection, Done, Inflight, Parting, Phase};
use crate::broker::{BrokerError, Page, Pending, Read, Start};
use crate::error::NodeError;
use crate::hub::Channel;
use crate::node::{self, Asked, HistoryQuery, by, refused};
use crate::outbox::{Delivery, Dropped, Flushed, PUSH_BYTES_MAX, Ticket, Turn, Wrote};
use crate::session::Near;
use crate::stats::AppStats;
use crate::subscription::{Loss, Turned};
use crate::usage::is_near;

/// Messages and bytes of one catch-up page: bounded frames with live traffic after them.
const PAGE_MESSAGES: u32 = 256;
const PAGE_BYTES: u64 = 128 * 1024;
/// After a failed read, the first wait and the longest.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Below this many waiting bytes a slow client is given the next page.
const CATCH_UP_BELOW: usize = PUSH_BYTES_MAX / 4;

impl Connection {
    pub(super) fn on_text(&mut self, text: &str) {
        for command in native::parse(text) {
            if self.backlog.is_empty() && !self.is_busy() {
                self.run(command);
            } else {
                self.backlog.push_back(command);
            }
        }
    }

    pub(super) fn run(&mut self, command: Result<Command, CommandError>) {
        if self.phase != Phase::Open || self.close_with.is_some() {
            return;
        }
        match command {
            Ok(command) => self.on_command(command),
            Err(error) => self.refuse(error.id, &error.problem),
        }
    }

    fn on_command(&mut self, command: Command) {
        let Command { id, kind } = command;
        let about = self.about(&kind);
        self.commands += 1;
        let app = self.entry.app();
        let admitted = self.session.admit(&kind, &app, self.node.clock.monotonic());
        let outcome = match admitted {
            Err(error) => Err(error),
            Ok(drawn) => {
                if let Some(drawn) = drawn {
                    self.drawn(drawn);
                }
                self.carry_out(id, kind)
            }
        };
        if let Err(error) = outcome {
            self.failed(id, &error, about.as_ref());
        }
    }

    pub(super) fn failed(&mut self, id: u64, error: &NodeError, about: Option<&About>) {
        self.refuse_about(Some(id), &error.problem(), about);
    }

    /// So much of a limit is used now.
    pub(super) fn drawn(&mut self, drawn: Near) {
        self.entry.usage.seen(drawn.limit, drawn.used);
        if is_near(drawn.used, drawn.max) {
            self.tell_near(drawn);
        }
    }

    fn carry_out(&mut self, id: u64, kind: CommandKind) -> Result<(), NodeError> {
        match kind {
            CommandKind::Connect(connect) => self.connect(id, connect),
            CommandKind::Refresh(refresh) => self.refresh(id, refresh),
            CommandKind::Subscribe(subscribe) => self.subscribe(id, subscribe),
            CommandKind::Unsubscribe { channel } => self.unsubscribe(id, &channel),
            CommandKind::Publish(publish) => self.publish(id, *publish),
            CommandKind::Presence(presence) => self.presence(id, presence),
            CommandKind::History(history) => self.history(id, history),
            CommandKind::Ping => {
                self.answer(id, &Reply::Pong { time: self.node.clock.unix_ms() });
                Ok(())
            }
        }
    }

    pub(super) fn answer(&mut self, id: u64, reply: &Reply) {
        self.reply(&native::reply(id, reply));
    }

    pub(super) fn refuse(&mut self, id: Option<u64>, problem: &Problem) {
        self.refuse_about(id, problem, None);
    }

    pub(super) fn refuse_about(&mut self, id: Option<u64>, problem: &Problem, about: Option<&About>) {
        self.tell_refused(problem, about);
        self.entry.stats.refused(problem.code, problem.limit);
        self.reply(&native::error(id, problem));
        // Before connect a refusal is the end: the close code says whether to come back, and with what.
        if self.session.subject().is_none() {
            self.close_with = Some(problem.code);
        }
    }

    pub(super) fn read(&self, start: Start) -> Read {
        Read { start, messages_max: PAGE_MESSAGES, bytes_max: PAGE_BYTES, now_ms: self.node.clock.unix_ms() }
    }

    pub(super) fn request_page(&mut self, ticket: Ticket, key: &ChannelKey, read: Read, opening: Option<Box<Opening>>) {
        match self.node.read(key, read) {
            Pending::Ready(page) => self.on_done(Done::Page { ticket, opening, page }),
            Pending::Later(page) => {
                self.inflight.push(Box::pin(async move { Done::Page { ticket, opening, page: page.await } }));
            }
        }
    }

    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Reply(frame) => self.reply(&frame),
            Done::Listed(frame) => {
                self.listing -= 1;
                self.reply(&frame);
            }
            Done::Verified(done) => {
                let (then, verified) = *done;
                self.on_verified(then, verified);
            }
            Done::Retry => {
                self.retrying = false;
                self.catch_up = true;
            }
            Done::Page { ticket, opening, page } => match (self.outbox.channel(ticket), opening) {
                (Some(_), Some(opening)) => self.opened(ticket, &opening, page),
                (Some(channel), None) => self.continued(ticket, &channel, page),
                (None, Some(opening)) => self.refuse_ended(&opening),
                (None, None) => {}
            },
        }
    }

    fn continued(&mut self, ticket: Ticket, channel: &Channel, page: Result<Page, BrokerError>) {
        match page {
            Ok(page) => {
                self.failures = 0;
                self.continue_with(ticket, channel.key(), &page);
            }
            Err(_) => {
                self.outbox.not_read(ticket);
                self.read_again();
            }
        }
    }

    /// A read failed: what is behind is read again after a wait, which grows while reads fail.
    pub(super) fn read_again(&mut self) {
        if std::mem::replace(&mut self.retrying, true) {
            return;
        }
        let wait = retry_after(self.failures, self.node.chance.next());
        self.failures = self.failures.saturating_add(1);
        self.inflight.push(Box::pin(async move {
            pause(wait).await;
            Done::Retry
        }));
    }

    /// Hands out the next page of a subscription that catches up.
    fn continue_with(&mut self, ticket: Ticket, key: &ChannelKey, page: &Page) {
        let (node, entry) = (&self.node, &self.entry);
        let turn = Turn { page, accepted: node.clock.monotonic(), place: None, catches_up: true };
        let outcome = self.outbox.open(ticket, &turn, |turned: &Turned<Arc<Delivery>>| {
            if turned.lost.is_some() {
                AppStats::add(&entry.stats.not_recovered, 1);
            }
            told_frame(node, key, turned)
        });
        self.turned(outcome);
    }

    /// A page was handed out.
    pub(super) fn turned(&mut self, (wrote, again): (Wrote, bool)) {
        self.wrote(wrote);
        self.catch_up |= again;
    }

    /// Reads the next page of every subscription that is behind, while the client keeps up.
    pub(super) fn catch_up(&mut self) -> bool {
        if !self.catch_up || self.parting != Parting::No || self.phase != Phase::Open {
            return false;
        }
        match self.outbox.flush() {
            Flushed::Waiting(bytes) if bytes > CATCH_UP_BELOW || self.outbox.is_over_budget() => {
                // The socket tells when it takes more; the flag stays.
                self.blocked = true;
                return false;
            }
            Flushed::Empty if self.outbox.keeps_back() => self.pour(),
            Flushed::Empty | Flushed::Waiting(_) | Flushed::Gone => {}
        }
        // Pages and what waits by policy go by turns, or one would starve the other.
        if self.outbox.keeps_back() && !std::mem::take(&mut self.poured) {
            return false;
        }
        self.catch_up = false;
        let wanting = self.outbox.wanting();
        let share = self.share(wanting.len());
        if share == 0 {
            // The flag stays for the next second.
            self.catch_up = true;
            self.wait_for_pace();
            return false;
        }
        for wanted in wanting {
            if self.outbox.waiting() > CATCH_UP_BELOW {
                self.catch_up = true;
                break;
            }
            if let Some(ticket) = self.outbox.reading(wanted.slot) {
                let read = Read { messages_max: share, ..self.read(Start::After(wanted.position.seq)) };
                self.request_page(ticket, wanted.channel.key(), read, None);
            }
        }
        true
    }

    /// How many messages each of so many subscriptions may read now, so that all come forward.
    fn share(&self, wanting: usize) -> u32 {
        let left = self.outbox.left(self.node.clock.monotonic()).unwrap_or(usize::MAX);
        let share = if left == 0 { 0 } else { (left / wanting.max(1)).max(1) };
        u32::try_from(share).unwrap_or(u32::MAX).min(PAGE_MESSAGES)
    }

    fn unsubscribe(&mut self, id: u64, channel: &ChannelName) -> Result<(), NodeError> {
        let Some(slot) = self.session.unsubscribed(channel) else {
            return Err(NodeError::Invalid(Box::new(not_subscribed(channel))));
        };
        self.leave(slot);
        self.leave_presence(channel);
        self.tell_unsubscribed(channel, None);
        self.answer(id, &Reply::Unsubscribed);
        Ok(())
    }

    fn publish(&mut self, id: u64, publish: native::Publish) -> Result<(), NodeError> {
        let caller = self.caller_on(&publish.channel, Operation::Publish)?;
        let accepted = self.node.clock.monotonic();
        let (key, pending) = self.node.begin_publish(&caller, &publish.channel, publish.draft, accepted)?;
        match pending {
            Pending::Ready(appended) => {
                let published = self.node.published(&key, appended?);
                self.node.acknowledged(&self.entry, accepted);
                self.answer(id, &published_reply(published));
            }
            Pending::Later(future) => {
                let (node, entry) = (Arc::clone(&self.node), Arc::clone(&self.entry));
                self.inflight.push(Box::pin(async move {
                    let frame = match node.counted(&entry, future.await) {
                        Ok(appended) => {
                            node.acknowledged(&entry, accepted);
                            native::reply(id, &published_reply(node.published(&key, appended)))
                        }
                        Err(error) => native::error(Some(id), &error.problem()),
                    };
                    Done::Reply(frame)
                }));
            }
        }
        Ok(())
    }

    fn history(&mut self, id: u64, history: History) -> Result<(), NodeError> {
        let caller = self.caller_on(&history.channel, Operation::History)?.into_owned();
        let node = Arc::clone(&self.node);
        let direction = match history.direction {
            Direction::Backward => node::Direction::Backward,
            Direction::Forward => node::Direction::Forward,
        };
        let from = history.from.map(node::HistoryFrom::Position);
        let query = HistoryQuery { from, until: None, direction, limit: history.limit };
        let mut read: Inflight = Box::pin(async move {
            let frame = match node.history(&caller, &history.channel, query).await {
                Ok(page) => native::reply(
                    id,
                    &Reply::History(HistoryOk {
                        channel: history.channel,
                        lineage: page.lineage,
                        messages: page.messages,
                        truncated: page.truncated,
                        next: page.next,
                    }),
                ),
                Err(error) => {
                    let problem = error.problem();
                    let asked = Asked { operation: Some("history"), channel: Some(&history.channel), request: None };
                    node.happened(&caller.entry, || refused(&problem, asked, by(&caller)));
                    native::error(Some(id), &problem)
                }
            };
            Done::Listed(frame)
        });
        self.listing += 1;
        // What is local is there at once, and must be weighed before the next command is run.
        match read.as_mut().now_or_never() {
            Some(done) => self.on_done(done),
            None => self.inflight.push(read),
        }
        Ok(())
    }
}

/// How long to wait after so many failures in a row: doubling to a bound, drawn between half and whole so that
/// connections do not come as one.
fn retry_after(failures: u8, dice: f64) -> Duration {
    let whole = RETRY_MIN * 2_u32.pow(u32::from(failures.min(8)));
    whole.min(RETRY_MAX).mul_f64(dice.mul_add(0.5, 0.5))
}

#[expect(clippy::disallowed_methods, reason = "a back-off: a broker that failed shall not be asked again at once")]
async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

pub(super) fn not_subscribed(channel: &ChannelName) -> Problem {
    Problem::new(ErrorCode::NotSubscribed, format!("This connection is not subscribed to {channel}."))
}

fn published_reply(published: node::Published) -> Reply {
    Reply::Published(PublishedOk {
        id: published.id,
        position: published.position,
        durability: published.durability.as_str(),
        duplicate: published.duplicate,
    })
}

pub(super) fn gap(node: &node::Node, key: &ChannelKey, (loss, from): (Loss, Position), to: Position) -> Gap {
    let reason = match loss {
        Loss::EpochChanged => GapReason::EpochChanged,
        Loss::Diverged => GapReason::Diverged,
        Loss::Truncated => GapReason::Truncated,
    };
    Gap { reason, from: node.tell(key, from), to: node.tell(key, to) }
}

pub(super) fn told_frame(node: &node::Node, key: &ChannelKey, turned: &Turned<Arc<Delivery>>) -> Option<Frame> {
    let Position { lineage, seq } = turned.from;
    let lineage = || node.lineage(key, lineage);
    match turned.lost {
        Some(lost) => Some(native::push_recovery(key.channel(), &gap(node, key, lost, turned.from), &lineage(), seq)),
        None => turned.moved.then(|| native::push_continued(key.channel(), &lineage(), seq)),
    }
}

/// Says what a slow client was not sent.
pub(super) fn gap_frame(node: &node::Node, key: &ChannelKey, dropped: &Dropped) -> Frame {
    native::push_gap(key.channel(), &node.tell(key, dropped.from), &node.tell(key, dropped.to), dropped.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_after_failed_reads_double_to_a_bound_and_differ() {
        let ms = |failures, dice| retry_after(failures, dice).as_millis();
        assert_eq!([0, 1, 2, 3].map(|failures| ms(failures, 1.0)), [100, 200, 400, 800]);
        assert_eq!([5, 9, u8::MAX].map(|failures| ms(failures, 1.0)), [2_000; 3]);
        assert_eq!((ms(0, 0.0), ms(9, 0.0)), (50, 1_000));
    }
}
