//! What every answer tells browsers.

use anyhow::{Context, Result};
use harness::answer::Answer;
use harness::server::Server;
use reqwest::Method;

use super::Visitor;

const FIXED: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// What holds for an answer of any route, whatever it says.
fn judge(what: &str, answer: &Answer) -> Result<()> {
    for (name, value) in FIXED {
        assert_eq!(answer.header(name), Some(value), "{what}");
    }
    let policy = answer.header("content-security-policy").with_context(|| format!("{what} has no policy"))?;
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{what}: {part} is not in {policy}");
    }
    // `wasm-unsafe-eval` compiles the dashboard, and no script. A page without scripts names none.
    let scripts = policy.split("; ").find(|part| part.starts_with("script-src"));
    assert!(matches!(scripts, None | Some("script-src 'self' 'wasm-unsafe-eval'")), "{what}: {policy}");
    assert!(!policy.contains('*'), "{what}: {policy}");
    assert!(answer.header("permissions-policy").is_some(), "{what}");
    assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")), "{what}");
    for banner in ["server", "x-powered-by"] {
        assert_eq!(answer.header(banner), None, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn every_route_tells_browsers_what_they_may_do_with_the_answer() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let document = Visitor::of(&server)?.get("/openapi.json", None).await?.ok()?;
    let key = owner.key.split(':').next().unwrap_or_default();
    for (path, item) in document["paths"].as_object().context("paths")? {
        let url = path.replace("{tenant}", &owner.tenant).replace("{app}", &owner.app).replace("{key}", key);
        for method in item.as_object().context("operations")?.keys() {
            let method: Method = method.to_uppercase().parse()?;
            let what = format!("{method} {path}");
            // Without a body and the header: changes are refused, which is an answer like any other.
            let answer = Answer::to(owner.request(method, &url)).await?;
            judge(&what, &answer)?;
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
            assert_eq!(answer.header("strict-transport-security"), None, "this one is reached by plain http");
        }
    }
    for (path, caching) in [
        ("/", "no-cache"),
        ("/apps", "no-cache"),
        ("/errors/not_found", "no-cache"),
        ("/docs", "no-store"),
        ("/openapi.json", "no-store"),
        ("/assets/nope.js", "no-store"),
        ("/api/v1/nope", "no-store"),
    ] {
        let answer = Answer::to(owner.request(Method::GET, path)).await?;
        judge(path, &answer)?;
        // Without a built dashboard its page is a hint, which is not kept.
        let kept = answer.header("cache-control");
        assert!(kept == Some(caching) || kept == Some("no-store"), "{path}: {kept:?}");
    }
    Ok(())
}
