//! Somebody who signed up: a browser session, an app, and its first key.

use anyhow::{Context, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::{Client as Http, Method, RequestBuilder};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, http};
use crate::client::Client;
use crate::publisher::Publisher;
use crate::server::{PASSWORD, Server, text};
use crate::{eventually, unix_now};

/// How long tokens live that a test signs without saying.
const TOKEN_LIFE_S: u64 = 600;

/// The owner of a tenant with one app.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Who signed up.
    pub email: String,
    /// The tenant's id.
    pub tenant: String,
    /// The app's id.
    pub app: String,
    /// The first key as printed, `key_…:ffs_…`.
    pub key: String,
    control_url: String,
    gateway_url: String,
    http: Http,
}

impl Owner {
    /// Signs up at a control plane, and waits until the gateways know the app.
    ///
    /// # Errors
    /// When that is refused, or they do not in time.
    pub async fn sign_up_at(gateway_url: &str, control_url: &str, email: &str) -> Result<Self> {
        let http = http()?;
        let request = http.post(format!("{control_url}/api/v1/sign-up")).header("X-Fanfare-CSRF", "1");
        let made = Answer::to(request.json(&json!({ "email": email, "password": PASSWORD }))).await?.ok()?;
        let owner = Self::of(http, [gateway_url, control_url], email, &made)?;
        eventually("the gateways know the app", async || {
            let answer = owner.publisher().get("/channels").await?;
            Ok((answer.status == 200).then_some(()))
        })
        .await?;
        Ok(owner)
    }

    pub(crate) fn new(http: Http, server: &Server, email: &str, made: &Value) -> Result<Self> {
        Self::of(http, [server.gateway_url(), server.control_url()], email, made)
    }

    fn of(http: Http, [gateway_url, control_url]: [&str; 2], email: &str, made: &Value) -> Result<Self> {
        Ok(Self {
            email: email.to_owned(),
            tenant: text(made, "/session/tenants/0/id")?,
            app: text(made, "/app/id")?,
            key: text(made, "/first_key")?,
            control_url: control_url.to_owned(),
            gateway_url: gateway_url.to_owned(),
            http,
        })
    }

    /// The URL of the app on the gateway: what `FANFARE_URL` wants.
    #[must_use]
    pub fn app_url(&self) -> String {
        format!("{}/v1/apps/{}", self.gateway_url, self.app)
    }

    /// The same owner, who comes in over something that stands before the nodes.
    #[must_use]
    pub fn through(&self, gateway_url: &str, control_url: &str) -> Self {
        Self { control_url: control_url.to_owned(), gateway_url: gateway_url.to_owned(), ..self.clone() }
    }

    /// The same owner, who speaks to another node of the platform.
    #[must_use]
    pub fn at(&self, server: &Server) -> Self {
        Self {
            control_url: server.control_url().to_owned(),
            gateway_url: server.gateway_url().to_owned(),
            ..self.clone()
        }
    }

    /// The same owner with another key: their backends call with it, and tokens are signed with it.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// A backend that has the first key.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher_with(&self.key)
    }

    /// A backend that has this key.
    #[must_use]
    pub fn publisher_with(&self, key: &str) -> Publisher {
        Publisher::new(http().expect("a client was made before"), self.app_url(), key)
    }

    /// Asks the control plane as the dashboard does: `GET /api/v1…`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        Answer::to(self.http.get(self.control(path))).await
    }

    /// Changes something as the dashboard does: the session's cookie and the header against forgeries.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Answer> {
        Answer::to(self.http.request(method, self.control(path)).header("X-Fanfare-CSRF", "1").json(body)).await
    }

    /// As [`send`](Self::send), with the version the change was made from.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send_if(&self, method: Method, path: &str, etag: &str, body: &impl Serialize) -> Result<Answer> {
        let request = self.http.request(method, self.control(path)).header("X-Fanfare-CSRF", "1");
        Answer::to(request.header("If-Match", etag).json(body)).await
    }

    /// `POST /api/v1…`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer> {
        self.send(Method::POST, path, body).await
    }

    /// Makes a key with these capabilities, as JSON, and returns it as printed.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn create_key(&self, name: &str, capabilities: &Value) -> Result<String> {
        let body = json!({ "name": name, "capabilities": capabilities });
        let made = self.post(&format!("/apps/{}/keys", self.app), &body).await?.ok()?;
        text(&made, "/secret")
    }

    /// Replaces the app's ACL by this document.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn replace_acl(&self, document: &Value) -> Result<Value> {
        let path = format!("/apps/{}/acl", self.app);
        let before = self.get(&path).await?;
        let etag = before.header("etag").context("the ACL has a version")?.to_owned();
        self.send_if(Method::PUT, &path, &etag, document).await?.ok()
    }

    /// Signs a token with the first key: these claims over `exp`, ten minutes from now.
    ///
    /// # Errors
    /// When the claims are no object.
    pub fn token(&self, claims: &Value) -> Result<String> {
        let (id, secret) = self.key.split_once(':').context("a key has two halves")?;
        let mut all = Map::from_iter([("exp".to_owned(), json!(unix_now() + TOKEN_LIFE_S))]);
        all.extend(claims.as_object().context("claims are an object")?.clone());
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
        Ok(encode(&header, &all, &EncodingKey::from_secret(secret.as_bytes()))?)
    }

    /// A token for a user who may do everything that clients may on these patterns.
    ///
    /// # Errors
    /// Never in practice.
    pub fn token_for(&self, user: &str, patterns: &[&str]) -> Result<String> {
        let all = json!(["subscribe", "publish", "presence", "presence.read", "history"]);
        let rights = patterns.iter().map(|pattern| ((*pattern).to_owned(), all.clone()));
        self.token(&json!({ "sub": user, "ff": { "cap": Map::from_iter(rights) } }))
    }

    /// A user's connection that may do everything that clients may on these patterns.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn connect_as(&self, user: &str, patterns: &[&str]) -> Result<Client> {
        let token = self.token_for(user, patterns)?;
        Client::connect(&self.app_url(), user, Some(&token)).await
    }

    /// A connection without a token.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn connect_anonymous(&self) -> Result<Client> {
        Client::connect(&self.app_url(), "anonymous", None).await
    }

    /// A request to the control plane with the session's cookie and nothing else, for what the others do not do. The path
    /// is whole: `/api/v1/session`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.control_url))
    }

    fn control(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.control_url)
    }
}
