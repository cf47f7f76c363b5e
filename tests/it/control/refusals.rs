//! Everything that is wrong with a request is answered by one kind of document.

use anyhow::{Context, Result};
use harness::answer::Answer;
use harness::server::Server;
use reqwest::{Method, RequestBuilder};

use super::{Visitor, each, places, refused};

/// A wrong body: how it is sent, the code, its status and the place that is pointed to.
type Case = (&'static str, fn(RequestBuilder) -> RequestBuilder, &'static str, u16, &'static [&'static str]);

fn json(request: RequestBuilder, body: impl Into<reqwest::Body>) -> RequestBuilder {
    request.header("Content-Type", "application/json").body(body)
}

const BODIES: &[Case] = &[
    ("an unknown field", |r| json(r, r#"{"name":"x","nam":1}"#), "invalid_request", 400, &["/nam"]),
    ("a field to assign", |r| json(r, r#"{"name":"x","tenant":"ten_1"}"#), "invalid_request", 400, &["/tenant"]),
    ("a wrong type", |r| json(r, r#"{"name":7}"#), "invalid_request", 400, &["/name"]),
    ("null", |r| json(r, r#"{"name":null}"#), "invalid_request", 400, &["/name"]),
    ("nothing in it", |r| json(r, "{}"), "invalid_request", 400, &["/name"]),
    ("an array", |r| json(r, r#"["x"]"#), "invalid_request", 400, &[""]),
    ("a text", |r| json(r, r#""x""#), "invalid_request", 400, &[""]),
    ("a key twice", |r| json(r, r#"{"name":"x","name":"y"}"#), "invalid_json", 400, &[]),
    ("a key twice, escaped", |r| json(r, r#"{"name":"x","n\u0061me":"y"}"#), "invalid_json", 400, &[]),
    ("half a document", |r| json(r, r#"{"name":"x""#), "invalid_json", 400, &[]),
    ("two documents", |r| json(r, r#"{"name":"x"}{"name":"y"}"#), "invalid_json", 400, &[]),
    ("a comment", |r| json(r, r#"{"name":"x"} // y"#), "invalid_json", 400, &[]),
    ("an empty body", |r| json(r, ""), "invalid_json", 400, &[]),
    ("not UTF-8", |r| json(r, b"{\"name\":\"\xff\"}".to_vec()), "invalid_json", 400, &[]),
    ("half a surrogate pair", |r| json(r, r#"{"name":"\ud800"}"#), "invalid_json", 400, &[]),
    ("40 levels", |r| json(r, format!("{}{}", "[".repeat(40), "]".repeat(40))), "invalid_json", 400, &[]),
    ("a million levels", |r| json(r, "[".repeat(1_000_000)), "invalid_json", 400, &[]),
    ("a form", |r| r.header("Content-Type", FORM).body("name=x"), "unsupported_media_type", 415, &[]),
    ("text", |r| r.header("Content-Type", "text/plain").body(NAMED), "unsupported_media_type", 415, &[]),
    ("nearly JSON", |r| r.header("Content-Type", "application/jsonp").body(NAMED), "unsupported_media_type", 415, &[]),
    ("no type", |r| r.body(NAMED), "unsupported_media_type", 415, &[]),
    ("too much", |r| json(r, format!(r#"{{"name":"{}"}}"#, "x".repeat(1024 * 1024))), "message_too_large", 413, &[]),
    (
        "a name too long",
        |r| json(r, format!(r#"{{"name":"{}"}}"#, "x".repeat(101))),
        "invalid_request",
        400,
        &["/name"],
    ),
    ("a control character", |r| json(r, r#"{"name":"a\u0000b"}"#), "invalid_request", 400, &["/name"]),
];

const FORM: &str = "application/x-www-form-urlencoded";
const NAMED: &str = r#"{"name":"x"}"#;

#[tokio::test]
async fn a_wrong_body_is_answered_by_what_is_wrong_and_where() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let apps = format!("/api/v1/tenants/{}/apps", owner.tenant);
    for (what, wrong, code, status, expected) in BODIES {
        let answer = Answer::to(wrong(owner.request(Method::POST, &apps).header("X-Fanfare-CSRF", "1"))).await;
        let answer = answer.with_context(|| (*what).to_owned())?;
        assert_eq!(places(&answer, code).with_context(|| (*what).to_owned())?, *expected, "{what}");
        assert_eq!(answer.status, *status, "{what}");
        // What is too large is not read to its end, so the connection ends with the answer, and says so.
        assert_eq!(answer.header("connection"), (*status == 413).then_some("close"), "{what}");
        let text = answer.body.to_string();
        assert!(!text.contains("struct ") && text.len() < 2_000, "{what}: {text}");
    }
    let made = owner.get(&format!("/tenants/{}/apps", owner.tenant)).await?.ok()?;
    assert_eq!(each(&made, "name"), ["Production"], "nothing was made");
    let charset = owner.request(Method::POST, &apps).header("X-Fanfare-CSRF", "1");
    let charset = charset.header("Content-Type", "Application/JSON; charset=utf-8").body(NAMED);
    assert_eq!(Answer::to(charset).await?.status, 201);
    Ok(())
}

#[tokio::test]
async fn a_request_to_nowhere_is_answered_by_a_document_too() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let app = format!("/api/v1/apps/{}", owner.app);
    let tenant = format!("/api/v1/tenants/{}", owner.tenant);
    for path in [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/nope",
        "/api/v2/session",
        "/api/v1/session/",
        "/api/v1//session",
        "/api/v1/apps/app_1",
        "/api/v1/apps/app_01JD0000000000000000000000",
        "/api/v1/apps/%ff",
        "/api/v1/apps/..%2f..%2fsession",
        "/api/v1/tenants/ten_01JD0000000000000000000000/apps",
        "/assets/nope.js",
        "/assets/../api/v1/nope",
        &format!("{app}/nope"),
        // An id of another kind.
        &format!("/api/v1/apps/{}", owner.tenant),
        &format!("/api/v1/apps/{}", owner.app.to_lowercase()),
    ] {
        let answer = Answer::to(owner.request(Method::GET, path)).await?;
        refused(&answer, "not_found").with_context(|| path.to_owned())?;
    }
    for query in ["limit=0", "limit=101", "limit=x", "limit=-1", "limt=1", "after=nope", "after=", "limit=1&limit=2"] {
        let answer = Answer::to(owner.request(Method::GET, &format!("{tenant}/apps?{query}"))).await?;
        refused(&answer, "invalid_request").with_context(|| query.to_owned())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let document = Visitor::of(&server)?.get("/openapi.json", None).await?.ok()?;
    let key = owner.key.split(':').next().unwrap_or_default();
    for (path, item) in document["paths"].as_object().context("paths")? {
        let url = path.replace("{tenant}", &owner.tenant).replace("{app}", &owner.app).replace("{key}", key);
        let item = item.as_object().context("operations")?;
        let mut right: Vec<String> = item.keys().map(|method| method.to_uppercase()).collect();
        if item.contains_key("get") {
            right.push("HEAD".to_owned());
        }
        right.sort_unstable();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            if right.iter().any(|one| one == method) {
                continue;
            }
            let request = owner.request(method.parse()?, &url).header("X-Fanfare-CSRF", "1");
            let answer = Answer::to(request).await?;
            refused(&answer, "method_not_allowed").with_context(|| format!("{method} {path}"))?;
            let allow = answer.header("allow").with_context(|| format!("{method} {path}"))?;
            let mut allowed: Vec<&str> = allow.split(',').map(str::trim).collect();
            allowed.sort_unstable();
            assert_eq!(allowed, right, "{method} {path}");
        }
    }
    Ok(())
}
