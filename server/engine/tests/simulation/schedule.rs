//! Seeded schedules of publishes, lost and late pushes, slow readers and racing reads, judged by what clients saw:
//! every subscriber's run of numbers is contiguous until it was told otherwise, payloads are the log's, and once all is
//! quiet everybody has reached the top.

use std::fmt::Write as _;

use fanfare_core::{ChannelName, Data, Draft, Limit, LimitValue};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::link::{Got, Link};
use super::world::{World, settle};

const STEPS: usize = 120;

/// One subscriber and what it may expect next.
struct Subscriber {
    link: Link,
    next: Option<u64>,
    seen: u64,
    told: u64,
}

impl Subscriber {
    fn judge(&mut self) -> Result<(), String> {
        for got in self.link.take() {
            let Got::Text(value) = got else { continue };
            if let Some(fence) = value.pointer("/ok/seq").and_then(Value::as_u64) {
                self.next = Some(fence + 1);
            } else if let Some(message) = value.get("msg") {
                let (seq, next) =
                    (message["seq"].as_u64().ok_or("no seq")?, self.next.ok_or("a message before the fence")?);
                if seq != next {
                    return Err(format!("expected {next}, got {seq}"));
                }
                if message["data"].as_u64() != Some(seq) {
                    return Err(format!("the payload at {seq} is {}", message["data"]));
                }
                self.next = Some(seq + 1);
                self.seen += 1;
            } else if let Some(recovery) = value.get("recovery") {
                self.next = Some(recovery["seq"].as_u64().ok_or("no seq")? + 1);
                self.told += 1;
            }
        }
        Ok(())
    }
}

async fn play(seed: u64) -> Result<(u64, u64), String> {
    let mut world = World::new(seed);
    let mut dice = StdRng::seed_from_u64(seed);
    // Short enough that whoever is away for long finds its past trimmed, and must be told.
    world.change(|app| app.limits.set(Limit::HistoryMessages, LimitValue::count(60)));
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let channel = ChannelName::parse("demo:x").expect("valid");
    let mut published = 0_u64;
    let mut subscribers: Vec<Subscriber> = Vec::new();
    for _ in 0..STEPS {
        match dice.random_range(0..12) {
            0 if subscribers.len() < 6 => {
                let link = world.client().await;
                link.send(r#"{"id":2,"subscribe":{"channel":"demo:x"}}"#);
                subscribers.push(Subscriber { link, next: None, seen: 0, told: 0 });
            }
            1 => world.road.lose(dice.random_range(0..60)),
            2 => world.road.hold(dice.random()),
            3 => world.road.arrive(),
            4 => world.road.read_turns(dice.random_range(0..8)),
            5 => {
                if let Some(subscriber) = subscribers.get(dice.random_range(0..6)) {
                    subscriber.link.room(if dice.random() { Some(dice.random_range(0..2_000)) } else { None });
                }
            }
            6 => settle().await,
            _ => {
                for _ in 0..dice.random_range(1..40) {
                    published += 1;
                    // Large enough that a slow reader falls behind, small enough to stay in history.
                    let mut text = String::new();
                    let _infallible = write!(text, "{published}");
                    let mut draft =
                        Draft::new(Data::Json(serde_json::value::RawValue::from_string(text).expect("JSON")));
                    draft.headers = vec![("fill".into(), "x".repeat(256).into())];
                    world.node.publish(&caller, &channel, draft).await.map_err(|error| error.to_string())?;
                }
            }
        }
        subscribers.iter_mut().try_for_each(Subscriber::judge)?;
    }
    // Healing: everything flows, and a last message shows whoever missed the tail that something is missing.
    world.road.lose(0);
    world.road.hold(false);
    world.road.arrive();
    subscribers.iter().for_each(|subscriber| subscriber.link.room(None));
    settle().await;
    published += 1;
    let last = serde_json::value::to_raw_value(&published).expect("JSON");
    world.node.publish(&caller, &channel, Draft::new(Data::Json(last))).await.map_err(|error| error.to_string())?;
    for _ in 0..50 {
        settle().await;
    }
    let mut totals = (0, 0);
    for subscriber in &mut subscribers {
        subscriber.judge()?;
        if subscriber.next != Some(published + 1) {
            return Err(format!("a subscriber stands before {:?}, the top is {published}", subscriber.next));
        }
        totals = (totals.0 + subscriber.seen, totals.1 + subscriber.told);
    }
    Ok(totals)
}

#[test]
fn no_schedule_loses_doubles_or_reorders_unsaid() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (mut seen, mut told) = (0, 0);
    for seed in 0..100 {
        match runtime.block_on(play(seed)) {
            Ok(totals) => (seen, told) = (seen + totals.0, told + totals.1),
            Err(wrong) => panic!("seed {seed}: {wrong}"),
        }
    }
    // The schedules must do what they are for: deliver much, and lose enough that some is told.
    assert!(seen > 50_000 && told > 0, "{seen} delivered, {told} told");
}
