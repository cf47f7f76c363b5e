//! `Idempotency-Key`: a creating request that is sent again is answered again, and done once.

use anyhow::Result;
use harness::answer::Answer;
use harness::owner::Owner;
use harness::server::Server;
use reqwest::Method;
use serde_json::{Value, json};

use super::{each, places, refused};

async fn create(owner: &Owner, what: &str, key: &str, body: &Value) -> Result<Answer> {
    let path = match what {
        "apps" => format!("/api/v1/tenants/{}/apps", owner.tenant),
        keys => format!("/api/v1/apps/{}/{keys}", owner.app),
    };
    let request = owner.request(Method::POST, &path).header("X-Fanfare-CSRF", "1").header("Idempotency-Key", key);
    Answer::to(request.json(body)).await
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_answered_again_and_done_once() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let body = json!({ "name": "staging" });
    let first = create(&owner, "apps", "one", &body).await?;
    let again = create(&owner, "apps", "one", &body).await?;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!((&first.body, again.header("content-type")), (&again.body, Some("application/json")));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
    // The same key for something else: another body, another operation.
    for (what, body) in [("apps", json!({ "name": "other" })), ("keys", body.clone())] {
        let other = create(&owner, what, "one", &body).await?;
        refused(&other, "id_reused")?;
        assert_eq!(other.status, 409);
    }
    // A secret is told again to whoever lost the first answer.
    let first = create(&owner, "keys", "two", &json!({ "name": "backend" })).await?.ok()?;
    assert_eq!(create(&owner, "keys", "two", &json!({ "name": "backend" })).await?.ok()?, first);
    // A refusal is not kept: corrected, the request goes through under the same key.
    assert_eq!(places(&create(&owner, "apps", "three", &json!({ "name": "" })).await?, "invalid_request")?, ["/name"]);
    let taken = create(&owner, "apps", "three", &body).await?;
    assert_eq!(places(&taken, "conflict")?, ["/name"]);
    assert_eq!(create(&owner, "apps", "three", &json!({ "name": "corrected" })).await?.status, 201);
    for bad in ["", &"k".repeat(129), "caf\u{e9}"] {
        refused(&create(&owner, "apps", bad, &json!({ "name": "bad" })).await?, "invalid_request")?;
    }
    let apps = owner.get(&format!("/tenants/{}/apps", owner.tenant)).await?.ok()?;
    assert_eq!(each(&apps, "name"), ["Production", "staging", "corrected"]);
    let keys = owner.get(&format!("/apps/{}/keys", owner.app)).await?.ok()?;
    assert_eq!(each(&keys, "name"), ["First key", "backend"]);
    Ok(())
}

#[tokio::test]
async fn of_the_same_request_many_times_at_once_one_is_done() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let body = json!({ "name": "staging" });
    let ask = async || create(&owner, "apps", "same", &body).await;
    let answers = tokio::try_join!(ask(), ask(), ask(), ask(), ask())?;
    for answer in <[Answer; 5]>::from(answers) {
        if answer.status != 201 {
            refused(&answer, "conflict")?;
            assert_eq!((&answer.body["retryable"], answer.header("retry-after")), (&json!(true), Some("1")));
        }
    }
    assert_eq!(ask().await?.status, 201);
    let apps = owner.get(&format!("/tenants/{}/apps", owner.tenant)).await?.ok()?;
    assert_eq!(each(&apps, "name"), ["Production", "staging"]);
    Ok(())
}
