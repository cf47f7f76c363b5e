//! Everybody at once: clients that come back together, tokens that end together, a node that goes away, a broker that
//! fails.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::{ErrorCode, LimitValue};
use fanfare_engine::{DrainOptions, NodeOptions};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::link::{Got, Link};
use super::node::{ask, publish, texts};
use super::resume::{connect, token};
use super::world::{World, settle};

const WITHIN: Duration = Duration::from_secs(20);

/// Waits until something is seen, while everything runs.
async fn until<T>(mut seen: impl FnMut() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(seen) = seen() {
                return seen;
            }
            let _ = timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
            settle().await;
        }
    };
    timeout(WITHIN, look).await.expect("it happens in time")
}

#[tokio::test]
async fn clients_that_come_back_together_cost_a_channel_two_reads() {
    let mut world = World::new(60);
    let position = publish(&world, "demo:a", 1).await;
    publish(&world, "demo:a", 2).await;
    let mut links = Vec::new();
    for _ in 0..300 {
        links.push(world.client().await);
    }
    let gate = world.road.gate();
    let before = world.road.reads();
    for link in &links {
        link.send(json!({"id":2,"subscribe":{"channel":"demo:a","position":position}}).to_string());
    }
    settle().await;
    // While the first read is under way something is published, which whoever asked after it looked must get as well.
    publish(&world, "demo:a", 3).await;
    gate.add_permits(10);
    settle().await;
    for link in &links {
        let got = texts(link).await;
        assert_eq!(got[0]["ok"]["recovered"], json!(true));
        assert_eq!(got[1..].iter().map(|push| push["msg"]["seq"].clone()).collect::<Vec<_>>(), [2, 3].map(Value::from));
    }
    let (asked, made) = world.node.pages();
    assert!(asked >= 300, "{asked}");
    assert_eq!((world.road.reads() - before, made), (2, 2), "one under way, and one for all who asked meanwhile");
}

#[tokio::test]
async fn a_failed_catch_up_read_is_made_again_soon_and_loses_nothing() {
    let mut world = World::new(61);
    let link = world.client().await;
    ask(&link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    world.road.lose(100);
    publish(&world, "demo:a", 1).await;
    world.road.lose(0);
    world.road.fail_reads(3);
    // The second message shows that the first was lost. No tick comes: the connection itself tries again.
    publish(&world, "demo:a", 2).await;
    let mut seen = Vec::new();
    until(|| {
        seen.extend(link.take());
        (seen.len() >= 2).then_some(())
    })
    .await;
    let seq = |got: &Got| if let Got::Text(push) = got { push["msg"]["seq"].as_u64() } else { None };
    assert_eq!(seen.iter().map(seq).collect::<Vec<_>>(), [Some(1), Some(2)]);
    // It commands as usual meanwhile and afterwards.
    assert!(ask(&link, json!({"id":3,"ping":{}})).await["ok"]["time"].is_u64());
}

#[tokio::test]
async fn tokens_that_end_in_one_second_are_renewed_over_half_a_minute_and_nobody_is_closed() {
    const CLIENTS: usize = 1_000;
    let mut world = World::new(62);
    let (first, second) = (token(&world, "ann", 600), token(&world, "ann", 1_800));
    let mut links = Vec::new();
    for _ in 0..CLIENTS {
        links.push(connect(&mut world, json!({"token":first})).await.0);
    }
    let mut told = Vec::new();
    for second_of in 0..700_u64 {
        world.clock.advance(Duration::from_secs(1));
        world.node.tick();
        // Silence is probed, too: what counts here are notices, answers and closes.
        if !(535..640).contains(&second_of) {
            links.iter().for_each(|link| drop(link.take()));
            if second_of % 20 == 0 {
                links.iter().for_each(|link| link.send("pong"));
                settle().await;
            }
            continue;
        }
        settle().await;
        let before = told.len();
        for link in &links {
            for got in link.take() {
                match got {
                    Got::Text(push) if push["notice"]["kind"] == json!("token_expiring") => {
                        assert_eq!(push["notice"]["expires_ms"], json!(1_700_000_600_000_u64));
                        told.push(second_of);
                        link.send(json!({"id":2,"refresh":{"token":second}}).to_string());
                    }
                    Got::Text(answer) => assert!(answer["ok"]["expires_ms"].is_u64(), "{answer}"),
                    Got::Ping => link.send("pong"),
                    Got::Close(..) => panic!("closed in second {second_of}: {got:?}"),
                }
            }
        }
        assert!(told.len() - before <= CLIENTS / 10, "{} in one second", told.len() - before);
    }
    assert_eq!(told.len(), CLIENTS, "everybody was told once");
    assert!(told.iter().all(|second_of| (538..=571).contains(second_of)), "{:?}", (told.first(), told.last()));
    assert_eq!(world.node.connections(), CLIENTS as u64, "nobody was disconnected");
}

#[tokio::test]
async fn a_short_token_is_told_of_at_once_and_then_at_half_of_its_life() {
    let mut world = World::new(63);
    let short = token(&world, "ann", 20);
    let link = world.link();
    link.send(json!({"id":1,"connect":{"token":short}}).to_string());
    let got = texts(&link).await;
    assert_eq!((&got[0]["id"], &got[1]["notice"]["expires_ms"]), (&json!(1), &json!(1_700_000_020_000_u64)));
    let next = token(&world, "ann", 20);
    assert!(ask(&link, json!({"id":2,"refresh":{"token":next}})).await["ok"]["resume"].is_string());
    for (advance, told) in [(9, 0), (2, 1), (2, 0)] {
        world.clock.advance(Duration::from_secs(advance));
        world.node.tick();
        assert_eq!(texts(&link).await.len(), told);
    }
    // Nobody renews it: half a minute of grace, then the end.
    for (advance, closed) in [(36, false), (2, true)] {
        world.clock.advance(Duration::from_secs(advance));
        world.node.tick();
        settle().await;
        let got = link.take();
        let ended = got.iter().any(|got| matches!(got, Got::Close(4402, reason) if reason == "token_expired"));
        assert_eq!(ended, closed, "{got:?}");
        link.send("pong");
        settle().await;
    }
}

#[tokio::test]
async fn a_drained_node_moves_everybody_in_waves_and_loses_no_acknowledged_publish() {
    const CLIENTS: usize = 600;
    const LISTENERS: usize = 20;
    const PUBLISHERS: usize = 30;
    let mut world = World::new(64);
    let mut links: Vec<Link> = Vec::new();
    for _ in 0..CLIENTS {
        links.push(world.client().await);
    }
    let late = world.link();
    for link in &links[..LISTENERS] {
        ask(link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    }
    let options = DrainOptions { within: Duration::from_secs(8), window: Duration::from_millis(1_500) };
    let node = Arc::clone(&world.node);
    let mut drain = JoinSet::new();
    drain.spawn(async move { node.drain(options).await });
    settle().await;
    assert!(world.node.is_draining());
    assert_eq!(world.try_link().err().expect("nobody new").problem().code, ErrorCode::Moving);
    // Publishing goes on until the publisher's own wave has come.
    for link in &links[..PUBLISHERS] {
        link.send(json!({"id":9,"publish":{"channel":"demo:a","data":1}}).to_string());
    }
    let mut journals: Vec<Vec<Got>> = vec![Vec::new(); CLIENTS];
    let begun = tokio::time::Instant::now();
    let (mut closes, mut turned_away) = (Vec::new(), false);
    until(|| {
        for (link, journal) in links.iter().zip(&mut journals) {
            for got in link.take() {
                if matches!(got, Got::Close(..)) {
                    closes.push(begun.elapsed());
                    link.end();
                }
                journal.push(got);
            }
        }
        if late.take().contains(&Got::Close(4200, "moving".into())) {
            turned_away = true;
            late.end();
        }
        drain.try_join_next().map(drop)
    })
    .await;
    assert!(turned_away, "who had not connected is closed");
    assert_eq!((closes.len(), world.node.connections()), (CLIENTS, 0));
    let spread = *closes.iter().max().expect("closed") - *closes.iter().min().expect("closed");
    assert!(spread >= Duration::from_millis(800), "all within {spread:?}");
    let mut acked = 0;
    for (number, journal) in journals.iter().enumerate() {
        let texts: Vec<&Value> =
            journal.iter().filter_map(|got| if let Got::Text(text) = got { Some(text) } else { None }).collect();
        assert!(texts.iter().any(|text| text["reconnect"]["after_ms"].as_u64().is_some_and(|after| after < 500)));
        assert_eq!(journal.last(), Some(&Got::Close(4200, "moving".into())));
        acked += texts.iter().filter(|text| text["ok"]["position"].is_string()).count();
        if number < LISTENERS {
            let seqs: Vec<u64> = texts.iter().filter_map(|text| text["msg"]["seq"].as_u64()).collect();
            assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap: {seqs:?}");
        }
    }
    assert_eq!(acked, PUBLISHERS, "what was sent in time is acknowledged");
}

#[tokio::test]
async fn who_does_not_go_is_cut_when_the_time_is_over() {
    let mut world = World::new(65);
    let stuck = world.client().await;
    stuck.room(Some(0));
    for id in 2..60 {
        stuck.send(json!({"id":id,"publish":{"channel":"demo:a","data":"x".repeat(10_000)}}).to_string());
    }
    let options = DrainOptions { within: Duration::from_millis(400), window: Duration::from_millis(100) };
    timeout(WITHIN, world.node.drain(options)).await.expect("a drain ends");
    settle().await;
    assert_eq!(world.node.connections(), 0);
}

#[tokio::test]
async fn more_connections_than_the_rate_are_sent_away_with_a_time_to_come_back() {
    let options = NodeOptions { seed: Some(66), connect_rate: LimitValue::rate(10, 20), ..NodeOptions::default() };
    let mut world = World::with(options);
    let links: Vec<Link> = (0..20).map(|_| world.link()).collect();
    let refused = world.try_link().err().expect("one too many").problem();
    assert_eq!((refused.code, refused.retryable), (ErrorCode::Overloaded, true));
    let wait_ms = refused.retry_after_ms.expect("a time to come back");
    assert!((1..1_000).contains(&wait_ms), "{wait_ms}");
    assert_eq!(world.node.paced(), 1);
    settle().await;
    let figures = world.node.stats(world.app.id).expect("known");
    assert_eq!((figures.flow.connects, figures.connections), (20, 20), "who was sent away counts nowhere");
    world.clock.advance(Duration::from_millis(wait_ms));
    world.link();
    drop(links);
}

#[tokio::test]
async fn a_shorter_heartbeat_is_kept_by_connections_that_are_there() {
    let mut world = World::new(67);
    let link = world.client().await;
    world.change(|app| app.heartbeat_ms = 5_000);
    settle().await;
    world.clock.advance(Duration::from_secs(6));
    world.node.tick();
    settle().await;
    assert_eq!(link.take(), [Got::Ping]);
    link.send("pong");
    world.change(|app| app.heartbeat_ms = 60_000);
    settle().await;
    for (advance, expected) in [(30, vec![]), (31, vec![Got::Ping])] {
        world.clock.advance(Duration::from_secs(advance));
        world.node.tick();
        settle().await;
        assert_eq!(link.take(), expected);
    }
}

#[tokio::test]
async fn a_probe_is_answered_within_its_own_time() {
    for (timeout_ms, quiet_s, lost_s) in [(10_000, 9, 1), (60_000, 59, 1)] {
        let mut world = World::new(68);
        let link = world.client().await;
        world.change(|app| (app.heartbeat_ms, app.heartbeat_timeout_ms) = (30_000, timeout_ms));
        settle().await;
        for (advance, expected) in [
            (29, vec![]),
            (2, vec![Got::Ping]),
            (quiet_s, vec![]),
            (lost_s, vec![Got::Close(4201, "heartbeat_timeout".into())]),
        ] {
            world.clock.advance(Duration::from_secs(advance));
            world.node.tick();
            settle().await;
            assert_eq!(link.take(), expected, "{timeout_ms} ms, {advance} s later");
        }
    }
}
