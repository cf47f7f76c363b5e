//! The audit log: one row for each change, in a chain without holes.

use anyhow::{Context, Result};
use harness::server::{PASSWORD, Server};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Visitor, each};

#[tokio::test]
async fn every_change_leaves_one_row_that_says_who_what_and_from_where() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (app, key) = (format!("/apps/{}", owner.app), owner.key.split(':').next().unwrap_or_default().to_owned());
    let apps = format!("/tenants/{}/apps", owner.tenant);
    let audit = format!("/tenants/{}/audit", owner.tenant);
    let user = owner.get("/session").await?.ok()?["user"]["id"].clone();
    let v1 = "\"v1\"";
    let mut expected = vec![("tenant.created".to_owned(), owner.tenant.clone())];
    for (action, target, method, path, etag, body) in [
        ("app.created", "", Method::POST, apps.clone(), None, json!({ "name": "staging" })),
        ("app.updated", &owner.app, Method::PATCH, app.clone(), Some(v1), json!({ "name": "live" })),
        ("key.created", "", Method::POST, format!("{app}/keys"), None, json!({ "name": "backend" })),
        ("key.renamed", &key, Method::PATCH, format!("{app}/keys/{key}"), Some(v1), json!({ "name": "main" })),
        ("acl.replaced", &owner.app, Method::PUT, format!("{app}/acl"), Some(v1), json!({ "rules": [] })),
        (
            "channel_settings.replaced",
            &owner.app,
            Method::PUT,
            format!("{app}/channel-settings"),
            Some(v1),
            json!({ "settings": [] }),
        ),
        ("key.revoked", &key, Method::POST, format!("{app}/keys/{key}/revoke"), None, json!({})),
    ] {
        let answer = match etag {
            Some(etag) => owner.send_if(method, &path, etag, &body).await?,
            None => owner.send(method, &path, &body).await?,
        };
        let made = answer.ok().with_context(|| action.to_owned())?;
        let made = made.get("id").or_else(|| made.pointer("/key/id")).and_then(Value::as_str);
        let target = if target.is_empty() { made.context("what was made has an id")? } else { target };
        expected.push((action.to_owned(), target.to_owned()));
        let log = owner.get(&audit).await?.ok()?;
        let rows: Vec<_> = each(&log, "action").into_iter().zip(each(&log, "target")).rev().collect();
        let wanted: Vec<_> = expected.iter().map(|(action, target)| (action.as_str(), target.as_str())).collect();
        assert_eq!(rows, wanted, "after {action}");
        let row = &log["items"][0];
        assert_eq!((&row["number"], &row["actor"]), (&json!(expected.len()), &user));
        assert_eq!(row["ip"], "127.0.0.1");
        assert!(row["at"].as_str().is_some_and(|at| at.ends_with('Z')), "times are UTC: {row}");
    }
    let last = owner.get(&format!("{audit}?limit=1")).await?.ok()?;
    assert_eq!(last["items"][0]["before"]["revoked_at"], Value::Null);
    assert!(last["items"][0]["after"]["revoked_at"].is_string());
    let cursor = last["next"].as_str().context("there is more")?;
    let rest = owner.get(&format!("{audit}?after={cursor}")).await?.ok()?;
    assert_eq!(each(&rest, "id").len() + 1, expected.len());
    let text = owner.get(&audit).await?.ok()?.to_string();
    assert!(!text.contains("ffs_") && !text.contains(PASSWORD) && !text.contains("argon2"), "{text}");
    Ok(())
}

#[tokio::test]
async fn what_changes_nothing_leaves_no_row() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (app, visitor) = (format!("/apps/{}", owner.app), Visitor::of(&server)?);
    let (key, keys) = (owner.key.split(':').next().unwrap_or_default(), format!("{app}/keys"));
    owner.send_if(Method::PATCH, &app, "\"v9\"", &json!({ "name": "x" })).await?;
    owner.send_if(Method::PUT, &format!("{app}/acl"), "\"v1\"", &json!({ "rules": 1 })).await?;
    owner.post(&keys, &json!({ "name": "" })).await?;
    owner.post(&format!("{keys}/key_01JD0000000000000000000000/revoke"), &json!({})).await?;
    owner.send_if(Method::PATCH, &format!("{keys}/{key}"), "\"v2\"", &json!({ "name": "x" })).await?;
    owner.post(&format!("{app}/live-token"), &json!({})).await?.ok()?;
    let wrong = json!({ "email": owner.email, "password": "not it, not it at all" });
    visitor.post("/api/v1/sign-in", None, &wrong).await?;
    for _ in 0..2 {
        owner.post(&format!("{keys}/{key}/revoke"), &json!({})).await?.ok()?;
    }
    let log = owner.get(&format!("/tenants/{}/audit", owner.tenant)).await?.ok()?;
    assert_eq!(each(&log, "action"), ["key.revoked", "tenant.created"]);
    Ok(())
}
