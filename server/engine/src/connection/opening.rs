//! How a subscription begins: asked for by the client, by the app's backend, or carried here in a ticket.

use std::sync::Arc;

use fanfare_core::permission::decide;
use fanfare_core::problem::Problem;
use fanfare_core::{ChannelKey, ChannelName, Limit, Operation, Position};
use fanfare_protocol::Frame;
use fanfare_protocol::native::{self, Recovery, Reply, Rewind, Subscribe, SubscribedOk};

use super::commands::{gap, not_subscribed, told_frame};
use super::events::About;
use super::{Connection, Done};
use crate::broker::{BrokerError, Page, Pending, Start};
use crate::decisions::Asking;
use crate::error::NodeError;
use crate::node;
use crate::outbox::{Delivery, Manner, Signal, Ticket, Turn};
use crate::session::{Held, Near};
use crate::stats::AppStats;
use crate::subscription::Turned;
use crate::ticket::Place;

/// A subscription that waits for its first page.
pub(super) struct Opening {
    asked: Asked,
    channel: ChannelName,
    key: ChannelKey,
    begin: Begin,
    /// Whether it is told of presence.
    presence: bool,
}

/// Who wants it.
#[derive(Clone, Copy)]
enum Asked {
    /// The client, by the command of this number.
    Client(u64),
    /// The app's backend.
    Backend,
    /// The client had it before, and goes on.
    Ticket,
}

/// From where on it receives.
#[derive(Clone, Copy)]
enum Begin {
    Now,
    After(Position),
    Rewind(Rewind),
}

impl Connection {
    /// Subscribes as a command asks, or as the app's backend does where there is none.
    pub(super) fn attach(&mut self, id: Option<u64>, subscribe: Subscribe, own: Option<Held>) -> Result<(), NodeError> {
        let Subscribe { channel, start, presence, .. } = subscribe;
        let app = self.entry.app();
        let subject =
            own.as_ref().map(Held::subject).or_else(|| self.session.subject()).ok_or(NodeError::TokenMissing)?;
        let asking = Asking { subject, connection: Some(self.outbox.id()) };
        let key = self.entry.decide(&app, asking, Operation::Subscribe, &channel)?.channel_key();
        if matches!(start, native::Start::Rewind(_)) {
            self.entry.decide(&app, asking, Operation::History, &channel)?;
        }
        if presence {
            node::may_see(&app, subject, &channel)?;
        }
        self.session.may_subscribe(&channel, &app)?;
        self.node.may_occupy(&self.entry, &key)?;
        self.may_carry(Some((&channel, presence)), 0)?;
        let begin = match start {
            native::Start::Now => Begin::Now,
            native::Start::After(text) => Begin::After(self.node.open_position(&key, &text)?),
            native::Start::Rewind(rewind) => Begin::Rewind(rewind),
        };
        let asked = id.map_or(Asked::Backend, Asked::Client);
        self.join(Opening { asked, channel, key, begin, presence }, own);
        Ok(())
    }

    /// Goes on with a subscription that a ticket carries. One that the client may not have any more is ended, and told.
    pub(super) fn attach_again(&mut self, place: Place, watched: Option<u64>, counted: Option<u64>) {
        let Place { channel, position } = place;
        let app = self.entry.app();
        let Some(subject) = self.session.held(&channel).map(Held::subject).or_else(|| self.session.subject()) else {
            return;
        };
        let key = match decide(&app, subject, Operation::Subscribe, &channel) {
            Ok(grant) => grant.channel_key(),
            Err(refusal) => {
                self.session.release(&channel);
                return self.reply(&native::push_unsubscribed(&channel, &Problem::from(refusal)));
            }
        };
        if self.session.may_subscribe(&channel, &app).is_err() {
            // A limit that was lowered ends nothing on a live connection either, but this one is made anew.
            let problem = NodeError::Full { limit: Limit::Subscriptions, max: self.limit(Limit::Subscriptions).max };
            return self.reply(&native::push_unsubscribed(&channel, &problem.problem()));
        }
        let (asked, begin, presence) = (Asked::Ticket, Begin::After(position), watched.is_some());
        let slot = self.join(Opening { asked, channel, key: key.clone(), begin, presence }, None);
        if let Some(digest) = watched {
            self.outbox.was_told(slot, digest);
        }
        if let Some(digest) = counted {
            self.outbox.was_counted(slot, digest);
        }
        self.watch_presence(slot, &key, watched.is_some());
    }

    /// Hub first, so that deliveries are held; then the broker; then history since the client's position.
    fn join(&mut self, opening: Opening, own: Option<Held>) -> u32 {
        let Opening { channel, key, begin, .. } = &opening;
        let (channel, key) = (channel.clone(), key.clone());
        let (position, start) = match *begin {
            Begin::Now => (None, Start::Top),
            Begin::After(position) => (Some(position), Start::After(position.seq)),
            Begin::Rewind(Rewind::Messages(count)) => (None, Start::Last(count)),
            Begin::Rewind(Rewind::Ms(ms)) => (None, Start::Since(self.node.clock.unix_ms().saturating_sub(ms))),
        };
        let manner = Manner::of(self.entry.peek().settings_of(&channel));
        let (node, entry, outbox) = (&self.node, &self.entry, &self.outbox);
        let ticket = outbox.take_slot(|slot| node.hub.join(&key, entry, outbox, slot), manner, position);
        if opening.presence {
            outbox.was_told(ticket.slot, 0);
        }
        self.session.subscribed(channel.clone(), ticket.slot);
        if let Some(own) = own {
            self.hold(channel, own);
            // A revocation that came since the token was verified has not found it here.
            self.outbox.signal(Signal::Recheck);
        }
        if !matches!(opening.asked, Asked::Ticket) {
            let (limit, used) = (Limit::Subscriptions, self.session.subscriptions());
            self.drawn(Near { limit, used, max: self.limit(limit).max });
        }
        AppStats::add(&self.entry.stats.subscriptions, 1);
        self.node.watch_events(&self.entry, opening.key.channel());
        if !matches!(opening.asked, Asked::Ticket) {
            self.tell_subscribed(opening.key.channel());
        }
        let (read, opening) = (self.read(start), Some(Box::new(opening)));
        match self.node.broker.attach(&key) {
            Pending::Ready(Ok(())) => self.request_page(ticket, &key, read, opening),
            Pending::Ready(Err(error)) => self.on_done(Done::Page { ticket, opening, page: Err(error) }),
            Pending::Later(attached) => {
                // The read follows the confirmation: what is published in between is pushed and held.
                let node = Arc::clone(&self.node);
                self.inflight.push(Box::pin(async move {
                    let page = match attached.await {
                        Ok(()) => node.read(&key, read).wait().await,
                        Err(error) => Err(error),
                    };
                    Done::Page { ticket, opening, page }
                }));
            }
        }
        ticket.slot
    }

    /// A subscription that was not asked for by the client is not refused to it either.
    pub(super) fn refuse_opening(&mut self, opening: &Opening, problem: &Problem) {
        if let Asked::Client(id) = opening.asked {
            self.refuse_about(Some(id), problem, Some(&About::subscribing(opening.channel.clone())));
        }
    }

    /// It ended before it began: its command is owed an answer all the same.
    pub(super) fn refuse_ended(&mut self, opening: &Opening) {
        self.refuse_opening(opening, &not_subscribed(&opening.channel));
    }

    pub(super) fn opened(&mut self, ticket: Ticket, opening: &Opening, page: Result<Page, BrokerError>) {
        match (page, opening.asked) {
            (Ok(page), _) => self.open(ticket, opening, &page),
            // As on a live connection: what cannot be read now is read later.
            (Err(_), Asked::Ticket) => {
                self.outbox.not_read(ticket);
                self.read_again();
            }
            (Err(error), Asked::Client(_) | Asked::Backend) => {
                self.session.unsubscribed(&opening.channel);
                self.leave(ticket.slot);
                self.refuse_opening(opening, &NodeError::from(error).problem());
            }
        }
    }

    /// Answers a subscribe command and hands out its first page.
    fn open(&mut self, ticket: Ticket, opening: &Opening, page: &Page) {
        // Answers of commands before this one go first.
        let replies = self.take_replies();
        self.outbox.send(&replies);
        let place = match opening.begin {
            Begin::After(_) => None,
            Begin::Now => Some(page.top),
            // What a rewind finds begins before its first message; nothing found begins at the top.
            Begin::Rewind(_) => Some(page.messages.first().map_or(page.top, |first| first.position.seq - 1)),
        };
        let place = place.map(|seq| Position { lineage: page.lineage, seq });
        let turn = Turn { page, accepted: self.node.clock.monotonic(), place, catches_up: false };
        let outcome = self.outbox.open(ticket, &turn, |turned| self.announce(opening, turned));
        self.turned(outcome);
        if !matches!(opening.asked, Asked::Ticket) {
            self.watch_presence(ticket.slot, &opening.key, opening.presence);
        }
    }

    /// What goes before the first page. Whoever only goes on is told what is lost, and nothing else.
    fn announce(&self, opening: &Opening, turned: &Turned<Arc<Delivery>>) -> Option<Frame> {
        let (node, stats) = (&self.node, &self.entry.stats);
        if turned.lost.is_some() {
            AppStats::add(&stats.not_recovered, 1);
        }
        if let Asked::Ticket = opening.asked {
            return told_frame(node, &opening.key, turned);
        }
        let recovery = matches!(opening.begin, Begin::After(_)).then(|| match turned.lost {
            Some(lost) => Recovery::Lost(gap(node, &opening.key, lost, turned.from)),
            None => {
                AppStats::add(&stats.recovered, 1);
                Recovery::Recovered
            }
        });
        let ok = SubscribedOk {
            channel: opening.channel.clone(),
            lineage: node.lineage(&opening.key, turned.from.lineage),
            seq: turned.from.seq,
            recovery,
            expires_ms: self.session.held(&opening.channel).map(Held::expires_ms),
        };
        Some(match opening.asked {
            Asked::Client(id) => native::reply(id, &Reply::Subscribed(ok)),
            Asked::Backend | Asked::Ticket => native::push_subscribed(&ok),
        })
    }
}
