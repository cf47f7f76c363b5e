//! What belongs to no app: the time, the SDK, the documents.

use ::harness::answer::{Answer, http};
use ::harness::server::Server;
use anyhow::{Context, Result};

#[tokio::test]
async fn the_time_the_sdk_and_the_documents_are_there_for_everybody() -> Result<()> {
    let server = Server::start().await?;
    let get = async |path: &str| Answer::to(http()?.get(format!("{}{path}", server.gateway_url()))).await;

    let time = get("/v1/time").await?.ok()?["time"].as_u64().context("a time")?;
    assert!((time / 1_000).abs_diff(::harness::unix_now()) <= 5, "{time}");

    let sdk = get("/sdk/v1.js").await?;
    assert_eq!((sdk.status, sdk.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert!(sdk.body.as_str().is_some_and(|script| script.contains("export")), "it is a module");
    let tag = sdk.header("etag").context("a tag")?;
    let url = format!("{}/sdk/v1.js", server.gateway_url());
    assert_eq!(Answer::to(http()?.get(&url).header("if-none-match", tag)).await?.status, 304);
    assert_eq!(Answer::to(http()?.get(&url).header("if-none-match", "\"other\"")).await?.status, 200);

    let document = get("/openapi.json").await?.ok()?;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    for (path, method) in [
        ("/v1/apps/{app}/socket", "get"),
        ("/v1/apps/{app}/channels", "get"),
        ("/v1/apps/{app}/channels/{channel}/messages", "get"),
        ("/v1/apps/{app}/channels/{channel}/messages", "post"),
        ("/v1/apps/{app}/batch", "post"),
        ("/v1/apps/{app}/tokens", "post"),
        ("/v1/time", "get"),
    ] {
        let operation = &document["paths"][path][method];
        assert!(
            operation["operationId"].is_string() && operation["responses"].is_object(),
            "{method} {path}: {operation}"
        );
    }
    let described = get("/asyncapi.yaml").await?;
    assert_eq!((described.status, described.header("content-type")), (200, Some("application/yaml")));
    let text = described.body.as_str().context("a text")?;
    assert!(text.contains("asyncapi: 3.0.0") && text.contains("/v1/apps/{app}/socket"), "{text}");
    let docs = get("/docs").await?;
    assert_eq!((docs.status, docs.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(docs.header("content-security-policy").is_some());
    let page = docs.body.as_str().context("a page")?;
    assert!(page.contains("publish_message") || page.contains("Publish a message"), "the page shows the operations");
    assert!(!page.contains("https://cdn"), "it loads nothing from elsewhere");
    Ok(())
}
