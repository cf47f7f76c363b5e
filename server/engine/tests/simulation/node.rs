//! What a node promises one client at a time.

use std::time::Duration;

use fanfare_core::measures::Stage;
use fanfare_core::{ChannelName, Data, Draft, Effect, Limit, LimitValue};
use serde_json::{Value, json};

use super::link::{Got, Link};
use super::world::{World, rule, settle};

/// Everything that arrived, as JSON.
pub(crate) async fn texts(link: &Link) -> Vec<Value> {
    settle().await;
    link.take().into_iter().filter_map(|got| if let Got::Text(value) = got { Some(value) } else { None }).collect()
}

pub(crate) async fn ask(link: &Link, command: Value) -> Value {
    link.send(command.to_string());
    let id = &command["id"];
    texts(link).await.into_iter().find(|value| value["id"] == *id).expect("an answer")
}

pub(crate) async fn publish(world: &World, channel: &str, data: u64) -> String {
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let draft = Draft::new(Data::Json(serde_json::value::to_raw_value(&data).expect("JSON")));
    let channel = ChannelName::parse(channel).expect("valid");
    world.node.publish(&caller, &channel, draft).await.expect("accepted").position
}

#[tokio::test]
async fn a_message_reaches_every_subscriber_and_the_answer_comes_first() {
    let mut world = World::new(1);
    let (ann, bob) = (world.client().await, world.client().await);
    for link in [&ann, &bob] {
        let ok = ask(link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
        assert_eq!((ok.pointer("/ok/seq"), ok.pointer("/ok/recovered")), (Some(&json!(0)), None));
    }
    ann.send(json!({"id":3,"publish":{"channel":"demo:a","name":"greet","data":{"x":1}}}).to_string());
    let got = texts(&ann).await;
    assert_eq!(got[0]["ok"]["duplicate"], json!(false));
    assert_eq!((&got[1]["msg"]["data"], &got[1]["msg"]["seq"]), (&json!({"x":1}), &json!(1)));
    assert_eq!(texts(&bob).await[0]["msg"]["name"], json!("greet"));
}

#[tokio::test]
async fn whoever_was_away_continues_without_a_hole_or_is_told_why_not() {
    let mut world = World::new(2);
    world.change(|app| app.limits.set(Limit::HistoryMessages, LimitValue::count(10)));
    let first = publish(&world, "demo:a", 1).await;
    for n in 2..=5 {
        publish(&world, "demo:a", n).await;
    }
    let link = world.client().await;
    link.send(json!({"id":2,"subscribe":{"channel":"demo:a","position":first}}).to_string());
    let got = texts(&link).await;
    assert_eq!((&got[0]["ok"]["recovered"], &got[0]["ok"]["seq"]), (&json!(true), &json!(1)));
    let seqs: Vec<_> = got[1..].iter().map(|push| push["msg"]["seq"].as_u64()).collect();
    assert_eq!(seqs, [2, 3, 4, 5].map(Some));

    for n in 6..=30 {
        publish(&world, "demo:a", n).await;
    }
    let late = world.client().await;
    late.send(json!({"id":2,"subscribe":{"channel":"demo:a","position":first}}).to_string());
    let got = texts(&late).await;
    assert_eq!((&got[0]["ok"]["recovered"], &got[0]["ok"]["reason"]), (&json!(false), &json!("truncated")));
    assert_eq!((&got[0]["ok"]["seq"], &got[1]["msg"]["seq"]), (&json!(20), &json!(21)));

    let foreign = ask(&late, json!({"id":3,"subscribe":{"channel":"demo:b","position":first}})).await;
    assert_eq!(foreign["error"]["code"], json!("invalid_position"));
}

#[tokio::test]
async fn a_rewind_begins_with_the_last_messages() {
    let mut world = World::new(3);
    for n in 1..=9 {
        publish(&world, "demo:a", n).await;
    }
    let link = world.client().await;
    link.send(json!({"id":2,"subscribe":{"channel":"demo:a","rewind":{"messages":3}}}).to_string());
    let seqs: Vec<_> = texts(&link).await[1..].iter().map(|push| push["msg"]["seq"].as_u64()).collect();
    assert_eq!(seqs, [7, 8, 9].map(Some));
}

#[tokio::test]
async fn history_is_read_both_ways_in_pages() {
    let mut world = World::new(4);
    for n in 1..=5 {
        publish(&world, "demo:a", n).await;
    }
    let link = world.client().await;
    let mut from: Option<Value> = None;
    let mut seen = Vec::new();
    for id in 2..6 {
        let mut history = json!({"channel":"demo:a","limit":2});
        if let Some(from) = &from {
            history["from"] = from.clone();
        }
        let page = ask(&link, json!({"id":id,"history":history})).await;
        seen.extend(page["ok"]["messages"].as_array().expect("a list").iter().map(|message| message["seq"].as_u64()));
        from = page["ok"].get("next").filter(|next| !next.is_null()).cloned();
        if from.is_none() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1].map(Some));
    let forward = ask(&link, json!({"id":9,"history":{"channel":"demo:a","direction":"forward","limit":2}})).await;
    assert_eq!(forward["ok"]["messages"][0]["seq"], json!(1));
}

#[tokio::test]
async fn a_deny_rule_detaches_live_subscriptions_and_a_gone_allow_rule_closes() {
    let mut world = World::new(5);
    let link = world.client().await;
    ask(&link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    world.change(|app| app.rules.push(rule(2, "demo:a", Effect::Deny)));
    let told = texts(&link).await;
    assert_eq!(told[0]["unsubscribed"]["error"]["layer"], json!("acl"));
    publish(&world, "demo:a", 1).await;
    assert!(texts(&link).await.is_empty(), "nothing is delivered after the change");
    world.change(|app| app.rules.clear());
    settle().await;
    assert!(matches!(&link.take()[..], [Got::Close(4400, reason)] if reason == "token_missing"));
    // A peer that does not close its side is let go all the same.
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(world.node.stats(world.app.id).expect("known").subscriptions, 0);
}

#[tokio::test]
async fn silence_is_probed_and_then_ended() {
    let mut world = World::new(6);
    let link = world.client().await;
    let late = world.link();
    settle().await;
    world.clock.advance(Duration::from_secs(6));
    world.node.tick();
    settle().await;
    assert_eq!(late.take(), [Got::Close(4202, "connect_timeout".into())]);
    world.clock.advance(Duration::from_secs(20));
    world.node.tick();
    settle().await;
    assert_eq!(link.take(), [Got::Ping]);
    link.send("pong");
    settle().await;
    world.clock.advance(Duration::from_secs(26));
    world.node.tick();
    settle().await;
    assert_eq!(link.take(), [Got::Ping]);
    world.clock.advance(Duration::from_secs(26));
    world.node.tick();
    settle().await;
    assert!(matches!(&link.take()[..], [Got::Close(4201, _)]));
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_a_bounded_amount_and_loses_nothing_history_keeps() {
    let mut world = World::new(7);
    let link = world.client().await;
    ask(&link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    link.room(Some(0));
    for n in 1..=900 {
        publish(&world, "demo:a", n).await;
        if n % 50 == 0 {
            settle().await;
        }
    }
    link.room(None);
    let mut seqs = Vec::new();
    for _ in 0..20 {
        seqs.extend(texts(&link).await.iter().filter_map(|push| push["msg"]["seq"].as_u64()));
    }
    assert_eq!(seqs, (1..=900).collect::<Vec<u64>>());
}

#[tokio::test]
async fn an_id_makes_a_publish_idempotent_and_stands_for_one_content() {
    let mut world = World::new(8);
    let link = world.client().await;
    let publish = |id: u64, data: u64| json!({"id":id,"publish":{"channel":"demo:a","id":"order-7","data":data}});
    let first = ask(&link, publish(2, 1)).await;
    let again = ask(&link, publish(3, 1)).await;
    assert_eq!((&again["ok"]["duplicate"], &again["ok"]["position"]), (&json!(true), &first["ok"]["position"]));
    assert_eq!(ask(&link, publish(4, 2)).await["error"]["code"], json!("id_reused"));
    let other = world.client().await;
    assert_eq!(ask(&other, publish(2, 2)).await["ok"]["duplicate"], json!(false), "ids of two publishers never meet");
}

#[tokio::test]
async fn limits_name_themselves_and_the_connection_survives() {
    let mut world = World::new(9);
    world.change(|app| {
        app.limits.set(Limit::MessageBytes, LimitValue::count(100));
        app.limits.set(Limit::PublishConnection, LimitValue::rate(1, 2));
        app.limits.set(Limit::Subscriptions, LimitValue::count(1));
    });
    let link = world.client().await;
    let publish = |id: u64, data: &str| json!({"id":id,"publish":{"channel":"demo:a","data":data}});
    assert_eq!(ask(&link, publish(2, &"x".repeat(200))).await["error"]["limit"], json!("message_bytes"));
    assert!(ask(&link, publish(3, "x")).await.get("ok").is_some());
    let over = ask(&link, publish(4, "x")).await;
    assert_eq!(
        (&over["error"]["limit"], &over["error"]["code"]),
        (&json!("publish_connection"), &json!("rate_limited"))
    );
    assert!(over["error"]["retry_after_ms"].as_u64().is_some_and(|wait| (1..=1_000).contains(&wait)));
    assert!(ask(&link, json!({"id":5,"subscribe":{"channel":"demo:a"}})).await.get("ok").is_some());
    let second = ask(&link, json!({"id":6,"subscribe":{"channel":"demo:b"}})).await;
    assert_eq!(second["error"]["limit"], json!("subscriptions"));
    assert_eq!(
        ask(&link, json!({"id":7,"subscribe":{"channel":"demo:a"}})).await["error"]["code"],
        json!("already_subscribed")
    );
    assert!(ask(&link, json!({"id":8,"ping":{}})).await["ok"]["time"].is_u64());
}

#[tokio::test]
async fn every_stage_of_a_message_is_measured_once_for_each_delivery() {
    let mut world = World::new(10);
    let links = [world.client().await, world.client().await];
    for link in &links {
        ask(link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    }
    publish(&world, "demo:a", 1).await;
    ask(&links[0], json!({"id":3,"publish":{"channel":"demo:a","data":2}})).await;
    ask(&links[0], json!({"id":4,"publish":{"channel":"forbidden","data":2}})).await;
    settle().await;
    let figures = world.node.stats(world.app.id).expect("known");
    let counts = Stage::ALL.map(|stage| (stage, figures.of(stage).count()));
    let expected = [
        (Stage::Delivery, 4),
        (Stage::Ingest, 2),
        (Stage::Append, 2),
        (Stage::FanOut, 4),
        (Stage::Write, 4),
        (Stage::Acknowledged, 2),
        (Stage::Connect, 2),
        (Stage::RoundTrip, 0),
    ];
    assert_eq!(counts, expected);
    assert_eq!(figures.errors["forbidden"], 1);
}

#[tokio::test]
async fn counts_return_to_zero_when_clients_vanish() {
    let mut world = World::new(10);
    let links = [world.client().await, world.client().await];
    for link in &links {
        ask(link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    }
    let figures = world.node.stats(world.app.id).expect("known");
    assert_eq!((figures.connections, figures.subscriptions), (2, 2));
    links.iter().for_each(Link::end);
    settle().await;
    let figures = world.node.stats(world.app.id).expect("known");
    assert_eq!((figures.connections, figures.subscriptions, world.node.connections()), (0, 0, 0));
    assert_eq!((figures.flow.connects, figures.disconnects["lost"], figures.disconnects.len()), (2, 2, 1));
}

#[tokio::test]
async fn a_connection_that_does_not_start_with_a_good_connect_is_answered_and_closed() {
    let mut world = World::new(11);
    for (command, code, status) in [
        (json!({"id":1,"ping":{}}), "connect_first", 4016),
        (json!({"id":1,"connect":{"token":"x"}}), "token_invalid", 4401),
    ] {
        let link = world.link();
        link.send(command.to_string());
        settle().await;
        let got = link.take();
        assert!(matches!(&got[0], Got::Text(answer) if answer["error"]["code"] == json!(code)), "{got:?}");
        assert_eq!(got[1..], [Got::Close(status, code.into())]);
    }
}
