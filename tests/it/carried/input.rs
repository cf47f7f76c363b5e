//! What the three doors refuse, how they say so, and whom they let in.

use ::harness::answer::{Answer, http};
use ::harness::carried::{Carried, LINES, lines};
use ::harness::eventually;
use ::harness::server::Server;
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_wrong_request_is_told_what_to_do() -> Result<()> {
    let server = Server::start().await?;
    let (owner, other) = (server.sign_up().await?, server.sign_up().await?);
    let ticket = Carried::connect(&owner.app_url(), "ann", None).await?.ticket.context("a ticket")?;
    let line = |ticket: &str| json!({ "ticket": ticket }).to_string();
    let theirs = Carried::connect(&other.app_url(), "eve", None).await?.ticket.context("a ticket")?;
    let mut altered = ticket.clone();
    altered.replace_range(40..41, if &altered[40..41] == "A" { "B" } else { "A" });
    let token = owner.token_for("ann", &["room:*"])?;
    let http = http()?;
    for (door, body, bearer, status, code) in [
        ("poll", String::new(), None, 400, "connect_first"),
        ("stream", "\n\n".to_owned(), None, 400, "connect_first"),
        ("commands", String::new(), None, 401, "token_missing"),
        ("commands", line(&ticket), None, 400, "invalid_request"),
        ("commands", r#"{"id":1,"ping":{}}"#.to_owned(), Some("nonsense"), 401, "token_invalid"),
        ("poll", "{\"ticket\":7}".to_owned(), None, 400, "invalid_request"),
        ("poll", line("nonsense"), None, 401, "resume_invalid"),
        ("stream", line(&altered), None, 401, "resume_invalid"),
        ("poll", line(&theirs), None, 401, "resume_invalid"),
        ("stream", line(&theirs), None, 401, "resume_invalid"),
        ("commands", format!("{}\n{{\"id\":1,\"ping\":{{}}}}", line(&theirs)), None, 401, "resume_invalid"),
        ("poll", line(&"A".repeat(16_385)), None, 401, "resume_invalid"),
        ("poll", line(&ticket), Some(token.as_str()), 400, "invalid_request"),
        ("poll?wait_ms=25001", line(&ticket), None, 400, "invalid_request"),
        ("stream?wait_ms=1", line(&ticket), None, 400, "invalid_request"),
        ("poll", "x".repeat(2 << 20), None, 413, "message_too_large"),
    ] {
        let mut request = http.post(format!("{}/{door}", owner.app_url())).header("content-type", LINES);
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let shown: String = body.chars().take(60).collect();
        let answer = Answer::to(request.body(body)).await?;
        assert_eq!((answer.status, answer.refusal()?.as_str()), (status, code), "{door} {shown}: {}", answer.body);
    }
    let plain = http.post(format!("{}/poll", owner.app_url())).header("content-type", "text/plain").body(line(&ticket));
    assert_eq!(Answer::to(plain).await?.refusal()?, "unsupported_media_type");
    let none = http.post(owner.app_url().replace(&owner.app, "app_00000000010000000000000001") + "/poll");
    assert_eq!(Answer::to(none.header("content-type", LINES).body(line(&ticket))).await?.refusal()?, "not_found");
    let get = http.get(format!("{}/poll", owner.app_url()));
    assert_eq!(Answer::to(get).await?.refusal()?, "method_not_allowed");

    // What is wrong with a command is said as on a socket, and the ticket goes on.
    let mut ann = Carried::new(&owner.app_url(), "ann")?;
    ann.ticket = Some(ticket);
    let polled = ann.peek("poll", &[json!({ "id": 1, "pong": {} }), json!({ "id": 2, "ping": {} })]).await?;
    assert_eq!((&polled.frames[0]["error"]["code"], &polled.frames[1]["id"]), (&json!("unknown_command"), &json!(2)));
    let again = ann.peek("poll", &[json!({ "id": 1, "connect": {} })]).await?;
    assert_eq!(again.frames[0]["error"]["code"], "conflict");
    // What does not connect is closed, with the number that says what to do.
    let request = ann.request("poll", None, &[json!({ "id": 1, "connect": { "token": "nonsense" } })]);
    let said = lines(Answer::to(request).await?)?;
    assert_eq!((&said[0]["error"]["code"], &said[1]["close"]["status"]), (&json!("token_invalid"), &json!(4401)));
    let request = ann.request("stream", None, &[json!({ "id": 1, "ping": {} })]);
    let said = lines(Answer::to(request).await?)?;
    assert_eq!((&said[0]["error"]["code"], &said[1]["close"]["status"]), (&json!("connect_first"), &json!(4016)));
    Ok(())
}

#[tokio::test]
async fn pages_of_other_origins_than_the_listed_ones_are_refused() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}", owner.app);
    let etag = owner.get(&path).await?.header("etag").context("an app has a version")?.to_owned();
    let listed = json!({ "origins": ["https://example.com"] });
    owner.send_if(Method::PATCH, &path, &etag, &listed).await?.ok()?;
    let mut ann = Carried::new(&owner.app_url(), "ann")?;
    let connect = [json!({ "id": 1, "connect": {} })];
    ann.headers.insert("origin", "https://evil.example".parse()?);
    eventually("the list arrives", async || {
        let answer = Answer::to(ann.request("poll", None, &connect)).await?;
        Ok((answer.status == 403).then_some(()))
    })
    .await?;
    ann.headers.insert("origin", "https://example.com".parse()?);
    ann.poll(&connect).await?;
    let command = [json!({ "id": 2, "ping": {} })];
    for (origin, status) in [("https://example.com", 200), ("https://evil.example", 403), ("null", 403)] {
        ann.headers.insert("origin", origin.parse()?);
        for door in ["poll", "commands"] {
            let answer = Answer::to(ann.request(door, ann.ticket.as_deref(), &command)).await?;
            assert_eq!(answer.status, status, "{door} from {origin}: {}", answer.body);
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed, (status == 200).then_some(origin), "{door} from {origin}");
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
        assert_eq!(ann.stream(&[]).await.is_ok(), status == 200, "a stream from {origin}");
    }
    ann.headers.append("origin", "https://example.com".parse()?);
    let twice = Answer::to(ann.request("poll", ann.ticket.as_deref(), &command)).await?;
    assert_eq!(twice.refusal()?, "origin_denied");
    Ok(())
}

#[tokio::test]
async fn connections_are_bounded_over_all_transports_and_counted_by_each() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let anns = Carried::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    let etag = owner.get(&format!("/apps/{}/limits", owner.app)).await?.header("etag").map(str::to_owned);
    let etag = etag.context("limits have a version")?;
    let lowered = json!({ "lowered": { "connections": { "max": 1 } } });
    owner.send_if(Method::PUT, &format!("/apps/{}/limits", owner.app), &etag, &lowered).await?.ok()?;
    let mut stream = anns.stream(&[json!({ "id": 2, "ping": {} })]).await?;
    assert_eq!(stream.next().await?.context("an answer")?["id"], 2);
    let bob = Carried::new(&owner.app_url(), "bob")?;
    eventually("the limit arrives", async || {
        let answer = Answer::to(bob.request("poll", None, &[json!({ "id": 1, "connect": {} })])).await?;
        Ok((answer.status == 429 && answer.refusal()? == "limit_reached").then_some(()))
    })
    .await?;
    let metrics = http()?.get(format!("{}/metrics", server.private_url())).send().await?.text().await?;
    for line in
        ["links{transport=\"stream\"} 1", "links{transport=\"poll\"} 0", "links_opened_total{transport=\"poll\"}"]
    {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    Ok(())
}
