//! Commands of clients beside, or without, a connection: each is carried out as one of a connection would be, and answered
//! in the order in which it came.

use std::sync::Arc;

use fanfare_core::problem::Problem;
use fanfare_core::{App, ChannelName, ErrorCode, Limit, Operation, Subject};
use fanfare_protocol::Frame;
use fanfare_protocol::native::{
    self, Command, CommandKind, Direction, HistoryOk, Presence, PresenceAction, PresenceGet, PublishedOk, Reply,
};

use super::{HistoryFrom, HistoryQuery, Node, PresenceQuery};
use crate::caller::Caller;
use crate::error::NodeError;
use crate::session::{Held, Session};

/// The most bytes of answers to one request; commands behind them are refused.
const ANSWERS_BYTES_MAX: usize = 1024 * 1024;

/// A client that sends commands without a connection.
#[derive(Debug)]
pub struct Beside {
    caller: Caller,
    session: Session,
}

impl Beside {
    /// Who it is.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Node {
    /// A client that shows a ticket of its stream or its last poll.
    ///
    /// # Errors
    /// When the ticket does not hold, or the origin is refused.
    pub fn beside_ticket(&self, app: &Arc<App>, text: &str, origin: Option<&str>) -> Result<Beside, NodeError> {
        let entry = self.directory.find(app.id)?;
        self.check_origin(&entry, origin)?;
        let (app, now_ms, mut session) = (entry.app(), self.clock.unix_ms(), Session::default());
        let opened = self.open_ticket(app.id, text).map_err(NodeError::from);
        let started = opened.and_then(|ticket| {
            session.start_again(&app, ticket.carries(now_ms)?, ticket.generation, now_ms)?;
            session.share(entry.carried.rates(ticket.connection, self.second())?);
            for (channel, said) in &ticket.held {
                if let Ok(channel) = ChannelName::parse_any(channel) {
                    // One that does not hold any more gives nothing here; the connection is told of it.
                    let _ended = session.hold_again(&app, channel, said.token()?, now_ms);
                }
            }
            Ok(ticket.connection)
        });
        let connection = Some(self.counted(&entry, started)?);
        let subject = session.subject().cloned().ok_or(NodeError::TokenMissing)?;
        Ok(Beside { caller: Caller { entry, subject, connection }, session })
    }

    /// A client that shows a token.
    ///
    /// # Errors
    /// When it does not hold, or the origin is refused.
    pub async fn beside_token(&self, app: &Arc<App>, token: &str, origin: Option<&str>) -> Result<Beside, NodeError> {
        let entry = self.directory.find(app.id)?;
        self.check_origin(&entry, origin)?;
        let verified = self.verify_token(&entry, token).wait().await;
        let mut session = Session::default();
        let started = verified.and_then(|verified| session.start(&entry.app(), Some(verified), 0));
        self.counted(&entry, started)?;
        let subject = session.subject().cloned().ok_or(NodeError::TokenMissing)?;
        Ok(Beside { caller: Caller { entry, subject, connection: None }, session })
    }

    /// Carries out a frame of commands, one after the other.
    pub async fn command(&self, client: &mut Beside, text: &str) -> Vec<Frame> {
        let (mut answers, mut bytes) = (Vec::new(), 0);
        for parsed in native::parse(text) {
            let answer = match parsed {
                Ok(Command { id, .. }) if bytes > ANSWERS_BYTES_MAX => native::error(Some(id), &full()),
                Ok(Command { id, kind }) => match self.command_one(client, kind).await {
                    Ok(reply) => native::reply(id, &reply),
                    Err(error) => native::error(Some(id), &error.problem()),
                },
                Err(wrong) => {
                    client.caller.entry.stats.refused(wrong.problem.code, wrong.problem.limit);
                    native::error(wrong.id, &wrong.problem)
                }
            };
            bytes += answer.payload_bytes();
            answers.push(answer);
        }
        answers
    }

    async fn command_one(&self, client: &mut Beside, kind: CommandKind) -> Result<Reply, NodeError> {
        let app = client.caller.app();
        let admitted = client.session.admit(&kind, &app, self.clock.monotonic());
        self.counted(&client.caller.entry, admitted)?;
        match kind {
            CommandKind::Publish(publish) => {
                let caller = client.on(&app, &publish.channel, Operation::Publish);
                let published = self.publish(&caller, &publish.channel, publish.draft).await?;
                Ok(Reply::Published(PublishedOk {
                    id: published.id,
                    position: published.position,
                    durability: published.durability.as_str(),
                    duplicate: published.duplicate,
                }))
            }
            CommandKind::History(history) => {
                let caller = client.on(&app, &history.channel, Operation::History);
                let direction = match history.direction {
                    Direction::Backward => super::Direction::Backward,
                    Direction::Forward => super::Direction::Forward,
                };
                let from = history.from.map(HistoryFrom::Position);
                let query = HistoryQuery { from, until: None, direction, limit: history.limit };
                let page = self.history(&caller, &history.channel, query).await?;
                Ok(Reply::History(HistoryOk {
                    channel: history.channel,
                    lineage: page.lineage,
                    messages: page.messages,
                    truncated: page.truncated,
                    next: page.next,
                }))
            }
            CommandKind::Presence(Presence { channel, action: PresenceAction::Get(get) }) => {
                let PresenceGet { after, limit } = get;
                let caller = client.on(&app, &channel, Operation::PresenceRead);
                Ok(Reply::Presence(self.presence(&caller, &channel, PresenceQuery { after, limit }).await?))
            }
            CommandKind::Ping => Ok(Reply::Pong { time: self.clock.unix_ms() }),
            CommandKind::Connect(_)
            | CommandKind::Refresh(_)
            | CommandKind::Subscribe(_)
            | CommandKind::Unsubscribe { .. }
            | CommandKind::Presence(_) => {
                let detail = "This changes a connection: send it with a stream or a poll. Here are publish, history, ping and \
                              presence's get.";
                let problem = Problem::new(ErrorCode::InvalidRequest, detail);
                self.counted(&client.caller.entry, Err(NodeError::Invalid(Box::new(problem))))
            }
        }
    }
}

impl Beside {
    /// Who asks for something on a channel: by the token of the subscription where that gives it, else by their own.
    fn on(&self, app: &App, channel: &ChannelName, operation: Operation) -> Caller {
        let own = self.session.held(channel).map(Held::subject);
        let gives =
            |subject: &&Arc<Subject>| fanfare_core::permission::decide(app, subject, operation, channel).is_ok();
        let subject = own.filter(gives).unwrap_or(&self.caller.subject);
        Caller { subject: Arc::clone(subject), ..self.caller.clone() }
    }
}

fn full() -> Problem {
    let detail = "The answer is full, and this was not carried out; send it again with the next request.";
    Problem { retryable: true, ..Problem::new(ErrorCode::LimitReached, detail) }.limit(Limit::OutboxBytes)
}
