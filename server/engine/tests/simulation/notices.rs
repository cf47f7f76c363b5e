//! What subscribers are told of who is on their channel without asking, where its settings say so.

use fanfare_core::{ChannelSettings, Effect, Operation, Operations, Pattern, Rule};
use serde_json::{Value, json};

use super::link::Link;
use super::node::{ask, texts};
use super::world::{World, rule};

/// Batches until a count is told again.
const COUNT_BATCHES: usize = 5;

fn set(world: &mut World, join_leave: bool, occupancy: bool) {
    let pattern = Pattern::parse("demo:*").expect("valid");
    let settings = ChannelSettings { pattern, join_leave, occupancy, ..ChannelSettings::defaults().clone() };
    world.change(|app| app.settings = vec![settings]);
}

async fn subscriber(world: &mut World) -> Link {
    let link = world.client().await;
    assert!(ask(&link, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await.get("ok").is_some());
    link
}

async fn act(link: &Link, action: &str) {
    let ok = ask(link, json!({"id":3,"presence":{"channel":"demo:a","action":action}})).await;
    assert!(ok.get("ok").is_some(), "{ok}");
}

/// What the link is told of this kind in a second's batches.
async fn told(world: &World, link: &Link, kind: &str) -> Vec<Value> {
    let mut pushes = Vec::new();
    for _ in 0..COUNT_BATCHES {
        world.node.tell_presence();
        pushes.extend(texts(link).await);
    }
    pushes.into_iter().filter_map(|push| push.get(kind).cloned()).collect()
}

#[tokio::test]
async fn joins_and_leaves_are_told_where_the_settings_say_so_and_only_there() {
    let mut world = World::new(90);
    let (ann, bob) = (subscriber(&mut world).await, world.client().await);
    let watcher = world.client().await;
    ask(&watcher, json!({"id":2,"subscribe":{"channel":"demo:a","presence":true}})).await;
    act(&bob, "enter").await;
    assert_eq!(told(&world, &ann, "join_leave").await, [json!(null); 0]);
    act(&bob, "leave").await;
    told(&world, &watcher, "presence").await;

    set(&mut world, true, false);
    act(&bob, "enter").await;
    let heard = told(&world, &ann, "join_leave").await;
    assert_eq!((heard.len(), &heard[0]["count"], &heard[0]["left"]), (1, &json!(1), &json!([])));
    let joined = heard[0]["joined"][0]["connection"].clone();
    assert!(joined.is_string() && heard[0]["version"].as_u64() > heard[0]["from"].as_u64());
    let pushes = texts(&watcher).await;
    assert!(pushes.iter().all(|push| push.get("join_leave").is_none()), "who asked is told as ever: {pushes:?}");
    // What a member says anew is neither.
    ask(&bob, json!({"id":4,"presence":{"channel":"demo:a","action":"update","data":1}})).await;
    assert!(told(&world, &ann, "join_leave").await.is_empty());
    act(&bob, "leave").await;
    let heard = told(&world, &ann, "join_leave").await;
    assert_eq!((&heard[0]["joined"], &heard[0]["left"]), (&json!([]), &json!([{ "connection": joined }])));

    set(&mut world, false, false);
    act(&bob, "enter").await;
    assert!(told(&world, &ann, "join_leave").await.is_empty());
    assert!(!told(&world, &watcher, "presence").await.is_empty());
}

#[tokio::test]
async fn whoever_may_not_see_who_is_there_is_told_how_many_and_not_who() {
    let mut world = World::new(91);
    set(&mut world, true, true);
    let (ann, bob) = (subscriber(&mut world).await, world.client().await);
    act(&bob, "enter").await;
    let deny = Operations::NONE.with(Operation::PresenceRead);
    world.change(|app| app.rules.push(Rule { operations: deny, ..rule(9, "demo:a", Effect::Deny) }));
    let late = subscriber(&mut world).await;
    act(&bob, "leave").await;
    for link in [&ann, &late] {
        for _ in 0..COUNT_BATCHES {
            world.node.tell_presence();
        }
        let pushes = texts(link).await;
        assert!(pushes.iter().all(|push| push.get("join_leave").is_none()), "{pushes:?}");
        assert!(pushes.iter().all(|push| push.get("presence_ended").is_none()), "nobody asked: {pushes:?}");
    }
    for link in [&ann, &late] {
        act(&bob, "enter").await;
        assert_eq!(told(&world, link, "occupancy").await.last().expect("told")["members"], json!(1));
        act(&bob, "leave").await;
        told(&world, link, "occupancy").await;
    }
}

#[tokio::test]
async fn how_many_there_are_is_told_when_it_changes_and_at_most_once_a_second() {
    let mut world = World::new(92);
    set(&mut world, false, true);
    let ann = subscriber(&mut world).await;
    let occupancy = |subscribers: u64, members: u64, version: u64| json!({ "channel": "demo:a", "subscribers": subscribers, "members": members, "version": version });
    assert_eq!(told(&world, &ann, "occupancy").await, [occupancy(1, 0, 0)]);
    assert!(told(&world, &ann, "occupancy").await.is_empty(), "nothing has changed");
    let bob = subscriber(&mut world).await;
    act(&bob, "enter").await;
    let heard = told(&world, &ann, "occupancy").await;
    assert_eq!(heard.last(), Some(&occupancy(2, 1, 1)));
    assert!(heard.len() <= 2, "{heard:?}");
    // Whoever comes is told, also where another goes at once, so that the number stays.
    let told_bob = told(&world, &bob, "occupancy").await;
    assert!(told_bob.iter().all(|told| *told == occupancy(2, 1, 1)), "{told_bob:?}");
    let eve = subscriber(&mut world).await;
    ask(&ann, json!({"id":9,"unsubscribe":{"channel":"demo:a"}})).await;
    assert_eq!(told(&world, &eve, "occupancy").await.last(), Some(&occupancy(2, 1, 1)));
    // A link that is lost counts no more; its membership lasts for the grace.
    bob.end();
    assert_eq!(told(&world, &eve, "occupancy").await.last(), Some(&occupancy(1, 1, 1)));
}

#[tokio::test]
async fn whoever_could_not_take_it_is_told_that_something_was_missed() {
    let mut world = World::new(93);
    set(&mut world, true, true);
    let (ann, bob) = (subscriber(&mut world).await, world.client().await);
    told(&world, &ann, "occupancy").await;
    ann.room(Some(0));
    for n in 0..6 {
        let data = "x".repeat(60_000);
        ask(&bob, json!({"id":n + 10,"publish":{"channel":"demo:a","data":data}})).await;
    }
    act(&bob, "enter").await;
    for _ in 0..2 * COUNT_BATCHES {
        world.node.tell_presence();
        texts(&bob).await;
    }
    ann.room(None);
    let mut heard = Vec::new();
    for _ in 0..2 * COUNT_BATCHES {
        world.node.tell_presence();
        heard.extend(texts(&ann).await);
    }
    let of = |kind: &str| heard.iter().filter_map(|push| push.get(kind).cloned()).collect::<Vec<_>>();
    assert_eq!(of("join_leave"), [json!({ "channel": "demo:a", "version": 1, "count": 1 })]);
    assert_eq!(of("occupancy").last().expect("told")["members"], json!(1));
    act(&bob, "leave").await;
    assert_eq!(told(&world, &ann, "join_leave").await[0]["left"].as_array().map(Vec::len), Some(1));
}
