//! Nodes that share, in virtual time: what a node keeps of a limit, with answers that take as long as Redis'.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fanfare_core::{App, Clock, Limit, LimitValue, Limits};

use super::settling::{Due, Settling, TURN};
use super::{Budget, NodeBudget, Part, SharedMemory, Use};
use crate::broker::Pending;
use crate::clock::Hand;
use crate::directory::{AppEntry, Directory, Population};

/// How long an answer takes.
const TRAVEL_MS: u64 = 2;

struct World {
    time: Arc<Hand>,
    nodes: Vec<Machine>,
    is_away: bool,
    calls: u64,
}

/// A node, as far as limits go.
struct Machine {
    directory: Directory,
    settling: Settling,
    budget: Arc<NodeBudget>,
    /// Answers on their way.
    answers: VecDeque<(u64, Due, Vec<Part>)>,
    is_dead: bool,
    turn_at: u64,
}

impl World {
    fn new(count: u64, limits: &Limits) -> Self {
        let time = Arc::<Hand>::default();
        let shared = SharedMemory::new(Arc::clone(&time) as Arc<dyn Clock>);
        time.0.store(100_000, Ordering::Relaxed);
        let machine = |index| {
            let directory = Directory::default();
            directory.share();
            directory.upsert(App { limits: limits.clone(), ..App::for_tests() });
            // Nodes did not start together.
            let turn_at = 100_000 + index * 37;
            let (settling, budget) = (Settling::default(), shared.join());
            Machine { directory, settling, budget, answers: VecDeque::new(), is_dead: false, turn_at }
        };
        Self { nodes: (0..count).map(machine).collect(), time, is_away: false, calls: 0 }
    }

    fn now(&self) -> u64 {
        self.time.unix_ms()
    }

    fn entry(&self, node: usize) -> Arc<AppEntry> {
        self.nodes[node].directory.entry(App::for_tests().id).expect("known")
    }

    /// A millisecond passes.
    fn step(&mut self) {
        let now = self.time.0.fetch_add(1, Ordering::Relaxed) + 1;
        for node in self.nodes.iter_mut().filter(|node| !node.is_dead) {
            while node.answers.front().is_some_and(|(at, ..)| *at <= now) {
                let (_, due, told) = node.answers.pop_front().expect("it is some");
                node.settling.settled(due, told, node.budget.nodes());
            }
            if node.turn_at <= now && node.answers.is_empty() {
                node.turn_at = now + TURN.as_millis() as u64;
                let mut due = node.settling.due(&node.directory, node.budget.nodes(), Duration::from_millis(now));
                let uses = std::mem::take(&mut due.uses);
                self.calls += u64::from(!uses.is_empty());
                let told = if self.is_away || uses.is_empty() { Vec::new() } else { answered(&node.budget, uses) };
                node.answers.push_back((now + TRAVEL_MS, due, told));
            }
        }
    }

    /// Whether a publish is admitted.
    fn publishes(&self, node: usize) -> bool {
        let entry = self.entry(node);
        let value = entry.peek().limits.get(Limit::PublishApp);
        entry.publishes.draw(self.time.monotonic(), value, 1).is_ok()
    }

    /// Publishes at these rates for so long; what was admitted on each node, and refused altogether.
    fn load(&mut self, rates: &[f64], ms: u64) -> (Vec<u64>, u64) {
        let (mut owed, mut admitted, mut refused) = (vec![0.0; rates.len()], vec![0; rates.len()], 0);
        for _ in 0..ms {
            self.step();
            for (node, rate) in rates.iter().enumerate() {
                owed[node] += rate / 1_000.0;
                while owed[node] >= 1.0 && !self.nodes[node].is_dead {
                    owed[node] -= 1.0;
                    if self.publishes(node) {
                        admitted[node] += 1;
                    } else {
                        refused += 1;
                    }
                }
            }
        }
        (admitted, refused)
    }
}

fn answered(budget: &NodeBudget, uses: Vec<Use>) -> Vec<Part> {
    match budget.settle(uses) {
        Pending::Ready(told) => told.expect("memory is there"),
        Pending::Later(_) => unreachable!("memory answers at once"),
    }
}

fn publishing(rate: u64, burst: u64) -> Limits {
    let mut limits = Limits::default();
    limits.set(Limit::PublishApp, LimitValue::rate(rate, burst));
    limits
}

fn ratio(admitted: &[u64], of: f64) -> f64 {
    admitted.iter().sum::<u64>() as f64 / of
}

#[test]
fn three_nodes_admit_what_one_would() {
    for offered in [1_100.0, 2_000.0, 20_000.0] {
        let mut world = World::new(3, &publishing(1_000, 1_000));
        let (admitted, _) = world.load(&[offered * 0.9, offered * 0.05, offered * 0.05], 60_000);
        let ratio = ratio(&admitted, 60_000.0);
        assert!((0.95..=1.05).contains(&ratio), "{offered}: {ratio} {admitted:?}");
        // Who asks for little gets it.
        if offered < 5_000.0 {
            assert!(admitted[1] as f64 >= offered * 0.05 * 60.0 * 0.95, "{offered}: {admitted:?}");
        }
        assert!(world.calls < 60_000 / 50, "{} calls", world.calls);
        for second in 0..10 {
            let (admitted, _) = world.load(&[offered * 0.9, offered * 0.05, offered * 0.05], 1_000);
            let ratio = admitted.iter().sum::<u64>() as f64 / 1_000.0;
            assert!((0.8..=1.2).contains(&ratio), "{offered}: {ratio} in second {second}");
        }
    }
}

#[test]
fn nodes_that_hear_nothing_go_on_with_what_they_had() {
    for (offered, skew) in [(1_200.0, [0.9, 0.05, 0.05]), (2_000.0, [0.9, 0.05, 0.05]), (6_000.0, [0.4, 0.3, 0.3])] {
        let mut world = World::new(3, &publishing(1_000, 1_000));
        let rates = skew.map(|part| part * offered);
        world.load(&rates, 10_000);
        world.is_away = true;
        let (admitted, _) = world.load(&rates, 20_000);
        let away = ratio(&admitted, 20_000.0);
        assert!((0.7..=1.2).contains(&away), "{offered} {skew:?}: {away} {admitted:?}");
        world.is_away = false;
        world.load(&rates, 3_000);
        let (admitted, _) = world.load(&rates, 20_000);
        let after = ratio(&admitted, 20_000.0);
        assert!((0.95..=1.05).contains(&after), "{offered} {skew:?}: {after} {admitted:?} afterwards");
    }
}

#[test]
fn a_node_that_never_heard_anything_takes_its_part_at_once() {
    let mut world = World::new(3, &publishing(100, 100));
    world.is_away = true;
    world.load(&[10.0, 0.0, 0.0], 1_000);
    // Others too, which were idle until now.
    let (admitted, _) = world.load(&[1_000.0, 1_000.0, 1_000.0], 20_000);
    let ratio = ratio(&admitted, 2_000.0);
    assert!((0.7..=1.2).contains(&ratio), "{ratio} {admitted:?}");
}

#[test]
fn below_the_limit_nobody_is_refused() {
    for (burst, rates) in
        [(1_000, [720.0, 40.0, 40.0]), (100, [450.0, 50.0, 0.0]), (50, [10.0, 10.0, 10.0]), (1_000, [0.0, 0.0, 950.0])]
    {
        let mut world = World::new(3, &publishing(1_000, burst));
        let (_, refused) = world.load(&rates, 20_000);
        assert_eq!(refused, 0, "{burst} {rates:?}");
    }
}

#[test]
fn a_burst_is_admitted_wherever_it_comes_and_what_is_too_much_is_paid_back() {
    let mut world = World::new(3, &publishing(100, 500));
    for node in [0, 1, 2, 2, 0] {
        let admitted = (0..600).filter(|_| world.publishes(node)).count();
        assert_eq!(admitted, 500, "node {node}");
        world.load(&[0.0, 0.0, 0.0], 8_000);
    }
    // All at once, before any has heard of another.
    let admitted = (0..3).map(|node| (0..600).filter(|_| world.publishes(node)).count()).sum::<usize>();
    assert_eq!(admitted, 1_500);
    world.load(&[0.0; 3], 500);
    let (admitted, _) = world.load(&[200.0; 3], 9_000);
    assert!(ratio(&admitted, 1.0) < 60.0, "a thousand are owed, which takes ten seconds: {admitted:?}");
    world.load(&[200.0; 3], 2_000);
    let (admitted, _) = world.load(&[200.0; 3], 10_000);
    assert!((0.95..=1.05).contains(&ratio(&admitted, 1_000.0)), "{admitted:?}");
}

#[test]
fn what_is_asked_for_moves_and_parts_follow() {
    let mut world = World::new(3, &publishing(1_000, 300));
    world.load(&[3_000.0, 10.0, 0.0], 10_000);
    world.load(&[10.0, 0.0, 3_000.0], 2_000);
    let (admitted, _) = world.load(&[10.0, 0.0, 3_000.0], 5_000);
    assert!((0.95..=1.05).contains(&ratio(&admitted, 5_000.0)), "{admitted:?}");
    // A node that dies takes nothing along for long.
    world.nodes[2].is_dead = true;
    world.load(&[3_000.0, 0.0, 0.0], 2_000);
    let (admitted, _) = world.load(&[3_000.0, 0.0, 0.0], 5_000);
    assert!((0.95..=1.05).contains(&ratio(&admitted, 5_000.0)), "{admitted:?}");
}

#[test]
fn an_idle_app_costs_no_call_and_a_limit_that_is_not_set_is_not_shared() {
    let mut world = World::new(2, &publishing(1_000, 1_000));
    world.load(&[1.0, 0.0], 3_000);
    world.load(&[0.0, 0.0], 3_000);
    let before = world.calls;
    world.load(&[0.0, 0.0], 60_000);
    assert_eq!(world.calls, before);
    let mut world = World::new(2, &Limits::default());
    world.load(&[5_000.0, 5_000.0], 2_000);
    assert_eq!(world.calls, 0);
}

#[test]
fn alone_a_node_is_as_exact_as_one_that_shares_nothing() {
    let mut world = World::new(1, &publishing(10, 3));
    for round in 0..50 {
        world.load(&[0.0], 250 + round);
        let now = world.now();
        let admitted = (0..10).filter(|_| world.publishes(0)).count();
        world.load(&[0.0], 100);
        // A tenth of a second brings one.
        let then = (0..10).filter(|_| world.publishes(0)).count();
        assert!(admitted <= 3 && then <= 2, "round {round} at {now}: {admitted} and {then}");
    }
}

#[test]
fn connections_of_all_nodes_count() {
    let mut limits = Limits::default();
    limits.set(Limit::Connections, LimitValue::count(10));
    let mut world = World::new(2, &limits);
    let population = Population::default();
    let enter = |world: &World, node| world.entry(node).admit(None, population.enter(1_000).expect("there is room"));
    let first: Vec<_> = (0..6).map(|_| enter(&world, 0).expect("there is room")).collect();
    world.load(&[], 2_200);
    let early = enter(&world, 1).expect("there is room");
    world.load(&[], 250);
    let second: Vec<_> = (0..3).map(|_| enter(&world, 1).expect("there is room")).collect();
    assert!(enter(&world, 1).is_err(), "there are ten");
    world.load(&[], 1_200);
    assert!(enter(&world, 0).is_err(), "there are ten");
    drop((early, second));
    world.load(&[], 2_200);
    let third: Vec<_> = (0..4).map(|_| enter(&world, 0).expect("there is room")).collect();
    drop((first, third));
    world.load(&[], 2_200);
    let _ten: Vec<_> = (0..10).map(|_| enter(&world, 1).expect("there is room")).collect();
    world.load(&[], 250);
    // A node where nobody is does not know, and hears of it with its first.
    let _late = enter(&world, 0).expect("nothing was heard yet");
    world.load(&[], 250);
    assert!(enter(&world, 0).is_err());
    // A node that died has none.
    world.nodes[1].is_dead = true;
    world.load(&[], 4_500);
    assert!(enter(&world, 0).is_ok());
}

#[test]
fn what_is_not_followed_any_more_puts_nothing_in_disorder() {
    let mut world = World::new(2, &publishing(100, 100));
    // A rate that is not set is followed first, and let go in the turn that tells of the other.
    let place = Population::default().enter(10).expect("there is room");
    drop(world.entry(0).admit(Some(world.time.monotonic()), place).expect("there is room"));
    world.load(&[], 50);
    assert_eq!((0..150).filter(|_| world.publishes(0)).count(), 100);
    world.load(&[], 100);
    let (admitted, _) = world.load(&[300.0, 0.0], 5_000);
    assert!((0.95..=1.05).contains(&ratio(&admitted, 500.0)), "{admitted:?}");
}
