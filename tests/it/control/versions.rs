//! Changes of what somebody read before: `If-Match` is required, and what was changed meanwhile is not overwritten.

use anyhow::Result;
use harness::answer::Answer;
use harness::server::Server;
use reqwest::Method;
use serde_json::json;

use super::refused;

#[tokio::test]
async fn a_change_is_made_on_the_version_that_was_read_or_not_at_all() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let app = format!("/api/v1/apps/{}", owner.app);
    let key = owner.key.split(':').next().unwrap_or_default();
    for (method, path, body) in [
        (Method::PATCH, app.clone(), json!({ "heartbeat_ms": 6_000 })),
        (Method::PATCH, format!("{app}/keys/{key}"), json!({ "name": "renamed" })),
        (Method::PUT, format!("{app}/acl"), json!({ "rules": [] })),
        (Method::PUT, format!("{app}/channel-settings"), json!({ "settings": [] })),
    ] {
        let change = async |etags: &[&str]| {
            let request = owner.request(method.clone(), &path).header("X-Fanfare-CSRF", "1").json(&body);
            Answer::to(etags.iter().fold(request, |request, etag| request.header("If-Match", *etag))).await
        };
        let missing = change(&[]).await?;
        refused(&missing, "precondition_required")?;
        assert_eq!(missing.status, 428);
        refused(&change(&["\"v1\"", "\"v1\""]).await?, "precondition_required")?;
        for stale in ["\"v0\"", "\"v2\"", "*", "v1", "W/\"v1\"", "\"v1\", \"v2\"", "\"v01x\"", "\"1\""] {
            let answer = change(&[stale]).await?;
            refused(&answer, "precondition_failed")?;
            assert_eq!(answer.status, 412, "{stale} {path}");
        }
        let changed = change(&["\"v1\""]).await?;
        assert_eq!((changed.status, changed.header("etag")), (200, Some("\"v2\"")), "{path}");
        assert_eq!(change(&["\"v1\""]).await?.status, 412, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn of_many_changes_at_once_one_is_made() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let path = format!("/apps/{}", owner.app);
    let change = async |name: &str| owner.send_if(Method::PATCH, &path, "\"v1\"", &json!({ "name": name })).await;
    let answers = tokio::try_join!(change("a"), change("b"), change("c"), change("d"), change("e"))?;
    let mut statuses: Vec<u16> = <[Answer; 5]>::from(answers).iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412]);
    assert_eq!(owner.get(&path).await?.header("etag"), Some("\"v2\""));
    Ok(())
}
