//! One client's task: it reads, runs commands, writes what the socket refused, and looks again at rights when told.
//!
//! ```text
//!   told (app changed, due, draining) ─► finished commands ─► queued bytes ─► catching up ─► commands, next frames
//! ```
//!
//! In that order, so that nothing new is read for a client whose rights are in doubt, and what is owed goes before what
//! is asked. Each round does a bounded part of each. Several commands may be in flight; those of one channel are handed
//! to the broker in the order in which they came. Between commands the task holds nothing but its session.

mod carried;
mod commands;
mod ending;
mod events;
mod heartbeat;
mod limits;
mod opening;
mod orders;
mod presence;
mod tokens;
mod welcome;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fanfare_core::measures::Ending;
use fanfare_core::problem::Problem;
use fanfare_core::{ErrorCode, Limit};
use fanfare_protocol::Frame;
use fanfare_protocol::native::{self, Command, CommandError};

use crate::broker::{BrokerError, Page};
use crate::caller::Caller;
use crate::directory::{AppEntry, ConnectionPermit};
use crate::error::NodeError;
use crate::ingress;
use crate::node::{Handshake, MOVE_WITHIN_MS, Node};
use crate::outbox::{CORKED_BYTES_MAX, Flushed, Manner, Outbox, PUSH_BYTES_MAX, Signal, Signals, Ticket};
use crate::session::{Session, Verdict};
use crate::stats::AppStats;
use crate::token::VerifiedToken;
use crate::transport::{Inbound, Reader, ReceiveError};
use crate::turn;

/// Commands whose answers may be awaited at one moment; more wait, and nothing is read.
const INFLIGHT_MAX: usize = 64;
/// Those among them that may each be answered by a page of a quarter of a megabyte.
const LISTING_MAX: u8 = 2;
/// Rounds of one poll before other tasks have their turn.
const ROUNDS: usize = 8;
/// WebSocket: going well, RFC 6455 §7.4.1.
const NORMAL: u16 = 1000;

/// Serves one connection from its handshake to its end.
///
/// No `async fn`: that would keep a second place for every argument in each idle connection's task.
pub(crate) fn serve<R: Reader>(
    node: Arc<Node>,
    permit: ConnectionPermit,
    handshake: Handshake,
    mut reader: R,
    outbox: Arc<Outbox>,
) -> impl Future<Output = ()> + Send {
    let entry = Arc::clone(&permit.entry);
    entry.register(&outbox);
    let mut connection = Connection {
        session: Session::default(),
        caller: None,
        arriving: Some(Box::new(Arriving { handshake, since: node.clock.monotonic() })),
        inflight: Vec::new(),
        listing: 0,
        replies: Vec::new(),
        replies_bytes: 0,
        backlog: VecDeque::new(),
        phase: Phase::Open,
        verifying: false,
        blocked: false,
        catch_up: false,
        retrying: false,
        failures: 0,
        parting: Parting::No,
        poured: false,
        gives_way: false,
        commands: 0,
        close_with: None,
        probed_us: None,
        probed_s: 0,
        ending: Ending::Lost,
        heard_s: node.second(),
        outbox,
        entry,
        _permit: permit,
        node,
    };
    connection.start();
    poll_fn(move |context| connection.poll(&mut reader, context))
}

/// What a command that had to wait has come to.
enum Done {
    /// Its answer.
    Reply(Frame),
    /// The answer of one that lists messages or members.
    Listed(Frame),
    /// A token that the command it came with waited for.
    Verified(Box<(tokens::Then, Result<VerifiedToken, NodeError>)>),
    /// The wait after a failed read is over.
    Retry,
    /// A page for a subscription; `id` is the subscribe command's, if it is not answered yet.
    Page { ticket: Ticket, opening: Option<Box<opening::Opening>>, page: Result<Page, BrokerError> },
}

type Inflight = Pin<Box<dyn Future<Output = Done> + Send>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A goodbye was said; until this second what waits is written and the peer's end awaited. Nothing more is said.
    Closing {
        until_s: u32,
    },
    Ended,
}

/// Whether nothing more is read, and what becomes of the connection once what was begun is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    No,
    /// It ends, because the node goes away.
    Moves,
    /// The client takes a ticket, and goes on with its next request.
    Pauses,
}

/// What is remembered until `connect`.
struct Arriving {
    handshake: Handshake,
    since: Duration,
}

struct Connection {
    node: Arc<Node>,
    entry: Arc<AppEntry>,
    outbox: Arc<Outbox>,
    session: Session,
    /// Who asks, once connected.
    caller: Option<Caller>,
    arriving: Option<Box<Arriving>>,
    inflight: Vec<Inflight>,
    /// How many of them list messages or members: each may be answered by a page.
    listing: u8,
    /// Answers that are not written yet, written together.
    replies: Vec<Bytes>,
    replies_bytes: usize,
    /// Commands of the last read that wait until the client has taken more of what it is owed. Answers can be large, and
    /// one read holds a thousand commands.
    backlog: VecDeque<Result<Command, CommandError>>,
    phase: Phase,
    /// A token is being verified: nothing else runs until it is.
    verifying: bool,
    blocked: bool,
    catch_up: bool,
    /// A read failed, and another waits its time.
    retrying: bool,
    /// How many failed in a row.
    failures: u8,
    parting: Parting,
    /// What waits by policy had its turn since the last page.
    poured: bool,
    /// Others have their turn before this client is read again.
    gives_way: bool,
    /// Commands that were run since they were counted.
    commands: u32,
    /// A command ended the session: close with this once its answer is written.
    close_with: Option<ErrorCode>,
    /// A probe is on its way, since this moment: microseconds of the monotonic clock, of which the lowest bits suffice.
    probed_us: Option<NonZeroU32>,
    /// The same moment in seconds.
    probed_s: u32,
    /// How it ends, as far as that is known.
    ending: Ending,
    /// When something was last heard.
    heard_s: u32,
    _permit: ConnectionPermit,
}

impl Connection {
    fn start(&mut self) {
        let ticket = self.arriving.as_mut().and_then(|arriving| arriving.handshake.ticket.take());
        self.node.links.opened(self.outbox.wire());
        if ticket.is_none() {
            AppStats::add(&self.entry.stats.connects, 1);
        }
        // Something may have changed between admission and registration.
        self.outbox.signal(Signal::Recheck);
        let within = u32::try_from(self.node.options.connect_within.as_secs()).unwrap_or(u32::MAX / 2);
        self.outbox.tick_at(self.heard_s.saturating_add(within));
        if self.node.is_draining() {
            self.outbox.signal(Signal::Drain);
        }
        if let Some(ticket) = ticket {
            self.come_along(*ticket);
        }
    }

    fn poll<R: Reader>(&mut self, reader: &mut R, context: &mut Context<'_>) -> Poll<()> {
        self.outbox.register(context.waker());
        for _ in 0..ROUNDS {
            let signals = self.outbox.take_signals();
            self.on_signals(signals, reader);
            let mut moved = self.poll_inflight(context);
            moved |= self.poll_queue(reader, context);
            moved |= self.catch_up();
            moved |= self.run_backlog(reader);
            moved |= self.poll_input(reader, context);
            if let Some(code) = self.close_with.take() {
                self.close(reader, code);
            }
            let is_done = self.phase == Phase::Open && self.inflight.is_empty() && self.backlog.is_empty();
            if self.parting != Parting::No && is_done {
                // What was published by the last commands reaches its publisher too.
                self.node.hub.run_ready();
                match self.parting {
                    Parting::Pauses => self.pause(),
                    Parting::Moves | Parting::No => self.close(reader, ErrorCode::Moving),
                }
                // Another round: nothing was read while it parted, and the peer's goodbye must be seen.
                moved = true;
            }
            if self.phase == Phase::Ended {
                self.outbox.flush();
                turn::step(&self.node.hub);
                return Poll::Ready(());
            }
            if !moved {
                self.cork_replies(reader);
                turn::step(&self.node.hub);
                if std::mem::take(&mut self.gives_way) {
                    context.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            // Many answers would keep the next round from reading, and nothing would wake this task again.
            if self.replies_bytes > CORKED_BYTES_MAX {
                self.send_replies(reader);
            }
        }
        self.send_replies(reader);
        turn::step(&self.node.hub);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn on_signals(&mut self, signals: Signals, reader: &impl Reader) {
        self.blocked |= signals.has(Signal::Blocked);
        self.catch_up |= signals.has(Signal::CatchUp);
        if signals.has(Signal::Superseded) {
            self.close(reader, ErrorCode::Superseded);
        }
        if signals.has(Signal::Recheck) {
            self.recheck(reader);
        }
        if signals.has(Signal::Slow) {
            self.close(reader, ErrorCode::SlowConsumer);
        }
        if signals.has(Signal::Shed) {
            self.close(reader, ErrorCode::Overloaded);
        }
        if signals.has(Signal::Ordered) {
            self.outbox.take_orders().into_iter().for_each(|order| self.obey(order, reader));
        }
        if signals.has(Signal::Drain) {
            self.ask_to_move(reader);
        }
        if signals.has(Signal::Part) && self.parting == Parting::No {
            self.parting = Parting::Moves;
        }
        if signals.has(Signal::Cut) {
            self.phase = Phase::Ended;
        }
        if signals.has(Signal::Tick) {
            self.tick(reader);
        }
    }

    /// Looks again at every right after a change of the app.
    fn recheck(&mut self, reader: &impl Reader) {
        let app = self.entry.app();
        self.outbox.retune(|channel| Manner::of(app.settings_of(channel)));
        match self.session.recheck(&app, self.node.clock.unix_ms()) {
            Verdict::Close(code) => self.close(reader, code),
            Verdict::Stay(lost) => {
                for (channel, slot, problem) in lost {
                    self.leave(slot);
                    self.tell_unsubscribed(&channel, Some(problem.code));
                    self.leave_presence(&channel);
                    self.reply(&native::push_unsubscribed(&channel, &problem));
                }
                self.renew_caller();
                self.recheck_presence();
                self.set_pace();
                // A key may end sooner than it did, or the heartbeat be a shorter one.
                if self.session.subject().is_some() {
                    self.outbox.tick_by(self.due_s(self.node.second()));
                }
            }
        }
    }

    /// The node goes away. Who has not connected yet is turned away; the others hear when to go.
    fn ask_to_move(&mut self, reader: &impl Reader) {
        if self.session.subject().is_none() {
            return self.close(reader, ErrorCode::Moving);
        }
        let after_ms = self.node.chance.next::<u64>() % MOVE_WITHIN_MS;
        self.reply(&native::push_reconnect(after_ms));
    }

    /// The subject that publishes are judged by is the session's own.
    fn renew_caller(&mut self) {
        if let (Some(caller), Some(subject)) = (&mut self.caller, self.session.subject()) {
            caller.subject = Arc::clone(subject);
            self.outbox.identify(Arc::clone(&caller.subject));
        }
    }

    /// Ends a subscription.
    fn leave(&mut self, slot: u32) {
        if let Some(freed) = self.outbox.free_slot(slot) {
            self.let_go(&freed);
            AppStats::sub(&self.entry.stats.subscriptions, 1);
        }
    }

    fn poll_inflight(&mut self, context: &mut Context<'_>) -> bool {
        let mut finished = Vec::new();
        self.inflight.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Ready(done) => {
                finished.push(done);
                false
            }
            Poll::Pending => true,
        });
        let moved = !finished.is_empty();
        finished.into_iter().for_each(|done| self.on_done(done));
        moved
    }

    /// Writes what waits once the socket takes more.
    fn poll_queue<R: Reader>(&mut self, reader: &mut R, context: &mut Context<'_>) -> bool {
        if !self.blocked {
            return false;
        }
        match reader.poll_writable(context) {
            Poll::Pending => return false,
            Poll::Ready(Err(_)) => self.phase = Phase::Ended,
            Poll::Ready(Ok(())) => self.flush(),
        }
        true
    }

    fn flush(&mut self) {
        let waited = self.outbox.waiting();
        match self.outbox.flush() {
            Flushed::Empty => self.pour(),
            Flushed::Waiting(bytes) if bytes < waited => {}
            Flushed::Waiting(_) => return,
            Flushed::Gone => self.phase = Phase::Ended,
        }
        // A client that takes bytes is there. It may be too far behind to be read, and its own word unheard.
        self.heard();
    }

    fn poll_input<R: Reader>(&mut self, reader: &mut R, context: &mut Context<'_>) -> bool {
        let keeps_up = || self.backlog.is_empty() && !self.is_busy();
        if self.phase == Phase::Ended || (self.phase == Phase::Open && (self.parting != Parting::No || !keeps_up())) {
            return false;
        }
        let app = self.entry.id();
        if !ingress::may_read(app) {
            self.gives_way = true;
            return false;
        }
        let (mut pongs, mut bytes) = (Vec::new(), 0);
        let (mut goodbye, mut pause) = (false, false);
        let polled = reader.poll_receive(context, &mut |inbound| match inbound {
            Inbound::Text(text) => {
                bytes += text.len();
                self.on_text(text);
            }
            Inbound::Binary(_) => self.on_binary(),
            // More pings than this in one read are noise: the last answers them all (RFC 6455 §5.5.3).
            Inbound::Ping(payload) => pongs = vec![payload.to_vec()],
            Inbound::Pong => self.on_pong(),
            Inbound::Close => goodbye = true,
            Inbound::Pause => pause = true,
        });
        if pause && self.parting == Parting::No {
            self.parting = Parting::Pauses;
        }
        match polled {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {
                self.heard();
                ingress::spent(app, std::mem::take(&mut self.commands), bytes);
                pongs.iter().for_each(|payload| self.say(reader.pong_frame(payload)));
                match self.phase {
                    Phase::Open if goodbye => {
                        self.say_goodbye(reader, Ending::Client, NORMAL, "");
                        // Both have said it: nothing is waited for, but what the socket would not take yet.
                        if self.outbox.flush() == Flushed::Empty {
                            self.phase = Phase::Ended;
                        }
                    }
                    // The answer to our own goodbye: the link is ours to end (RFC 6455 §7.1.1).
                    Phase::Closing { .. } if goodbye => self.phase = Phase::Ended,
                    Phase::Open | Phase::Closing { .. } | Phase::Ended => {}
                }
            }
            Poll::Ready(Err(ReceiveError::Protocol { status, reason })) => {
                self.say_goodbye(reader, Ending::Code(ErrorCode::ProtocolError), status, reason);
                // Ended here, unread bytes would turn the end into a reset and the client would miss the reason: the
                // write side ends, what still comes is read and thrown away.
                if self.outbox.flush() == Flushed::Empty {
                    self.outbox.end();
                }
            }
            Poll::Ready(Err(ReceiveError::Io(_) | ReceiveError::Ended)) => self.phase = Phase::Ended,
        }
        true
    }

    fn on_binary(&mut self) {
        let problem = Problem::new(ErrorCode::ProtocolError, "This protocol is text; the frame was binary.");
        self.refuse(None, &problem);
    }

    /// Whether the client does not take its answers, has many commands running, or its rights are not known yet. It is
    /// not read then either.
    fn is_busy(&self) -> bool {
        self.verifying
            || self.inflight.len() >= INFLIGHT_MAX
            || self.listing >= LISTING_MAX
            || self.replies_bytes + self.outbox.waiting() > PUSH_BYTES_MAX
    }

    /// Runs commands that had to wait, while the client keeps up.
    fn run_backlog(&mut self, reader: &impl Reader) -> bool {
        if self.backlog.is_empty() {
            return false;
        }
        // Only what the socket does not take is in the way.
        self.send_replies(reader);
        let mut moved = false;
        while !self.is_busy()
            && let Some(command) = self.backlog.pop_front()
        {
            self.run(command);
            moved = true;
        }
        if self.parting == Parting::Pauses && self.inflight.is_empty() {
            moved |= self.refuse_rest();
        }
        if self.backlog.is_empty() {
            self.backlog = VecDeque::new();
        }
        moved
    }

    /// An answer or push, in whatever way this connection's transport carries it.
    fn reply(&mut self, frame: &Frame) {
        self.say(self.outbox.own(frame));
    }

    /// Bytes as they go to the transport.
    fn say(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.replies_bytes += bytes.len();
        self.replies.push(bytes);
    }

    fn take_replies(&mut self) -> Vec<Bytes> {
        self.replies_bytes = 0;
        std::mem::take(&mut self.replies)
    }

    /// Leaves the answers for the end of the thread's turn, where they are joined with what is delivered to the client.
    fn cork_replies(&mut self, reader: &impl Reader) {
        let is_small = self.replies_bytes <= CORKED_BYTES_MAX && self.phase == Phase::Open;
        if is_small && turn::ends() && self.outbox.cork(&self.replies) {
            self.take_replies();
        } else {
            self.send_replies(reader);
        }
    }

    /// Writes the answers that were not written yet.
    fn send_replies(&mut self, reader: &impl Reader) {
        let replies = self.take_replies();
        // No data frame may follow a goodbye (RFC 6455 §5.5.1).
        if replies.is_empty() || self.phase != Phase::Open {
            return;
        }
        let waiting = self.outbox.send(&replies) as u64;
        if waiting > self.entry.peek().limits.get(Limit::OutboxBytes).max {
            self.close(reader, ErrorCode::SlowConsumer);
            // What waits would never be read: end at once.
            self.phase = Phase::Ended;
        }
    }
}
