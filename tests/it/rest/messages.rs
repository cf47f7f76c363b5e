//! Single messages, the bounds of history, and what is deleted.

use std::time::Duration;

use ::harness::answer::Answer;
use ::harness::owner::Owner;
use ::harness::publisher::messages;
use ::harness::server::Server;
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::data;

async fn delete(owner: &Owner, path: &str) -> Result<Answer> {
    Answer::to(owner.publisher().request(Method::DELETE, path)).await
}

/// Ten messages with ids `m-1` to `m-10`; their positions and times.
async fn ten(owner: &Owner) -> Result<(Vec<String>, Vec<String>)> {
    let publisher = owner.publisher();
    let (mut positions, mut pace) = (Vec::new(), interval(Duration::from_millis(3)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1..=10 {
        // Times are told in milliseconds: each message has its own.
        pace.tick().await;
        let body = json!({ "id": format!("m-{number}"), "data": number });
        let published = publisher.post(&messages("room:9"), &body).await?.ok()?;
        positions.push(published["position"].as_str().context("a position")?.to_owned());
    }
    let page = publisher.get(&format!("{}?direction=forward", messages("room:9"))).await?.ok()?;
    let times = page["messages"].as_array().context("messages")?.iter().filter_map(|message| message["time"].as_str());
    Ok((positions, times.map(str::to_owned).collect()))
}

#[tokio::test]
async fn history_is_bounded_by_position_id_and_time_both_ways() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (positions, times) = ten(&owner).await?;
    let read = async |query: String| -> Result<(Vec<u64>, bool, bool)> {
        let page = owner.publisher().get(&format!("{}?{query}", messages("room:9"))).await?.ok()?;
        Ok((data(&page), page["truncated"] == true, page["next"].is_string()))
    };
    let (at, time) = (|number: usize| &positions[number - 1], |number: usize| &times[number - 1]);
    for (query, expected) in [
        ("from_id=m-7".to_owned(), vec![6, 5, 4, 3, 2, 1]),
        ("from_id=m-7&direction=forward".to_owned(), vec![8, 9, 10]),
        (format!("from_time={}", time(3)), vec![3, 2, 1]),
        (format!("from_time={}&direction=forward", time(8)), vec![8, 9, 10]),
        (format!("until={}", at(8)), vec![10, 9, 8]),
        (format!("until={}&direction=forward", at(3)), vec![1, 2, 3]),
        (format!("until_time={}", time(9)), vec![10, 9]),
        (format!("until_time={}&direction=forward", time(2)), vec![1, 2]),
        (format!("from={}&until={}", at(8), at(5)), vec![7, 6, 5]),
        (format!("from_time={}&until_time={}&direction=forward", time(4), time(6)), vec![4, 5, 6]),
        (format!("from={}&until={}", at(5), at(8)), vec![]),
        ("from_time=2020-01-01T00:00:00Z".to_owned(), vec![]),
        ("from_time=2099-01-01T00:00:00Z&direction=forward".to_owned(), vec![]),
    ] {
        assert_eq!(read(query.clone()).await?, (expected, false, false), "{query}");
    }
    // A page inside its bounds goes on to them.
    assert_eq!(read(format!("from_id=m-9&until={}&limit=2", at(5))).await?, (vec![8, 7], false, true));
    assert_eq!(read(format!("from={}&until={}&limit=2", at(7), at(5))).await?, (vec![6, 5], false, true));
    assert_eq!(read(format!("from={}&until={}&limit=2", at(5), at(5))).await?, (vec![], false, false));
    for (query, code) in [
        (format!("from={}&from_id=m-1", at(1)), "invalid_request"),
        (format!("until={}&until_time={}", at(1), time(1)), "invalid_request"),
        ("from_id=m-11".to_owned(), "not_found"),
        ("from_time=yesterday".to_owned(), "invalid_request"),
        ("until=x.1".to_owned(), "invalid_position"),
    ] {
        let answer = owner.publisher().get(&format!("{}?{query}", messages("room:9"))).await?;
        assert_eq!(answer.refusal()?, code, "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn a_message_is_read_by_its_id_and_a_channel_as_a_whole() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (positions, _) = ten(&owner).await?;
    let publisher = owner.publisher();
    let one = publisher.get(&format!("{}/m-4", messages("room:9"))).await?.ok()?;
    assert_eq!((&one["data"], &one["position"], &one["seq"]), (&json!(4), &json!(positions[3]), &json!(4)));
    let body = json!({ "id": "a/b c?", "data": "odd" });
    publisher.post(&messages("room:9"), &body).await?.ok()?;
    let odd = publisher.get(&format!("{}/a%2Fb%20c%3F", messages("room:9"))).await?.ok()?;
    assert_eq!(odd["data"], "odd");
    assert_eq!(publisher.get(&format!("{}/m-11", messages("room:9"))).await?.refusal()?, "not_found");
    assert_eq!(publisher.get(&format!("{}/m-4", messages("room:1"))).await?.refusal()?, "not_found");

    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    let channel = publisher.get("/channels/room:9").await?.ok()?;
    assert_eq!(
        (&channel["subscribers"], &channel["messages"], &channel["first_seq"]),
        (&json!(1), &json!(11), &json!(1))
    );
    assert!(channel["position"].as_str().is_some_and(|position| position.ends_with(".11")), "{channel}");
    let unused = publisher.get("/channels/room:unused").await?.ok()?;
    assert_eq!((&unused["messages"], unused.get("first_seq")), (&json!(0), None));
    Ok(())
}

#[tokio::test]
async fn a_deleted_message_leaves_its_number_and_whoever_catches_up_is_told() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (positions, _) = ten(&owner).await?;
    assert_eq!(delete(&owner, &format!("{}/m-4", messages("room:9"))).await?.status, 204);
    for path in [format!("{}/m-4", messages("room:9")), format!("{}/m-99", messages("room:9"))] {
        assert_eq!(delete(&owner, &path).await?.refusal()?, "not_found");
        assert_eq!(owner.publisher().get(&path).await?.refusal()?, "not_found");
    }
    let path = format!("{}?direction=forward", messages("room:9"));
    let page = owner.publisher().get(&path).await?.ok()?;
    let gone = &page["messages"][3];
    assert_eq!((&gone["seq"], &gone["id"], &gone["deleted"]), (&json!(4), &json!("m-4"), &json!(true)));
    assert!(gone.get("data").is_none() && !page.to_string().contains("\"data\":4"), "{gone}");

    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let ok = ann.ok("subscribe", json!({ "channel": "room:9", "position": positions[1] })).await?;
    assert_eq!(ok["recovered"], true);
    assert_eq!(ann.message("room:9").await?["data"], 3);
    assert_eq!(ann.push().await?, json!({ "deleted": { "channel": "room:9", "seq": 4, "id": "m-4" } }));
    for number in 5..=10 {
        assert_eq!(ann.message("room:9").await?["data"], number);
    }
    // The id stands for what was published: a retry of the publisher's does not bring it back.
    let again = json!({ "id": "m-4", "data": 4 });
    let published = owner.publisher().post(&messages("room:9"), &again).await?.ok()?;
    assert_eq!((&published["duplicate"], &published["position"]), (&json!(true), &json!(positions[3])));
    ann.nothing_came().await
}

#[tokio::test]
async fn a_deleted_history_is_told_as_truncated_and_numbers_go_on() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (positions, _) = ten(&owner).await?;
    let mut live = owner.connect_as("live", &["room:*"]).await?;
    live.subscribe("room:9").await?;
    assert_eq!(delete(&owner, &messages("room:9")).await?.ok()?, json!({ "messages": 10 }));
    assert_eq!(delete(&owner, &messages("room:9")).await?.ok()?, json!({ "messages": 0 }));
    let page = owner.publisher().get(&messages("room:9")).await?.ok()?;
    assert_eq!((data(&page), &page["truncated"]), (vec![], &json!(true)));
    let mut late = owner.connect_as("late", &["room:*"]).await?;
    let ok = late.ok("subscribe", json!({ "channel": "room:9", "position": positions[4] })).await?;
    assert_eq!((&ok["recovered"], &ok["reason"], &ok["seq"]), (&json!(false), &json!("truncated"), &json!(10)));
    owner.publisher().publish("room:9", "next").await?;
    for client in [&mut live, &mut late] {
        let message: Value = client.message("room:9").await?;
        assert_eq!((&message["seq"], &message["data"]), (&json!(11), &json!("next")));
    }
    Ok(())
}

#[tokio::test]
async fn deleting_takes_a_key_that_manages_the_channel() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    ten(&owner).await?;
    let key = owner.create_key("halls", &json!({ "hall:*": ["manage"], "**": ["history", "publish"] })).await?;
    let halls = owner.with_key(&key);
    ::harness::eventually("the key arrives", async || {
        Ok((halls.publisher().get("/channels").await?.status == 200).then_some(()))
    })
    .await?;
    for path in [messages("room:9"), format!("{}/m-4", messages("room:9"))] {
        assert_eq!(delete(&halls, &path).await?.refusal()?, "forbidden");
    }
    assert_eq!(halls.publisher().get("/channels/room:9").await?.refusal()?, "forbidden");
    assert_eq!(delete(&halls, &messages("hall:1")).await?.status, 200);
    let page = owner.publisher().get(&messages("room:9")).await?.ok()?;
    assert_eq!(data(&page).len(), 10);
    Ok(())
}
