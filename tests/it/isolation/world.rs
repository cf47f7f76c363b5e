//! Two tenants. The stranger knows every id and name of the victim, and none of their secrets.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use harness::answer::{Answer, http};
use harness::carried::Carried;
use harness::client::Client;
use harness::eventually;
use harness::owner::Owner;
use harness::publisher::Publisher;
use harness::server::{PASSWORD, Server};
use reqwest::Method;
use serde_json::{Value, json};

/// The victim's channel that nobody without rights may touch. Everybody may use `demo:**`, as in every new app.
pub(super) const CHANNEL: &str = "room:9";

/// Whom the victim's backend has entered there.
const MEMBER: &str = "canary-member";

/// What every name and text of the victim holds, so that any of them is found in an answer.
const CANARY: &str = "canary";

/// Everything a key may do.
pub(super) fn everything() -> Value {
    json!({ "**": ["subscribe", "publish", "presence", "presence.read", "history", "sign", "manage"] })
}

/// The victim, the stranger, and the server they share.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) victim: Owner,
    pub(super) stranger: Owner,
    /// A key of the victim that is revoked, as printed.
    pub(super) revoked: String,
    /// The cookie of a session of the victim that is signed out.
    pub(super) ended: String,
    /// The cookie of a session of the stranger.
    pub(super) cookie: String,
    /// With it, the stranger looks at their own app through the dashboard.
    pub(super) inspector: String,
    /// With it, the stranger deletes the history of the channel of the same name in their own app.
    pub(super) act: String,
    /// The id of a rule of the victim's ACL.
    pub(super) rule: String,
    /// The id of an issuer of the victim.
    pub(super) issuer: String,
    /// A ticket of the stranger's own app, with a subscription to a channel of the victim's name.
    pub(super) ticket: String,
    /// Where the victim's message is in its channel.
    pub(super) position: String,
    /// The id of that message.
    message: String,
    /// The id of a revocation of the victim's.
    revocation: String,
    /// A client of the victim that must see nothing of what the stranger does.
    listener: Client,
    /// The victim's backend.
    publisher: Publisher,
    /// Keeps no cookies: who calls is what a request says.
    pub(super) http: reqwest::Client,
    secrets: Vec<String>,
}

impl World {
    pub(super) async fn new() -> Result<Self> {
        let server = Server::start().await?;
        let victim = server.sign_up_as("canary@example.com").await?;
        let stranger = server.sign_up_as("mallory@example.com").await?;
        let app = format!("/apps/{}", victim.app);
        victim.send_if(Method::PATCH, &app, "\"v1\"", &json!({ "name": "canary-app" })).await?.ok()?;
        let settings = json!({ "settings": [{ "pattern": "canary:*", "echo": false }] });
        victim.send_if(Method::PUT, &format!("{app}/channel-settings"), "\"v1\"", &settings).await?.ok()?;
        let starter = victim.get(&format!("{app}/acl")).await?.ok()?;
        let own =
            json!({ "pattern": "canary:*", "who": "user:canary", "operations": ["subscribe"], "effect": "allow" });
        let rules = victim.replace_acl(&json!({ "rules": [starter["rules"][0].clone(), own] })).await?;
        let key = include_str!("../../../server/core/src/public_key/fixtures/ec.pem");
        let issuer = json!({ "name": "canary-issuer", "iss": "https://canary.example/", "key": key });
        let issuer = victim.post(&format!("{app}/issuers"), &issuer).await?.ok()?;
        let issuer = issuer["id"].as_str().context("an issuer has an id")?.to_owned();
        let revoked = victim.create_key("canary-revoked", &everything()).await?;
        revoke(&victim, &revoked).await?;
        let published = victim.publisher().publish(CHANNEL, "canary-message").await?;
        let (position, message) = (published.position, published.id);
        let revoke = json!({ "token": "canary-token" });
        let revocation = victim.publisher().post("/revocations", &revoke).await?.ok()?;
        let revocation = revocation["id"].as_str().context("a revocation has an id")?.to_owned();
        let enter = victim.publisher().request(Method::PUT, &format!("/channels/{CHANNEL}/presence/{MEMBER}"));
        Answer::to(enter.json(&json!({ "data": "canary-data" }))).await?.ok()?;
        let mut listener = victim.connect_as("canary-listener", &[CHANNEL]).await?;
        listener.subscribe(CHANNEL).await?;
        let ended = sign_in(&server, &victim).await?;
        let sign_out = http()?.post(format!("{}/api/v1/sign-out", server.control_url()));
        Answer::to(sign_out.header("X-Fanfare-CSRF", "1").header("Cookie", &ended)).await?.ok()?;
        let rule = rules["rules"][1]["id"].as_str().context("a rule has an id")?.to_owned();
        let user = victim.get("/session").await?.ok()?["user"]["id"].as_str().context("a user has an id")?.to_owned();
        let mut secrets = vec![CANARY.to_owned(), victim.tenant.clone(), victim.app.clone(), rule.clone(), user];
        secrets.extend([&victim.key, &revoked].into_iter().flat_map(|key| key.split(':')).map(str::to_owned));
        secrets.extend([position.clone(), issuer.clone()]);
        let cookie = sign_in(&server, &stranger).await?;
        let inspector = dashboards_token(&stranger, "inspector-token", json!({})).await?;
        let act = dashboards_token(&stranger, "act-token", json!({ "delete_history": CHANNEL })).await?;
        let (publisher, http) = (victim.publisher(), reqwest::Client::new());
        let token = stranger.token_for("mallory", &["**"])?;
        let mut poller = Carried::connect(&stranger.app_url(), "mallory", Some(&token)).await?;
        poller.command("subscribe", json!({ "channel": CHANNEL })).await?;
        let ticket = poller.ticket.context("a poll brings a ticket")?;
        Ok(Self {
            server,
            victim,
            stranger,
            revoked,
            ended,
            cookie,
            inspector,
            act,
            rule,
            issuer,
            ticket,
            position,
            message,
            revocation,
            listener,
            publisher,
            http,
            secrets,
        })
    }

    /// A path of a document with the victim's ids in it.
    pub(super) fn fill(&self, template: &str) -> String {
        let key = self.victim.key.split(':').next().unwrap_or_default();
        let ids = [
            ("{tenant}", &*self.victim.tenant),
            ("{app}", &self.victim.app),
            ("{key}", key),
            ("{channel}", CHANNEL),
            ("{revocation}", &self.revocation),
            ("{member}", MEMBER),
            ("{issuer}", &self.issuer),
            ("{version}", "1"),
            ("{message}", &self.message),
            ("{user}", "canary-listener"),
            ("{connection}", self.listener.hello["connection"].as_str().unwrap_or_default()),
        ];
        ids.iter().fold(template.to_owned(), |path, (name, id)| path.replace(name, id))
    }

    /// The ids of the victim's keys, which forged and late tokens name.
    pub(super) fn key_ids(&self) -> String {
        [&self.victim.key, &self.revoked].iter().filter_map(|key| key.split(':').next()).collect()
    }

    /// Nothing of the victim's is in an answer, but what was in the request.
    pub(super) fn tells_nothing(&self, said: &str, answer: &str) -> Result<()> {
        for secret in self.secrets.iter().filter(|secret| !said.contains(secret.as_str())) {
            ensure!(!answer.contains(secret.as_str()), "{secret} of the victim is in the answer: {answer}");
        }
        Ok(())
    }

    /// Everything that the victim can read of what is theirs, and that nothing came to who listens.
    pub(super) async fn state(&mut self) -> Result<BTreeMap<String, Value>> {
        let Owner { tenant, app, .. } = &self.victim;
        let mut state = BTreeMap::new();
        for path in [
            "/session".to_owned(),
            format!("/tenants/{tenant}/apps"),
            format!("/tenants/{tenant}/audit"),
            format!("/apps/{app}"),
            format!("/apps/{app}/keys"),
            format!("/apps/{app}/issuers"),
            format!("/apps/{app}/acl"),
            format!("/apps/{app}/channel-settings"),
            format!("/apps/{app}/limits"),
        ] {
            let mut body = self.victim.get(&path).await?.ok()?;
            // How much is used changes by itself.
            if let Some(list) = body.as_object_mut().filter(|list| list.contains_key("limits")) {
                list.remove("used_at");
                let limits = list.get_mut("limits").and_then(Value::as_array_mut).into_iter().flatten();
                limits.filter_map(Value::as_object_mut).for_each(|limit| drop(limit.remove("used")));
            }
            state.insert(path, body);
        }
        for path in [
            "/channels".to_owned(),
            "/connections".to_owned(),
            "/revocations".to_owned(),
            format!("/channels/{CHANNEL}/messages"),
            format!("/channels/{CHANNEL}/presence"),
        ] {
            let body = self.publisher.get(&path).await?.ok()?;
            state.insert(path, body);
        }
        self.listener.nothing_came().await?;
        Ok(state)
    }
}

/// Revokes a key, and waits until the data plane knows.
async fn revoke(owner: &Owner, key: &str) -> Result<()> {
    let id = key.split(':').next().unwrap_or_default();
    owner.post(&format!("/apps/{}/keys/{id}/revoke", owner.app), &json!({})).await?.ok()?;
    let publisher = owner.publisher_with(key);
    eventually("the data plane hears of the revocation", async || {
        Ok((publisher.get("/channels").await?.status == 401).then_some(()))
    })
    .await
}

/// A token of the dashboard in somebody's own app.
async fn dashboards_token(owner: &Owner, kind: &str, body: Value) -> Result<String> {
    let made = owner.post(&format!("/apps/{}/{kind}", owner.app), &body).await?.ok()?;
    Ok(made["token"].as_str().context("a token")?.to_owned())
}

/// Signs in anew and returns the session's cookie.
async fn sign_in(server: &Server, owner: &Owner) -> Result<String> {
    let request = http()?.post(format!("{}/api/v1/sign-in", server.control_url())).header("X-Fanfare-CSRF", "1");
    let answer = Answer::to(request.json(&json!({ "email": owner.email, "password": PASSWORD }))).await?;
    let cookie = answer.cookie().context("signing in sets a cookie")?.to_owned();
    answer.ok()?;
    Ok(cookie)
}
