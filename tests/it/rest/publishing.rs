//! `POST …/messages`, `POST …/batch`, `POST …/tokens`.

use ::harness::client::Client;
use ::harness::publisher::{Published, messages};
use ::harness::server::Server;
use anyhow::{Context, Result};
use serde_json::json;

use super::{data, pointers, refused_at};

#[tokio::test]
async fn an_id_makes_a_publish_idempotent_and_cannot_mean_two_messages() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let order = json!({ "id": "order-7", "name": "paid", "data": { "sum": 12 } });
    let first: Published = publisher.post(&messages("room:9"), &order).await?.parse()?;
    let again: Published = publisher.post(&messages("room:9"), &order).await?.parse()?;
    assert_eq!((&*first.id, first.duplicate), ("order-7", false));
    assert_eq!(again, Published { duplicate: true, ..first.clone() });
    // Backends of one app share their ids, over whichever key and door.
    let key = owner.create_key("second", &json!({ "**": ["publish", "manage"] })).await?;
    let second = owner.publisher_with(&key);
    ::harness::eventually("the key arrives", async || Ok((second.get("/channels").await?.status == 200).then_some(())))
        .await?;
    let other: Published = second.post(&messages("room:9"), &order).await?.parse()?;
    assert_eq!(other, again);
    let batch =
        json!({ "messages": [{ "channel": "room:9", "id": "order-7", "name": "paid", "data": { "sum": 12 } }] });
    let result = publisher.post("/batch", &batch).await?.ok()?;
    assert_eq!(
        (&result["results"][0]["ok"]["duplicate"], &result["results"][0]["ok"]["position"]),
        (&json!(true), &json!(first.position))
    );

    for changed in [
        json!({ "id": "order-7", "name": "paid", "data": { "sum": 13 } }),
        json!({ "id": "order-7", "name": "refunded", "data": { "sum": 12 } }),
        json!({ "id": "order-7", "data": { "sum": 12 } }),
        json!({ "id": "order-7", "name": "paid", "data": { "sum": 12 }, "headers": { "a": "b" } }),
    ] {
        let answer = publisher.post(&messages("room:9"), &changed).await?;
        assert_eq!((answer.status, answer.refusal()?.as_str()), (409, "id_reused"), "{changed}");
    }
    // An id belongs to its channel, and to its publisher: a user's is not a backend's.
    let elsewhere: Published = publisher.post(&messages("room:8"), &order).await?.parse()?;
    assert!(!elsewhere.duplicate);
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let mut of_ann = order.clone();
    of_ann["channel"] = json!("room:9");
    assert_eq!(ann.ok("publish", of_ann).await?["duplicate"], false);
    let page = publisher.get(&messages("room:9")).await?.ok()?;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2), "one of the backends, one of ann: {page}");
    Ok(())
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_result() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    publisher.post(&messages("room:1"), &json!({ "id": "taken", "data": 0 })).await?.ok()?;
    let batch = json!({ "messages": [
        { "channel": "room:1", "data": 1 },
        { "channel": "room:2", "data": 2, "name": "second" },
        { "channel": "bad channel", "data": 3 },
        { "channel": "room:1", "data": 4, "nmae": "x" },
        { "channel": "room:1", "data": 5, "id": "taken" },
        { "channel": "room:1" },
        { "channel": "$stats:overview", "data": 7 },
        7,
        { "channel": "room:1", "data": 8 },
    ] });
    let answer = publisher.post("/batch", &batch).await?.ok()?;
    let results = answer["results"].as_array().context("results")?;
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            let (code, place) = (&result["error"]["code"], &result["error"]["errors"][0]["pointer"]);
            (result["ok"].is_object(), code.as_str(), place.as_str())
        })
        .collect();
    let expected = [
        (true, None, None),
        (true, None, None),
        (false, Some("invalid_channel"), Some("/messages/2/channel")),
        (false, Some("invalid_request"), Some("/messages/3/nmae")),
        (false, Some("id_reused"), None),
        (false, Some("invalid_request"), Some("/messages/5/data")),
        (false, Some("invalid_channel"), Some("/messages/6/channel")),
        (false, Some("invalid_request"), Some("/messages/7")),
        (true, None, None),
    ];
    assert_eq!(told, expected, "{answer:#}");
    let page = publisher.get(&format!("{}?direction=forward", messages("room:1"))).await?.ok()?;
    assert_eq!(data(&page), [0, 1, 8], "in the order in which they stand");
    Ok(())
}

#[tokio::test]
async fn a_batch_is_bounded_in_messages_channels_and_bytes() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let lowered = json!({
        "batch_messages": { "max": 10 }, "batch_channels": { "max": 3 }, "batch_bytes": { "max": 4_000 },
        "message_bytes": { "max": 1_000 },
    });
    server.lower_limits(&lowered).await?;
    refused_at(&owner, 1_001).await?;
    let batch = |count: usize, channels: usize, bytes: usize| {
        let message =
            |index: usize| json!({ "channel": format!("room:{}", index % channels), "data": "x".repeat(bytes) });
        json!({ "messages": (0..count).map(message).collect::<Vec<_>>() })
    };
    let accepted = publisher.post("/batch", &batch(10, 3, 10)).await?.ok()?;
    assert!(
        accepted["results"].as_array().is_some_and(|all| all.iter().all(|one| one["ok"].is_object())),
        "{accepted}"
    );
    let places = ["/messages"];
    for (what, body, status, code, places) in [
        ("too many messages", batch(11, 3, 10), 400, "invalid_request", &places[..]),
        ("none", json!({ "messages": [] }), 400, "invalid_request", &places),
        ("too many channels", batch(4, 4, 10), 400, "invalid_request", &places),
        ("too many bytes", batch(10, 1, 500), 413, "message_too_large", &[]),
        ("no list", json!({}), 400, "invalid_request", &places),
        ("a list of another name", json!({ "items": [] }), 400, "invalid_request", &["/items"]),
    ] {
        let answer = publisher.post("/batch", &body).await?;
        assert_eq!((answer.status, answer.refusal()?.as_str()), (status, code), "{what}");
        assert_eq!(pointers(&answer)[..places.len().min(1)], places[..places.len().min(1)], "{what}: {}", answer.body);
    }
    // One that is too large by itself fails by itself.
    let mut mixed = batch(2, 1, 10);
    mixed["messages"][0]["data"] = json!("x".repeat(1_001));
    let answer = publisher.post("/batch", &mixed).await?.ok()?;
    assert_eq!(answer["results"][0]["error"]["code"], "message_too_large");
    assert!(answer["results"][1]["ok"].is_object());
    Ok(())
}

#[tokio::test]
async fn a_minted_token_opens_the_socket_with_what_was_asked_and_no_more() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let asked = json!({ "sub": "ann", "cap": { "room:*": ["subscribe"] }, "ttl_s": 60 });
    let minted = publisher.post("/tokens", &asked).await?.ok()?;
    let token = minted["token"].as_str().context("a token")?;
    let mut ann = Client::connect(&owner.app_url(), "ann", Some(token)).await?;
    assert_eq!(ann.hello["user"], "ann");
    ann.subscribe("room:9").await?;
    publisher.publish("room:9", "hi").await?;
    assert_eq!(ann.message("room:9").await?["data"], "hi");
    assert_eq!(ann.refused("publish", json!({ "channel": "room:9", "data": 1 })).await?["layer"], "token");
    let expires_ms = ann.hello["expires_ms"].as_u64().context("it expires")?;
    assert!((expires_ms / 1_000).abs_diff(::harness::unix_now() + 60) <= 5, "{minted}");

    let cannot = owner.create_key("cannot", &json!({ "**": ["publish", "manage"] })).await?;
    let cannot = owner.publisher_with(&cannot);
    ::harness::eventually("the key arrives", async || Ok((cannot.get("/channels").await?.status == 200).then_some(())))
        .await?;
    let answer = cannot.post("/tokens", &asked).await?;
    assert_eq!((answer.refusal()?.as_str(), &answer.body["layer"]), ("forbidden", &json!("key")));
    for (body, place) in [
        (json!({ "ttl_s": 0 }), "/ttl_s"),
        (json!({ "ttl_s": 86_401 }), "/ttl_s"),
        (json!({ "info": 7 }), "/info"),
        (json!({ "subject": "ann" }), "/subject"),
        (json!({ "cap": { "room:*": ["fly"] } }), "/cap/room:*/0"),
    ] {
        let answer = publisher.post("/tokens", &body).await?;
        assert_eq!((answer.refusal()?.as_str(), pointers(&answer)), ("invalid_request", vec![place]), "{body}");
    }
    for body in [json!({ "sub": "" }), json!({ "cap": { "**": ["manage"] } }), json!({ "sub": "x".repeat(256) })] {
        assert_eq!(publisher.post("/tokens", &body).await?.refusal()?, "invalid_request", "{body}");
    }
    // Whoever has only a token mints none.
    let request = super::stranger(reqwest::Method::POST, &format!("{}/tokens", owner.app_url()))?;
    let answer = ::harness::answer::Answer::to(request.bearer_auth(token).json(&asked)).await?;
    assert_eq!(answer.status, 401);
    Ok(())
}
