//! Who is present: what clients are told, and that what they know is what is there.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_core::{ChannelName, Effect, Limit, LimitValue, MemberId, Operations, Rule};
use fanfare_engine::{EnterUser, NodeError, PresenceQuery};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::link::{Got, Link};
use super::node::{ask, texts};
use super::world::{World, rule, settle};

fn presence(id: u64, action: &str, more: Value) -> Value {
    let mut body = json!({"channel":"demo:a","action":action});
    more.as_object().expect("fields").iter().for_each(|(name, value)| body[name] = value.clone());
    json!({"id":id,"presence":body})
}

/// What the link was told since last time, of presence alone.
async fn told(world: &World, link: &Link) -> Vec<Value> {
    world.node.tell_presence();
    texts(link).await.into_iter().filter_map(|push| push.get("presence").cloned()).collect()
}

async fn watch(world: &mut World) -> Link {
    let link = world.client().await;
    link.send(r#"{"id":2,"subscribe":{"channel":"demo:a","presence":true}}"#);
    let got = texts(&link).await;
    assert!(got[0].get("ok").is_some() && got[1].get("presence").is_some(), "{got:?}");
    link
}

async fn enter(link: &Link) {
    assert_eq!(ask(link, presence(3, "enter", json!({}))).await, json!({"id":3,"ok":{}}));
}

async fn count(world: &World) -> u64 {
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let channel = ChannelName::parse("demo:a").expect("valid");
    let query = PresenceQuery { after: None, limit: 1_000 };
    let page = world.node.presence(&caller, &channel, query).await.expect("readable");
    assert_eq!(world.node.metrics().presence.members, page.count);
    page.count
}

#[tokio::test]
async fn entering_changing_and_leaving_are_told_in_batches() {
    let mut world = World::new(60);
    let (ann, bob) = (watch(&mut world).await, world.client().await);
    ask(&bob, presence(2, "enter", json!({"data":{"mood":"up"}}))).await;
    ask(&bob, presence(3, "update", json!({"data":1}))).await;
    ask(&bob, presence(4, "update", json!({"data":2}))).await;
    assert!(texts(&ann).await.is_empty(), "nothing is told before the batch");
    let diff = told(&world, &ann).await;
    assert_eq!((diff.len(), &diff[0]["entered"][0]["data"]), (1, &json!(2)));
    assert_eq!((&diff[0]["from"], &diff[0]["version"], &diff[0]["count"]), (&json!(0), &json!(3), &json!(1)));
    assert!(told(&world, &ann).await.is_empty());
    let got = ask(&bob, presence(5, "get", json!({}))).await;
    assert_eq!((&got["ok"]["count"], &got["ok"]["members"][0]["data"]), (&json!(1), &json!(2)));
    ask(&bob, presence(6, "leave", json!({}))).await;
    assert_eq!(told(&world, &ann).await[0]["left"], json!([{"connection":diff[0]["entered"][0]["connection"]}]));
    assert_eq!(ask(&bob, presence(7, "leave", json!({}))).await["error"]["code"], json!("not_present"));
    assert_eq!(ask(&bob, presence(8, "update", json!({"data":1}))).await["error"]["code"], json!("not_present"));
    assert_eq!(count(&world).await, 0);
}

#[tokio::test]
async fn whoever_vanishes_leaves_once_after_the_grace() {
    let mut world = World::new(61);
    let (ann, bob) = (watch(&mut world).await, world.client().await);
    enter(&bob).await;
    assert_eq!(told(&world, &ann).await[0]["count"], json!(1));
    bob.end();
    settle().await;
    world.clock.advance(Duration::from_secs(9));
    world.node.tick();
    assert!(told(&world, &ann).await.is_empty());
    assert_eq!(count(&world).await, 1);
    world.clock.advance(Duration::from_secs(2));
    world.node.tick();
    let diff = told(&world, &ann).await;
    assert_eq!((&diff[0]["count"], diff[0]["left"].as_array().map(Vec::len)), (&json!(0), Some(1)));
    world.clock.advance(Duration::from_secs(60));
    world.node.tick();
    assert!(told(&world, &ann).await.is_empty());
}

#[tokio::test]
async fn unsubscribing_and_losing_a_right_end_a_membership_at_once() {
    let mut world = World::new(62);
    let (ann, bob) = (watch(&mut world).await, watch(&mut world).await);
    for link in [&ann, &bob] {
        enter(link).await;
    }
    assert_eq!((count(&world).await, told(&world, &ann).await.len()), (2, 1));
    ask(&bob, json!({"id":9,"unsubscribe":{"channel":"demo:a"}})).await;
    assert_eq!(count(&world).await, 1);
    let deny = Operations::NONE.with(fanfare_core::Operation::Presence);
    world.change(|app| app.rules.push(Rule { operations: deny, ..rule(9, "demo:a", Effect::Deny) }));
    let ended: Vec<Value> = texts(&ann).await.into_iter().filter(|push| push.get("presence_ended").is_some()).collect();
    assert_eq!((ended.len(), &ended[0]["presence_ended"]["what"]), (1, &json!("membership")));
    assert_eq!(count(&world).await, 0);
    assert!(!told(&world, &ann).await.is_empty(), "whoever may read is told still");
    let deny = Operations::NONE.with(fanfare_core::Operation::PresenceRead);
    world.change(|app| app.rules.push(Rule { operations: deny, ..rule(11, "demo:a", Effect::Deny) }));
    assert_eq!(texts(&ann).await[0]["presence_ended"]["what"], json!("updates"));
    assert_eq!(
        ask(&bob, json!({"id":10,"subscribe":{"channel":"demo:a","presence":true}})).await["error"]["code"],
        "forbidden"
    );
    assert_eq!(ask(&bob, presence(11, "get", json!({}))).await["error"]["layer"], json!("acl"));
}

#[tokio::test]
async fn whoever_resumes_in_time_stays_who_it_was_and_nobody_is_told() {
    for lost in [true, false] {
        let mut world = World::new(70);
        world.change(|app| app.heartbeat_ms = 3_600_000);
        let (ann, bob) = (watch(&mut world).await, world.link());
        let hello = ask(&bob, json!({"id":1,"connect":{}})).await["ok"].clone();
        enter(&bob).await;
        assert_eq!(told(&world, &ann).await[0]["entered"][0]["connection"], hello["connection"]);
        if lost {
            bob.end();
            settle().await;
        }
        world.clock.advance(Duration::from_secs(9));
        let back = world.link();
        let again = ask(&back, json!({"id":1,"connect":{"resume":hello["resume"]}})).await;
        assert_eq!((&again["ok"]["resumed"], &again["ok"]["connection"]), (&json!(true), &hello["connection"]));
        bob.end();
        settle().await;
        world.clock.advance(Duration::from_secs(60));
        world.node.tick();
        assert!(told(&world, &ann).await.is_empty());
        assert_eq!(count(&world).await, 1);
        ask(&back, presence(5, "leave", json!({}))).await;
        assert_eq!(told(&world, &ann).await[0]["left"], json!([{"connection":hello["connection"]}]));
    }
}

#[tokio::test]
async fn a_closed_tenant_leaves_without_a_grace() {
    let mut world = World::new(63);
    let bob = world.client().await;
    enter(&bob).await;
    world.change(|app| app.rules.clear());
    settle().await;
    assert_eq!(world.node.metrics().presence.members, 0);
}

#[tokio::test]
async fn switched_off_presence_takes_everybody_out() {
    let mut world = World::new(64);
    let bob = watch(&mut world).await;
    enter(&bob).await;
    world.change(|app| {
        app.settings = vec![fanfare_core::ChannelSettings {
            presence: false,
            ..fanfare_core::ChannelSettings::defaults().clone()
        }];
    });
    let ended = texts(&bob).await;
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert_eq!(ended[0]["presence_ended"]["error"]["code"], json!("presence_off"));
    for (id, action) in [(4, "enter"), (5, "get")] {
        assert_eq!(ask(&bob, presence(id, action, json!({}))).await["error"]["code"], json!("presence_off"));
    }
    assert_eq!(world.node.metrics().presence.members, 0);
}

#[tokio::test]
async fn a_crowded_channel_is_counted_and_listed_again_when_few_are_left() {
    let mut world = World::new(65);
    world.change(|app| app.limits.set(Limit::PresenceMembers, LimitValue::count(3)));
    let ann = watch(&mut world).await;
    let mut others = Vec::new();
    for number in 1..=4_u64 {
        let link = world.client().await;
        enter(&link).await;
        others.push(link);
        let diff = told(&world, &ann).await.pop().expect("told");
        assert_eq!(diff["count"], json!(number));
        assert_eq!(diff.get("members").is_none() && diff.get("from").is_none(), number == 4, "{diff}");
    }
    let page = ask(&ann, presence(9, "get", json!({}))).await;
    assert_eq!(page["ok"], json!({"channel":"demo:a","version":4,"count":4}));
    let late = world.client().await;
    late.send(r#"{"id":2,"subscribe":{"channel":"demo:a","presence":true}}"#);
    assert_eq!(texts(&late).await[1]["presence"], json!({"channel":"demo:a","version":4,"count":4}));
    ask(&others[0], presence(4, "leave", json!({}))).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.extend(told(&world, &ann).await);
    }
    assert_eq!((seen.len(), seen[0]["members"].as_array().map(Vec::len)), (1, Some(3)), "{seen:?}");
}

#[tokio::test]
async fn members_are_read_in_pages() {
    let mut world = World::new(66);
    let mut links = Vec::new();
    for _ in 0..5 {
        let link = world.client().await;
        enter(&link).await;
        links.push(link);
    }
    let (mut after, mut seen) = (None::<Value>, Vec::new());
    for id in 10..20 {
        let more = after.as_ref().map_or(json!({"limit":2}), |after| json!({"limit":2,"after":after}));
        let page = ask(&links[0], presence(id, "get", more)).await;
        seen.extend(page["ok"]["members"].as_array().expect("a list").iter().map(|one| one["connection"].to_string()));
        after = page["ok"].get("next").cloned();
        if after.is_none() {
            break;
        }
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (5, &sorted));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_told_everything_anew_and_costs_a_bounded_amount() {
    let mut world = World::new(67);
    let (ann, bob) = (watch(&mut world).await, world.client().await);
    ann.room(Some(0));
    let wide = "x".repeat(1_000);
    enter(&bob).await;
    for number in 0..600 {
        ask(&bob, presence(4 + number, "update", json!({"data":format!("{number}{wide}")}))).await;
        world.node.tell_presence();
        settle().await;
    }
    ann.room(None);
    let mut got = Vec::new();
    for _ in 0..3 {
        got.extend(told(&world, &ann).await);
    }
    assert!(got.len() < 300, "{} pushes waited", got.len());
    let last = got.last().expect("told");
    let data = last["members"][0]["data"].as_str().or(last["updated"][0]["data"].as_str()).expect("a text");
    assert!(data.starts_with("599"), "{data}");
    assert!(got.iter().any(|push| push.get("members").is_some()), "a page closes the gap");
}

#[tokio::test]
async fn presence_that_weighs_too_much_is_refused_and_room_comes_back() {
    let mut world = World::new(68);
    world.change(|app| app.limits.set(Limit::PresenceBytesApp, LimitValue::count(2_000)));
    let (ann, bob) = (world.client().await, world.client().await);
    assert!(ask(&ann, presence(2, "enter", json!({"data":"x".repeat(900)}))).await.get("ok").is_some());
    let refused = ask(&bob, presence(2, "enter", json!({"data":"x".repeat(900)}))).await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["limit"]),
        (&json!("limit_reached"), &json!("presence_bytes_app"))
    );
    assert_eq!(ask(&bob, presence(3, "leave", json!({}))).await["error"]["code"], json!("not_present"));
    ask(&ann, presence(4, "leave", json!({}))).await;
    assert!(ask(&bob, presence(5, "enter", json!({"data":"x".repeat(900)}))).await.get("ok").is_some());
    world.change(|app| app.limits.set(Limit::PresenceRate, LimitValue::rate(1, 1)));
    ask(&bob, presence(6, "update", json!({"data":1}))).await;
    let fast = ask(&bob, presence(7, "update", json!({"data":2}))).await;
    assert_eq!((&fast["error"]["code"], &fast["error"]["limit"]), (&json!("rate_limited"), &json!("presence_rate")));
}

#[tokio::test]
async fn a_backend_enters_users_who_stay_until_their_time_is_over() {
    let mut world = World::new(69);
    let ann = watch(&mut world).await;
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let channel = ChannelName::parse("demo:a").expect("valid");
    let user = |ttl_ms| EnterUser { user: "robot".into(), info: None, data: None, ttl_ms };
    let first = world.node.enter_user(&caller, &channel, user(None)).await.expect("entered");
    assert_eq!(first.id, MemberId::User("robot".into()));
    world.clock.advance(Duration::from_secs(60));
    world.node.tick();
    assert_eq!(count(&world).await, 1);
    let again = world.node.enter_user(&caller, &channel, user(Some(5_000))).await.expect("renewed");
    assert_eq!(again.since_ms, first.since_ms);
    world.clock.advance(Duration::from_secs(4));
    world.node.tick();
    assert_eq!(count(&world).await, 1);
    world.clock.advance(Duration::from_secs(1));
    world.node.tick();
    assert_eq!(count(&world).await, 0);
    assert!(told(&world, &ann).await.is_empty(), "whoever came and went between two batches is told to nobody");
    let gone = world.node.leave_user(&caller, &channel, "robot").await;
    assert!(matches!(gone, Err(NodeError::Invalid(_))));
}

#[tokio::test]
async fn thousands_who_come_and_go_cost_a_watcher_a_push_a_batch_and_leave_nothing_behind() {
    const FLAPPING: usize = 2_000;
    let mut world = World::new(71);
    world.change(|app| app.limits.set(Limit::PresenceRate, LimitValue::rate(5_000, 20_000)));
    let ann = watch(&mut world).await;
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let channel = ChannelName::parse("demo:a").expect("valid");
    let name = |number: usize| format!("robot-{number}");
    let enter = async |number: usize| {
        let user = EnterUser { user: name(number).into(), info: None, data: None, ttl_ms: None };
        world.node.enter_user(&caller, &channel, user).await
    };
    for _ in 0..3 {
        for number in 0..FLAPPING {
            enter(number).await.expect("there is room");
            world.node.leave_user(&caller, &channel, &name(number)).await.expect("it was there");
        }
        assert!(told(&world, &ann).await.is_empty(), "whoever came and went is told to nobody");
    }
    for number in 0..FLAPPING {
        enter(number).await.expect("there is room");
    }
    let diffs = told(&world, &ann).await;
    assert!((1..=8).contains(&diffs.len()), "{}", diffs.len());
    assert_eq!(diffs.iter().filter_map(|diff| diff["entered"].as_array()).map(Vec::len).sum::<usize>(), FLAPPING);
    for number in 0..FLAPPING {
        world.node.leave_user(&caller, &channel, &name(number)).await.expect("it was there");
    }
    // The rate is the channel's: who flaps on is refused until there is room again.
    let mut refused = 0;
    for number in 0..20_000 {
        refused += usize::from(matches!(enter(number % FLAPPING).await, Err(NodeError::Rate { .. })));
    }
    assert!(refused > 0);
    for number in 0..FLAPPING {
        drop(world.node.leave_user(&caller, &channel, &name(number)).await);
    }
    assert_eq!(count(&world).await, 0);
}

/// A client that follows what it is told.
#[derive(Default)]
struct Follower {
    version: u64,
    members: BTreeMap<String, Value>,
}

impl Follower {
    fn take(&mut self, push: &Value) -> Result<(), String> {
        let number = |name: &str| push[name].as_u64().ok_or_else(|| format!("no {name} in {push}"));
        let each = |name: &str| push[name].as_array().into_iter().flatten();
        let id = |member: &Value| member["connection"].to_string();
        let version = number("version")?;
        if push.get("from").is_none() {
            self.members = each("members").map(|member| (id(member), member.clone())).collect();
        } else if version <= self.version {
            return Ok(());
        } else if number("from")? > self.version {
            return Err(format!("told from {push} at {}", self.version));
        }
        for member in each("entered").chain(each("updated")) {
            self.members.insert(id(member), member.clone());
        }
        for member in each("left") {
            self.members.remove(&id(member));
        }
        self.version = version;
        if self.members.len() as u64 == number("count")? { Ok(()) } else { Err(format!("wrong count in {push}")) }
    }
}

/// Clients come, enter, change, leave, vanish, read slowly; at the end everybody who watches knows who is there.
async fn play(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    // Nobody is lost for being silent here.
    world.change(|app| app.heartbeat_ms = 3_600_000);
    let mut dice = StdRng::seed_from_u64(seed);
    let mut watchers: Vec<(Link, Follower)> = Vec::new();
    let mut members: Vec<(Link, bool)> = Vec::new();
    for step in 0..150_u64 {
        match dice.random_range(0..12) {
            0 if watchers.len() < 5 => {
                let link = world.client().await;
                link.send(r#"{"id":2,"subscribe":{"channel":"demo:a","presence":true}}"#);
                watchers.push((link, Follower::default()));
            }
            1 if members.len() < 8 => members.push((world.client().await, false)),
            2 if !members.is_empty() => {
                let (link, _) = members.swap_remove(dice.random_range(0..members.len()));
                link.end();
            }
            3 => {
                world.clock.advance(Duration::from_secs(dice.random_range(0..6)));
                world.node.tick();
            }
            4 => {
                if let Some((link, _)) = watchers.get(dice.random_range(0..5)) {
                    link.room(if dice.random() { Some(dice.random_range(0..500)) } else { None });
                }
            }
            5 | 6 => world.node.tell_presence(),
            7 => settle().await,
            _ if members.is_empty() => {}
            _ => {
                let index = dice.random_range(0..members.len());
                let (link, is_in) = &mut members[index];
                let action = match dice.random_range(0..3) {
                    0 if *is_in => "leave",
                    _ => "enter",
                };
                *is_in = action == "enter";
                let more = if *is_in { json!({"data":step}) } else { json!({}) };
                link.send(presence(step + 2, action, more).to_string());
            }
        }
    }
    watchers.iter().for_each(|(link, _)| link.room(None));
    members.iter().for_each(|(link, _)| drop(link.take()));
    settle().await;
    world.clock.advance(Duration::from_secs(11));
    world.node.tick();
    for _ in 0..4 {
        settle().await;
        world.node.tell_presence();
    }
    settle().await;
    let live = members.iter().filter(|(_, is_in)| *is_in).count();
    for (link, follower) in &mut watchers {
        for got in link.take() {
            if let Got::Text(push) = got
                && let Some(push) = push.get("presence")
            {
                follower.take(push)?;
            }
        }
        if follower.members.len() != live {
            return Err(format!("{} are known, {live} are there", follower.members.len()));
        }
    }
    if count(&world).await == live as u64 { Ok(()) } else { Err("a member is no connection, or the other way".into()) }
}

#[test]
fn presence_is_the_union_of_live_connections_whatever_happens() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for seed in 0..60 {
        if let Err(wrong) = runtime.block_on(play(seed)) {
            panic!("seed {seed}: {wrong}");
        }
    }
}
