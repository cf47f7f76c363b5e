//! What a thread's turn joins, and that nothing is left behind at its end.

use fanfare_engine::turn;
use serde_json::json;

use super::link::{Got, Link};
use super::node::{ask, texts};
use super::world::{World, run};

/// Seeds of worlds whose turns end.
const TURNING: u64 = 40;

/// Two clients, each subscribed to a channel of its own.
async fn pair(world: &mut World) -> [Link; 2] {
    let pair = [world.client().await, world.client().await];
    for (link, channel) in pair.iter().zip(["demo:a", "demo:b"]) {
        ask(link, json!({"id":2,"subscribe":{"channel":channel}})).await;
        link.writes();
    }
    pair
}

#[tokio::test]
async fn an_answer_and_what_is_delivered_in_the_same_turn_are_one_write() {
    let mut world = World::new(TURNING);
    let [ann, bob] = pair(&mut world).await;
    ann.send(r#"{"id":3,"publish":{"channel":"demo:b","data":1}}"#);
    bob.send(r#"{"id":3,"publish":{"channel":"demo:a","data":2}}"#);
    run().await;
    assert_eq!((ann.take(), bob.take()), (Vec::new(), Vec::new()), "the turn is not over");
    turn::end();
    for (link, data) in [(&ann, 2), (&bob, 1)] {
        assert_eq!(link.writes(), 1);
        let got = link.take();
        let [Got::Text(answer), Got::Text(push)] = &got[..] else { panic!("{got:?}") };
        assert_eq!((&answer["ok"]["duplicate"], &push["msg"]["data"]), (&json!(false), &json!(data)));
    }
}

#[tokio::test]
async fn a_turn_that_grows_long_ends_by_itself() {
    let mut world = World::new(TURNING);
    let mut links = Vec::new();
    for _ in 0..40 {
        links.push(world.client().await);
    }
    links.iter().for_each(|link| link.send(r#"{"id":2,"ping":{}}"#));
    run().await;
    let answered = links.iter().filter(|link| !link.take().is_empty()).count();
    assert!((32..40).contains(&answered), "{answered} are answered before the end, and the rest are not due");
    turn::end();
    assert_eq!(links.iter().filter(|link| !link.take().is_empty()).count(), 40 - answered);
}

#[tokio::test]
async fn what_the_socket_does_not_take_at_the_end_of_a_turn_follows() {
    let mut world = World::new(TURNING);
    let [ann, bob] = pair(&mut world).await;
    ann.room(Some(5));
    ann.send(r#"{"id":3,"ping":{}}"#);
    bob.send(r#"{"id":3,"publish":{"channel":"demo:a","data":1}}"#);
    assert!(texts(&ann).await.is_empty(), "five bytes are no frame");
    ann.room(None);
    let got = texts(&ann).await;
    assert_eq!((&got[0]["id"], &got[1]["msg"]["data"]), (&json!(3), &json!(1)));
}

#[tokio::test]
async fn much_is_not_kept_for_the_end_of_a_turn() {
    let mut world = World::new(TURNING);
    let [ann, bob] = pair(&mut world).await;
    let large = "x".repeat(20_000);
    ann.send(r#"{"id":3,"ping":{}}"#);
    run().await;
    bob.send(json!({"id":3,"publish":{"channel":"demo:a","data":large}}).to_string());
    ann.send(r#"{"id":4,"close":{}}"#);
    run().await;
    turn::end();
    let got = texts(&ann).await;
    assert_eq!(got.len(), 3, "the answer, the refusal and the message: {got:?}");
}

#[tokio::test]
async fn a_connection_that_ends_within_a_turn_says_first_what_it_owes() {
    let mut world = World::new(TURNING);
    let [ann, _bob] = pair(&mut world).await;
    ann.send(r#"{"id":3,"ping":{}}"#);
    run().await;
    world.change(|app| app.rules.clear());
    run().await;
    turn::end();
    let got = ann.take();
    assert!(matches!(&got[..], [Got::Text(_), Got::Close(4400, _)]), "{got:?}");
}
