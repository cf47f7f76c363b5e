//! Commands of clients beside a stream, or with nothing but a token.

use ::harness::answer::Answer;
use ::harness::carried::{Carried, lines};
use ::harness::server::Server;
use anyhow::Result;
use serde_json::{Value, json};

async fn say(client: &Carried, commands: &[Value]) -> Result<Vec<Value>> {
    lines(Answer::to(client.request("commands", client.ticket.as_deref(), commands)).await?)
}

#[tokio::test]
async fn commands_beside_a_stream_are_answered_and_felt_by_it() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    let subscribe = [json!({ "id": 2, "subscribe": { "channel": "room:9" } })];
    let mut stream = ann.stream(&subscribe).await?;
    ann.take_from(&mut stream, &subscribe).await?;
    let said = say(
        &ann,
        &[
            json!({ "id": 1, "publish": { "channel": "room:9", "data": "hi", "id": "m-1" } }),
            json!({ "id": 2, "publish": { "channel": "room:9", "data": "hi", "id": "m-1" } }),
            json!({ "id": 3, "history": { "channel": "room:9" } }),
            json!({ "id": 4, "presence": { "channel": "room:9", "action": "get" } }),
            json!({ "id": 5, "ping": {} }),
            json!({ "id": 6, "publish": { "channel": "hall:9", "data": "hi" } }),
            json!({ "id": 7, "subscribe": { "channel": "room:1" } }),
            json!({ "id": 8, "presence": { "channel": "room:9", "action": "enter" } }),
            json!({ "id": 9, "connect": {} }),
        ],
    )
    .await?;
    let ids: Vec<_> = said.iter().map(|answer| answer["id"].as_u64()).collect();
    assert_eq!(ids, (1..=9).map(Some).collect::<Vec<_>>(), "in their order");
    assert_eq!((&said[0]["ok"]["duplicate"], &said[1]["ok"]["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(said[2]["ok"]["messages"][0]["publisher"], "ann");
    assert_eq!(said[3]["ok"]["count"], 0);
    assert!(said[4]["ok"]["time"].is_u64());
    let codes: Vec<_> = said[5..].iter().map(|answer| answer["error"]["code"].as_str()).collect();
    assert_eq!(codes, ["forbidden", "invalid_request", "invalid_request", "conflict"].map(Some));
    assert!(said[6]["error"]["detail"].as_str().is_some_and(|detail| detail.contains("poll")), "{}", said[6]);
    let told = ann.take_from(&mut stream, &[]).await?;
    assert_eq!(told.len(), 1, "published once, and the stream goes on: {told:?}");
    assert_eq!(told[0]["msg"]["data"], "hi");
    Ok(())
}

#[tokio::test]
async fn a_token_is_enough_to_publish_and_read() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut bob = Carried::new(&owner.app_url(), "bob")?;
    let token = owner.token_for("bob", &["room:*"])?;
    bob.headers.insert("authorization", format!("Bearer {token}").parse()?);
    let publish = json!({ "id": 1, "publish": { "channel": "room:9", "data": 1 } });
    let answer = Answer::to(bob.request("commands", None, std::slice::from_ref(&publish))).await?;
    assert!(answer.header("ratelimit").is_some() && answer.header("cache-control") == Some("no-store"));
    assert_eq!(lines(answer)?[0]["ok"]["durability"], "memory");
    let said = say(&bob, &[json!({ "id": 2, "history": { "channel": "room:9" } })]).await?;
    assert_eq!(said[0]["ok"]["messages"][0]["data"], 1);
    Ok(())
}

#[tokio::test]
async fn rates_are_those_of_the_connection_whichever_way_commands_come() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let slow = json!({ "publish_connection": { "max": 1, "burst": 4 } });
    let token = owner.token(&json!({ "sub": "ann", "ff": { "cap": { "room:*": ["publish"] }, "limits": slow } }))?;
    let mut ann = Carried::connect(&owner.app_url(), "ann", Some(&token)).await?;
    let mut refused = 0;
    for number in 0..10 {
        let command = ann.numbered("publish", json!({ "channel": "room:9", "data": number }));
        let answer = if number % 2 == 0 {
            say(&ann, &[command]).await?.remove(0)
        } else {
            ann.poll(&[command]).await?.frames.remove(0)
        };
        refused += u64::from(answer["error"]["limit"] == "publish_connection");
    }
    assert!(refused >= 4, "a rate of one a second refused {refused} of ten");
    Ok(())
}
