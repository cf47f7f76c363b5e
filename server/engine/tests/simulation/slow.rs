//! What becomes of a subscriber that does not keep up, by its channel's policy: bounded, told, and right in the end.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_core::{ChannelName, ChannelSettings, Data, Draft, Limit, LimitValue, Pattern, SlowPolicy};
use fanfare_engine::chance::Chance;
use serde_json::{Value, json};

use super::link::{Got, Link};
use super::node::{ask, texts};
use super::world::{World, settle};

fn settings(pattern: &str, slow: SlowPolicy) -> ChannelSettings {
    let pattern = Pattern::parse(pattern).expect("valid");
    ChannelSettings { pattern, slow, ..ChannelSettings::defaults().clone() }
}

/// A message with a key or without; answers its number.
async fn publish(world: &World, channel: &str, key: Option<&str>, data: &Value) -> u64 {
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let data = Data::Json(serde_json::value::to_raw_value(data).expect("JSON"));
    let draft = Draft { key: key.map(Into::into), ..Draft::new(data) };
    let channel = ChannelName::parse(channel).expect("valid");
    let position = world.node.publish(&caller, &channel, draft).await.expect("accepted").position;
    seq(&json!(position))
}

fn seq(position: &Value) -> u64 {
    let (_, seq) = position.as_str().and_then(|text| text.split_once('.')).expect("a position");
    seq.parse().expect("a number")
}

/// A subscriber that stands still.
async fn stalled(world: &mut World, channels: &[&str]) -> Link {
    let link = world.client().await;
    for (id, channel) in (2..).zip(channels) {
        assert!(ask(&link, json!({"id":id,"subscribe":{"channel":channel}})).await.get("ok").is_some());
    }
    link.room(Some(0));
    link
}

/// What a client of one channel can say at the end.
#[derive(Default)]
struct Account {
    at: u64,
    /// Numbers that arrived, or of which it was said that they do not.
    known: BTreeSet<u64>,
    messages: Vec<Value>,
    dropped: u64,
    lost: u64,
}

impl Account {
    fn of(pushes: &[Value], channel: &str) -> Self {
        let mut account = Self::default();
        for push in pushes {
            let of = |kind: &str| push.get(kind).filter(|told| told["channel"] == json!(channel));
            if let Some(message) = of("msg") {
                let next = message["seq"].as_u64().expect("a number");
                assert!(next > account.at, "{next} came after {}", account.at);
                account.at = next;
                account.known.insert(next);
                account.messages.push(message.clone());
            } else if let Some(gap) = of("gap") {
                let (from, to) = (seq(&gap["from"]), seq(&gap["to"]));
                assert!(from >= account.at && to > from, "{gap} at {}", account.at);
                account.known.extend(from + 1..=to);
                account.at = to;
                account.dropped += gap["dropped"].as_u64().expect("a number");
            } else if let Some(recovery) = of("recovery") {
                let (from, to) = (seq(&recovery["from"]), seq(&recovery["to"]));
                assert!(from >= account.at, "{recovery} at {}", account.at);
                account.known.extend(from + 1..=to);
                account.at = to;
                account.lost += to - from;
            }
        }
        account
    }
}

/// Everything that arrives once the client reads again.
async fn thaw(link: &Link) -> Vec<Value> {
    link.room(None);
    let mut got = Vec::new();
    loop {
        let new = texts(link).await;
        if new.is_empty() {
            return got;
        }
        got.extend(new);
    }
}

#[tokio::test]
async fn where_a_channel_conflates_a_slow_client_gets_the_latest_of_each_key() {
    let mut world = World::new(40);
    world.change(|app| app.settings = vec![settings("demo:**", SlowPolicy::Conflate)]);
    let link = stalled(&mut world, &["demo:a"]).await;
    for n in 1..=5_000_u64 {
        publish(&world, "demo:a", Some(["x", "y", "z"][(n % 3) as usize]), &json!(n)).await;
    }
    publish(&world, "demo:a", None, &json!("no key")).await;
    let account = Account::of(&thaw(&link).await, "demo:a");
    let data: Vec<_> = account.messages.iter().map(|message| message["data"].clone()).collect();
    // What the socket refused at first, one turn's messages, is on its way already.
    let (first, rest) = data.split_at(data.len().saturating_sub(4));
    assert_eq!(rest, [json!(4_998), json!(4_999), json!(5_000), json!("no key")]);
    assert!((1..=64).contains(&first.len()), "{first:?}");
    let let_go = world.node.let_go(Some(world.app.id));
    assert_eq!((let_go.conflated, let_go.dropped), (5_001 - data.len() as u64, 0));
    assert_eq!(world.node.flow(world.app.id).map(|flow| flow.messages_out), Some(data.len() as u64));
    // It keeps up again, and nothing is held back.
    publish(&world, "demo:a", Some("x"), &json!("live")).await;
    assert_eq!(texts(&link).await[0]["msg"]["data"], json!("live"));
}

#[tokio::test]
async fn where_a_channel_drops_a_slow_client_is_told_how_many_and_gets_the_newest() {
    let mut world = World::new(41);
    world.change(|app| app.settings = vec![settings("demo:**", SlowPolicy::DropOldest)]);
    let link = stalled(&mut world, &["demo:a"]).await;
    let text = "x".repeat(1_000);
    for _ in 1..=1_000 {
        publish(&world, "demo:a", None, &json!(text)).await;
    }
    let pushes = thaw(&link).await;
    let gap = &pushes[1]["gap"];
    let dropped = gap["dropped"].as_u64().expect("told behind the message that was on its way");
    assert_eq!((seq(&gap["from"]), seq(&gap["to"])), (1, 1 + dropped));
    let account = Account::of(&pushes, "demo:a");
    assert_eq!((account.known.len(), account.at, account.lost), (1_000, 1_000, 0));
    assert!((200..300).contains(&account.messages.len()), "{} waited", account.messages.len());
    assert_eq!(world.node.let_go(None).dropped, dropped);
}

#[tokio::test]
async fn where_a_channel_does_not_wait_a_slow_client_is_disconnected() {
    let mut world = World::new(42);
    world.change(|app| app.settings = vec![settings("demo:strict", SlowPolicy::Disconnect)]);
    let link = stalled(&mut world, &["demo:strict", "demo:easy"]).await;
    let text = "x".repeat(100_000);
    for _ in 0..2 {
        publish(&world, "demo:strict", None, &json!(text)).await;
    }
    settle().await;
    assert_eq!(world.node.stats(world.app.id).expect("known").subscriptions, 2, "a little may wait");
    for _ in 0..2 {
        publish(&world, "demo:strict", None, &json!(text)).await;
    }
    settle().await;
    link.room(None);
    settle().await;
    assert_eq!(link.take().last(), Some(&Got::Close(4102, "slow_consumer".into())));
    assert_eq!(world.node.stats(world.app.id).expect("known").subscriptions, 0);
}

#[tokio::test]
async fn settings_reach_subscriptions_that_are_there() {
    let mut world = World::new(43);
    let link = world.client().await;
    ask(&link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    let own = |id: u64| json!({"id":id,"publish":{"channel":"demo:a","data":1}}).to_string();
    link.send(own(3));
    assert_eq!(texts(&link).await.len(), 2, "the answer and the echo");
    world.change(|app| {
        app.settings = vec![ChannelSettings { echo: false, ..settings("demo:a", SlowPolicy::DropOldest) }]
    });
    settle().await;
    link.send(own(4));
    assert_eq!(texts(&link).await.len(), 1, "the answer alone");
    link.room(Some(0));
    for _ in 0..1_000 {
        publish(&world, "demo:a", None, &json!("x".repeat(1_000))).await;
    }
    assert!(thaw(&link).await[1].get("gap").is_some());
    // What waits by the old policy goes before what comes by the new one.
    link.room(Some(0));
    for n in 0..20 {
        publish(&world, "demo:a", None, &json!(n)).await;
    }
    world.change(|app| app.settings.clear());
    settle().await;
    for n in 20..40 {
        publish(&world, "demo:a", None, &json!(n)).await;
    }
    let data: Vec<_> = thaw(&link).await.iter().map(|push| push["msg"]["data"].clone()).collect();
    assert_eq!(data, (0..40).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn settings_bound_messages_and_rates_inside_the_limits() {
    let mut world = World::new(44);
    let own = |bytes, rate| ChannelSettings {
        message_bytes: Some(bytes),
        publish_rate: Some(fanfare_core::LimitValue::rate(1, rate)),
        ..settings("demo:small", SlowPolicy::Recover)
    };
    world.change(|app| app.settings = vec![own(10, 1)]);
    let link = world.client().await;
    let publish = |id: u64, data: &str, channel: &str| json!({"id":id,"publish":{"channel":channel,"data":data}});
    let refused = ask(&link, publish(2, "more than ten", "demo:small")).await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["limit"]),
        (&json!("message_too_large"), &json!("message_bytes"))
    );
    assert!(ask(&link, publish(3, "ten", "demo:small")).await.get("ok").is_some());
    let refused = ask(&link, publish(4, "ten", "demo:small")).await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["limit"]),
        (&json!("rate_limited"), &json!("publish_channel"))
    );
    assert!(ask(&link, publish(5, "more than ten", "demo:other")).await.get("ok").is_some());
    world.change(|app| app.settings = vec![own(100, 10)]);
    settle().await;
    assert!(ask(&link, publish(6, "more than ten", "demo:small")).await.get("ok").is_some());
}

/// Whatever is published, kept and read: nothing is passed over in silence, the order holds, and in the end the client
/// has the last of everything.
#[tokio::test]
async fn no_schedule_is_silent_and_every_one_ends_right() {
    for seed in 0..24 {
        let policy = [SlowPolicy::Conflate, SlowPolicy::DropOldest][(seed % 2) as usize];
        let (mut world, dice) = (World::new(1_000 + seed), Chance::new(Some(seed)));
        let roll = |sides: u64| dice.next::<u64>() % sides;
        let keeps_history = seed % 3 != 0;
        let mut own = settings("demo:**", policy);
        if !keeps_history {
            own.history = fanfare_core::settings::History::NONE;
        }
        world.change(|app| app.settings = vec![own]);
        // Two of the policy and one that recovers share a connection.
        world.change(|app| app.settings.insert(0, settings("demo:c", SlowPolicy::Recover)));
        let channels = ["demo:a", "demo:b", "demo:c"];
        let link = stalled(&mut world, &channels).await;
        let (mut published, mut pushes) = (BTreeMap::<&str, Vec<(Option<String>, u64)>>::new(), Vec::new());
        world.road.lose(if seed % 5 == 4 { 3 } else { 0 });
        for _ in 0..400 {
            if roll(10) > 0 {
                let channel = channels[roll(3) as usize];
                let key = (roll(4) > 0).then(|| format!("k{}", roll(30)));
                let size = [10, 1_000, 20_000][roll(3) as usize];
                let number = publish(&world, channel, key.as_deref(), &json!("x".repeat(size))).await;
                published.entry(channel).or_default().push((key, number));
            } else {
                link.room(Some([0, 5_000, 100_000, 2_000_000][roll(4) as usize]));
            }
            if roll(4) == 0 {
                settle().await;
                pushes.extend(link.take());
            }
        }
        world.road.lose(0);
        link.room(None);
        settle().await;
        for channel in channels {
            // A last message shows a lost tail, as the audit does on a node.
            let number = publish(&world, channel, None, &json!("end")).await;
            published.entry(channel).or_default().push((None, number));
        }
        for _ in 0..20 {
            settle().await;
            pushes.extend(link.take());
        }
        let pushes: Vec<Value> =
            pushes.into_iter().filter_map(|got| if let Got::Text(text) = got { Some(text) } else { None }).collect();
        for channel in channels {
            let (account, published) = (Account::of(&pushes, channel), &published[channel]);
            let conflates = policy == SlowPolicy::Conflate && channel != "demo:c";
            for (index, (key, number)) in published.iter().enumerate() {
                let replaced =
                    conflates && key.is_some() && published[index + 1..].iter().any(|(later, _)| later == key);
                assert!(replaced || account.known.contains(number), "seed {seed}: {channel} was silent about {number}");
            }
            let last = published.last().map(|(_, number)| *number);
            let arrived = account.messages.last().and_then(|message| message["seq"].as_u64());
            // Without history what the road lost takes the held ones behind it along, and that was told.
            assert!(arrived == last || !keeps_history, "seed {seed}: {channel} ends at {arrived:?}, not {last:?}");
            if channel == "demo:c" {
                assert_eq!((account.dropped, account.lost), (0, 0), "seed {seed}: history keeps it all");
            }
        }
    }
}

#[tokio::test]
async fn what_waits_for_all_of_an_app_is_bounded_whoever_keeps_up_notices_nothing_and_nothing_is_lost() {
    const LINKS: usize = 20;
    const BYTES: u64 = 4_000;
    let max = 128 * 1024;
    let mut world = World::new(45);
    world.change(|app| app.limits.set(Limit::OutboxBytesApp, LimitValue::count(max)));
    let mut slow = Vec::new();
    for _ in 0..LINKS {
        slow.push(stalled(&mut world, &["demo:a"]).await);
    }
    let fast = world.client().await;
    ask(&fast, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    let text = "x".repeat(usize::try_from(BYTES).expect("small"));
    for _ in 0..100 {
        publish(&world, "demo:a", None, &json!(text)).await;
    }
    let fast = Account::of(&texts(&fast).await, "demo:a");
    assert_eq!((fast.at, fast.messages.len()), (100, 100));
    world.node.tick();
    let used = world.node.directory().usage();
    let used = used[0].1.iter().find(|used| used.limit == Limit::OutboxBytesApp).expect("something waits");
    // Above the budget at most what was on its way to each.
    let bound = max + LINKS as u64 * (BYTES + 200);
    assert!((max / 2..bound).contains(&used.peak_minute) && used.now.is_some(), "{used:?}");
    for link in &slow {
        let account = Account::of(&thaw(link).await, "demo:a");
        assert_eq!((account.at, account.messages.len(), account.lost), (100, 100, 0));
    }
    world.node.tick();
    world.node.tick();
    let used = world.node.directory().usage();
    let now = used[0].1.iter().find(|used| used.limit == Limit::OutboxBytesApp).and_then(|used| used.now);
    assert_eq!(now, Some(0), "all of it is given back");
}
