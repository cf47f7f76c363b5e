//! Every REST operation of both planes, called with the victim's ids by whoever is not the victim.

use anyhow::{Context, Result, ensure};
use harness::answer::{Answer, http};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::world::World;

/// How an operation is called.
struct Row {
    /// Its id in the document.
    operation: &'static str,
    /// The body that would be right if the caller were.
    body: fn(&World) -> Value,
    /// Whom it serves.
    serves: Serves,
}

/// Whom an operation serves.
enum Serves {
    /// Members of the tenant, or keys of the app, in its path: anybody else is refused.
    Owner,
    /// Whoever asks, for their own; it names nothing of the victim but in its body. The statuses that may come.
    Asker(&'static [u16]),
    /// Sockets, see `socket.rs`: this is a handshake without an upgrade.
    Socket,
}

use Serves::{Asker, Owner, Socket};

const fn row(operation: &'static str, serves: Serves, body: fn(&World) -> Value) -> Row {
    Row { operation, body, serves }
}

const fn read(operation: &'static str) -> Row {
    row(operation, Owner, |_| Value::Null)
}

const CONTROL_PLANE: &[Row] = &[
    row("sign_up", Asker(&[409]), |world| json!({ "email": world.victim.email, "password": OTHER_PASSWORD })),
    row(
        "claim_welcome",
        Asker(&[404]),
        |world| json!({ "code": "A".repeat(43), "email": world.victim.email, "password": OTHER_PASSWORD }),
    ),
    row("sign_in", Asker(&[401]), |world| json!({ "email": world.victim.email, "password": OTHER_PASSWORD })),
    row("sign_out", Asker(&[204]), |_| Value::Null),
    row("get_session", Asker(&[200, 401]), |_| Value::Null),
    read("list_apps"),
    row("create_app", Owner, |_| json!({ "name": "mallorys" })),
    read("get_app"),
    row("update_app", Owner, |_| json!({ "name": "mallorys", "origins": ["https://mallory.example"] })),
    read("list_keys"),
    row("create_key", Owner, |_| json!({ "name": "mallorys" })),
    row("update_key", Owner, |_| json!({ "name": "mallorys" })),
    row("revoke_key", Owner, |_| json!({})),
    read("list_issuers"),
    row("create_issuer", Owner, |_| json!({ "name": "mallorys", "iss": "mallory", "key": KEY })),
    read("get_issuer"),
    row("update_issuer", Owner, |_| json!({ "enabled": false })),
    row("delete_issuer", Owner, |_| json!({})),
    read("get_acl"),
    row("replace_acl", Owner, |_| json!({ "rules": [] })),
    read("list_acl_versions"),
    read("get_acl_version"),
    row("restore_acl_version", Owner, |_| json!({})),
    row("explain_acl", Owner, |_| json!({ "channel": "room:9", "operation": "subscribe" })),
    row("dry_run_acl", Owner, |_| json!({ "rules": [] })),
    read("get_channel_settings"),
    row("replace_channel_settings", Owner, |_| json!({ "settings": [] })),
    read("get_limits"),
    row("lower_limits", Owner, |_| json!({ "lowered": { "connections": { "max": 1 } } })),
    read("get_statistics"),
    read("get_usage"),
    row("create_live_token", Owner, |_| json!({})),
    row("create_inspector_token", Owner, |_| json!({})),
    row("create_act_token", Owner, |_| json!({ "delete_history": "room:9" })),
    read("list_audit"),
];

const DATA_PLANE: &[Row] = &[
    row("open_socket", Socket, |_| Value::Null),
    // Neither takes a key, whosever it is.
    row("open_event_stream", Asker(&[400, 401]), |_| Value::Null),
    row("create_ticket", Asker(&[401]), |_| Value::Null),
    // A ticket is of one app, and says who comes; nobody shows a key or token beside it.
    row("open_stream", Asker(&[400, 401]), |world| json!({ "ticket": world.ticket })),
    row("poll", Asker(&[400, 401]), |world| json!({ "ticket": world.ticket })),
    row("send_commands", Asker(&[400, 401]), |world| json!({ "ticket": world.ticket })),
    row("publish_message", Owner, |_| json!({ "data": "mallorys" })),
    read("read_history"),
    row("publish_batch", Owner, |_| json!({ "messages": [{ "channel": "room:9", "data": "mallorys" }] })),
    read("read_presence"),
    row("enter_member", Owner, |_| json!({ "data": "mallorys" })),
    read("remove_member"),
    read("list_channels"),
    read("delete_history"),
    read("get_message"),
    read("delete_message"),
    read("get_channel"),
    read("list_connections"),
    read("get_connection"),
    read("subscribe_connection"),
    read("unsubscribe_connection"),
    read("get_user"),
    row("send_to_user", Owner, |_| json!({ "data": "mallorys" })),
    read("subscribe_user"),
    read("unsubscribe_user"),
    read("read_metrics"),
    row("revoke_tokens", Owner, |_| json!({ "all": true })),
    read("list_revocations"),
    read("end_revocation"),
    row("disconnect", Owner, |_| json!({ "all": true })),
    row("mint_token", Owner, |_| json!({ "sub": "mallory", "cap": { "**": ["subscribe"] } })),
    row("inspect_token", Owner, |world| json!({ "token": forged_token(world).unwrap_or_default() })),
    row("read_time", Asker(&[200]), |_| Value::Null),
];

/// A public key that anybody may have.
const KEY: &str = include_str!("../../../server/core/src/public_key/fixtures/ed.pem");
const OTHER_PASSWORD: &str = "mallory-guesses-another-phrase-7";

/// An operation of a document.
struct Operation {
    id: String,
    method: Method,
    path: String,
}

/// Every operation of a plane's document, as the running server shows it; the one that ends the caller's session last.
async fn operations(base: &str) -> Result<Vec<Operation>> {
    let document = Answer::to(http()?.get(format!("{base}/openapi.json"))).await?.ok()?;
    let paths = document["paths"].as_object().context("a document has paths")?;
    let mut all = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().context("a path has operations")? {
            let method: Method = method.to_uppercase().parse()?;
            let id =
                operation["operationId"].as_str().with_context(|| format!("{method} {path} has no id"))?.to_owned();
            all.push(Operation { id, method, path: path.clone() });
        }
    }
    all.sort_by_key(|operation| operation.id == "sign_out");
    Ok(all)
}

/// Every operation has a row and every row an operation.
fn matched<'a>(operations: &'a [Operation], rows: &'a [Row]) -> Result<Vec<(&'a Operation, &'a Row)>> {
    for row in rows {
        let exists = operations.iter().any(|operation| operation.id == row.operation);
        ensure!(exists, "the row {} is of no operation", row.operation);
    }
    let row_of = |id: &str| rows.iter().find(|row| row.operation == id);
    let with_row = |operation: &'a Operation| {
        let row = row_of(&operation.id).with_context(|| {
            format!("{} {} ({}) has no row in isolation/rest.rs", operation.method, operation.path, operation.id)
        });
        row.map(|row| (operation, row))
    };
    operations.iter().map(with_row).collect()
}

/// Puts somebody's credentials on a request.
type Credentials = fn(&World, RequestBuilder) -> Result<RequestBuilder>;

/// Somebody who is not the victim: what they add to a request.
struct Caller {
    name: &'static str,
    credentials: Credentials,
    /// Whether the plane knows who they are, and only not the victim.
    is_known: bool,
    /// Whether what they send names a key of the victim, which an answer may then name too.
    names_key: bool,
}

const fn caller(name: &'static str, credentials: Credentials) -> Caller {
    Caller { name, credentials, is_known: false, names_key: false }
}

fn basic(request: RequestBuilder, key: &str) -> RequestBuilder {
    let (id, secret) = key.split_once(':').unwrap_or((key, ""));
    request.basic_auth(id, Some(secret))
}

fn on_the_control_plane() -> Vec<Caller> {
    let stranger = caller("a stranger", |world, request| Ok(request.header("Cookie", &world.cookie)));
    vec![
        caller("nobody", |_, request| Ok(request)),
        Caller { is_known: true, ..stranger },
        caller("a session that ended", |world, request| Ok(request.header("Cookie", &world.ended))),
        caller("a made-up session", |_, request| Ok(request.header("Cookie", format!("fanfare={}", "A".repeat(43))))),
        caller("the stranger's key", |world, request| Ok(basic(request, &world.stranger.key))),
        caller("a revoked key", |world, request| Ok(basic(request, &world.revoked))),
        caller("the stranger's token", |world, request| Ok(request.bearer_auth(strangers_token(world)?))),
    ]
}

fn on_the_data_plane() -> Vec<Caller> {
    vec![
        caller("nobody", |_, request| Ok(request)),
        caller("the stranger's session", |world, request| Ok(request.header("Cookie", &world.cookie))),
        caller("the stranger's key", |world, request| Ok(basic(request, &world.stranger.key))),
        caller("the stranger's key, borne", |world, request| Ok(request.bearer_auth(&world.stranger.key))),
        caller("the stranger's token", |world, request| Ok(request.bearer_auth(strangers_token(world)?))),
        caller("the stranger, who looks", |world, request| Ok(request.bearer_auth(&world.inspector))),
        caller("the stranger, who was let do it at home", |world, request| Ok(request.bearer_auth(&world.act))),
        naming_key(caller("a token forged for the victim's key", |world, request| {
            Ok(request.bearer_auth(forged_token(world)?))
        })),
        naming_key(caller("the victim's key with the stranger's secret", |world, request| {
            Ok(basic(request, &forged_key(world)))
        })),
        naming_key(caller("a revoked key", |world, request| Ok(basic(request, &world.revoked)))),
        naming_key(caller("a token of a revoked key", |world, request| Ok(request.bearer_auth(revoked_token(world)?)))),
    ]
}

const fn naming_key(caller: Caller) -> Caller {
    Caller { names_key: true, ..caller }
}

/// Everything, in the stranger's app.
pub(super) fn strangers_token(world: &World) -> Result<String> {
    world.stranger.token_for("mallory", &["**"])
}

/// The victim's key by name, signed by the stranger's secret.
pub(super) fn forged_token(world: &World) -> Result<String> {
    let mut forger = world.stranger.clone();
    forger.key = forged_key(world);
    forger.token_for("mallory", &["**"])
}

/// Everything, signed by a key of the victim that is revoked.
pub(super) fn revoked_token(world: &World) -> Result<String> {
    let mut late = world.victim.clone();
    late.key.clone_from(&world.revoked);
    late.token_for("mallory", &["**"])
}

fn forged_key(world: &World) -> String {
    let half = |key: &str, at| key.split(':').nth(at).unwrap_or_default().to_owned();
    format!("{}:{}", half(&world.victim.key, 0), half(&world.stranger.key, 1))
}

/// Calls an operation with the victim's ids as somebody else, and judges the answer.
async fn call(world: &World, base: &str, operation: &Operation, row: &Row, caller: &Caller) -> Result<()> {
    let url = format!("{base}{}", world.fill(&operation.path));
    let mut request = world.http.request(operation.method.clone(), &url).header("X-Fanfare-CSRF", "1");
    if matches!(operation.method, Method::PUT | Method::PATCH) {
        // The version that is there: only who asks is wrong.
        request = request.header("If-Match", "\"v1\"");
    }
    let body = (row.body)(world);
    if !body.is_null() {
        request = request.json(&body);
    }
    let answer = Answer::to((caller.credentials)(world, request)?).await?;
    let allowed: &[u16] = match row.serves {
        // Who a stranger is, is known: to them there is nothing here.
        Owner if caller.is_known => &[404],
        Owner => &[401],
        Asker(statuses) => statuses,
        Socket => &[400, 426],
    };
    ensure!(allowed.contains(&answer.status), "expected {allowed:?}, got {} {}", answer.status, answer.body);
    if answer.status >= 400 {
        answer.refusal()?;
    }
    let said = format!("{url} {body} {}", if caller.names_key { world.key_ids() } else { String::new() });
    world.tells_nothing(&said, &format!("{:?} {}", answer.headers, answer.body))
}

async fn walk(world: &mut World, base: &str, rows: &[Row], callers: &[Caller]) -> Result<()> {
    let operations = operations(base).await?;
    let before = world.state().await?;
    for (operation, row) in matched(&operations, rows)? {
        for caller in callers {
            let called = call(world, base, operation, row, caller).await;
            called.with_context(|| format!("{} called {}", caller.name, operation.id))?;
        }
        let after = world.state().await?;
        for (what, was) in &before {
            ensure!(after[what] == *was, "{} changed {what} from {was} to {}", operation.id, after[what]);
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_operation_of_the_control_plane_serves_a_stranger() -> Result<()> {
    let mut world = World::new().await?;
    let base = world.server.control_url().to_owned();
    walk(&mut world, &base, CONTROL_PLANE, &on_the_control_plane()).await
}

#[tokio::test]
async fn no_operation_of_the_data_plane_serves_a_stranger() -> Result<()> {
    let mut world = World::new().await?;
    let base = world.server.gateway_url().to_owned();
    walk(&mut world, &base, DATA_PLANE, &on_the_data_plane()).await
}

#[tokio::test]
async fn the_walk_would_notice_an_answer_that_is_the_victims() -> Result<()> {
    let mut world = World::new().await?;
    // The victim's own key in place of the stranger's.
    world.stranger.key.clone_from(&world.victim.key);
    let base = world.server.gateway_url().to_owned();
    let operations = operations(&base).await?;
    let callers = on_the_data_plane();
    let caller = callers.iter().find(|caller| caller.name == "the stranger's key").context("a caller")?;
    for (operation, row) in matched(&operations, DATA_PLANE)?.into_iter().filter(|(_, row)| matches!(row.serves, Owner))
    {
        assert!(call(&world, &base, operation, row, caller).await.is_err(), "{}", operation.id);
    }
    // With the victim's key, operations do what they say: the history is gone by now.
    world.victim.publisher().publish("room:9", "canary-message").await?;
    let history = world.victim.publisher().get("/channels/room:9/messages").await?.ok()?;
    assert!(world.tells_nothing("", &history.to_string()).is_err());
    Ok(())
}

#[test]
fn an_operation_without_a_row_is_named() {
    let forgotten = Operation { id: "forget_me".to_owned(), method: Method::GET, path: "/x".to_owned() };
    let said = matched(&[forgotten], &[]).err().map(|error| error.to_string());
    assert!(said.is_some_and(|said| said.contains("forget_me")));
}
