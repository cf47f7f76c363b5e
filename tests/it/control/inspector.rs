//! How members look at their app through the dashboard, and the single things they are let do there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::answer::{Answer, http};
use harness::client::{Client, SUBPROTOCOL};
use harness::eventually;
use harness::owner::Owner;
use harness::server::Server;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{each, refused};

/// A member's token, to look or for one act.
async fn token(owner: &Owner, act: Option<Value>) -> Result<String> {
    let answer = match act {
        None => owner.post(&format!("/apps/{}/inspector-token", owner.app), &json!({})).await?,
        Some(act) => owner.post(&format!("/apps/{}/act-token", owner.app), &act).await?,
    };
    let made = answer.ok()?;
    assert_eq!(made["url"], owner.app_url());
    Ok(made["token"].as_str().context("a token")?.to_owned())
}

/// Asks the data plane with a token.
async fn ask(owner: &Owner, method: Method, path: &str, token: &str, body: Option<Value>) -> Result<Answer> {
    let request = http()?.request(method, format!("{}{path}", owner.app_url())).bearer_auth(token);
    Answer::to(body.into_iter().fold(request, |request, body| request.json(&body))).await
}

/// The member has this role from now on.
async fn take_role(server: &Server, role: &str) -> Result<()> {
    let owner = server.database().pool_as("fanfare_owner").await?;
    sqlx::query("UPDATE fanfare.memberships SET role = $1").bind(role).execute(&owner).await?;
    Ok(())
}

/// What a token that lets look is served of the data plane. Whatever is not here is refused, also what comes later.
const LOOKS: [&str; 9] = [
    "list_channels",
    "get_channel",
    "list_connections",
    "get_connection",
    "get_user",
    "read_history",
    "get_message",
    "read_presence",
    "read_time",
];

#[tokio::test]
async fn whoever_looks_is_served_what_shows_and_nothing_that_changes() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    let message = owner.publisher().publish("room:9", "hi").await?.id;
    let connection = ann.hello["connection"].as_str().context("an id")?.to_owned();
    let look = token(&owner, None).await?;
    let document = Answer::to(http()?.get(format!("{}/openapi.json", server.gateway_url()))).await?.ok()?;
    let mut served = Vec::new();
    for (path, item) in document["paths"].as_object().context("paths")? {
        for (method, operation) in item.as_object().context("operations")? {
            let id = operation["operationId"].as_str().context("an id")?.to_owned();
            let path = [
                ("{app}", owner.app.as_str()),
                ("{channel}", "room:9"),
                ("{connection}", &connection),
                ("{message}", &message),
                ("{user}", "ann"),
                ("{member}", "ann"),
                ("{revocation}", "rev_01JD0000000000000000000000"),
            ]
            .iter()
            .fold(path.clone(), |path, (name, value)| path.replace(name, value));
            let mut request = http()?
                .request(method.to_uppercase().parse()?, format!("{}{path}", server.gateway_url()))
                .bearer_auth(&look);
            if ["open_stream", "poll"].contains(&&*id) {
                // As on a socket, who is refused is told in the answer's lines.
                let request = request.header("content-type", "application/x-ndjson");
                let said = request.body("{\"id\":1,\"connect\":{}}\n").send().await?.text().await?;
                assert!(said.contains("\"token_invalid\"") && !said.contains("\"ok\""), "{id}: {said}");
                continue;
            }
            if method == "post" || id == "enter_member" {
                let body = match &*id {
                    "publish_batch" => json!({ "messages": [{ "channel": "room:9", "data": 1 }] }),
                    "disconnect" | "revoke_tokens" => json!({ "all": true }),
                    "inspect_token" => json!({ "token": look }),
                    "mint_token" => json!({ "cap": { "**": ["subscribe"] } }),
                    _ => json!({ "data": 1 }),
                };
                request = request.json(&body);
            }
            let answer = Answer::to(request).await?;
            if answer.status < 300 {
                served.push(id);
            } else {
                let expected: &[u16] = if id == "open_socket" { &[400, 426] } else { &[400, 401, 403] };
                assert!(expected.contains(&answer.status), "{id}: {} {}", answer.status, answer.body);
            }
        }
    }
    served.sort_unstable();
    let mut expected = LOOKS.map(str::to_owned);
    expected.sort_unstable();
    // A batch is answered as a whole; each of its messages is refused.
    served.retain(|id| id != "publish_batch");
    assert_eq!(served, expected);
    let history = owner.publisher().get("/channels/room:9/messages").await?.ok()?;
    assert_eq!(each(&json!({ "items": history["messages"] }), "data"), ["hi"]);
    let channels = ask(&owner, Method::GET, "/channels", &look, None).await?.ok()?;
    assert_eq!(each(&channels, "name"), ["room:9"]);
    Ok(())
}

#[tokio::test]
async fn a_connection_is_seen_from_near() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let change = json!({ "heartbeat_ms": 5_000 });
    owner.send_if(Method::PATCH, &format!("/apps/{}", owner.app), "\"v1\"", &change).await?.ok()?;
    let claims =
        json!({ "sub": "ann", "ff": { "cap": { "room:*": ["subscribe"] }, "limits": { "subscriptions": 3 } } });
    let mut ann = Client::connect(&owner.app_url(), "ann", Some(&owner.token(&claims)?)).await?;
    for channel in ["room:2", "room:1"] {
        ann.subscribe(channel).await?;
    }
    let position = owner.publisher().publish("room:1", "hi").await?.position;
    ann.message("room:1").await?;
    let look = token(&owner, None).await?;
    let path = format!("/connections/{}", ann.hello["connection"].as_str().context("an id")?);
    let seen = ask(&owner, Method::GET, &path, &look, None).await?.ok()?;
    assert_eq!((&seen["user"], &seen["transport"]), (&json!("ann"), &json!("websocket")));
    let places = seen["places"].as_array().context("places")?;
    let place = |at: usize| (&places[at]["channel"], &places[at]["live"]);
    assert_eq!((place(0), place(1)), ((&json!("room:1"), &json!(true)), (&json!("room:2"), &json!(true))));
    assert_eq!(places[0]["position"], position);
    let limit = |at: usize| (&seen["limits"][at]["name"], &seen["limits"][at]["used"], &seen["limits"][at]["max"]);
    assert_eq!(limit(0), (&json!("subscriptions"), &json!(2), &json!(3)));
    assert_eq!((limit(1).0, limit(1).1), (&json!("outbox_bytes"), &json!(0)));
    assert_eq!(seen["round_trip_ms"], Value::Null, "the link has not been silent yet");
    // Five silent seconds, in which the client only answers the node's probe.
    let push = timeout(Duration::from_secs(8), ann.push()).await;
    ensure!(push.is_err(), "nothing is pushed: {push:?}");
    let seen = ask(&owner, Method::GET, &path, &look, None).await?.ok()?;
    let trip = seen["round_trip_ms"].as_f64().context("it was measured")?;
    assert!(trip > 0.0 && trip < 5_000.0, "{trip}");
    Ok(())
}

#[tokio::test]
async fn a_token_for_one_act_does_that_alone_and_the_audit_log_tells() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let mut bob = owner.connect_as("bob", &["room:*"]).await?;
    bob.subscribe("room:9").await?;
    owner.publisher().publish("room:9", "hi").await?;
    bob.message("room:9").await?;
    let disconnect = async |token: &str, body: Value| ask(&owner, Method::POST, "/disconnect", token, Some(body)).await;
    let history = |channel: &str| format!("/channels/{channel}/messages");

    let on_ann = token(&owner, Some(json!({ "disconnect_user": "ann" }))).await?;
    for body in [json!({ "user": "bob" }), json!({ "all": true }), json!({ "channel": "room:9" })] {
        assert_eq!(disconnect(&on_ann, body).await?.refusal()?, "forbidden");
    }
    assert_eq!(ask(&owner, Method::DELETE, &history("room:9"), &on_ann, None).await?.refusal()?, "forbidden");
    assert_eq!(disconnect(&on_ann, json!({ "user": "ann" })).await?.ok()?["connections"], 1);
    assert_eq!(ann.closed().await?, (4203, "disconnected".to_owned()));

    let on_room = token(&owner, Some(json!({ "delete_history": "room:9" }))).await?;
    assert_eq!(ask(&owner, Method::DELETE, &history("room:8"), &on_room, None).await?.refusal()?, "forbidden");
    assert_eq!(ask(&owner, Method::DELETE, &history("room:9"), &on_room, None).await?.ok()?["messages"], 1);

    let one = bob.hello["connection"].clone();
    let on_bob = token(&owner, Some(json!({ "disconnect_connection": one }))).await?;
    assert_eq!(disconnect(&on_bob, json!({ "connection": one })).await?.ok()?["connections"], 1);
    assert_eq!(bob.closed().await?.0, 4203);

    let log = owner.get(&format!("/tenants/{}/audit", owner.tenant)).await?.ok()?;
    assert_eq!(each(&log, "action")[..3], ["connections.disconnect", "history.delete", "connections.disconnect"]);
    assert_eq!(log["items"][1]["after"], json!({ "delete_history": "room:9" }));
    assert_eq!(log["items"][2]["after"], json!({ "disconnect_user": "ann" }));
    Ok(())
}

#[tokio::test]
async fn an_act_is_exactly_one_thing_that_can_be() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    for body in [
        json!({}),
        json!({ "disconnect_user": "ann", "delete_history": "room:9" }),
        json!({ "disconnect_user": "" }),
        json!({ "disconnect_user": "u".repeat(256) }),
        json!({ "delete_history": "$stats:overview" }),
        json!({ "disconnect_connection": "con_1" }),
        json!({ "publish": "room:9" }),
    ] {
        let answer = owner.post(&format!("/apps/{}/act-token", owner.app), &body).await?;
        assert_eq!(answer.refusal()?, "invalid_request", "{body}");
    }
    let log = owner.get(&format!("/tenants/{}/audit", owner.tenant)).await?.ok()?;
    assert_eq!(each(&log, "action"), ["tenant.created"], "what was not allowed is not noted as allowed");
    Ok(())
}

#[tokio::test]
async fn viewers_look_and_are_let_do_nothing() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let act = json!({ "disconnect_user": "ann" });
    let path = format!("/apps/{}/act-token", owner.app);
    for (role, acts) in [("viewer", false), ("developer", true)] {
        take_role(&server, role).await?;
        token(&owner, None).await.context(role)?;
        let answer = owner.post(&path, &act).await?;
        if acts {
            answer.ok()?;
        } else {
            refused(&answer, "forbidden")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn these_tokens_open_no_socket_and_no_other_token_looks() -> Result<()> {
    let server = Server::start().await?;
    let (owner, other) = (server.sign_up().await?, server.sign_up().await?);
    let look = token(&owner, None).await?;
    let mut client = Client::open(&owner.app_url(), "curious").await?;
    assert_eq!(client.refused("connect", json!({ "token": look })).await?["code"], "token_invalid");
    let stream = ask(&owner, Method::GET, "/sse?channels=room:9", &look, None).await?;
    assert_eq!(stream.refusal()?, "token_invalid");

    // Another app's, the live link's, and whatever the tenant's own keys sign.
    let live = owner.post(&format!("/apps/{}/live-token", owner.app), &json!({})).await?.ok()?;
    let live = live["token"].as_str().context("a token")?.to_owned();
    for (what, token, status) in [
        ("another app's", token(&other, None).await?, 401),
        ("the live link's", live, 401),
        ("a client's", owner.token_for("ann", &["**"])?, 401),
    ] {
        let answer = ask(&owner, Method::GET, "/connections", &token, None).await?;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
    }
    // A backend that ends all tokens of its app ends these, and the next one works.
    owner.publisher().post("/revocations", &json!({ "all": true })).await?.ok()?;
    let answer = ask(&owner, Method::GET, "/connections", &look, None).await?;
    assert_eq!(answer.refusal()?, "token_revoked");
    Ok(())
}

#[tokio::test]
async fn the_dashboard_reads_and_listens_whatever_origins_the_app_lists() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let change = json!({ "origins": ["https://shop.example"] });
    owner.send_if(Method::PATCH, &format!("/apps/{}", owner.app), "\"v1\"", &change).await?.ok()?;
    let look = token(&owner, None).await?;
    let allowed = async |origin: &str| -> Result<Option<String>> {
        let request = http()?.get(format!("{}/connections", owner.app_url())).bearer_auth(&look);
        let answer = Answer::to(request.header("origin", origin)).await?;
        Ok(answer.header("access-control-allow-origin").map(str::to_owned))
    };
    eventually("the list arrives", async || Ok(allowed("https://evil.example").await?.is_none().then_some(()))).await?;
    let dashboard = server.control_url().to_owned();
    for origin in [&*dashboard, "https://shop.example"] {
        assert_eq!(allowed(origin).await?.as_deref(), Some(origin));
    }
    for origin in [format!("{dashboard}.evil.example"), format!("{dashboard}0"), "null".to_owned()] {
        assert_eq!(allowed(&origin).await?, None, "{origin}");
    }
    let handshake = async |origin: &str| -> Result<u16> {
        let request = http()?.get(format!("{}/socket", owner.app_url())).header("origin", origin);
        let request = request.header("connection", "upgrade").header("upgrade", "websocket");
        let request =
            request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        Ok(request.header("sec-websocket-protocol", SUBPROTOCOL).send().await?.status().as_u16())
    };
    assert_eq!(handshake(&dashboard).await?, 101);
    Ok(())
}
