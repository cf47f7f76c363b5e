//! Clients that come back with a ticket, and what becomes of the connection they had.

use std::time::Duration;

use fanfare_core::{Effect, KeyState};
use fanfare_engine::MintRequest;
use serde_json::{Value, json};

use super::link::{Got, Link};
use super::node::{ask, publish, texts};
use super::world::{World, settle};

/// Sends `connect` on a new link; the link and the answer.
pub(crate) async fn connect(world: &mut World, connect: Value) -> (Link, Value) {
    let link = world.link();
    let answer = ask(&link, json!({"id":1,"connect":connect})).await;
    (link, answer)
}

/// A token of `sub` that lives so long.
pub(crate) fn token(world: &World, sub: &str, ttl_s: u64) -> String {
    let app = world.node.app(world.app.id).expect("known");
    let caller = world.node.authenticate_key(&app, &world.key.expose()).expect("valid");
    let request = MintRequest { sub: Some(sub.into()), ttl_s, ..MintRequest::default() };
    world.node.mint_token(&caller, request).expect("the key may sign")
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}")).to_owned()
}

#[tokio::test]
async fn a_client_comes_back_in_one_frame_as_who_it_was() {
    let mut world = World::new(40);
    let token = token(&world, "ann", 600);
    let (before, hello) = connect(&mut world, json!({"token":token})).await;
    ask(&before, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    let position = publish(&world, "demo:a", 1).await;
    before.end();
    settle().await;
    publish(&world, "demo:a", 2).await;

    let after = world.link();
    let commands = [
        json!({"id":1,"connect":{"resume":text(&hello, "/ok/resume")}}),
        json!({"id":2,"subscribe":{"channel":"demo:a","position":position}}),
    ];
    after.send(commands.map(|command| command.to_string()).join("\n"));
    let got = texts(&after).await;
    let again = &got[0]["ok"];
    assert_eq!((&again["resumed"], &again["user"]), (&json!(true), &json!("ann")));
    assert_eq!((&again["connection"], &again["expires_ms"]), (&hello["ok"]["connection"], &hello["ok"]["expires_ms"]));
    assert_eq!((&got[1]["ok"]["recovered"], &got[2]["msg"]["data"]), (&json!(true), &json!(2)));
    let figures = world.node.stats(world.app.id).expect("known");
    assert_eq!((figures.flow.resumed, figures.flow.not_resumed, figures.connections), (1, 0, 1));
}

#[tokio::test]
async fn who_resumes_while_the_old_link_is_open_takes_its_place() {
    let mut world = World::new(41);
    let (old, hello) = connect(&mut world, json!({})).await;
    ask(&old, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    let (new, again) = connect(&mut world, json!({"resume":text(&hello, "/ok/resume")})).await;
    assert_eq!(again["ok"]["connection"], hello["ok"]["connection"]);
    settle().await;
    assert!(matches!(&old.take()[..], [Got::Close(4029, reason)] if reason == "superseded"));
    // The old link's end takes nothing from the new one: changes of the app still reach it.
    old.end();
    settle().await;
    ask(&new, json!({"id":2,"subscribe":{"channel":"demo:a"}})).await;
    world.change(|app| app.rules.push(super::world::rule(2, "demo:a", Effect::Deny)));
    assert_eq!(texts(&new).await[0]["unsubscribed"]["channel"], json!("demo:a"));
    assert_eq!(world.node.connections(), 1);
}

#[tokio::test]
async fn the_ids_of_an_anonymous_publisher_are_its_own_after_a_comeback() {
    let mut world = World::new(42);
    let (link, hello) = connect(&mut world, json!({})).await;
    let order = json!({"id":2,"publish":{"channel":"demo:a","id":"order-7","data":1}});
    let first = ask(&link, order.clone()).await;
    link.end();
    let (again, _) = connect(&mut world, json!({"resume":text(&hello, "/ok/resume")})).await;
    let second = ask(&again, order).await;
    assert_eq!((&second["ok"]["duplicate"], &second["ok"]["position"]), (&json!(true), &first["ok"]["position"]));
}

#[tokio::test]
async fn beside_a_token_a_ticket_says_who_and_the_token_what() {
    let mut world = World::new(43);
    let anns = token(&world, "ann", 600);
    let (_, hello) = connect(&mut world, json!({"token":anns})).await;
    let resume = text(&hello, "/ok/resume");
    let fresh = token(&world, "ann", 900);
    let (_, again) = connect(&mut world, json!({"token":fresh,"resume":resume})).await;
    assert_eq!((&again["ok"]["resumed"], &again["ok"]["connection"]), (&json!(true), &hello["ok"]["connection"]));
    assert_eq!(again["ok"]["expires_ms"], json!(1_700_000_900_000_u64));
    // Somebody else, or nobody at all, does not go on as ann; with a token that is no reason to refuse them.
    let bobs = token(&world, "bob", 600);
    for ticket in [resume.as_str(), "no ticket"] {
        let (_, other) = connect(&mut world, json!({"token":bobs,"resume":ticket})).await;
        assert_eq!((&other["ok"]["resumed"], &other["ok"]["user"]), (&json!(false), &json!("bob")));
        assert_ne!(other["ok"]["connection"], hello["ok"]["connection"]);
    }
    // Within the grace of a late token a new one still finds its connection; later it does not.
    for (advance, resumed) in [(629, true), (2, false)] {
        world.clock.advance(Duration::from_secs(advance));
        let fresh = token(&world, "ann", 900);
        let (_, late) = connect(&mut world, json!({"token":fresh,"resume":resume})).await;
        assert_eq!(late["ok"]["resumed"], json!(resumed));
    }
}

#[tokio::test]
async fn a_ticket_alone_that_does_not_hold_is_refused_and_the_link_closed() {
    let mut world = World::new(44);
    let token = token(&world, "ann", 60);
    let (link, hello) = connect(&mut world, json!({"token":token})).await;
    let anns = text(&hello, "/ok/resume");
    let (_, hello) = connect(&mut world, json!({})).await;
    let anonymous = text(&hello, "/ok/resume");
    link.end();
    settle().await;
    let refused = async |world: &mut World, ticket: &str, code: &str| {
        let link = world.link();
        link.send(json!({"id":1,"connect":{"resume":ticket}}).to_string());
        settle().await;
        let got = link.take();
        assert!(matches!(&got[0], Got::Text(answer) if answer["error"]["code"] == json!(code)), "{got:?}");
        assert!(matches!(&got[1], Got::Close(_, reason) if reason == code), "{got:?}");
    };
    refused(&mut world, "no ticket", "resume_invalid").await;
    world.change(|app| app.keys[0].state = KeyState::Revoked);
    refused(&mut world, &anns, "resume_invalid").await;
    world.change(|app| app.keys[0].state = KeyState::Active);
    assert_eq!(connect(&mut world, json!({"resume":anns})).await.1["ok"]["user"], json!("ann"));
    world.clock.advance(Duration::from_secs(60));
    refused(&mut world, &anns, "resume_invalid").await;
    assert_eq!(connect(&mut world, json!({"resume":anonymous})).await.1["ok"]["resumed"], json!(true));
    world.change(|app| app.rules.clear());
    refused(&mut world, &anonymous, "token_missing").await;
    assert_eq!(world.node.stats(world.app.id).map(|figures| figures.flow.not_resumed), Some(4));
}

#[tokio::test]
async fn a_refresh_brings_the_ticket_that_goes_with_it() {
    let mut world = World::new(45);
    let short = token(&world, "ann", 60);
    let (link, _) = connect(&mut world, json!({"token":short})).await;
    let long = token(&world, "ann", 600);
    let refreshed = ask(&link, json!({"id":2,"refresh":{"token":long}})).await;
    world.clock.advance(Duration::from_secs(120));
    let (_, again) = connect(&mut world, json!({"resume":text(&refreshed, "/ok/resume")})).await;
    assert_eq!((&again["ok"]["resumed"], &again["ok"]["user"]), (&json!(true), &json!("ann")));
}
