//! Several nodes in one process, and the reference of how a rate is divided.
//!
//! The whole is one bucket by the generic cell rate algorithm (ITU-T I.371), charged with what nodes drew. What of it a
//! node may draw from follows what is asked for: where all of that fits, each gets it and its share of the rest; else the
//! least demanding get what they ask for and the others the same (max-min fairness). Nodes that ask for nothing keep a
//! little, so that their first client is not refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fanfare_core::{Clock, LimitValue};

use super::{Account, Away, Budget, Part, Use, Used, WHOLE};
use crate::broker::Pending;

/// What nodes without a demand keep together, where others have one.
const IDLE: f64 = 0.1;
/// How much of what a node may draw from while nothing is heard follows its demand; the rest is the same for all.
const BY_DEMAND: f64 = 0.75;

/// What nodes of one process share.
pub struct SharedMemory {
    clock: Arc<dyn Clock>,
    nodes: AtomicU32,
    accounts: Mutex<BTreeMap<Account, State>>,
}

/// A node's way to it.
pub struct NodeBudget {
    shared: Arc<SharedMemory>,
    node: u32,
}

struct State {
    /// When the whole bucket is full.
    full_at: f64,
    /// By node: its demand, or how much it has, and until when that holds.
    nodes: BTreeMap<u32, (f64, f64)>,
}

impl SharedMemory {
    /// Nothing is used yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, nodes: AtomicU32::new(0), accounts: Mutex::default() })
    }

    /// One node more.
    #[must_use]
    pub fn join(self: &Arc<Self>) -> Arc<NodeBudget> {
        let node = self.nodes.fetch_add(1, Ordering::Relaxed);
        Arc::new(NodeBudget { shared: Arc::clone(self), node })
    }
}

impl Budget for NodeBudget {
    fn nodes(&self) -> u32 {
        self.shared.nodes.load(Ordering::Relaxed)
    }

    fn settle(&self, uses: Vec<Use>) -> Pending<Result<Vec<Part>, Away>> {
        let now = self.shared.clock.monotonic().as_secs_f64();
        let mut accounts = self.shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = uses.into_iter().map(|used| {
            let state = accounts.entry(used.account).or_insert_with(State::new);
            state.settle(self.node, self.nodes(), now, &used)
        });
        Pending::Ready(Ok(settled.collect()))
    }
}

impl State {
    fn new() -> Self {
        Self { full_at: f64::NEG_INFINITY, nodes: BTreeMap::new() }
    }

    fn settle(&mut self, node: u32, nodes: u32, now: f64, told: &Use) -> Part {
        self.nodes.retain(|other, (_, until)| *other != node && *until > now);
        let number = match told.used {
            Used::Rate { demand, .. } => demand,
            Used::Count(count) => count as f64,
        };
        if number > 0.0 {
            self.nodes.insert(node, (number, now + told.holds.as_secs_f64()));
        }
        match told.used {
            Used::Count(_) => {
                let others = self.nodes.iter().filter(|(other, _)| **other != node);
                Part::Elsewhere(others.map(|(_, (count, _))| *count as u64).sum())
            }
            Used::Rate { value, drawn, over, full_in, .. } => {
                self.charge(now, nodes, value, (drawn, over, full_in));
                self.part(node, nodes, now, value)
            }
        }
    }

    /// Charges the whole with what was drawn.
    fn charge(&mut self, now: f64, nodes: u32, value: LimitValue, (drawn, over, full_in): (u64, Duration, Duration)) {
        let (interval, capacity) = span(value);
        // What came in while it was drawn was drawn too.
        let charged = self.full_at.max(now - over.as_secs_f64()) + drawn as f64 * interval;
        let charged = if full_in.is_zero() { charged } else { charged.max(now + full_in.as_secs_f64()) };
        // No more is owed than all can have drawn before they heard of each other.
        self.full_at = charged.min(now + capacity * f64::from(nodes.max(1)) + 1.0);
    }

    fn part(&self, node: u32, nodes: u32, now: f64, value: LimitValue) -> Part {
        let (_, capacity) = span(value);
        let ahead = (self.full_at - now).max(0.0);
        let fullness = (1.0 - ahead / capacity).max(0.0);
        let nodes = f64::from(nodes.max(1)).max(self.nodes.len() as f64);
        let share = self.share(node, nodes, value);
        let alone = BY_DEMAND.mul_add(share, (1.0 - BY_DEMAND) / nodes);
        Part::Rate {
            // Where there is much for all, nobody is held to a share.
            part: millionths(share.max(fullness * fullness)),
            alone: millionths(alone),
            full_in: Duration::from_secs_f64(ahead),
        }
    }

    /// What a node gets, so that all nodes get the whole.
    fn share(&self, node: u32, nodes: f64, value: LimitValue) -> f64 {
        let count = self.nodes.len() as f64;
        if count == 0.0 {
            return 1.0 / nodes;
        }
        let Some((own, _)) = self.nodes.get(&node) else { return IDLE / nodes };
        let rest = 1.0 - IDLE / nodes * (nodes - count);
        let demands = || self.nodes.values().map(|(demand, _)| demand / value.max.max(1) as f64);
        let own = own / value.max.max(1) as f64;
        let sum: f64 = demands().sum();
        if sum <= rest {
            return own + (rest - sum) * (own + sum / count) / (2.0 * sum);
        }
        let mut sorted: Vec<f64> = demands().collect();
        sorted.sort_by(f64::total_cmp);
        let (mut left, mut sharing) = (rest, count);
        for demand in sorted {
            let same = left / sharing;
            if demand > same {
                return own.min(same);
            }
            (left, sharing) = (left - demand, sharing - 1.0);
        }
        own
    }
}

/// How long one takes to come in, and all, in seconds.
fn span(value: LimitValue) -> (f64, f64) {
    let interval = 1.0 / value.max.max(1) as f64;
    (interval, interval * value.burst.max(1) as f64)
}

fn millionths(part: f64) -> u32 {
    ((part * f64::from(WHOLE)) as u32).clamp(1, WHOLE)
}
