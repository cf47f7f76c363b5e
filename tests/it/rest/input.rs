//! Wrong requests: each is refused with what is wrong and where, and changes nothing.

use ::harness::answer::{Answer, http};
use ::harness::publisher::messages;
use ::harness::raw::{Raw, place};
use ::harness::server::Server;
use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{pointers, post_text, stranger};

#[tokio::test]
async fn a_wrong_body_is_refused_with_the_place_that_is_wrong() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let publisher = owner.publisher();
    let deep = format!("{{\"data\":{}1{}}}", "[".repeat(40), "]".repeat(40));
    let long = format!(r#"{{"data":1,"id":"{}"}}"#, "x".repeat(129));
    let table: &[(&[u8], &str, &[&str])] = &[
        (b"{}", "invalid_request", &["/data"]),
        (br#"{"data":1,"nmae":"x"}"#, "invalid_request", &["/nmae"]),
        (br#"{"data":1,"name":7}"#, "invalid_request", &["/name"]),
        (br#"{"data":1,"name":""}"#, "invalid_request", &["/name"]),
        (br#"{"data":1,"name":null}"#, "invalid_request", &["/name"]),
        (br#"{"data":1,"name":7,"key":8,"more":9}"#, "invalid_request", &["/name", "/key", "/more"]),
        (br#"{"data":1,"headers":{"a":1}}"#, "invalid_request", &["/headers/a"]),
        (br#"{"data":1,"headers":[]}"#, "invalid_request", &["/headers"]),
        (br#"{"data":1,"encoding":"hex"}"#, "invalid_request", &["/encoding"]),
        (br#"{"data":"%%%","encoding":"base64"}"#, "invalid_request", &["/data"]),
        (br#"{"data":7,"encoding":"base64"}"#, "invalid_request", &["/data"]),
        (br#"{"data":1,"exclude":"somebody"}"#, "invalid_request", &["/exclude"]),
        (long.as_bytes(), "invalid_request", &["/id"]),
        (b"[]", "invalid_request", &[""]),
        (b"null", "invalid_request", &[""]),
        (b"", "invalid_json", &[]),
        (br#"{"data":1"#, "invalid_json", &[]),
        (br#"{"data":1} {"data":2}"#, "invalid_json", &[]),
        (br#"{"data":1,"data":2}"#, "invalid_json", &[]),
        (br#"{"data":{"a":1,"\u0061":2}}"#, "invalid_json", &[]),
        (br#"{"data":NaN}"#, "invalid_json", &[]),
        (br#"{"data":01}"#, "invalid_json", &[]),
        (br#"{"data":"\ud800"}"#, "invalid_json", &[]),
        (br#"{'data':1}"#, "invalid_json", &[]),
        (b"{\"data\":\"\xff\"}", "invalid_json", &[]),
        (b"\xef\xbb\xbf{\"data\":1}", "invalid_json", &[]),
        (deep.as_bytes(), "invalid_json", &[]),
    ];
    for (body, code, places) in table {
        let answer = post_text(&publisher, &messages("room:9"), body.to_vec()).await?;
        let said = String::from_utf8_lossy(body);
        assert_eq!((answer.status, answer.refusal()?.as_str()), (400, *code), "{said}");
        assert_eq!(pointers(&answer), *places, "{said}: {}", answer.body);
        assert_eq!(answer.header("x-request-id"), answer.body["request_id"].as_str(), "{said}");
    }
    let page = publisher.get(&messages("room:9")).await?.ok()?;
    assert_eq!(page["messages"], json!([]), "nothing of it was published");
    Ok(())
}

#[tokio::test]
async fn a_wrong_request_is_refused_by_its_proper_status() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (publisher, path) = (owner.publisher(), messages("room:9"));
    let unknown = owner.app_url().replace(&owner.app, "app_00000000000000000000000001");
    let wrong = owner.app_url().replace(&owner.app, "app_wrong");
    let typed =
        |kind: &'static str| publisher.request(Method::POST, &path).header("content-type", kind).body("{\"data\":1}");
    let at = |url: &str| http().map(|http| http.get(format!("{url}/channels")).bearer_auth(&owner.key));
    let table = [
        ("text", typed("text/plain"), 415, "unsupported_media_type"),
        ("a form", typed("application/x-www-form-urlencoded"), 415, "unsupported_media_type"),
        ("JSON lines", typed("application/jsonl"), 415, "unsupported_media_type"),
        ("no type", publisher.request(Method::POST, &path).body("{\"data\":1}"), 415, "unsupported_media_type"),
        ("an unknown app", at(&unknown)?, 404, "not_found"),
        ("no app's id", at(&wrong)?, 404, "not_found"),
        ("no such path", publisher.request(Method::GET, "/chanels"), 404, "not_found"),
        ("no such path below", publisher.request(Method::GET, "/channels/room:9/mesages"), 404, "not_found"),
        ("a method", publisher.request(Method::PATCH, &path), 405, "method_not_allowed"),
        ("another method", publisher.request(Method::PUT, "/batch"), 405, "method_not_allowed"),
        ("a limit of none", publisher.request(Method::GET, &format!("{path}?limit=0")), 400, "invalid_request"),
        ("a limit too high", publisher.request(Method::GET, &format!("{path}?limit=1001")), 400, "invalid_request"),
        ("a limit that is none", publisher.request(Method::GET, &format!("{path}?limit=ten")), 400, "invalid_request"),
        ("a misspelt parameter", publisher.request(Method::GET, &format!("{path}?lmit=5")), 400, "invalid_request"),
        (
            "a parameter twice",
            publisher.request(Method::GET, &format!("{path}?limit=5&limit=6")),
            400,
            "invalid_request",
        ),
        ("a direction", publisher.request(Method::GET, &format!("{path}?direction=up")), 400, "invalid_request"),
        ("a position", publisher.request(Method::GET, &format!("{path}?from=12")), 400, "invalid_position"),
        ("a cursor", publisher.request(Method::GET, "/channels?after=a%20b"), 400, "invalid_channel"),
        ("a socket without an upgrade", publisher.request(Method::GET, "/socket"), 426, "invalid_request"),
    ];
    for (what, request, status, code) in table {
        let answer = Answer::to(request).await?;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{what}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        let page = answer.body["type"].as_str().unwrap_or_default();
        assert!(page.ends_with(&format!("/errors/{code}")), "{what}: {page}");
        assert!(!answer.body.to_string().contains(&owner.key), "{what}: the key is repeated");
    }
    let refused = Answer::to(publisher.request(Method::PATCH, &path)).await?;
    assert!(
        ["DELETE", "GET", "HEAD", "POST"]
            .iter()
            .all(|method| refused.header("allow").is_some_and(|allow| allow.contains(method)))
    );

    // A socket of another version is told the right one.
    let url = owner.app_url();
    let (host, app) = place(&url)?;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let old = format!("GET {app}/socket HTTP/1.1\r\nHost: {host}\r\n{upgrade}Sec-WebSocket-Version: 8\r\n\r\n");
    let old = Raw::send(&url, old.as_bytes()).await?;
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));

    // A body that is said to be too large, and one that turns out to be.
    let head = format!(
        "POST {app}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        owner.key
    );
    let mut declared = Raw::send(&owner.app_url(), format!("{head}Content-Length: 1048577\r\n\r\n").as_bytes()).await?;
    let problem: Value = serde_json::from_str(&declared.body().await?)?;
    assert_eq!((declared.status, &problem["code"]), (413, &json!("message_too_large")));
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(17);
    let chunked =
        Raw::send(&owner.app_url(), format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").as_bytes())
            .await?;
    assert_eq!(chunked.status, 413);
    publisher.publish("room:9", "still well").await.map(drop)
}

#[tokio::test]
async fn browsers_of_listed_origins_read_answers_and_others_do_not() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (url, origin) = (format!("{}/channels/room:9/messages", owner.app_url()), "https://example.com");
    let allowed = async |method: Method, url: &str, origin: &str| -> Result<(u16, Option<String>)> {
        let request = stranger(method, url)?.header("origin", origin).header("access-control-request-method", "POST");
        let answer = Answer::to(request).await?;
        assert_eq!(answer.header("access-control-allow-credentials"), None, "nothing of a browser's own is read");
        Ok((answer.status, answer.header("access-control-allow-origin").map(str::to_owned)))
    };
    let any = Some("*".to_owned());
    assert_eq!(allowed(Method::OPTIONS, &url, origin).await?, (204, any.clone()));
    let preflight =
        stranger(Method::OPTIONS, &url)?.header("origin", origin).header("access-control-request-method", "POST");
    let preflight = Answer::to(preflight).await?;
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, POST, PUT, DELETE"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization, content-type, last-event-id"));

    let path = format!("/apps/{}", owner.app);
    let etag = owner.get(&path).await?.header("etag").unwrap_or_default().to_owned();
    owner.send_if(Method::PATCH, &path, &etag, &json!({ "origins": [origin] })).await?.ok()?;
    ::harness::eventually("the list arrives", async || {
        Ok((allowed(Method::OPTIONS, &url, "https://evil.test").await?.1.is_none()).then_some(()))
    })
    .await?;
    assert_eq!(allowed(Method::OPTIONS, &url, origin).await?, (204, Some(origin.to_owned())));
    assert_eq!(allowed(Method::GET, &url, origin).await?, (401, Some(origin.to_owned())), "refusals are readable too");
    for other in ["https://evil.test", "https://example.com.evil.test", "https://example.com:8443", "null"] {
        assert_eq!(allowed(Method::OPTIONS, &url, other).await?.1, None, "{other}");
        assert_eq!(allowed(Method::GET, &url, other).await?.1, None, "{other}");
    }
    // What is no app's is for everybody.
    let time = format!("{}/v1/time", server.gateway_url());
    assert_eq!(allowed(Method::GET, &time, "https://evil.test").await?, (200, any));
    assert_eq!(Answer::to(stranger(Method::OPTIONS, &url)?).await?.status, 405, "no preflight, no such method");
    let head = Answer::to(stranger(Method::HEAD, &time)?).await?;
    assert_eq!((head.status, head.body), (200, Value::Null));
    Ok(())
}
