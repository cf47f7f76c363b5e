//! What a node promises when much is asked of it at once, or when two things happen in one moment.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::{ChannelName, Data, Draft, ErrorCode, Limit, LimitValue};
use fanfare_engine::{ChannelsQuery, Handshake, MintRequest, Pressure};
use futures_util::FutureExt;
use serde_json::{Value, json};

use super::link::{Got, Link};
use super::node::{ask, publish, texts};
use super::world::{World, settle};

/// Publishes a message of about so many bytes.
async fn publish_bytes(world: &World, channel: &str, bytes: usize) {
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let draft = Draft::new(Data::Json(serde_json::value::to_raw_value(&"x".repeat(bytes)).expect("JSON")));
    let channel = ChannelName::parse(channel).expect("valid");
    world.node.publish(&caller, &channel, draft).await.expect("accepted");
}

/// Several commands in one frame.
fn lines(commands: impl IntoIterator<Item = Value>) -> String {
    commands.into_iter().map(|command| command.to_string()).collect::<Vec<_>>().join("\n")
}

/// Everything that arrives at a client that takes a little at a time.
async fn sip(link: &Link) -> Vec<Got> {
    let mut got = Vec::new();
    for _ in 0..400 {
        link.room(Some(64 * 1024));
        settle().await;
        got.extend(link.take());
    }
    got
}

fn closes(got: &[Got]) -> Vec<&Got> {
    got.iter().filter(|got| matches!(got, Got::Close(..))).collect()
}

#[tokio::test]
async fn whoever_asks_for_much_history_at_once_gets_all_of_it() {
    let mut world = World::new(20);
    for _ in 0..4 {
        publish_bytes(&world, "demo:a", 250_000).await;
    }
    let link = world.client().await;
    link.room(Some(0));
    link.send(lines((2..22).map(|id| json!({"id":id,"history":{"channel":"demo:a"}}))));
    settle().await;
    let got = sip(&link).await;
    assert!(closes(&got).is_empty(), "it reads, if slowly: {:?}", closes(&got));
    let ids: Vec<_> =
        got.iter().filter_map(|got| if let Got::Text(got) = got { got["id"].as_u64() } else { None }).collect();
    assert_eq!(ids, (2..22).collect::<Vec<u64>>());
}

#[tokio::test]
async fn whoever_resumes_many_channels_at_once_gets_all_they_missed() {
    let mut world = World::new(21);
    for channel in 0..50 {
        publish_bytes(&world, &format!("demo:{channel}"), 120_000).await;
    }
    let link = world.client().await;
    link.room(Some(0));
    let subscribe = |n| json!({"id":n + 2,"subscribe":{"channel":format!("demo:{n}"),"rewind":{"messages":10}}});
    link.send(lines((0..50).map(subscribe).chain([json!({"id":99,"ping":{}})])));
    settle().await;
    let got = sip(&link).await;
    assert!(closes(&got).is_empty(), "it reads, if slowly: {:?}", closes(&got));
    let messages = got.iter().filter(|got| matches!(got, Got::Text(text) if text.get("msg").is_some())).count();
    assert_eq!(messages, 50);
    assert!(got.iter().any(|got| matches!(got, Got::Text(text) if text["id"] == json!(99))));
}

#[tokio::test]
async fn a_page_that_comes_late_meets_nobody_elses_place() {
    let mut world = World::new(22);
    for n in 1..=5 {
        publish(&world, "demo:a", n).await;
    }
    publish(&world, "demo:b", 1).await;
    let link = world.client().await;
    world.road.read_turns(9);
    link.send(lines([
        json!({"id":2,"subscribe":{"channel":"demo:a","rewind":{"messages":5}}}),
        json!({"id":3,"unsubscribe":{"channel":"demo:a"}}),
        json!({"id":4,"subscribe":{"channel":"demo:b","rewind":{"messages":5}}}),
    ]));
    let got = texts(&link).await;
    let answer = |id: u64| got.iter().find(|got| got["id"] == json!(id)).expect("every command is answered");
    assert_eq!(answer(2)["error"]["code"], json!("not_subscribed"));
    assert!(answer(3).get("ok").is_some());
    assert_eq!(answer(4)["ok"]["seq"], json!(0));
    let messages: Vec<_> = got.iter().filter_map(|got| got.get("msg")).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!((&messages[0]["channel"], &messages[0]["seq"]), (&json!("demo:b"), &json!(1)));
    world.road.read_turns(0);
    publish(&world, "demo:b", 2).await;
    assert_eq!(texts(&link).await[0]["msg"]["seq"], json!(2));
}

#[tokio::test]
async fn nothing_follows_a_goodbye() {
    let mut world = World::new(23);
    let link = world.client().await;
    world.road.read_turns(9);
    link.send(json!({"id":2,"history":{"channel":"demo:a"}}).to_string());
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    world.change(|app| app.rules.clear());
    settle().await;
    let got = link.take();
    assert!(matches!(&got[..], [Got::Close(4400, _)]), "{got:?}");
}

#[tokio::test]
async fn a_goodbye_has_its_time_whatever_else_is_due() {
    let mut world = World::new(24);
    let link = world.client().await;
    link.room(Some(0));
    world.clock.advance(Duration::from_secs(26));
    world.change(|app| app.rules.clear());
    world.node.tick();
    settle().await;
    link.room(None);
    settle().await;
    assert!(matches!(&link.take()[..], [Got::Close(4400, _)]));
    assert_eq!(world.node.connections(), 1, "the client may still answer");
    world.clock.advance(Duration::from_secs(5));
    world.node.tick();
    settle().await;
    assert_eq!(world.node.connections(), 0);
}

#[tokio::test]
async fn a_slow_link_that_moves_is_not_taken_for_a_dead_one() {
    let mut world = World::new(25);
    let link = world.client().await;
    ask(&link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    link.room(Some(0));
    publish_bytes(&world, "demo:a", 900_000).await;
    for _ in 0..8 {
        world.clock.advance(Duration::from_secs(13));
        link.room(Some(50_000));
        settle().await;
        world.node.tick();
        settle().await;
    }
    assert!(closes(&link.take()).is_empty());
    link.room(None);
    assert_eq!(texts(&link).await.len(), 1);
    // One that takes nothing is dead, though its silence is not heard.
    link.room(Some(0));
    publish_bytes(&world, "demo:a", 900_000).await;
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(26));
        world.node.tick();
        settle().await;
    }
    link.room(None);
    settle().await;
    assert!(matches!(link.take().last(), Some(Got::Close(4201, _))));
}

#[tokio::test]
async fn commands_behind_a_refresh_have_its_rights() {
    let mut world = World::new(26);
    world.change(|app| app.rules.clear());
    let app = world.node.app(world.app.id).expect("known");
    let key = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let token = |cap: Value| {
        let cap = serde_json::from_value(cap).expect("capabilities");
        let request = MintRequest { sub: Some("ann".into()), cap: Some(cap), ttl_s: 600, ..MintRequest::default() };
        world.node.mint_token(&key, request).expect("the key may sign")
    };
    let (little, much) = (token(json!({"demo:a": ["subscribe"]})), token(json!({"demo:a": ["publish"]})));
    let link = world.link();
    link.send(json!({"id":1,"connect":{"token":little}}).to_string());
    link.send(lines([
        json!({"id":2,"refresh":{"token":much}}),
        json!({"id":3,"publish":{"channel":"demo:a","data":1}}),
    ]));
    let got = texts(&link).await;
    assert!(got.iter().all(|answer| answer.get("ok").is_some()), "{got:?}");
}

#[tokio::test]
async fn what_was_refused_or_was_there_before_is_not_counted_and_what_is_caught_up_is() {
    let mut world = World::new(27);
    world.change(|app| app.limits.set(Limit::PublishChannel, LimitValue::rate(1, 1)));
    let link = world.client().await;
    let publish = |id: u64, name: &str| json!({"id":id,"publish":{"channel":"demo:a","id":name,"data":1}});
    assert!(ask(&link, publish(2, "one")).await.get("ok").is_some());
    assert_eq!(ask(&link, publish(3, "one")).await["ok"]["duplicate"], json!(true));
    assert_eq!(ask(&link, publish(4, "two")).await["error"]["code"], json!("rate_limited"));
    link.send(json!({"id":5,"subscribe":{"channel":"demo:a","rewind":{"messages":5}}}).to_string());
    assert_eq!(texts(&link).await.len(), 2);
    let figures = world.node.stats(world.app.id).expect("known");
    assert_eq!((figures.flow.messages_in, figures.flow.messages_out), (1, 1));
    assert!(figures.flow.bytes_out > 0);
    assert_eq!((figures.errors["rate_limited"], figures.rejections.values().sum::<u64>()), (1, 1), "{figures:?}");
}

#[tokio::test]
async fn a_position_beyond_every_log_is_an_answer_not_a_crash() {
    let mut world = World::new(28);
    let position = publish(&world, "demo:a", 1).await;
    let (lineage, _) = position.split_once('.').expect("a position");
    let beyond = format!("{lineage}.{}", u64::MAX);
    let link = world.client().await;
    for (id, direction) in [(2, "forward"), (3, "backward")] {
        let history = json!({"channel":"demo:a","from":beyond,"direction":direction});
        assert!(ask(&link, json!({"id":id,"history":history})).await.get("ok").is_some());
    }
    let told = ask(&link, json!({"id":4,"subscribe":{"channel":"demo:a","position":beyond}})).await;
    assert_eq!(told["ok"]["reason"], json!("diverged"));
}

#[tokio::test]
async fn ids_of_clients_without_a_name_are_not_the_backends() {
    let world = World::new(29);
    let app = world.node.app(world.app.id).expect("known");
    let backend = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let token = world.node.mint_token(&backend, MintRequest { ttl_s: 600, ..MintRequest::default() }).expect("minted");
    let guest = world.node.authenticate_token(&app, &token).await.expect("valid");
    let channel = ChannelName::parse("demo:a").expect("valid");
    for (caller, data) in [(&guest, "\"guessed\""), (&backend, "\"true\"")] {
        let data = serde_json::value::RawValue::from_string(data.into()).expect("JSON");
        let draft = Draft { id: Some("order-7".into()), ..Draft::new(Data::Json(data)) };
        let published = world.node.publish(caller, &channel, draft).await.expect("accepted");
        assert!(!published.duplicate);
    }
}

#[tokio::test]
async fn channels_can_be_listed_while_they_are_let_go() {
    let mut world = World::new(30);
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    for _ in 0..10 {
        let link = world.client().await;
        for frame in 0..8 {
            let subscribe = |n| json!({"id":n + 2,"subscribe":{"channel":format!("demo:{frame}:{n}")}});
            link.send(lines((0..60).map(subscribe)));
        }
        settle().await;
        link.end();
        settle().await;
        world.clock.advance(Duration::from_secs(16));
        let (done, both) = std::sync::mpsc::sync_channel(2);
        let (node, caller, listed) = (Arc::clone(&world.node), caller.clone(), done.clone());
        std::thread::spawn(move || {
            let query = ChannelsQuery { limit: 1_000, ..ChannelsQuery::default() };
            // So many, and not without end: a lock that is never free starves the sweep as a deadlock would.
            for _ in 0..300 {
                let listed = node.channels(&caller, query.clone()).now_or_never();
                listed.expect("nobody else is asked").expect("allowed");
            }
            listed.send(())
        });
        let node = Arc::clone(&world.node);
        std::thread::spawn(move || {
            (0..8).for_each(|_| node.tick());
            done.send(())
        });
        for _ in 0..2 {
            assert!(both.recv_timeout(Duration::from_secs(20)).is_ok(), "listing and sweeping wait for each other");
        }
    }
}

#[tokio::test]
async fn whoever_comes_back_to_a_channel_while_it_is_let_go_misses_nothing() {
    let mut world = World::new(31);
    let link = world.client().await;
    ask(&link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    ask(&link, json!({"id":3,"unsubscribe":{"channel":"demo:a"}})).await;
    world.clock.advance(Duration::from_secs(16));
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let (node, back) = (Arc::clone(&world.node), link.clone());
    world.road.meanwhile(move |let_go| {
        back.send(json!({"id":4,"subscribe":{"channel":"demo:a"}}).to_string());
        while back.take().is_empty() {
            std::thread::yield_now();
        }
        let_go();
        let draft = Draft::new(Data::Bytes([1].as_slice().into()));
        let channel = ChannelName::parse("demo:a").expect("valid");
        node.publish(&caller, &channel, draft).now_or_never().expect("it is local").expect("accepted");
    });
    let node = Arc::clone(&world.node);
    let ticks = std::thread::spawn(move || (0..8).for_each(|_| node.tick()));
    while !ticks.is_finished() {
        tokio::task::yield_now().await;
    }
    settle().await;
    assert!(matches!(&link.take()[..], [Got::Text(push)] if push["msg"]["seq"] == json!(1)));
}

/// A fan-out to thousands is not in the way of one to a few.
#[tokio::test]
async fn bystanders_are_delivered_to_while_a_crowd_is() {
    let mut world = World::new(32);
    let mut crowd = Vec::new();
    for _ in 0..3_000 {
        let link = world.link();
        link.send(lines([json!({"id":1,"connect":{}}), json!({"id":2,"subscribe":{"channel":"demo:crowd"}})]));
        crowd.push(link);
    }
    let bystander = world.client().await;
    ask(&bystander, json!({"id":2,"subscribe":{"channel":"demo:few"}})).await;
    crowd.iter().for_each(|link| drop(link.take()));
    publish(&world, "demo:crowd", 1).await;
    publish(&world, "demo:few", 1).await;
    fanfare_engine::turn::end();
    let mut got = bystander.take();
    while got.is_empty() {
        tokio::task::yield_now().await;
        got = bystander.take();
    }
    let served = crowd.iter().filter(|link| !link.take().is_empty()).count();
    assert!(served < 2_000, "{served} of the crowd came before");
    assert!(matches!(&got[..], [Got::Text(push)] if push["msg"]["channel"] == json!("demo:few")), "{got:?}");
    settle().await;
    let rest = crowd.iter().filter(|link| !link.take().is_empty()).count();
    assert_eq!(served + rest, crowd.len());
}

#[tokio::test]
async fn a_node_short_of_memory_lets_nobody_in_and_then_the_newest_go() {
    let mut world = World::new(33);
    let mut links = Vec::new();
    for _ in 0..20 {
        world.clock.advance(Duration::from_millis(2));
        links.push(world.client().await);
    }
    world.node.set_pressure(Pressure::of(80, 100));
    let app = world.node.app(world.app.id).expect("known");
    let refused = world.node.admit_connection(&app, &Handshake::default()).expect_err("nobody new");
    assert_eq!(refused.problem().code, ErrorCode::Overloaded);
    world.node.tick();
    settle().await;
    assert!(links.iter().all(|link| link.take().is_empty()), "who is there stays");
    world.node.set_pressure(Pressure::of(90, 100));
    world.node.tick();
    settle().await;
    let gone: Vec<bool> = links.iter().map(|link| !link.take().is_empty()).collect();
    assert_eq!(gone, [vec![false; 19], vec![true]].concat(), "the newest goes first");
    world.node.set_pressure(Pressure::of(79, 100));
    assert!(world.node.admit_connection(&app, &Handshake::default()).is_ok());
}
