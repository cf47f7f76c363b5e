//! Only the dashboard changes anything with a session: every operation that changes is tried as other sites would.

use anyhow::{Context, Result};
use harness::answer::Answer;
use harness::server::Server;
use reqwest::Method;

use super::{Visitor, refused};

/// Who asks, what a browser of somebody who is signed in sends along, and whether that may change anything.
type Case = (&'static str, &'static [(&'static str, &'static str)], bool);

const MATRIX: &[Case] = &[
    ("the dashboard", &[("x-fanfare-csrf", "1"), ("origin", "{own}"), ("sec-fetch-site", "same-origin")], true),
    ("a program", &[("x-fanfare-csrf", "1")], true),
    ("a form of another site", &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")], false),
    ("a form of the own site", &[("origin", "{own}"), ("sec-fetch-site", "same-origin")], false),
    ("no header at all", &[], false),
    ("the header with another value", &[("x-fanfare-csrf", "0"), ("origin", "{own}")], false),
    ("the header without a value", &[("x-fanfare-csrf", ""), ("origin", "{own}")], false),
    ("another origin", &[("x-fanfare-csrf", "1"), ("origin", "https://evil.example")], false),
    ("an opaque origin", &[("x-fanfare-csrf", "1"), ("origin", "null")], false),
    ("a name that begins alike", &[("x-fanfare-csrf", "1"), ("origin", "{own}.evil.example")], false),
    ("another port", &[("x-fanfare-csrf", "1"), ("origin", "http://localhost:1")], false),
    ("https in place of http", &[("x-fanfare-csrf", "1"), ("origin", "https://localhost")], false),
    ("a cross-site fetch", &[("x-fanfare-csrf", "1"), ("origin", "{own}"), ("sec-fetch-site", "cross-site")], false),
    ("a sibling's fetch", &[("x-fanfare-csrf", "1"), ("sec-fetch-site", "same-site")], false),
    ("a typed address", &[("x-fanfare-csrf", "1"), ("sec-fetch-site", "none")], false),
];

#[tokio::test]
async fn nothing_changes_but_by_the_dashboard_or_a_program() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let visitor = Visitor::of(&server)?;
    let document = visitor.get("/openapi.json", None).await?.ok()?;
    let mut changes = 0;
    for (path, item) in document["paths"].as_object().context("paths")? {
        let key = owner.key.split(':').next().unwrap_or_default();
        let url = path.replace("{tenant}", &owner.tenant).replace("{app}", &owner.app).replace("{key}", key);
        for method in item.as_object().context("operations")?.keys().filter(|method| *method != "get") {
            let method: Method = method.to_uppercase().parse()?;
            changes += 1;
            for (who, headers, may) in MATRIX {
                // No body: what gets past is refused for that, and changes nothing either way.
                let request = owner.request(method.clone(), &url);
                let request = headers.iter().fold(request, |request, (name, value)| {
                    request.header(*name, value.replace("{own}", server.control_url()))
                });
                if *may && (path.ends_with("sign-out") || path.ends_with("revoke")) {
                    continue;
                }
                let answer = Answer::to(request).await?;
                if *may {
                    assert_ne!(answer.body["code"], "csrf_refused", "{who} {method} {path}");
                } else {
                    refused(&answer, "csrf_refused").with_context(|| format!("{who} {method} {path}"))?;
                    assert_eq!(answer.status, 403);
                }
            }
        }
    }
    assert!(changes >= 12, "{changes} operations change something");
    assert_eq!(owner.get("/session").await?.status, 200, "the session was not ended");
    Ok(())
}

#[tokio::test]
async fn no_other_site_is_ever_told_that_it_may_ask() -> Result<()> {
    let server = Server::start().await?;
    let visitor = Visitor::of(&server)?;
    for (method, path) in [
        (Method::OPTIONS, "/api/v1/sign-in"),
        (Method::OPTIONS, "/api/v1/session"),
        (Method::GET, "/api/v1/session"),
        (Method::GET, "/"),
        (Method::GET, "/openapi.json"),
    ] {
        let request = visitor.request(method.clone(), path).header("Origin", "https://evil.example");
        let request = request.header("Access-Control-Request-Method", "POST");
        let answer = Answer::to(request.header("Access-Control-Request-Headers", "x-fanfare-csrf")).await?;
        let told: Vec<_> = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
        assert!(told.is_empty(), "{method} {path}: {told:?}");
    }
    Ok(())
}
