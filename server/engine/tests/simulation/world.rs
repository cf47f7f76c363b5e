//! A node with one app, a clock that tests move, and a broker that loses and delays when told to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fanfare_core::id::{AppId, KeyId, RuleId};
use fanfare_core::position::PositionKey;
use fanfare_core::secret::{KeySecret, PrintedKey, SecretBytes};
use fanfare_core::{
    App, Capabilities, ChannelKey, Clock, Effect, Key, KeyKind, KeyState, Message, Operations, Pattern, Rule, Who,
};
use fanfare_engine::broker::{Append, Appended, Deliver, Page, Read};
use fanfare_engine::chance::Chance;
use fanfare_engine::{
    Broker, BrokerError, Handshake, MemoryBroker, MemoryOptions, Node, NodeError, NodeOptions, Pending, Remove, turn,
};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::link::Link;

/// A clock that stands still until it is moved.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).expect("short"), Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// The memory broker behind a road on which pushes are lost or late and reads take turns.
pub(crate) struct Road {
    inner: MemoryBroker,
    sink: OnceLock<Arc<dyn Deliver>>,
    state: Mutex<RoadState>,
}

#[derive(Default)]
struct RoadState {
    /// Of 100 pushes, how many are lost.
    lost: u8,
    /// Pushes wait for `Road::arrive`.
    held: bool,
    waiting: VecDeque<(ChannelKey, Arc<Message>, Duration)>,
    /// Turns of the scheduler a read takes.
    read_turns: u8,
    /// Reads have looked and wait here before they answer.
    gate: Option<Arc<Semaphore>>,
    /// How many of the next reads fail.
    failing: u32,
    /// How many reads were made.
    reads: u64,
    /// What happens around the next time a channel is let go; it is handed the letting go.
    meanwhile: Option<Meanwhile>,
    dice: u64,
}

type Meanwhile = Box<dyn FnOnce(&dyn Fn()) + Send>;

impl RoadState {
    fn roll(&mut self, sides: u64) -> u64 {
        // Steele et al., "Fast splittable pseudorandom number generators" (2014), the output function of SplitMix64.
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

impl Road {
    fn state(&self) -> std::sync::MutexGuard<'_, RoadState> {
        self.state.lock().expect("no test panics under this lock")
    }

    pub(crate) fn lose(&self, lost: u8) {
        self.state().lost = lost;
    }

    pub(crate) fn hold(&self, held: bool) {
        self.state().held = held;
    }

    pub(crate) fn read_turns(&self, turns: u8) {
        self.state().read_turns = turns;
    }

    /// Reads wait from now on; answers how they are let through.
    pub(crate) fn gate(&self) -> Arc<Semaphore> {
        Arc::clone(self.state().gate.insert(Arc::new(Semaphore::new(0))))
    }

    /// So many of the next reads fail.
    pub(crate) fn fail_reads(&self, count: u32) {
        self.state().failing = count;
    }

    /// How many reads were made so far.
    pub(crate) fn reads(&self) -> u64 {
        self.state().reads
    }

    pub(crate) fn meanwhile(&self, meanwhile: impl FnOnce(&dyn Fn()) + Send + 'static) {
        self.state().meanwhile = Some(Box::new(meanwhile));
    }

    /// What waits on the road reaches the node.
    pub(crate) fn arrive(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        for (key, message, accepted) in waiting {
            self.sink.get().expect("set at start").deliver(&key, message, accepted);
        }
    }
}

struct Toll(Arc<Road>);

impl Deliver for Toll {
    fn deliver(&self, channel: &ChannelKey, message: Arc<Message>, accepted: Duration) {
        let mut state = self.0.state();
        if state.roll(100) < u64::from(state.lost) {
            return;
        }
        if state.held {
            state.waiting.push_back((channel.clone(), message, accepted));
            return;
        }
        drop(state);
        self.0.sink.get().expect("set at start").deliver(channel, message, accepted);
    }
}

/// The road as the node sees it.
struct Through(Arc<Road>);

impl Broker for Through {
    fn publish(&self, channel: &ChannelKey, append: Append) -> Pending<Result<Appended, BrokerError>> {
        self.0.inner.publish(channel, append)
    }

    fn read(&self, channel: &ChannelKey, read: Read) -> Pending<Result<Page, BrokerError>> {
        let (turns, gate) = {
            let mut state = self.0.state();
            state.reads += 1;
            if state.failing > 0 {
                state.failing -= 1;
                return Pending::Ready(Err(BrokerError::Unavailable));
            }
            (state.read_turns, state.gate.clone())
        };
        if let Some(gate) = gate {
            let page = self.0.inner.read(channel, read);
            return Pending::Later(Box::pin(async move {
                gate.acquire().await.expect("never closed").forget();
                page.wait().await
            }));
        }
        if turns == 0 {
            return self.0.inner.read(channel, read);
        }
        let (road, channel) = (Arc::clone(&self.0), channel.clone());
        Pending::Later(Box::pin(async move {
            let half = road.state().roll(u64::from(turns));
            for _ in 0..half {
                tokio::task::yield_now().await;
            }
            let page = road.inner.read(&channel, read).wait().await;
            // The answer travels too: the log moves on meanwhile.
            for _ in half..u64::from(turns) {
                tokio::task::yield_now().await;
            }
            page
        }))
    }

    fn remove(&self, channel: &ChannelKey, remove: Remove) -> Pending<Result<u64, BrokerError>> {
        self.0.inner.remove(channel, remove)
    }

    fn attach(&self, channel: &ChannelKey) -> Pending<Result<(), BrokerError>> {
        self.0.inner.attach(channel)
    }

    fn detach(&self, channel: &ChannelKey, wanted: &dyn Fn() -> bool) {
        let detach = || self.0.inner.detach(channel, wanted);
        let meanwhile = self.0.state().meanwhile.take();
        match meanwhile {
            Some(meanwhile) => meanwhile(&detach),
            None => detach(),
        }
    }

    fn sweep(&self, now_ms: u64) {
        self.0.inner.sweep(now_ms);
    }
}

/// A node and everything around it.
pub(crate) struct World {
    pub(crate) node: Arc<Node>,
    pub(crate) road: Arc<Road>,
    pub(crate) clock: Arc<Hand>,
    pub(crate) app: App,
    pub(crate) key: PrintedKey,
    connections: JoinSet<()>,
}

impl World {
    /// A world whose threads end their turns, as the server's do, when the seed is even.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(NodeOptions { seed: Some(seed), ..NodeOptions::default() })
    }

    /// A world whose node is run so.
    pub(crate) fn with(options: NodeOptions) -> Self {
        let seed = options.seed.unwrap_or_default();
        if seed.is_multiple_of(2) {
            turn::end();
        }
        let clock = Arc::new(Hand::default());
        let chance = Chance::new(Some(seed));
        let inner = MemoryBroker::new(MemoryOptions::default(), clock.unix_ms(), chance);
        let state = Mutex::new(RoadState { dice: seed, ..RoadState::default() });
        let road = Arc::new(Road { inner, sink: OnceLock::new(), state });
        let shared_clock: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let broker = Arc::new(Through(Arc::clone(&road)));
        let node = Node::new(options, broker, shared_clock, PositionKey::new([9; 32]));
        assert!(road.sink.set(node.sink()).is_ok(), "set once");
        road.inner.deliver_to(Arc::new(Toll(Arc::clone(&road))));
        let key = PrintedKey { id: KeyId::new(1, 7), secret: KeySecret::from_digits([7; 43]) };
        let app = app(&key);
        node.directory().upsert(app.clone());
        node.directory().set_complete();
        Self { node, road, clock, app, key, connections: JoinSet::new() }
    }

    /// A link whose `connect` was answered.
    pub(crate) async fn client(&mut self) -> Link {
        let link = self.link();
        link.send(r#"{"id":1,"connect":{}}"#);
        settle().await;
        assert_eq!(link.take().len(), 1, "connect is answered");
        link
    }

    /// A link that has sent nothing yet.
    pub(crate) fn link(&mut self) -> Link {
        self.try_link().expect("there is room")
    }

    /// A link, or why the node does not take it.
    pub(crate) fn try_link(&mut self) -> Result<Link, NodeError> {
        let (link, app) = (Link::default(), self.node.app(self.app.id).expect("known"));
        let permit = self.node.admit_connection(&app, &Handshake::default())?;
        let (node, reader, sink) = (Arc::clone(&self.node), link.clone(), Box::new(link.clone()));
        self.connections.spawn(async move { node.serve_connection(permit, Handshake::default(), reader, sink).await });
        Ok(link)
    }

    /// Applies a change to the app.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut App)) {
        self.app.version += 1;
        change(&mut self.app);
        self.node.directory().upsert(self.app.clone());
    }
}

/// Lets every task run until nothing moves.
pub(crate) async fn settle() {
    run().await;
    if turn::ends() {
        turn::end();
        // What the end of the turn told the tasks may take them another one.
        run().await;
        turn::end();
    }
}

/// Lets every task run, within one turn of the thread where turns end.
pub(crate) async fn run() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn rule(id: u64, pattern: &str, effect: Effect) -> Rule {
    Rule {
        id: RuleId::new(id, 0),
        pattern: Pattern::parse(pattern).expect("valid"),
        who: Who::Everyone,
        operations: Operations::CLIENT,
        effect,
    }
}

fn app(key: &PrintedKey) -> App {
    let mut app = App::for_tests();
    app.id = AppId::new(1, 2);
    app.rules = vec![rule(1, "demo:**", Effect::Allow)];
    app.keys = vec![Key {
        id: key.id,
        kind: KeyKind::Tenant,
        name: "first".into(),
        capabilities: Capabilities::everything(),
        expires_ms: None,
        state: KeyState::Active,
        secret_hash: Sha256::digest(key.secret.expose().as_bytes()).into(),
        signing_secret: Some(SecretBytes::new(key.secret.expose().into())),
    }];
    app
}
