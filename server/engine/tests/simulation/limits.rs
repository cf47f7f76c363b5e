//! What a connection is sent and told where its plan has limits on it.

use std::time::Duration;

use fanfare_core::{ChannelSettings, Limit, LimitValue, Pattern, SlowPolicy};
use serde_json::{Value, json};

use super::link::{Got, Link};
use super::node::{ask, publish, texts};
use super::world::{World, settle};

fn paced(world: &mut World, rate: u64, slow: SlowPolicy) {
    let pattern = Pattern::parse("demo:**").expect("valid");
    world.change(|app| {
        app.limits.set(Limit::Delivery, LimitValue::rate(rate, rate));
        app.settings = vec![ChannelSettings { pattern, slow, ..ChannelSettings::defaults().clone() }];
    });
}

/// A second passes on the node.
async fn second(world: &World) {
    world.clock.advance(Duration::from_secs(1));
    world.node.tick();
    settle().await;
}

/// The numbers of the messages that arrived, and the other pushes.
async fn arrived(link: &Link) -> (Vec<u64>, Vec<Value>) {
    let (messages, rest): (Vec<_>, Vec<_>) = texts(link).await.into_iter().partition(|push| push.get("msg").is_some());
    (messages.iter().filter_map(|push| push["msg"]["seq"].as_u64()).collect(), rest)
}

fn limit_near(limit: &str, used: u64, max: u64) -> Value {
    json!({"notice":{"kind":"limit_near","limit":limit,"used":used,"max":max}})
}

#[tokio::test]
async fn deliveries_over_the_rate_come_a_second_later_and_none_is_lost() {
    let mut world = World::new(60);
    paced(&mut world, 10, SlowPolicy::Recover);
    let link = world.client().await;
    for (id, channel) in [(2, "demo:a"), (3, "demo:b")] {
        ask(&link, json!({"id":id,"subscribe":{"channel":channel}})).await;
    }
    for n in 1..=30 {
        publish(&world, "demo:a", n).await;
    }
    let (first, told) = arrived(&link).await;
    assert_eq!(first, (1..=10).collect::<Vec<u64>>());
    assert_eq!(told, [limit_near("delivery", 10, 10)]);
    // Both channels come forward, though one alone would fill each second.
    for n in 1..=10 {
        publish(&world, "demo:b", n).await;
    }
    let mut counts = Vec::new();
    let mut seen = (first, Vec::new());
    for _ in 0..5 {
        second(&world).await;
        let pushes = texts(&link).await;
        counts.push(pushes.len());
        for push in pushes {
            let seq = push["msg"]["seq"].as_u64().expect("only messages come");
            if push["msg"]["channel"] == json!("demo:a") { seen.0.push(seq) } else { seen.1.push(seq) }
        }
    }
    assert_eq!(seen, ((1..=30).collect(), (1..=10).collect()));
    assert!(counts.iter().all(|count| *count <= 10), "{counts:?}");
    assert!(counts[..3].iter().all(|count| *count == 10), "a second brings what it may: {counts:?}");
    second(&world).await;
    publish(&world, "demo:a", 31).await;
    assert_eq!(arrived(&link).await.0, [31], "it is live again");
}

#[tokio::test]
async fn deliveries_over_the_rate_follow_the_slow_policy() {
    let mut world = World::new(61);
    paced(&mut world, 5, SlowPolicy::DropOldest);
    let link = world.client().await;
    ask(&link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    for n in 1..=12 {
        publish(&world, "demo:a", n).await;
    }
    assert_eq!(arrived(&link).await.0, [1, 2, 3, 4, 5]);
    second(&world).await;
    assert_eq!(arrived(&link).await.0, [6, 7, 8, 9, 10]);
    second(&world).await;
    assert_eq!(arrived(&link).await.0, [11, 12]);

    paced(&mut world, 5, SlowPolicy::Disconnect);
    settle().await;
    for n in 1..=12 {
        publish(&world, "demo:a", n).await;
    }
    settle().await;
    assert_eq!(link.take().last(), Some(&Got::Close(4102, "slow_consumer".into())));
}

#[tokio::test]
async fn without_a_limit_nothing_is_counted_and_it_can_come_and_go() {
    let mut world = World::new(62);
    let link = world.client().await;
    ask(&link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    for n in 1..=100 {
        publish(&world, "demo:a", n).await;
    }
    assert_eq!(arrived(&link).await.0.len(), 100);
    paced(&mut world, 10, SlowPolicy::Recover);
    settle().await;
    for n in 1..=20 {
        publish(&world, "demo:a", n).await;
    }
    assert_eq!(arrived(&link).await.0.len(), 10);
    world.change(|app| app.limits = fanfare_core::Limits::default());
    second(&world).await;
    let mut rest = arrived(&link).await.0;
    second(&world).await;
    rest.extend(arrived(&link).await.0);
    assert_eq!(rest, (111..=120).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_client_is_told_once_when_little_is_left_and_once_when_nothing_is() {
    let mut world = World::new(63);
    world.change(|app| {
        app.limits.set(Limit::Subscriptions, LimitValue::count(5));
        app.limits.set(Limit::PublishConnection, LimitValue::rate(1, 10));
    });
    let link = world.client().await;
    let mut told = Vec::new();
    for id in 2..7 {
        link.send(json!({"id":id,"subscribe":{"channel":format!("demo:{id}")}}).to_string());
        told.extend(texts(&link).await.into_iter().filter(|push| push.get("notice").is_some()));
    }
    assert_eq!(told, [limit_near("subscriptions", 4, 5), limit_near("subscriptions", 5, 5)]);
    told.clear();
    for id in 10..20 {
        link.send(json!({"id":id,"publish":{"channel":"demo:quiet","data":1}}).to_string());
        told.extend(texts(&link).await.into_iter().filter(|push| push.get("notice").is_some()));
    }
    assert_eq!(told, [limit_near("publish_connection", 8, 10), limit_near("publish_connection", 10, 10)]);
    world.node.tick();
    let used = world.node.directory().usage();
    let of = |limit| used[0].1.iter().find(|used| used.limit == limit).copied().expect("it was used");
    assert_eq!((of(Limit::Subscriptions).peak_minute, of(Limit::Subscriptions).near_today), (5, 2));
    assert_eq!((of(Limit::PublishConnection).peak_minute, of(Limit::Connections).now), (10, Some(1)));
    assert_eq!(of(Limit::PublishApp).now, Some(10));
    let refused = ask(&link, json!({"id":30,"subscribe":{"channel":"demo:more"}})).await;
    assert_eq!(refused["error"]["limit"], json!("subscriptions"));
    let used = world.node.directory().usage();
    let refused = used[0].1.iter().find(|used| used.limit == Limit::Subscriptions).expect("it was used");
    assert_eq!(refused.rejected_today, 1);
}

#[tokio::test]
async fn an_app_has_no_more_channels_in_use_than_it_may() {
    let mut world = World::new(62);
    world.change(|app| app.limits.set(Limit::Channels, LimitValue::count(2)));
    let (ann, bob) = (world.client().await, world.client().await);
    for (id, channel) in [(2, "demo:a"), (3, "demo:b")] {
        assert!(ask(&ann, json!({"id":id,"subscribe":{"channel":channel}})).await.get("ok").is_some());
    }
    let refused = ask(&ann, json!({"id":4,"subscribe":{"channel":"demo:c"}})).await["error"].clone();
    assert_eq!((&refused["code"], &refused["limit"]), (&json!("limit_reached"), &json!("channels")));
    assert!(ask(&bob, json!({"id":2,"subscribe":{"channel":"demo:b"}})).await.get("ok").is_some(), "it is in use");
    let refused = ask(&bob, json!({"id":3,"publish":{"channel":"demo:c","data":1}})).await["error"].clone();
    assert_eq!((&refused["code"], &refused["limit"]), (&json!("limit_reached"), &json!("channels")));
    assert!(ask(&bob, json!({"id":4,"publish":{"channel":"demo:a","data":1}})).await.get("ok").is_some());
}
