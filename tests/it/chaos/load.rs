//! The load: publishers and subscribers that go on as the SDK does, whatever becomes of a node.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::harness::client::Client;
use ::harness::ledger::{Journal, Ledger, Outcome, Payload, Position, Publish, Seen};
use ::harness::owner::Owner;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::lasts;
use crate::nodes::Nodes;
use crate::recovery::{keep, printed};

/// How long a publish is tried again before its outcome counts as unknown.
const TRIED_FOR: Duration = Duration::from_secs(20);
/// A link on which nothing comes for so long is asked whether it lives.
const QUIET: Duration = Duration::from_secs(2);
/// And has to say so within this.
const PONG_WITHIN: Duration = Duration::from_secs(3);
/// How long everybody may take to have everything, after the last publish.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// How much load there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    tenants: usize,
    channels: usize,
    /// Subscribers of each channel.
    subscribers: usize,
    /// Publishers of each tenant, half of them over REST.
    publishers: usize,
    /// Publishes a second of each publisher.
    rate: u32,
}

impl Scale {
    /// `small` is what CI runs; `quarter` and `whole` are parts of the standard load of `faults.md`.
    pub(super) fn of(name: Option<&str>) -> Result<Self> {
        Ok(match name {
            None | Some("small") => Self { tenants: 2, channels: 5, subscribers: 4, publishers: 4, rate: 12 },
            Some("quarter") => Self { tenants: 5, channels: 10, subscribers: 10, publishers: 10, rate: 10 },
            Some("whole") => Self { tenants: 20, channels: 10, subscribers: 10, publishers: 10, rate: 10 },
            Some(other) => bail!("FANFARE_CHAOS_SCALE is small, quarter or whole, not {other}"),
        })
    }

    pub(super) fn publishes(&self, seconds: u64) -> u64 {
        (self.tenants * self.publishers) as u64 * u64::from(self.rate) * seconds
    }
}

/// Where a tenant can be reached: the same at each node.
type Everywhere = Arc<Vec<Owner>>;

/// What all of a run share.
#[derive(Clone)]
struct Run {
    everywhere: Everywhere,
    /// Publishers publish while this is false; subscribers go on until they have everything.
    over: watch::Receiver<bool>,
    entered: Arc<Mutex<Vec<Publish>>>,
    /// The newest acknowledgement of each channel, once no more will come.
    tops: watch::Receiver<Option<Arc<HashMap<String, Position>>>>,
}

pub(super) struct Load {
    publishers: JoinSet<Result<()>>,
    subscribers: JoinSet<Result<Journal>>,
    over: watch::Sender<bool>,
    entered: Arc<Mutex<Vec<Publish>>>,
    tops: watch::Sender<Option<Arc<HashMap<String, Position>>>>,
}

/// Everything that happened.
pub(super) struct Judged {
    pub(super) ledger: Ledger,
    journals: Vec<Journal>,
    unknown: usize,
}

#[derive(Debug)]
pub(super) struct Report {
    pub(super) acked: u64,
    pub(super) delivered: u64,
    pub(super) unknown: usize,
    pub(super) not_recovered: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, delivered, unknown, not_recovered } = self;
        write!(out, "{acked} acknowledged, {unknown} unknown, {delivered} delivered, {not_recovered} told of a loss")
    }
}

impl Load {
    pub(super) async fn start(nodes: &Nodes, scale: Scale) -> Result<Self> {
        let (over, is_over) = watch::channel(false);
        let (tops, told) = watch::channel(None);
        let entered = Arc::<Mutex<Vec<Publish>>>::default();
        let (mut publishers, mut subscribers) = (JoinSet::new(), JoinSet::new());
        for tenant in 0..scale.tenants {
            let everywhere = Arc::new(nodes.sign_up().await?);
            keep(&everywhere[0], 100_000).await?;
            let run = Run { everywhere, over: is_over.clone(), entered: Arc::clone(&entered), tops: told.clone() };
            // Two tenants have channels of one name; journals and the ledger tell them apart.
            let channels: Vec<String> = (0..scale.channels).map(|number| format!("room:{tenant}:{number}")).collect();
            for (number, channel) in channels.iter().enumerate() {
                for subscriber in 0..scale.subscribers {
                    let name = format!("{channel}/{subscriber}");
                    subscribers.spawn(subscribe(run.clone(), name, channel.clone(), number + subscriber));
                }
            }
            for number in 0..scale.publishers {
                let publisher = Publishing {
                    run: run.clone(),
                    name: format!("publisher-{tenant}-{number}"),
                    channels: channels.clone(),
                    over_rest: number % 2 == 0,
                    node: number % nodes.all.len(),
                    socket: None,
                };
                publishers.spawn(publisher.publish(Duration::from_secs(1) / scale.rate));
            }
        }
        Ok(Self { publishers, subscribers, over, entered, tops })
    }

    /// Lets it go on for a while; whoever fails meanwhile ends it.
    pub(super) async fn goes_on(&mut self, span: Duration) -> Result<()> {
        tokio::select! {
            () = lasts(span) => Ok(()),
            Some(ended) = self.publishers.join_next() => bail!("a publisher ended: {:?}", ended?),
            Some(ended) = self.subscribers.join_next() => bail!("a subscriber ended: {:?}", ended?.map(|_| ())),
        }
    }

    /// Each channel with each lineage that something was acknowledged in.
    pub(super) fn lineages(&self) -> BTreeSet<(String, String)> {
        let entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        let acked = entered.iter().filter_map(|publish| match &publish.outcome {
            Outcome::Acked(at) => Some((publish.channel.clone(), at.lineage.clone())),
            Outcome::Nacked | Outcome::Unknown => None,
        });
        acked.collect()
    }

    /// Ends the publishers, and waits until everybody has everything.
    pub(super) async fn settle(mut self) -> Result<Judged> {
        self.over.send_replace(true);
        while let Some(ended) = self.publishers.join_next().await {
            ended??;
        }
        let (mut ledger, mut tops, mut unknown) = (Ledger::new(), HashMap::new(), 0);
        for publish in self.entered.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            match &publish.outcome {
                Outcome::Acked(at) => drop(tops.insert(publish.channel.clone(), at.clone())),
                Outcome::Unknown => unknown += 1,
                Outcome::Nacked => {}
            }
            ledger.publish(publish);
        }
        self.tops.send_replace(Some(Arc::new(tops)));
        let mut journals = Vec::new();
        while let Some(ended) = self.subscribers.join_next().await {
            journals.push(ended??);
        }
        Ok(Judged { ledger, journals, unknown })
    }
}

impl Judged {
    pub(super) fn judge(self) -> Result<Report> {
        let Self { ledger, journals, unknown } = self;
        let summary = ledger.check(&journals).map_err(|violations| {
            let shown: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
            anyhow::anyhow!("{} violations: {shown:#?}", violations.len())
        })?;
        let not_recovered = journals.iter().flat_map(|journal| &journal.seen);
        let not_recovered = not_recovered.filter(|seen| matches!(seen, Seen::NotRecovered { .. })).count();
        Ok(Report { acked: summary.acked as u64, delivered: summary.delivered as u64, unknown, not_recovered })
    }
}

/// One publisher: its messages in their order, each with an id, at another node when one fails.
struct Publishing {
    run: Run,
    name: String,
    channels: Vec<String>,
    over_rest: bool,
    node: usize,
    socket: Option<Client>,
}

/// How one try ended.
enum Tried {
    Ended(Outcome),
    /// It may be tried again; whether it may have been done.
    Again,
}

impl Publishing {
    async fn publish(mut self, every: Duration) -> Result<()> {
        let mut turn = interval(every);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0_u64.. {
            turn.tick().await;
            if *self.run.over.borrow() {
                break;
            }
            let channel = self.channels[usize::try_from(number)? % self.channels.len()].clone();
            let (id, data) = (format!("{}-{number}", self.name), format!("{} {number}", self.name));
            let outcome = self.surely(&channel, &id, &data).await?;
            let payload = Payload::of(Value::from(data).to_string().as_bytes());
            let publish = Publish { publisher: self.name.clone(), channel, payload, outcome };
            self.run.entered.lock().unwrap_or_else(PoisonError::into_inner).push(publish);
        }
        Ok(())
    }

    async fn surely(&mut self, channel: &str, id: &str, data: &str) -> Result<Outcome> {
        let begun = Instant::now();
        loop {
            let body = json!({ "channel": channel, "data": data, "id": id });
            let tried = if self.over_rest {
                self.over_rest(channel, &json!({ "data": data, "id": id })).await
            } else {
                self.over_socket(body).await
            };
            match tried {
                Ok(Tried::Ended(outcome)) => return Ok(outcome),
                Ok(Tried::Again) | Err(_) if begun.elapsed() > TRIED_FOR => return Ok(Outcome::Unknown),
                Ok(Tried::Again) => {}
                Err(_) => {
                    self.socket = None;
                    self.node += 1;
                }
            }
            lasts(Duration::from_millis(100)).await;
        }
    }

    fn owner(&self) -> &Owner {
        &self.run.everywhere[self.node % self.run.everywhere.len()]
    }

    async fn over_rest(&self, channel: &str, body: &Value) -> Result<Tried> {
        let publisher = self.owner().publisher();
        let path = ::harness::publisher::messages(channel);
        let answer = timeout(Duration::from_secs(4), publisher.post(&path, body)).await??;
        judged(answer.status == 200, &answer.body, &answer.body)
    }

    async fn over_socket(&mut self, body: Value) -> Result<Tried> {
        if self.socket.is_none() {
            let opened = timeout(Duration::from_secs(4), self.owner().connect_as(&self.name, &["room:**"])).await??;
            self.socket = Some(opened);
        }
        let socket = self.socket.as_mut().context("it is open")?;
        match timeout(Duration::from_secs(4), socket.command("publish", body)).await?? {
            Ok(ok) => judged(true, &ok, &Value::Null),
            Err(error) => judged(false, &Value::Null, &error),
        }
    }
}

fn judged(is_ok: bool, ok: &Value, error: &Value) -> Result<Tried> {
    if is_ok {
        let position = ok["position"].as_str().and_then(Position::parse).context("a position")?;
        return Ok(Tried::Ended(Outcome::Acked(position)));
    }
    match error["code"].as_str() {
        // The node goes, or has not heard of the app yet: another one takes it.
        Some("moving" | "try_again" | "not_ready") => bail!("elsewhere"),
        _ if error["retryable"] == true => Ok(Tried::Again),
        _ => bail!("a publish was refused: {error}"),
    }
}

/// One subscriber's life, over as many connections as it takes, until it has everything.
async fn subscribe(mut run: Run, name: String, channel: String, mut node: usize) -> Result<Journal> {
    let mut journal = Journal::new(name.clone(), channel.clone());
    let (mut ticket, mut deadline) = (None::<String>, None);
    loop {
        node += 1;
        let owner = &run.everywhere[node % run.everywhere.len()];
        let opened = timeout(Duration::from_secs(5), enter(owner, &name, &channel, &journal, ticket.as_deref())).await;
        if let Ok(Ok(mut client)) = opened {
            ticket = client.ticket().ok();
            follow(&mut client, &channel, &mut run, &mut deadline).await?;
            if let Some(seen) = client.vanish().into_iter().find(|seen| seen.channel == channel) {
                journal = seen;
            }
        } else {
            // What was told before it failed is known to nobody; the ticket may be what is wrong.
            ticket = None;
            lasts(Duration::from_millis(100)).await;
        }
        if let Some(tops) = run.tops.borrow().clone() {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + SETTLED_WITHIN);
            let (has, top) = (journal.position(), tops.get(&channel));
            if top.is_none()
                || has.as_ref().zip(top).is_some_and(|(has, top)| has.lineage == top.lineage && has.seq >= top.seq)
            {
                return Ok(journal);
            }
            ensure!(
                Instant::now() < deadline,
                "{name} has {has:?} of {top:?}; its last: {:?}",
                journal.seen.iter().rev().take(5).collect::<Vec<_>>()
            );
        }
    }
}

async fn enter(owner: &Owner, name: &str, channel: &str, journal: &Journal, ticket: Option<&str>) -> Result<Client> {
    let mut client = match ticket {
        Some(ticket) => Client::come_back(&owner.app_url(), name, ticket).await?,
        None => owner.connect_as(name, &["room:**"]).await?,
    };
    let place = journal.position();
    client.continue_journal(journal.clone());
    match place {
        Some(place) => client.resume(channel, &printed(&place)).await?,
        None => client.subscribe(channel).await?,
    };
    Ok(client)
}

/// Reads until the link fails, or everything has come.
async fn follow(client: &mut Client, channel: &str, run: &mut Run, deadline: &mut Option<Instant>) -> Result<()> {
    loop {
        let quiet = if run.tops.borrow().is_some() { Duration::from_millis(300) } else { QUIET };
        match timeout(quiet, client.receive()).await {
            Ok(Ok(push)) if push.get("reconnect").is_some() || push.get("unsubscribed").is_some() => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Ok(()),
            Err(_) => {
                if !matches!(timeout(PONG_WITHIN, client.ok("ping", json!({}))).await, Ok(Ok(_))) {
                    return Ok(());
                }
                let Some(tops) = run.tops.borrow().clone() else { continue };
                let until = *deadline.get_or_insert_with(|| Instant::now() + SETTLED_WITHIN);
                let position =
                    client.journals().into_iter().find(|seen| seen.channel == channel).and_then(|seen| seen.position());
                let has_all = tops
                    .get(channel)
                    .is_none_or(|top| position.is_some_and(|has| has.lineage == top.lineage && has.seq >= top.seq));
                if has_all || Instant::now() > until {
                    return Ok(());
                }
            }
        }
    }
}
