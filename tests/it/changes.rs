//! What is changed in the control plane is felt by live connections within a second, and soon also when the word of
//! changes is cut.

use std::time::Duration;

use ::harness::client::Client;
use ::harness::eventually;
use ::harness::owner::Owner;
use ::harness::server::Server;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

mod cut;
mod expiry;
mod tokens;
mod traffic;

/// Changes of each kind.
const TRIES: usize = 20;
/// What a change may take on a machine that does much else at once. The promise is a second; what was measured is
/// printed.
const FELT_WITHIN: Duration = Duration::from_secs(5);

/// How long changes of one kind took to be felt.
#[derive(Debug)]
struct Delays {
    what: &'static str,
    all: Vec<Duration>,
}

impl Delays {
    fn new(what: &'static str) -> Self {
        Self { what, all: Vec::new() }
    }

    fn felt(&mut self, since: Instant) {
        self.all.push(since.elapsed());
    }

    /// Prints them, and holds the slowest to its bound.
    fn judge(mut self) -> Result<()> {
        self.all.sort_unstable();
        let at = |share: usize| self.all.get((self.all.len() * share / 100).min(self.all.len().saturating_sub(1)));
        let (Some(median), Some(p99)) = (at(50), at(99)) else { anyhow::bail!("{}: nothing was measured", self.what) };
        eprintln!("{}: {} tries, median {median:?}, p99 {p99:?}", self.what, self.all.len());
        ensure!(*p99 < FELT_WITHIN, "{}: felt after {p99:?}", self.what);
        Ok(())
    }
}

/// A new key that may do everything, once the data plane knows it.
async fn fresh_key(owner: &Owner, expires_at: Option<&str>) -> Result<String> {
    let mut body = json!({ "name": "short-lived" });
    if let Some(expires_at) = expires_at {
        body["expires_at"] = json!(expires_at);
    }
    let made = owner.post(&format!("/apps/{}/keys", owner.app), &body).await?.ok()?;
    let key = made["secret"].as_str().context("a new key has a secret")?.to_owned();
    let publisher = owner.publisher_with(&key);
    eventually("the key arrives", async || Ok((publisher.get("/channels").await?.status == 200).then_some(()))).await?;
    Ok(key)
}

/// A connection with a token that this key signed, subscribed to `room:9`.
async fn connect_by(owner: &Owner, key: &str) -> Result<Client> {
    let mut client = owner.with_key(key).connect_as("ann", &["room:*"]).await?;
    client.subscribe("room:9").await?;
    Ok(client)
}

async fn revoke(owner: &Owner, key: &str) -> Result<()> {
    let id = key.split(':').next().context("a printed key begins with its id")?;
    owner.post(&format!("/apps/{}/keys/{id}/revoke", owner.app), &json!({})).await?.ok().map(drop)
}

fn rule(who: &str, effect: &str) -> Value {
    json!({ "pattern": "room:*", "who": who, "operations": ["subscribe", "publish"], "effect": effect })
}

/// The subscription that the server ends: why.
async fn lost(client: &mut Client, channel: &str) -> Result<Value> {
    let push = client.push().await?;
    ensure!(push["unsubscribed"]["channel"] == channel, "expected the end of {channel}: {push}");
    Ok(push["unsubscribed"]["error"].clone())
}

#[tokio::test]
async fn a_revoked_key_ends_its_connections_and_calls_within_a_second() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut bystander = owner.connect_as("bystander", &["room:*"]).await?;
    bystander.subscribe("room:9").await?;
    let mut delays = Delays::new("key revoked → connection closed");
    for _ in 0..TRIES {
        let key = fresh_key(&owner, None).await?;
        let mut client = connect_by(&owner, &key).await?;
        let since = Instant::now();
        revoke(&owner, &key).await?;
        assert_eq!(client.closed().await?, (4403, "token_revoked".to_owned()));
        delays.felt(since);
        // Whoever sees the close sees the rest: REST, and tokens that were signed before.
        let answer = owner.publisher_with(&key).post("/channels/room:9/messages", &json!({ "data": 1 })).await?;
        assert_eq!((answer.status, answer.refusal()?.as_str()), (401, "key_invalid"));
        let token = owner.with_key(&key).token_for("ann", &["room:*"])?;
        let mut late = Client::open(&owner.app_url(), "late").await?;
        assert_eq!(late.refused("connect", json!({ "token": token })).await?["code"], "token_revoked");
        assert_eq!(late.closed().await?, (4403, "token_revoked".to_owned()));
    }
    bystander.nothing_came().await?;
    delays.judge()
}

#[tokio::test]
async fn a_changed_acl_is_felt_by_live_subscriptions_within_a_second() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (allow, deny) = (rule("everyone", "allow"), rule("user:ann", "deny"));
    let token = owner.token(&json!({ "sub": "ann" }))?;
    let mut ann = Client::connect(&owner.app_url(), "ann", Some(&token)).await?;
    let mut bob = Client::connect(&owner.app_url(), "bob", Some(&owner.token(&json!({ "sub": "bob" }))?)).await?;
    owner.replace_acl(&json!({ "rules": [allow] })).await?;
    subscribed_again(&mut bob).await?;

    let (mut denied, mut taken, mut given) =
        (Delays::new("deny added"), Delays::new("allow removed"), Delays::new("allow added"));
    for _ in 0..TRIES {
        subscribed_again(&mut ann).await?;
        let since = Instant::now();
        let acl = owner.replace_acl(&json!({ "rules": [allow, deny] })).await?;
        let problem = lost(&mut ann, "room:9").await?;
        denied.felt(since);
        let rules = acl["rules"].as_array().context("rules")?;
        let id = rules.iter().find(|rule| rule["effect"] == "deny").map(|rule| &rule["id"]);
        assert_eq!(
            (&problem["code"], &problem["layer"], problem.get("rule")),
            (&json!("forbidden"), &json!("acl"), id)
        );
        assert_eq!(ann.refused("publish", json!({ "channel": "room:9", "data": 1 })).await?["layer"], "acl");
        bob.nothing_came().await?;

        let since = Instant::now();
        owner.replace_acl(&json!({ "rules": [allow] })).await?;
        subscribed_again(&mut ann).await?;
        given.felt(since);

        let since = Instant::now();
        owner.replace_acl(&json!({ "rules": [] })).await?;
        let problem = lost(&mut ann, "room:9").await?;
        taken.felt(since);
        assert_eq!((&problem["layer"], problem.get("rule")), (&json!("acl"), None));
        lost(&mut bob, "room:9").await?;
        // The connection is as good as before, for what it still may.
        ann.nothing_came().await?;
        owner.replace_acl(&json!({ "rules": [allow] })).await?;
        subscribed_again(&mut bob).await?;
        bob.nothing_came().await?;
    }
    denied.judge()?;
    taken.judge()?;
    given.judge()
}

/// Subscribes as soon as that is allowed.
async fn subscribed_again(client: &mut Client) -> Result<()> {
    let deadline = Instant::now() + ::harness::TIMEOUT;
    loop {
        match client.command("subscribe", json!({ "channel": "room:9" })).await? {
            Ok(_) => return Ok(()),
            Err(problem) => ensure!(problem["code"] == "forbidden" && Instant::now() < deadline, "{problem}"),
        }
    }
}

#[tokio::test]
async fn a_lowered_limit_holds_for_live_connections_within_a_second() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let lower = async |max: u64| server.lower_limits(&json!({ "message_bytes": { "max": max } })).await;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let message = json!({ "channel": "room:9", "data": "x".repeat(1_000) });
    let mut delays = Delays::new("limit lowered");
    for _ in 0..TRIES {
        let since = Instant::now();
        lower(500).await?;
        let problem = loop {
            if let Err(problem) = ann.command("publish", message.clone()).await? {
                break problem;
            }
            ensure!(since.elapsed() < ::harness::TIMEOUT, "a lowered limit is not felt");
        };
        delays.felt(since);
        assert_eq!((&problem["code"], &problem["limit"]), (&json!("message_too_large"), &json!("message_bytes")));
        let body = json!({ "data": "x".repeat(1_000) });
        let answer = owner.publisher().post("/channels/room:9/messages", &body).await?;
        assert_eq!((answer.status, answer.refusal()?.as_str()), (413, "message_too_large"));
        lower(2_000).await?;
        eventually("the limit is back", async || {
            let answer = owner.publisher().post("/channels/room:9/messages", &body).await?;
            Ok((answer.status == 200).then_some(()))
        })
        .await?;
    }
    delays.judge()
}
