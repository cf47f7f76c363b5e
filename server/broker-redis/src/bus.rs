//! Control messages over Redis: what one node is asked acts on the connections of all.
//!
//! ```text
//!   tell ─▶ this node's own bus, at once
//!        └▶ SPUBLISH {p0}b  <asker's name> <number> <control>  ─▶ every other node ─▶ its own bus
//!                                                                   └▶ SPUBLISH <asker's name>  <number> <connections> <refused>
//! ```
//!
//! What nodes are asked goes the same way; an answer is `<number> ? <node> <what was seen>`.
//!
//! Nodes beat in a sorted set; who has beaten lately is known to live. An answer waits for all of those, for a bounded
//! time, and says how many have applied it. Nothing is kept: a node that does not hear now has missed it, and is counted
//! as known and not as having applied.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_core::id::{AppId, ConnectionId, RevocationId};
use fanfare_core::{ChannelName, Lineage, Position, Revocation};
use fanfare_engine::Pending;
use fanfare_engine::bus::{Answers, Bus, Control, Look, Order, Seen, Told, What, Whom};
use redis::cmd;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::entry::{self, Parts};
use crate::lane::{Lane, Silence};

/// Where every node hears control messages.
pub(crate) const ALL: &str = "{p0}b";
/// Where nodes beat.
pub(crate) const BEATS: &str = "{p0}n";
/// How long the others may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long others may take to say what they know.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// For how long a node that asked what was measured of an app is known to do so: it asks each second.
const ASKED_LATELY: Duration = Duration::from_millis(2_500);
/// Apps of which it is known who asks. Of more, every node that asks tells its listeners.
const ASKED_MAX: usize = 16_384;
/// What one node answers at most, in bytes; more is not told, and the node counts as one that did not answer.
const SEEN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Control messages that wait for answers. One more is not waited for.
const WAITING_MAX: usize = 4_096;
/// Control messages of others that are carried out at one moment. What is more is not applied, and so not answered.
const CARRIED_MAX: usize = 1_024;

/// The roads of a bus.
pub(crate) struct Lanes {
    /// What is told and asked.
    pub(crate) control: Lane,
    /// What was seen, which may be much, and stands behind other pages.
    pub(crate) answers: Lane,
}

/// The bus of a node among others.
pub(crate) struct RedisBus {
    local: Arc<dyn Bus>,
    lanes: Lanes,
    own: Arc<str>,
    tasks: TaskTracker,
    carried: TaskTracker,
    numbers: AtomicU64,
    /// Who waits for the answers to which number.
    waiting: Mutex<HashMap<u64, mpsc::Sender<Answer>>>,
    /// Of which apps nodes before this one, by name, asked what was measured, and when the last did.
    asked: Mutex<HashMap<AppId, Instant>>,
    /// Nodes that have beaten lately, this one included.
    known: Arc<AtomicU32>,
}

#[derive(Debug)]
enum Answer {
    Told {
        connections: u64,
        refused: u64,
    },
    /// What a node has seen; nothing of an app that it has not heard of.
    Seen(Arc<str>, Option<Seen>),
}

/// A control message as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    app: AppId,
    what: WrittenWhat,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenWhat {
    Disconnect {
        whom: WrittenWhom,
        reason: Option<Box<str>>,
    },
    Subscribe {
        whom: WrittenWhom,
        channel: Box<str>,
    },
    Unsubscribe {
        whom: WrittenWhom,
        channel: Box<str>,
    },
    /// The message as an entry.
    Send {
        user: Box<str>,
        message: Vec<u8>,
    },
    Revoke(Revocation),
    EndRevocation(RevocationId),
    Look(Look),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenWhom {
    User(Box<str>),
    Connection(ConnectionId),
    Channel(Box<str>),
    Everybody,
}

impl RedisBus {
    pub(crate) fn new(
        local: Arc<dyn Bus>,
        lanes: Lanes,
        own: Arc<str>,
        known: Arc<AtomicU32>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            local,
            lanes,
            own,
            tasks,
            carried: TaskTracker::new(),
            numbers: AtomicU64::new(0),
            waiting: Mutex::default(),
            asked: Mutex::default(),
            known,
        }
    }

    /// How many nodes are known to live, this one included.
    fn nodes(&self) -> u32 {
        self.known.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A control message of another node, or of this one.
    pub(crate) fn heard(&self, bytes: &[u8]) {
        let Some((asker, number, written)) = parts(bytes) else { return };
        if asker == &*self.own {
            return;
        }
        if self.carried.len() >= CARRIED_MAX {
            return warn!("more control messages come than can be carried out");
        }
        let control = match serde_json::from_slice::<Written>(written) {
            Ok(Written { app, what: WrittenWhat::Look(look) }) => return self.asked_for(asker, number, app, look),
            written => written.ok().and_then(Written::read),
        };
        let Some(control) = control else {
            // Not answered: to whoever asks this node has not applied it.
            return warn!("a control message of another version of Fanfare is not understood");
        };
        let (carried, lane, asker) = (self.local.tell(control), self.lanes.control.clone(), asker.to_owned());
        self.tasks.spawn(self.carried.track_future(async move {
            let Told { connections, refused, .. } = carried.wait().await;
            let mut answer = cmd("SPUBLISH");
            answer.arg(asker).arg(format!("{number} {connections} {refused}"));
            if let Err(silence) = lane.ask(answer).await {
                debug!(?silence, "an answer to a control message was not told");
            }
        }));
    }

    /// Another node asks what this one knows.
    fn asked_for(&self, asker: &str, number: u64, app: AppId, look: Look) {
        if look == Look::Measures && *asker < *self.own {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.retain(|_, at| at.elapsed() < ASKED_LATELY);
            if asked.len() < ASKED_MAX {
                asked.insert(app, Instant::now());
            }
        }
        let (looked, lane, own) = (self.local.look(app, look), self.lanes.answers.clone(), Arc::clone(&self.own));
        let asker = asker.to_owned();
        self.tasks.spawn(self.carried.track_future(async move {
            // Who has not heard of the app has nothing of it, which is no answer that is missing.
            let seen = looked.wait().await.seen.into_iter().map(|(_, seen)| seen).next();
            let seen = serde_json::to_string(&seen).expect("it is made of texts and numbers");
            if seen.len() > SEEN_BYTES_MAX {
                return warn!(bytes = seen.len(), "what is known is more than can be told");
            }
            let mut answer = cmd("SPUBLISH");
            answer.arg(asker).arg(format!("{number} ? {own} {seen}"));
            if let Err(silence) = lane.ask(answer).await {
                debug!(?silence, "an answer was not told");
            }
        }));
    }

    /// An answer of another node.
    pub(crate) fn answered(&self, bytes: &[u8]) {
        if let Some((number, answer)) = seen(bytes) {
            return self.hand_over(number, answer);
        }
        let mut numbers = std::str::from_utf8(bytes).unwrap_or_default().split(' ').map(str::parse::<u64>);
        let (Some(Ok(number)), Some(Ok(connections)), Some(Ok(refused))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return;
        };
        self.hand_over(number, Answer::Told { connections, refused });
    }

    fn hand_over(&self, number: u64, answer: Answer) {
        if let Some(waiting) = self.waiting().get(&number) {
            // Whoever waited may have had enough; then this one is late.
            let _ = waiting.try_send(answer);
        }
    }

    /// Tells all others. Answers whether it was told, and where their answers come.
    fn ask_others(
        &self,
        others: u32,
        written: &Written,
    ) -> (impl Future<Output = Result<redis::Value, Silence>> + Send + use<>, mpsc::Receiver<Answer>) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = mpsc::channel(others.max(1) as usize);
        {
            let mut waiting = self.waiting();
            waiting.retain(|_, waiting| !waiting.is_closed());
            if waiting.len() < WAITING_MAX {
                waiting.insert(number, sender);
            }
        }
        let written = serde_json::to_string(written).expect("it is made of texts and numbers");
        let mut told = cmd("SPUBLISH");
        told.arg(ALL).arg(format!("{} {number} {written}", self.own));
        // Handed in now: what is told first is heard first.
        (self.lanes.control.ask(told), answers)
    }
}

/// `<number> ? <node> <what was seen>`; nothing was seen of an app that the node has not heard of.
fn seen(bytes: &[u8]) -> Option<(u64, Answer)> {
    let mut parts = bytes.splitn(4, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let number = text()?.parse().ok()?;
    text().filter(|mark| *mark == "?")?;
    let node = Arc::from(text()?);
    let seen: Option<Seen> = serde_json::from_slice(parts.next()?).ok()?;
    Some((number, Answer::Seen(node, seen)))
}

/// `<asker's name> <number> <control>`.
fn parts(bytes: &[u8]) -> Option<(&str, u64, &[u8])> {
    let mut parts = bytes.splitn(3, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let (asker, number) = (text()?, text()?.parse().ok()?);
    Some((asker, number, parts.next()?))
}

impl Bus for RedisBus {
    fn tell(&self, control: Control) -> Pending<Told> {
        let others = self.nodes().saturating_sub(1);
        let written = (others > 0).then(|| Written::of(&control));
        let own = self.local.tell(control);
        let Some(written) = written else { return own };
        let (told, answers) = self.ask_others(others, &written);
        Pending::Later(Box::pin(async move {
            let mut sum = own.wait().await;
            sum.known = others + 1;
            match told.await {
                Ok(_) => gather(&mut sum, answers, others).await,
                Err(silence) => debug!(?silence, "a control message was not told"),
            }
            sum
        }))
    }

    fn look(&self, app: AppId, look: Look) -> Pending<Answers> {
        let others = self.nodes().saturating_sub(1);
        let own = self.local.look(app, look.clone());
        if others == 0 {
            return own;
        }
        let deadline = Instant::now() + SEEN_WITHIN;
        let (told, mut answers) = self.ask_others(others, &Written { app, what: WrittenWhat::Look(look) });
        Pending::Later(Box::pin(async move {
            let Answers { mut seen, .. } = own.wait().await;
            let mut missing = others;
            match timeout_at(deadline, told).await {
                Ok(Ok(_)) => {
                    while missing > 0 {
                        match timeout_at(deadline, answers.recv()).await {
                            Ok(Some(Answer::Seen(node, what))) => seen.extend(what.map(|what| (node, what))),
                            Ok(Some(Answer::Told { .. })) => continue,
                            Ok(None) | Err(_) => break,
                        }
                        missing -= 1;
                    }
                }
                silence => debug!(?silence, "nobody else was asked"),
            }
            Answers { seen, missing }
        }))
    }

    fn leads(&self, app: AppId) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&app).is_none_or(|at| at.elapsed() >= ASKED_LATELY)
    }
}

/// Waits for the others.
async fn gather(sum: &mut Told, mut answers: mpsc::Receiver<Answer>, others: u32) {
    let deadline = Instant::now() + ANSWER_WITHIN;
    for _ in 0..others {
        let Ok(Some(Answer::Told { connections, refused })) = timeout_at(deadline, answers.recv()).await else {
            return;
        };
        sum.connections += connections;
        sum.refused += refused;
        sum.applied += 1;
    }
}

/// A message that stands in no channel.
const NOWHERE: Position = Position { lineage: Lineage { epoch: 0, term: 0, nonce: 0 }, seq: 0 };

impl Written {
    fn of(control: &Control) -> Self {
        let what = match &control.what {
            What::Order { whom, order } => {
                let whom = WrittenWhom::of(whom);
                match order.clone() {
                    Order::Disconnect { reason } => WrittenWhat::Disconnect { whom, reason },
                    Order::Subscribe { channel } => WrittenWhat::Subscribe { whom, channel: channel.as_str().into() },
                    Order::Unsubscribe { channel } => {
                        WrittenWhat::Unsubscribe { whom, channel: channel.as_str().into() }
                    }
                }
            }
            What::Send { user, message } => WrittenWhat::Send {
                user: user.clone(),
                message: entry::write(&Parts {
                    id: &message.id,
                    time_ms: message.time_ms,
                    publisher: message.publisher.as_deref(),
                    origin: message.origin,
                    draft: &message.draft,
                }),
            },
            What::Revoke(revocation) => WrittenWhat::Revoke(revocation.clone()),
            What::EndRevocation(id) => WrittenWhat::EndRevocation(*id),
        };
        Self { app: control.app, what }
    }

    fn read(self) -> Option<Control> {
        let order = |whom: WrittenWhom, order| Some(What::Order { whom: whom.read()?, order });
        let what = match self.what {
            WrittenWhat::Disconnect { whom, reason } => order(whom, Order::Disconnect { reason })?,
            WrittenWhat::Subscribe { whom, channel } => order(whom, Order::Subscribe { channel: named(&channel)? })?,
            WrittenWhat::Unsubscribe { whom, channel } => {
                order(whom, Order::Unsubscribe { channel: named(&channel)? })?
            }
            WrittenWhat::Send { user, message } => {
                What::Send { user, message: Arc::new(entry::read(&message, NOWHERE).ok()?) }
            }
            WrittenWhat::Revoke(revocation) => What::Revoke(revocation),
            WrittenWhat::EndRevocation(id) => What::EndRevocation(id),
            // It is no control message.
            WrittenWhat::Look(_) => return None,
        };
        Some(Control { app: self.app, what })
    }
}

impl WrittenWhom {
    fn of(whom: &Whom) -> Self {
        match whom.clone() {
            Whom::User(user) => Self::User(user),
            Whom::Connection(id) => Self::Connection(id),
            Whom::Channel(channel) => Self::Channel(channel.as_str().into()),
            Whom::Everybody => Self::Everybody,
        }
    }

    fn read(self) -> Option<Whom> {
        Some(match self {
            Self::User(user) => Whom::User(user),
            Self::Connection(id) => Whom::Connection(id),
            Self::Channel(channel) => Whom::Channel(named(&channel)?),
            Self::Everybody => Whom::Everybody,
        })
    }
}

/// A channel of a tenant or of the platform: what was told was decided before.
fn named(channel: &str) -> Option<ChannelName> {
    ChannelName::parse_any(channel).ok()
}

#[cfg(test)]
mod tests {
    use fanfare_core::id::KeyId;
    use fanfare_core::{Data, Draft, Message, Revoked};

    use super::*;

    #[test]
    fn what_is_told_is_what_is_heard() {
        let channel: ChannelName = "room:9".parse().expect("valid");
        let connection = ConnectionId::new(7, 7);
        let draft =
            Draft { exclude: Some(connection), name: Some("n".into()), ..Draft::new(Data::Bytes([0, 255].into())) };
        let message = Message {
            id: "i".into(),
            position: NOWHERE,
            time_ms: 5,
            publisher: None,
            origin: None,
            draft: Arc::new(draft),
        };
        let revocation = Revocation {
            id: RevocationId::new(1, 2),
            revoked: Revoked::Key(KeyId::new(3, 4)),
            issued_until_ms: u64::MAX / 2,
        };
        let order = |whom, order| What::Order { whom, order };
        for what in [
            order(Whom::User("a b \n".into()), Order::Disconnect { reason: Some("x".into()) }),
            order(Whom::Everybody, Order::Disconnect { reason: None }),
            order(Whom::Connection(connection), Order::Subscribe { channel: channel.clone() }),
            order(Whom::Channel(channel.clone()), Order::Unsubscribe { channel }),
            What::Send { user: "ann".into(), message: Arc::new(message) },
            What::Revoke(revocation),
            What::EndRevocation(RevocationId::new(1, 2)),
        ] {
            let control = Control { app: AppId::new(1, 1), what };
            let written = serde_json::to_string(&Written::of(&control)).expect("JSON");
            let told = format!("{{p0}}h:00ff 12 {written}");
            let (asker, number, rest) = parts(told.as_bytes()).expect("three parts");
            assert_eq!((asker, number), ("{p0}h:00ff", 12));
            let heard = serde_json::from_slice::<Written>(rest).expect("JSON").read().expect("readable");
            assert_eq!(format!("{heard:?}"), format!("{control:?}"));
        }
    }
}
